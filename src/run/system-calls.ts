import { constants } from 'node:os';
import { failure } from '../errors.js';
import { forwardBpf } from './bpf-call.js';
import { startProgram } from './commands.js';
import type { Context } from './context.js';
import {
  countUnread,
  describe,
  flagsOf,
  pollDescriptors,
  readDescriptor,
  selectDescriptors,
  writeDescriptor,
} from './descriptors.js';
import { makeFolder, refuseChange, remove, rename } from './file-changes.js';
import {
  AT_EMPTY_PATH,
  accessFile,
  changeFolder,
  changeToDescriptor,
  describeFileSystem,
  lackAttribute,
  listDescriptor,
  listNoAttributes,
  lookAtFile,
  lookAtFileSystem,
  makeFileHandle,
  openFile,
  readKernelLog,
  readLink,
  seekDescriptor,
} from './files.js';
import { nameInterface, SIOCGIFINDEX, SIOCGIFNAME } from './interfaces.js';
import { mapMemory, watchDescriptor } from './memory-map.js';
import type { Notification } from './notification.js';
import { BPF, X86_64 } from './numbers.js';
import { controlPerfEvent, openPerfEvent } from './perf-events.js';
import { ProcessMemory } from './process-memory.js';
import {
  aboutProcess,
  bothArguments,
  inClock,
  inHeader,
  openProcess,
  sendSignal,
} from './processes.js';

/** Answers one system call of the program. An exception becomes the errno of the call. */
export type Answer = (call: Notification, context: Context) => void | Promise<void>;

const X32 = 0x40000000;

function refuse(call: string, why: string, instead: string): Answer {
  return () => {
    throw failure('ERR_RUN_REFUSED', { call, why, instead });
  };
}

/** Lets setsockopt(2) proceed unless the option is an object of the guest. */
function unlessOfGuest(refusal: Answer): Answer {
  return (call, context) => {
    const memory = new ProcessMemory(call, context.placeholders);
    const option = Buffer.from(memory.read(call.word(3), 4));
    const handle = option.length < 4 ? 0 : memory.handleOf(option.readInt32LE());
    if (handle === 0) call.proceed();
    else return refusal(call, context);
  };
}

/** Answers as the kernel does when a process has a listener already. That listener is waep's. */
function refuseListener(call: Notification, context: Context): void {
  context.warnOnce(
    failure('ERR_RUN_REFUSED', {
      call: 'seccomp(2) with SECCOMP_FILTER_FLAG_NEW_LISTENER',
      why: 'a process can have one listener, and waep is it',
      instead: 'Run what needs its own outside of waep.',
    }),
  );
  call.fail(constants.errno.EBUSY);
}

const FIONREAD = 0x541b;

function control(call: Notification, context: Context): void | Promise<void> {
  const request = call.argument(1);
  if (request === FIONREAD) return countUnread(call, context);
  if (request === SIOCGIFINDEX || request === SIOCGIFNAME) return nameInterface(call, context);
  return controlPerfEvent(call, context);
}

/** Lets setns(2) proceed unless the namespace is the guest's. */
function enterNamespace(call: Notification, { placeholders }: Context): void {
  if (placeholders.handleOf(call.thread, call.descriptor(0)) !== 0) {
    throw failure('ERR_RUN_REFUSED', {
      call: 'setns(2) into a namespace of the guest',
      why: 'the program runs on this machine',
      instead: 'Do it in the guest, or pass the namespace to bpf(2).',
    });
  }
  call.proceed();
}

/** The path is the first argument, or the second one after its folder. */
const first = { path: 0 };
const at = { folder: 0, path: 1 };

/** Answers a variant of stat(2) that takes a path or a descriptor. */
function lookAt(form: 'stat' | 'statx', flags: number, result: number): Answer {
  const byPath = lookAtFile(at, form, result, flags);
  return (call, context) => {
    const mayBeEmpty = (call.argument(flags) & AT_EMPTY_PATH) !== 0;
    if (!mayBeEmpty || !isEmptyAt(call, context)) return byPath(call, context);
    return describe(call, context, form, result);
  };
}

function isEmptyAt(call: Notification, { placeholders }: Context): boolean {
  if (call.word(1) === 0n) return true;
  return new ProcessMemory(call, placeholders).read(call.word(1), 1)[0] === 0;
}

/**
 * The answers by system call number. They are the calls that waep-launch's filter hands over
 * (addon/core/supervisor/seccomp_filter.cc).
 */
