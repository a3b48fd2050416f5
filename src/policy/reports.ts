import { Cmd, PerfIoctl } from '../bpf/enums.js';
import { HELPER_CALL, IMMEDIATE_BITS, KFUNC_CALL, perf, rows } from '../bpf/index.js';
import { netlinkReports } from './netlink.js';
import { charactersIn, instructions, textIn, wordIn } from './places.js';
import { IOCTLS, PERF_EVENT_OPEN, type Report } from './rules.js';

const { PROG_LOAD, MAP_CREATE, RAW_TRACEPOINT_OPEN, LINK_CREATE_TRACING, PROG_ATTACH_CGROUP } =
  rows;

/** The facts about calls in the audit log, in addition to refusals. */
export const reports: readonly Report[] = [
  {
    command: Cmd.BPF_PROG_LOAD,
    event: 'program',
    facts: [
      { label: 'name', kind: 'characters', ...charactersIn(PROG_LOAD, 'prog_name') },
      {
        label: 'type',
        vocabulary: 'program_types',
        kind: 'word',
        ...wordIn(PROG_LOAD, 'prog_type'),
      },
      {
        label: 'helpers',
        vocabulary: 'helpers',
        ...instructions(HELPER_CALL),
        ...IMMEDIATE_BITS,
      },
      { label: 'kfuncs', ...instructions(KFUNC_CALL), ...IMMEDIATE_BITS },
    ],
  },
  {
    command: Cmd.BPF_MAP_CREATE,
    event: 'map',
    facts: [
      { label: 'name', kind: 'characters', ...charactersIn(MAP_CREATE, 'map_name') },
      { label: 'type', vocabulary: 'map_types', kind: 'word', ...wordIn(MAP_CREATE, 'map_type') },
    ],
  },
  {
    command: Cmd.BPF_RAW_TRACEPOINT_OPEN,
    event: 'attach',
    facts: [{ label: 'hook', kind: 'text', ...textIn(RAW_TRACEPOINT_OPEN, 'name') }],
  },
  ...[LINK_CREATE_TRACING, PROG_ATTACH_CGROUP].map(
    (row): Report => ({
      command: row.command,
      event: 'attach',
      facts: [
        {
          label: 'type',
          vocabulary: 'attach_types',
          kind: 'word',
          ...wordIn(row, 'attach_type'),
        },
      ],
    }),
  ),
  { command: Cmd.BPF_LINK_UPDATE, event: 'attach', facts: [] },
  { command: IOCTLS + PerfIoctl.PERF_EVENT_IOC_SET_BPF, event: 'attach', facts: [] },
  {
    command: PERF_EVENT_OPEN,
    event: 'perf_event',
    facts: [
      {
        label: 'type',
        vocabulary: 'perf_types',
        kind: 'word',
        ...wordIn(perf.PERF_EVENT_ATTR, 'type'),
      },
      { label: 'config', kind: 'word', ...wordIn(perf.PERF_EVENT_ATTR, 'config') },
    ],
  },
  {
    command: Cmd.BPF_OBJ_PIN,
    event: 'pin',
    facts: [{ label: 'path', kind: 'text', ...textIn(rows.OBJ_PIN, 'pathname') }],
  },
  ...netlinkReports,
];
