/* Programs that the program starts: they run on this machine, and its probes are in the guest. */
import { existsSync, readdirSync } from 'node:fs';
import { failure, type WaepError } from '../errors.js';
import type { Context } from './context.js';
import type { Notification } from './notification.js';
import { familyOf } from './own-processes.js';
import { ProcessMemory } from './process-memory.js';

const PATH_MAX = 4096;

/**
 * Lets a program be started, and tells the user when it is one that the probes of who starts it
 * were to watch: bpftrace -c, for instance.
 *
 * @param argument that of its path
 */
export function startProgram(argument: number) {
  return (call: Notification, context: Context): void => {
    if (context.objects.haveProbes && watches(call.thread, context)) {
      const memory = new ProcessMemory(call, context.placeholders);
      const text = Buffer.from(memory.readText(call.word(argument), PATH_MAX)).toString();
      const name = text.replace(/\0$/, '');
      // A shell looks for it in many places.
      if (existsSync(`/proc/${call.thread}/root${name}`)) context.warnOnce(unwatched(name));
    }
    context.started.about(call.thread);
    call.proceed();
  };
}

function unwatched(name: string): WaepError {
  return failure('ERR_RUN_NOTICE', {
    what: `${name} is started on this machine, while probes are on in the guest: they see nothing of it`,
    instead: 'Start it in the guest.',
  });
}

/** Whether a process, or the one that has started it, has a probe's descriptor. */
function watches(thread: number, { placeholders, objects }: Context): boolean {
  try {
    const { group, parent } = familyOf(thread);
    return [group, parent].some((process) =>
      readdirSync(`/proc/${process}/fd`).some((descriptor) =>
        objects.isProbe(placeholders.handleOf(process, Number(descriptor))),
      ),
    );
  } catch {
    // It has ended.
    return false;
  }
}