const answers: ReadonlyMap<number, Answer> = new Map<number, Answer>([
  [BPF, forwardBpf],
  [63, (call, { name, placeholders }) => name.tell(call, placeholders)],
  [2, openFile(first, 'argument')],
  [257, openFile(at, 'argument')],
  [437, openFile(at, 'structure')],
  [85, openFile(first, 'created')],
  [21, accessFile(first)],
  [269, accessFile(at)],
  [439, accessFile(at, 3)],
  [89, readLink(first)],
  [267, readLink(at)],
  [4, lookAtFile(first, 'stat', 1, 'follow')],
  [6, lookAtFile(first, 'stat', 1, 'link')],
  [262, lookAt('stat', 3, 2)],
  [332, lookAt('statx', 2, 4)],
  [103, readKernelLog],
  [137, lookAtFileSystem],
  [138, describeFileSystem],
  [80, changeFolder],
  [81, changeToDescriptor],
  [217, listDescriptor],
  [8, seekDescriptor],
  [83, makeFolder(first)],
  [258, makeFolder(at)],
  [84, remove(first, 'rmdir')],
  [87, remove(first, 'unlink')],
  [263, remove(at, { flags: 2 })],
  [82, rename(first, { path: 1 })],
  [264, rename(at, { folder: 2, path: 3 })],
  [316, rename(at, { folder: 2, path: 3 }, 4)],
  [191, lackAttribute],
  [192, lackAttribute],
  [194, listNoAttributes],
  [195, listNoAttributes],
  [76, refuseChange('truncate', first)],
  [90, refuseChange('chmod', first)],
  [268, refuseChange('fchmodat', at)],
  [92, refuseChange('chown', first)],
  [94, refuseChange('lchown', first)],
  [260, refuseChange('fchownat', at)],
  [132, refuseChange('utime', first)],
  [235, refuseChange('utimes', first)],
  [261, refuseChange('futimesat', at)],
  [280, refuseChange('utimensat', at)],
  [133, refuseChange('mknod', first)],
  [259, refuseChange('mknodat', at)],
  [86, refuseChange('link', { path: 1 })],
  [265, refuseChange('linkat', { folder: 2, path: 3 })],
  [88, refuseChange('symlink', { path: 1 })],
  [266, refuseChange('symlinkat', { folder: 1, path: 2 })],
  [188, refuseChange('setxattr', first)],
  [189, refuseChange('lsetxattr', first)],
  [165, refuseChange('mount', { path: 1 })],
  [166, refuseChange('umount2', first)],
  [254, refuseChange('inotify_add_watch', { path: 1 })],
  [301, refuseChange('fanotify_mark', { folder: 3, path: 4 })],
  [303, makeFileHandle],
  [308, enterNamespace],
  [5, (call, context) => describe(call, context, 'stat', 1)],
  [0, readDescriptor],
  [23, selectDescriptors],
  [270, selectDescriptors],
  [298, openPerfEvent],
  [9, mapMemory],
  [233, watchDescriptor],
  [7, pollDescriptors],
  [271, pollDescriptors],
  [16, control],
  [1, writeDescriptor],
  [59, startProgram(0)],
  [322, startProgram(1)],
  [62, sendSignal],
  [434, openProcess],
  [129, aboutProcess('rt_sigqueueinfo')],
  [297, aboutProcess('rt_tgsigqueueinfo')],
  [200, aboutProcess('tkill')],
  [234, aboutProcess('tgkill')],
  [274, aboutProcess('get_robust_list')],
  [312, aboutProcess('kcmp', bothArguments)],
  [125, aboutProcess('capget', inHeader)],
  [228, aboutProcess('clock_gettime', inClock)],
  [229, aboutProcess('clock_getres', inClock)],
  [230, aboutProcess('clock_nanosleep', inClock)],
  [222, aboutProcess('timer_create', inClock)],
  [101, aboutProcess('ptrace', 1)],
  [310, aboutProcess('process_vm_readv')],
  [311, aboutProcess('process_vm_writev')],
  [302, aboutProcess('prlimit64')],
  [121, aboutProcess('getpgid')],
  [124, aboutProcess('getsid')],
  [140, aboutProcess('getpriority', 1)],
  [141, aboutProcess('setpriority', 1)],
  [251, aboutProcess('ioprio_set', 1)],
  [252, aboutProcess('ioprio_get', 1)],
  [142, aboutProcess('sched_setparam')],
  [143, aboutProcess('sched_getparam')],
  [144, aboutProcess('sched_setscheduler')],
  [145, aboutProcess('sched_getscheduler')],
  [148, aboutProcess('sched_rr_get_interval')],
  [203, aboutProcess('sched_setaffinity')],
  [204, aboutProcess('sched_getaffinity')],
  [314, aboutProcess('sched_setattr')],
  [315, aboutProcess('sched_getattr')],
  [256, aboutProcess('migrate_pages')],
  [279, aboutProcess('move_pages')],
  [317, refuseListener],
  [72, flagsOf],
  [
    41,
    refuse(
      'socket(2) for netlink',
      'it tells of this host’s kernel and changes it, and not the guest’s',
      'Attach by links (XDP, TCX), list with "bpftool link", and read /proc/net.',
    ),
  ],
  [
    54,
    unlessOfGuest(
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

/** Returns the answer for a system call. */
export function answerOf(call: Notification): Answer {
  const known = call.architecture === X86_64 && (call.number & X32) === 0;
  return (known && answers.get(call.number)) || foreign;
}
