/* Ids of processes: those that are none of the program's own are the guest's. */
import { constants } from 'node:os';
import { failure, type SystemError, type WaepError } from '../errors.js';
import type { Context } from './context.js';
import type { Notification } from './notification.js';

const { errno } = constants;

/** Answers kill(2). */
export async function sendSignal(call: Notification, context: Context): Promise<void> {
  const id = call.descriptor(0);
  if (id === -1) {
    throw failure('ERR_RUN_REFUSED', {
      call: 'kill(2) of all processes',
      why: 'it would reach those of this machine that are not the program’s',
      instead: 'Name the processes.',
    });
  }
  const { own } = context;
  if (id < 0) {
    // A group outlives its leader, and a group of the guest's is nobody's here.
    if (!own.isOfGuest(-id, call.thread) || !own.isHere(-id)) return call.proceed();
    throw unreached('kill(2)', `process group ${-id}`);
  }
  if (!own.isOfGuest(id, call.thread)) return call.proceed();
  if (!(await exists(id, context))) return call.fail(errno.ESRCH);
  if (call.argument(1) !== 0) throw unreached('kill(2)', `process ${id}`);
  call.succeed(0);
}

/** Answers pidfd_open(2). Without it programs ask by kill(2), again and again. */
export async function openProcess(call: Notification, context: Context): Promise<void> {
  const id = call.descriptor(0);
  if (!context.own.isOfGuest(id, call.thread)) return call.proceed();
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

/**
 * Answers a call that asks or does something to a process, which this machine's kernel would do to
 * whoever has the id here.
 *
 * @param argument the one that has the id
 */
export function aboutProcess(name: string, argument = 0) {
  return async (call: Notification, context: Context): Promise<void> => {
    const id = call.descriptor(argument);
    if (!context.own.isOfGuest(id, call.thread)) return call.proceed();
    if (!(await exists(id, context))) return call.fail(errno.ESRCH);
    throw unreached(`${name}(2)`, `process ${id}`);
  };
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

function unreached(call: string, what: string): WaepError {
  return failure('ERR_RUN_REFUSED', {
    call: `${call} of the guest's ${what}`,
    why: 'it would reach whoever has that id on this machine',
    instead: 'Do it in the guest.',
  });
}

/** The refusal of what a call asks of a process of the program's own. */
export function notThere(call: string): WaepError {
  return failure('ERR_RUN_REFUSED', {
    call,
    why: 'it does not run in the guest',
    instead: 'Name a process of the guest, or all of them.',
  });
}
