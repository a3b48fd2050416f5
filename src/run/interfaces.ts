/*
 * Names and indexes of network interfaces. The program passes an index to the guest when it
 * attaches, so the names and indexes are the guest's, as in /sys/class/net.
 */
import { constants } from 'node:os';
import { text, viewOf } from '../codec/index.js';
import { failure, type SystemError } from '../errors.js';
import { eachEntry, entryName } from '../kernel/guest-folder.js';
import type { Context } from './context.js';
import type { Notification } from './notification.js';
import { ProcessMemory } from './process-memory.js';

const FOLDER = '/sys/class/net';
/** IFNAMSIZ. `struct ifreq` begins with the name, and the index follows. */
const NAME_BYTES = 16;
const { errno } = constants;

/** The ioctl(2) requests that translate an index to a name and a name to an index. */
const SIOCGIFNAME = 0x8910;
const SIOCGIFINDEX = 0x8933;
/** The type of the ioctl(2) requests of sockets: SOCK_IOC_TYPE of linux/sockios.h. */
export const SOCKET_REQUESTS = 0x89;
/** The number in the first request that is about interfaces and routes, and not about a socket. */
const FIRST_OF_NETWORK = 0x0b;

/** Answers an ioctl(2) request of sockets. */
export function askOfInterface(call: Notification, context: Context): void | Promise<void> {
  const request = call.argument(1);
  if (request === SIOCGIFINDEX || request === SIOCGIFNAME) return nameInterface(call, context);
  if ((request & 0xff) < FIRST_OF_NETWORK) return call.proceed();
  throw failure('ERR_RUN_REFUSED', {
    call: `ioctl(2) 0x${request.toString(16)} of a network interface`,
    why: "it would be about this machine's interface of that name, and not the guest's",
    instead: 'Read /sys/class/net and /proc/net, or do it in the guest.',
  });
}

async function nameInterface(call: Notification, context: Context): Promise<void> {
  const memory = new ProcessMemory(call, context.placeholders);
  const request = Buffer.from(memory.read(call.word(2), NAME_BYTES + 4));
  if (request.length < NAME_BYTES + 4) return call.fail(errno.EFAULT);
  if (call.argument(1) === SIOCGIFINDEX) {
    const name = text(NAME_BYTES).read(viewOf(request), 0);
    const index = await indexOf(name, context);
    if (index === undefined) return call.fail(errno.ENODEV);
    request.writeInt32LE(index, NAME_BYTES);
  } else {
    const name = await nameOf(request.readInt32LE(NAME_BYTES), context);
    if (name === undefined) return call.fail(errno.ENODEV);
    request.fill(0, 0, NAME_BYTES).write(name.slice(0, NAME_BYTES - 1));
  }
  memory.writeOrFault(call.word(2), request);
  call.succeed(0);
}

async function indexOf(name: string, { files }: Context): Promise<number | undefined> {
  if (name === '' || name === '.' || name === '..' || name.includes('/')) return undefined;
  try {
    return Number(Buffer.from(await files.bytes(`${FOLDER}/${name}/ifindex`)).toString());
  } catch (error) {
    const { code } = error as SystemError;
    // /sys/class/net also has files that are no interfaces, such as bonding_masters.
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}

async function nameOf(index: number, context: Context): Promise<string | undefined> {
  const entries = await context.files.list(FOLDER);
  for (const start of eachEntry(entries, FOLDER)) {
    const name = entryName(entries, start);
    if ((await indexOf(name, context)) === index) return name;
  }
  return undefined;
}
