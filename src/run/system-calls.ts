import { constants } from 'node:os';
import { failure } from '../errors.js';
import { forwardBpf } from './bpf-call.js';
import { startProgram } from './commands.js';
import type { Context } from './context.js';
import {
  controlDescriptor,
  countUnread,
  describe,
  pollDescriptors,
  readDescriptor,
  selectDescriptors,
  writeDescriptor,
} from './descriptors.js';
import { makeFolder, makeLink, mount, refuseChange, remove, rename } from './file-changes.js';
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
import { askOfInterface, SOCKET_REQUESTS } from './interfaces.js';
import { mapMemory, watchDescriptor } from './memory-map.js';
import {
  bindNetlink,
  connectNetlink,
  copyNetlink,
  isNetlinkOfGuest,
  openNetlink,
  receiveNetlink,
  receiveNetlinkParts,
  refuseGroup,
  refuseReceiveAll,
  refuseReplacing,
  refuseSendAll,
  refuseWriteParts,
  sendNetlink,
  sendNetlinkParts,
} from './netlink-calls.js';
import type { Notification } from './notification.js';
import { BPF, EXECVE, X86_64 } from './numbers.js';
import { namespaceOf } from './own-processes.js';
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
import { tellLoad } from './system-load.js';

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

function changesKernel(name: string): Answer {
  const why = 'it would change the kernel of this host, and not the guest’s';
  return refuse(`${name}(2)`, why, 'Do it in the guest.');
}

/** Lets a call proceed if it only reads how the clock of this machine is kept. */
function adjustClock(name: string, argument: number): Answer {
  const refusal = changesKernel(name);
  return (call, context) => {
    const memory = new ProcessMemory(call, context.placeholders);
    const modes = Buffer.from(memory.read(call.word(argument), 4));
    if (modes.length === 4 && modes.readUInt32LE() !== 0) return refusal(call, context);
    call.proceed();
  };
}

/** Lets a call proceed if the program has made a namespace for its name. */
function changeName(name: string): Answer {
  const refusal = changesKernel(name);
  return (call, context) => {
    if (namespaceOf(call.thread, 'uts') === namespaceOf('self', 'uts')) {
      return refusal(call, context);
    }
    call.proceed();
  };
}

/** The calls that change a kernel, whatever their arguments are. */
const changes = [
  [163, 'acct'],
  [164, 'settimeofday'],
  [167, 'swapon'],
  [168, 'swapoff'],
  [169, 'reboot'],
  [175, 'init_module'],
  [176, 'delete_module'],
  [227, 'clock_settime'],
  [246, 'kexec_load'],
  [313, 'finit_module'],
  [320, 'kexec_file_load'],
] as const;

const AF_NETLINK = 16;
const refuseNetlink = refuse(
  'socket(2) for this protocol of netlink',
  'it tells of this host’s kernel and changes it, and not the guest’s',
  'Use NETLINK_ROUTE or NETLINK_SOCK_DIAG, which are the guest’s, or do it in the guest.',
);
const refusePackets = refuse(
  'socket(2) for packets (AF_PACKET, AF_XDP)',
  'it would have the packets of this host’s interfaces, and not the guest’s',
  'Capture packets in the guest.',
);

function openSocket(call: Notification, context: Context): void | Promise<void> {
  if (call.argument(0) !== AF_NETLINK) return refusePackets(call, context);
  const answer = isNetlinkOfGuest(call.argument(2)) ? openNetlink : refuseNetlink;
  return answer(call, context);
}

const FIONREAD = 0x541b;

