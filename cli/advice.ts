import type { SystemError } from '../src/errors.js';

const START = '"waep vm" boots a guest, and prints the address of its agent.';

/** The possible cause of a failed connect(2), and the cure, by the kernel's errors. */
const advices: Readonly<Record<string, string>> = {
  ENOENT: `There is no such socket. Is the guest, or its agent, still running? ${START}`,
  ECONNREFUSED: `Nobody listens there. Is the agent running? ${START}`,
  // The kernel returns ECONNRESET when the guest runs but has no listener on the port.
  ECONNRESET: `The guest has nobody who listens on that port. Is its agent running? ${START}`,
  EACCES: 'The socket belongs to another user. Connect as that user, or as root.',
  EPERM: 'The socket belongs to another user. Connect as that user, or as root.',
  ENODEV:
    "This machine's kernel reaches no guest by vsock. Load vhost_vsock (modprobe vhost_vsock) and start the guest with a vhost-vsock device, or use an address of vsock-device: or vsock-mux:.",
  EHOSTUNREACH: `No guest has this address. ${START}`,
  ENETUNREACH: 'This machine has no route there. Check the address.',
  ENOTFOUND: 'No machine has this name. Check the address.',
};

/** Adds a cure to the error of a connection that could not be made. */
export function advised(error: unknown): unknown {
  const { code = '', syscall } = error as Partial<SystemError>;
  const advice = syscall === 'connect' || code === 'ENOTFOUND' ? advices[code] : undefined;
  if (advice !== undefined) (error as Error).message += `. ${advice}`;
  return error;
}
