import type { SystemError } from '../src/errors.js';

const START = '"waep vm" boots a guest, and prints the address of its agent.';

/** The possible cause of an error of the kernel's, and the cure, by system call and errno. */
const advices: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  connect: {
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
  },
  getaddrinfo: {
    ENOTFOUND: 'No machine has this name. Check the address.',
    EAI_AGAIN: 'The name server does not answer. Try again, or use the address of the machine.',
  },
  open: {
    EBUSY:
      'Another program reads this log, and the kernel allows only one. End that program first.',
  },
};

const LONGER =
  'A guest that is only slow needs a longer --connect-timeout (--timeout of "waep ping").';

/** Adds a cure to an error, where one is known. */
export function advised(error: unknown): unknown {
  const { code = '', syscall = '' } = error as Partial<SystemError>;
  const advice = advices[syscall]?.[code];
  if (advice !== undefined) (error as Error).message += `. ${advice}`;
  else if (/^ERR_(HANDSHAKE|CONNECT)_TIMEOUT$/.test(code)) (error as Error).message += ` ${LONGER}`;
  return error;
}
