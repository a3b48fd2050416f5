import type { Equipment } from '../equipment.js';
import type { Row } from '../row.js';
import { bpftool } from './bpftool.js';
import { bpftrace } from './bpftrace.js';
import { libbpfTools } from './libbpf-tools.js';
import { netlink } from './netlink.js';
import { newest } from './newest.js';
import { newestPrograms, programs } from './programs.js';

/** The matrix. */
export const allRows = (equipment: Pick<Equipment, 'tools' | 'suite'>): readonly Row[] => [
  ...bpftool,
  ...netlink,
  ...bpftrace(equipment),
  ...libbpfTools(equipment),
  ...(equipment.suite === undefined ? programs : [...newestPrograms, ...newest]),
];
