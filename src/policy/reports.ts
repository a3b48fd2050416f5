import { Cmd } from '../bpf/enums.js';
import { SET_BPF } from './ioctls.js';
import {
  HELPER_CALL,
  IMMEDIATE,
  INSTRUCTION,
  KFUNC_CALL,
  PERF_CONFIG,
  PERF_TYPE,
} from './layout.js';
import { IOCTLS, PERF_EVENT_OPEN, type Report } from './rules.js';

/** What of a guest the audit log tells, beside refusals. */
export const reports: readonly Report[] = [
  {
    command: Cmd.BPF_PROG_LOAD,
    event: 'program',
    facts: [
      { label: 'name', kind: 'characters', offset: 48, size: 16 },
      { label: 'type', vocabulary: 'program_types', kind: 'word', offset: 0 },
      {
        label: 'helpers',
        vocabulary: 'helpers',
        kind: 'records',
        ...INSTRUCTION,
        pattern: HELPER_CALL,
        ...IMMEDIATE,
      },
      { label: 'kfuncs', kind: 'records', ...INSTRUCTION, pattern: KFUNC_CALL, ...IMMEDIATE },
    ],
  },
  {
    command: Cmd.BPF_MAP_CREATE,
    event: 'map',
    facts: [
      { label: 'name', kind: 'characters', offset: 28, size: 16 },
      { label: 'type', vocabulary: 'map_types', kind: 'word', offset: 0 },
    ],
  },
  {
    command: Cmd.BPF_RAW_TRACEPOINT_OPEN,
    event: 'attach',
    facts: [{ label: 'hook', kind: 'text', pointer: 0 }],
  },
  {
    command: Cmd.BPF_LINK_CREATE,
    event: 'attach',
    facts: [{ label: 'type', vocabulary: 'attach_types', kind: 'word', offset: 8 }],
  },
  {
    command: Cmd.BPF_PROG_ATTACH,
    event: 'attach',
    facts: [{ label: 'type', vocabulary: 'attach_types', kind: 'word', offset: 8 }],
  },
  { command: IOCTLS + SET_BPF, event: 'attach', facts: [] },
  {
    command: PERF_EVENT_OPEN,
    event: 'perf_event',
    facts: [
      { label: 'type', vocabulary: 'perf_types', kind: 'word', offset: PERF_TYPE },
      { label: 'config', kind: 'word', offset: PERF_CONFIG, width: 8 },
    ],
  },
  {
    command: Cmd.BPF_OBJ_PIN,
    event: 'pin',
    facts: [{ label: 'path', kind: 'text', pointer: 0 }],
  },
];
