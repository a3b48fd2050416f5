import { failure } from '../errors.js';
import { forwardBpf } from './bpf-call.js';
import type { Context } from './context.js';
import { accessFile, lookAtFile, openFile, readLink } from './files.js';
import { mapMemory, pollDescriptors, watchDescriptor } from './memory-map.js';
import type { Notification } from './notification.js';
import { BPF, X86_64 } from './numbers.js';
import { controlPerfEvent, openPerfEvent } from './perf-events.js';
import { defineProbe } from './probe-definitions.js';
import { ProcessMemory } from './process-memory.js';

/** Answers one system call of the program. What it throws becomes the program's error. */
export type Answer = (call: Notification, context: Context) => void | Promise<void>;

const X32 = 0x40000000;

/** `struct utsname`: six texts. */
const UTSNAME_TEXT_BYTES = 65;

function uname(call: Notification, { session, placeholders }: Context): void {
  const { release, version, machine } = session.kernel;
  // As in the guest: who the machine is, is the guest's to say, but its name is not told here.
  const texts = ['Linux', 'guest', release, version, machine, '(none)'];
  const image = Buffer.alloc(texts.length * UTSNAME_TEXT_BYTES);
  for (const [index, text] of texts.entries()) {
    image.write(text.slice(0, UTSNAME_TEXT_BYTES - 1), index * UTSNAME_TEXT_BYTES);
  }
  const memory = new ProcessMemory(call.thread, placeholders);
  memory.writeOrFault(call.word(0), image);
  call.succeed(0);
}

function refuse(call: string, why: string, instead: string): Answer {
  return () => {
    throw failure('ERR_RUN_REFUSED', { call, why, instead });
  };
}

/** Lets through what concerns none of the guest's objects. */
function unlessOfGuest(descriptorArgument: number, refusal: Answer): Answer {
  return (call, context) => {
    const descriptor = call.descriptor(descriptorArgument);
    if (context.placeholders.handleOf(call.thread, descriptor) === 0) call.proceed();
    else return refusal(call, context);
  };
}

/** The calls that waep-launch's filter hands over (addon/core/seccomp_filter.cc), by number. */
const answers: ReadonlyMap<number, Answer> = new Map([
  [BPF, forwardBpf],
  [63, uname],
  [2, openFile(0, 'argument')],
  [257, openFile(1, 'argument')],
  [437, openFile(1, 'structure')],
  [21, accessFile(0)],
  [269, accessFile(1)],
  [439, accessFile(1)],
  [89, readLink(0)],
  [267, readLink(1)],
  [4, lookAtFile(0)],
  [6, lookAtFile(0)],
  [262, lookAtFile(1)],
  [332, lookAtFile(1)],
  [298, openPerfEvent],
  [9, mapMemory],
  [233, watchDescriptor],
  [7, pollDescriptors],
  [271, pollDescriptors],
  [16, controlPerfEvent],
  [1, defineProbe],
  [
    41,
    refuse(
      'socket(2) for NETLINK_ROUTE',
      'it shows and changes the interfaces of this host, not those of the guest',
      'Attach by links (XDP, TCX), and list with "bpftool link".',
    ),
  ],
  [
    54,
    unlessOfGuest(
      3,
      refuse(
        'setsockopt(2) of SO_ATTACH_BPF',
        'a socket of this host cannot run a program of the guest',
        'Attach inside the guest.',
      ),
    ),
  ],
]);

const foreign = refuse(
  'bpf(2) of a 32-bit program',
  'only the x86-64 system calls are understood',
  'Use a 64-bit build.',
);

/** What answers a call. */
export function answerOf(call: Notification): Answer {
  const known = call.architecture === X86_64 && (call.number & X32) === 0;
  return (known && answers.get(call.number)) || foreign;
}