function control(call: Notification, context: Context): void | Promise<void> {
  const request = call.argument(1);
  if (request === FIONREAD) return countUnread(call, context);
  if (((request >> 8) & 0xff) === SOCKET_REQUESTS) return askOfInterface(call, context);
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

const AT_SYMLINK_NOFOLLOW = 0x100;
const IN_DONT_FOLLOW = 0x02000000;

/** The path is the first argument, or the second one after its folder. */
const first = { path: 0 };
const at = { folder: 0, path: 1 };
const link = () => true;
const firstLink = { ...first, link };
const atLink = { ...at, link };

/** Returns the second argument as a path that is followed unless a flag says otherwise. */
const atUnless = (flags: number) => ({
  ...at,
  link: (call: Notification) => (call.argument(flags) & AT_SYMLINK_NOFOLLOW) !== 0,
});

/** Answers a variant of stat(2) that takes a path or a descriptor. */
function lookAt(form: 'stat' | 'statx', flags: number, result: number): Answer {
  const byPath = lookAtFile(atUnless(flags), form, result);
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
  [439, accessFile(atUnless(3))],
  [89, readLink(firstLink)],
  [267, readLink(atLink)],
  [4, lookAtFile(first, 'stat', 1)],
  [6, lookAtFile(firstLink, 'stat', 1)],
  [262, lookAt('stat', 3, 2)],
  [332, lookAt('statx', 2, 4)],
  [99, tellLoad],
  [103, readKernelLog],
  [137, lookAtFileSystem],
  [138, describeFileSystem],
  [80, changeFolder],
  [81, changeToDescriptor],
  [217, listDescriptor],
  [8, seekDescriptor],
  [83, makeFolder(firstLink)],
  [258, makeFolder(atLink)],
  [84, remove(firstLink, 'rmdir')],
  [87, remove(firstLink, 'unlink')],
  [263, remove(atLink, { flags: 2 })],
  [82, rename(firstLink, { path: 1, link })],
  [264, rename(atLink, { folder: 2, path: 3, link })],
  [316, rename(atLink, { folder: 2, path: 3, link }, 4)],
  [191, lackAttribute(first)],
  [192, lackAttribute(firstLink)],
  [194, listNoAttributes(first)],
  [195, listNoAttributes(firstLink)],
  [76, refuseChange('truncate', first)],
  [90, refuseChange('chmod', first)],
  [268, refuseChange('fchmodat', at)],
  [92, refuseChange('chown', first)],
  [94, refuseChange('lchown', firstLink)],
  [260, refuseChange('fchownat', atUnless(4))],
  [132, refuseChange('utime', first)],
  [235, refuseChange('utimes', first)],
  [261, refuseChange('futimesat', at)],
  [280, refuseChange('utimensat', atUnless(3))],
  [133, refuseChange('mknod', firstLink)],
  [259, refuseChange('mknodat', atLink)],
  [86, refuseChange('link', { path: 1, link })],
  [265, refuseChange('linkat', { folder: 2, path: 3, link })],
  [88, makeLink({ path: 1, link })],
  [266, makeLink({ folder: 1, path: 2, link })],
  [188, refuseChange('setxattr', first)],
  [189, refuseChange('lsetxattr', firstLink)],
  [197, refuseChange('removexattr', first)],
  [198, refuseChange('lremovexattr', firstLink)],
  [165, mount],
  [166, refuseChange('umount2', first)],
  [
    254,
    refuseChange('inotify_add_watch', {
      path: 1,
      link: (call) => (call.argument(2) & IN_DONT_FOLLOW) !== 0,
    }),
  ],
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
  [EXECVE, startProgram(0)],
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
  [72, controlDescriptor],
  [159, adjustClock('adjtimex', 0)],
  [305, adjustClock('clock_adjtime', 1)],
  [170, changeName('sethostname')],
  [171, changeName('setdomainname')],
  ...changes.map(([number, name]) => [number, changesKernel(name)] as const),
  [41, openSocket],
  [20, refuseWriteParts],
  [32, copyNetlink(() => false)],
  [33, refuseReplacing],
  [292, refuseReplacing],
  [42, connectNetlink],
  [44, sendNetlink],
  [45, receiveNetlink],
  [46, sendNetlinkParts],
  [47, receiveNetlinkParts],
  [49, bindNetlink],
  [299, refuseReceiveAll],
  [307, refuseSendAll],
  [54, setOption],
]);

const SOL_NETLINK = 270;
const attachToSocket = unlessOfGuest(
  refuse(
    'setsockopt(2) of SO_ATTACH_BPF',
    'a socket of this host cannot run a program of the guest',
    'Attach inside the guest.',
  ),
);

/** Answers setsockopt(2) of an option that takes a program, or that joins a group of netlink. */
function setOption(call: Notification, context: Context): void | Promise<void> {
  return call.argument(1) === SOL_NETLINK
    ? refuseGroup(call, context)
    : attachToSocket(call, context);
}

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
