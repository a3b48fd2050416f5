import { MAX_FRAME_BYTES } from '../../src/frame/header.js';
import type { Rules } from './rules.js';

/*
 * The numbers are those of <linux/bpf.h>. They are policy, which is why they are here and not in
 * the executor: it applies them without knowing what they mean.
 */

const limits: Rules['limits'] = {
  maxFrameBytes: MAX_FRAME_BYTES,
  maxCallBytes: 128 * 1024 * 1024,
  maxBuffers: 256,
  maxRelocations: 1 << 20,
  maxHandles: 4096,
};

const range = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, i) => first + i);

const readablePaths = [
  '/sys/kernel/tracing/',
  '/sys/kernel/debug/tracing/',
  '/sys/kernel/btf/',
  '/sys/devices/system/cpu/possible',
  '/sys/devices/system/cpu/online',
  '/sys/bus/event_source/devices/',
  '/proc/kallsyms',
  '/proc/modules',
  '/proc/config.gz',
  '/proc/version',
  '/proc/uptime',
];

/** The requests of <linux/perf_event.h>. */
const perfIoctls: Rules['ioctls'] = [
  { name: 'PERF_EVENT_IOC_ENABLE', request: 0x2400, argument: 'number' },
  { name: 'PERF_EVENT_IOC_DISABLE', request: 0x2401, argument: 'number' },
  { name: 'PERF_EVENT_IOC_REFRESH', request: 0x2402, argument: 'number' },
  { name: 'PERF_EVENT_IOC_RESET', request: 0x2403, argument: 'number' },
  { name: 'PERF_EVENT_IOC_PERIOD', request: 0x40082404, argument: 'buffer' },
  { name: 'PERF_EVENT_IOC_SET_OUTPUT', request: 0x2405, argument: 'handle' },
  { name: 'PERF_EVENT_IOC_SET_FILTER', request: 0x40082406, argument: 'buffer' },
  { name: 'PERF_EVENT_IOC_ID', request: 0x80082407, argument: 'buffer' },
  { name: 'PERF_EVENT_IOC_SET_BPF', request: 0x40042408, argument: 'handle' },
  { name: 'PERF_EVENT_IOC_PAUSE_OUTPUT', request: 0x40042409, argument: 'number' },
  { name: 'PERF_EVENT_IOC_QUERY_BPF', request: 0xc008240a, argument: 'buffer' },
  { name: 'PERF_EVENT_IOC_MODIFY_ATTRIBUTES', request: 0x4008240b, argument: 'buffer' },
];

/** `sigtrap`: the event interrupts the program that it happens in. */
const PERF_SIGTRAP = 37;

const PROG_LOAD = 5;
const MAP_CREATE = 0;
const MAP_GET_FD_BY_ID = 14;
const LINK_CREATE = 28;

/** The profiles that the agent knows by name. */
export const profiles: Readonly<Record<string, Rules>> = {
  /**
   * Look, do not touch: tracing programs and the maps they fill. No packet, cgroup, LSM or
   * struct_ops programs, no MODIFY_RETURN, no pinning, and the maps of others for reading only.
   */
  observe: {
    commands: [
      ...range(0, 5), // MAP_CREATE to PROG_LOAD
      11,
      12,
      13,
      14,
      15, // *_GET_NEXT_ID, PROG and MAP_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD
      ...range(17, 27), // RAW_TRACEPOINT_OPEN to MAP_DELETE_BATCH
      28,
      30,
      31,
      32,
      33,
      35, // LINK_CREATE, LINK ids, ENABLE_STATS, ITER_CREATE, PROG_BIND_MAP
    ],
    otherCommands: false,
    words: [
      // KPROBE, TRACEPOINT, PERF_EVENT, RAW_TRACEPOINT, TRACING; SOCKET_FILTER, which cannot be
      // attached by any command above, because libraries probe features with it.
      { name: 'prog_type', command: PROG_LOAD, offset: 0, allowed: [1, 2, 5, 7, 17, 26] },
      // 26 is MODIFY_RETURN.
      {
        name: 'expected_attach_type',
        command: PROG_LOAD,
        offset: 68,
        allowed: range(0, 63).filter((type) => type !== 26),
      },
      // Without the maps that steer packets or sockets (DEVMAP, SOCKMAP, CPUMAP, XSKMAP, ...) and
      // STRUCT_OPS.
      {
        name: 'map_type',
        command: MAP_CREATE,
        offset: 0,
        allowed: [...range(1, 13), 22, 23, 24, 27, 28, 29, 30, 31, 32],
      },
      { name: 'open_flags', command: MAP_GET_FD_BY_ID, offset: 8, allowed: [8] }, // BPF_F_RDONLY
      // TRACE_RAW_TP, FENTRY, FEXIT, ITER, PERF_EVENT, KPROBE_MULTI, UPROBE_MULTI and sessions.
      {
        name: 'attach_type',
        command: LINK_CREATE,
        offset: 8,
        allowed: [23, 24, 25, 28, 41, 42, 48, 56, 57, 58],
      },
    ],
    readablePaths,
    perf: {
      types: range(0, 5),
      devices: ['kprobe', 'uprobe'],
      otherTypes: false,
      refusedFlags: [PERF_SIGTRAP],
    },
    // A changed attribute would go unchecked.
    ioctls: perfIoctls.filter(({ name }) => name !== 'PERF_EVENT_IOC_MODIFY_ATTRIBUTES'),
    limits,
  },
  /** Everything bpf(2) and perf_event_open(2) can do. */
  full: {
    commands: range(0, 63),
    otherCommands: true,
    words: [],
    readablePaths: [...readablePaths, '/sys/', '/proc/'],
    perf: { types: range(0, 63), devices: [], otherTypes: true, refusedFlags: [] },
    ioctls: perfIoctls,
    limits,
  },
};
