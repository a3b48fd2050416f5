/*
 * Programs that the program starts. They run on this machine, but the program's probes are in the
 * guest.
 */
import { existsSync, readdirSync } from 'node:fs';
import { failure, type WaepError } from '../errors.js';
import type { Context } from './context.js';
import type { Notification } from './notification.js';
import { familyOf } from './own-processes.js';
import { ProcessMemory } from './process-memory.js';

const PATH_MAX = 4096;

/**
 * Lets the program start another program. Warns the user when a probe was probably meant to watch
 * the new program, as with bpftrace -c.
 *
 * @param argument the index of the argument with the path
 */
export function startProgram(argument: number) {
  return (call: Notification, context: Context): void => {
    if (context.objects.haveProbes && watches(call.thread, context)) {
      const memory = new ProcessMemory(call, context.placeholders);
      const text = Buffer.from(memory.readText(call.word(argument), PATH_MAX)).toString();
      const name = text.replace(/\0$/, '');
      // A shell tries execve(2) in each folder of PATH.
      if (existsSync(`/proc/${call.thread}/root${name}`)) context.warnOnce(unwatched(name));
    }
    // A thread that executes a program gets the id of its process.
    const { group } = familyOf(call.thread);
    if (group !== 0) context.started.about(group);
    call.proceed();
  };
}

function unwatched(name: string): WaepError {
  return failure('ERR_RUN_NOTICE', {
    what: `${name} is started on this machine, while probes are on in the guest: they see nothing of it`,
    instead: 'Start it in the guest.',
  });
}

/** Returns whether a process, or its parent, has the descriptor of a probe. */
function watches(thread: number, { placeholders, objects }: Context): boolean {
  try {
    const { group, parent } = familyOf(thread);
    return [group, parent].some((process) =>
      readdirSync(`/proc/${process}/fd`).some((descriptor) =>
        objects.isProbe(placeholders.handleOf(process, Number(descriptor))),
      ),
    );
  } catch {
    // The process has ended.
    return false;
  }
}
