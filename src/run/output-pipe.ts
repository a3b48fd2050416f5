import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { systemError } from '../errors.js';
import { native } from '../native.js';

/** A pipe that a program writes to. */
export interface OutputPipe {
  readonly output: Readable;
  /** The descriptor for the program. The caller closes it once the program is started. */
  readonly input: number;
}

/**
 * Makes a pipe for a program's output. What Node makes for `stdio: 'pipe'` is a socket, which a
 * program cannot open as `/dev/stdout` or `/dev/stderr`.
 */
export function outputPipe(): OutputPipe {
  const pair = new Int32Array(2);
  const made = native.pipe(pair);
  if (made < 0) throw systemError('pipe', made);
  const [fd = -1, input = -1] = pair;
  return { output: new Socket({ fd, readable: true, writable: false }), input };
}
