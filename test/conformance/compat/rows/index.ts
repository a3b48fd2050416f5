import type { Equipment } from '../equipment.js';
import type { Row } from '../row.js';
import { bpftool } from './bpftool.js';
import { bpftrace } from './bpftrace.js';
import { libbpfTools } from './libbpf-tools.js';
import { programs } from './programs.js';

/** The matrix. */
export const allRows = (equipment: Equipment): readonly Row[] => [
  ...bpftool,
  ...bpftrace(equipment),
  ...libbpfTools(equipment),
  ...programs,
];
