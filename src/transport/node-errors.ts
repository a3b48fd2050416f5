/** The errors that programs for node:net recognise by their codes, and the errors' classes. */
const classes = {
  ERR_INVALID_ARG_TYPE: TypeError,
  ERR_OUT_OF_RANGE: RangeError,
  ERR_SERVER_ALREADY_LISTEN: Error,
  ERR_SERVER_NOT_RUNNING: Error,
  ERR_SOCKET_CLOSED: Error,
  ERR_SOCKET_CLOSED_BEFORE_CONNECTION: Error,
} as const;

/** Makes an error with the class and the code that node:net gives it. */
export function nodeError(code: keyof typeof classes, message: string): NodeJS.ErrnoException {
  const error = new classes[code](message);
  // As in Node's own errors, the code is part of the name only in the stack trace.
  return Object.assign(error, { code });
}

/** The error of an argument that is of another type than node:net takes. */
export function argumentError(name: string, expected: string, value: unknown): Error {
  return nodeError(
    'ERR_INVALID_ARG_TYPE',
    `The "${name}" argument must be ${expected}. Received ${typeof value} ${String(value)}`,
  );
}
