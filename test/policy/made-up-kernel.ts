import type { KernelNames } from '../../src/policy/index.js';

/** The hooks of the kernel. Each has the id of its place in the list. */
const hookNames = ['vfs_read', 'vfs_write', 'commit_creds'];
const types: Readonly<Record<string, number>> = { software: 1, kprobe: 8, uprobe: 9, cpu: 4 };

/** A kernel whose every name and number is known. Its only function with an id is bpf_one. */
export const madeUpKernel: KernelNames = {
  possibleCpus: 3,
  functions: (matches) => (matches('bpf_one') ? [77] : []),
  hooks: (matches) => hookNames.flatMap((name, at) => (matches(name) ? [at + 1] : [])),
  probes: (file, matches) =>
    matches('main') ? [{ offset: file.length, counter: 0 }] : [{ offset: 1, counter: 2 }],
  fileIdentity: (file) => `identity of ${file}`,
  tracepoints: (matches) => (matches('sched_switch') ? [300] : []),
  perfType: (device) => types[device],
};
