/* Ids of processes: those that are none of the program's own are the guest's. */
import { constants } from 'node:os';
import { failure, type SystemError, type WaepError } from '../errors.js';
import type { Context } from './context.js';
import type { Notification } from './notification.js';
import { isOfGuest } from './own-processes.js';

const { errno } = constants;

/** Answers kill(2) with no signal, which asks whether there is a process. */
export async function askForProcess(call: Notification, context: Context): Promise<void> {
  const id = call.descriptor(0);
  if (!isOfGuest(id, call.thread)) return call.proceed();
  if (await exists(id, context)) call.succeed(0);
  else call.fail(errno.ESRCH);
}

/** Answers pidfd_open(2). Without it programs ask by kill(2), again and again. */
export async function openProcess(call: Notification, context: Context): Promise<void> {
  const id = call.descriptor(0);
  if (!isOfGuest(id, call.thread)) return call.proceed();
  if (!(await exists(id, context))) return call.fail(errno.ESRCH);
  context.warnOnce(
    failure('ERR_RUN_REFUSED', {
      call: `pidfd_open(2) of the guest's process ${id}`,
      why: 'its end is not told here',
      instead: 'Ask by kill(2) with no signal whether it is there, as programs do without it.',
    }),
  );
  call.fail(errno.ENOSYS);
}

async function exists(id: number, { files }: Context): Promise<boolean> {
  try {
    await files.look(`/proc/${id}`);
    return true;
  } catch (error) {
    if ((error as SystemError).code === 'ENOENT') return false;
    throw error;
  }
}

/** The refusal of what a call asks of a process of the program's own. */
export function notThere(call: string): WaepError {
  return failure('ERR_RUN_REFUSED', {
    call,
    why: 'it does not run in the guest',
    instead: 'Name a process of the guest, or −1 for all of them.',
  });
}
