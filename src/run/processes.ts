/*
 * System calls that name a process by its id. An id that is none of the program's own is the
 * guest's.
 */
import { constants } from 'node:os';
import { failure, type SystemError, type WaepError } from '../errors.js';
import type { Context } from './context.js';
import type { Notification } from './notification.js';
import { ProcessMemory } from './process-memory.js';

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
    // A group of the program may have outlived its leader. If no process here has the id, this
    // machine's kernel answers.
    if (!own.isOfGuest(-id, call.thread) || !own.isHere(-id)) return call.proceed();
    throw unreached('kill(2)', `process group ${-id}`);
  }
  if (!own.isOfGuest(id, call.thread)) return call.proceed();
  if (!(await exists(id, context))) return call.fail(errno.ESRCH);
  if (call.argument(1) !== 0) throw unreached('kill(2)', `process ${id}`);
  call.succeed(0);
}

/** Answers pidfd_open(2). With ENOSYS, programs poll with kill(2) instead. */
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

/** Finds the ids of processes in a call, and what the call fails with if there is none of an id. */
interface Naming {
  readonly ids: (call: Notification, memory: ProcessMemory) => readonly number[];
  readonly absent?: number;
}

/** The id is an argument. */
const argument = (index: number): Naming => ({ ids: (call) => [call.descriptor(index)] });

/** kcmp(2) compares two processes. */
export const bothArguments: Naming = { ids: (call) => [call.descriptor(0), call.descriptor(1)] };

/** A clock has the id of its process inverted, above three bits. */
export const inClock: Naming = {
  ids: (call) => [~(call.descriptor(0) >> 3)],
  absent: errno.EINVAL,
};

/** The second word of capget(2)'s header is the id. */
export const inHeader: Naming = {
  ids: (call, memory) => {
    const header = Buffer.from(memory.read(call.word(0), 8));
    return header.length < 8 ? [] : [header.readInt32LE(4)];
  },
};

/**
 * Answers a call that reads or changes a process of the guest. This machine's kernel would act on
 * its own process with the same id.
 *
 * @param named where the id is, or the index of the argument with it
 */
export function aboutProcess(name: string, named: number | Naming = 0) {
  const { ids, absent = errno.ESRCH } = typeof named === 'number' ? argument(named) : named;
  return async (call: Notification, context: Context): Promise<void> => {
    const all = ids(call, new ProcessMemory(call, context.placeholders));
    const id = all.find((one) => context.own.isOfGuest(one, call.thread));
    if (id === undefined) return call.proceed();
    if (!(await exists(id, context))) return call.fail(absent);
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

/** Returns the refusal of a call that names one of the program's own processes. */
export function notThere(call: string): WaepError {
  return failure('ERR_RUN_REFUSED', {
    call,
    why: 'it does not run in the guest',
    instead: 'Name a process of the guest, or all of them.',
  });
}

/** Returns the refusal of a call that uses a probe of one of the program's own processes. */
export function notUsed(call: string): WaepError {
  return notThere(`${call} of a probe of its own process`);
}
