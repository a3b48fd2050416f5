import assert from 'node:assert/strict';
import {
  compile,
  describePolicy,
  encodeRules,
  type KernelNames,
  readPolicyFile,
  warningsOf,
} from '../../../../src/policy/index.js';
import type { Random } from './random.js';

const kernel: KernelNames = {
  possibleCpus: 2,
  functions: (matches) => (matches('vfs_read') ? [7] : []),
  hooks: (matches) => (matches('vfs_read') ? [7] : []),
  tracepoints: (matches) => (matches('sched_switch') ? [300] : []),
  perfType: (device) => (device === 'kprobe' ? 6 : undefined),
  probes: (_, matches) => (matches('readline') ? [{ offset: 4096, counter: 0 }] : []),
};

const keys = [
  'profile',
  'name',
  'commands',
  'map_types',
  'program_types',
  'attach_types',
  'helpers',
  'kfuncs',
  'perf_types',
  'hooks',
  'uprobes',
  'interfaces',
  'netlink',
  'pin_paths',
  'cgroup_paths',
  'readable_paths',
  'foreign_objects',
  'perf_signals',
  'quotas',
  'leases',
  'accept',
  '__proto__',
  'toString',
] as const;

/** The usual values of each key. */
const usual: Readonly<Record<string, readonly string[]>> = {
  profile: ['observe', 'full'],
  name: ['ours', '"a: b"', '5'],
  commands: ['{ deny: [map_freeze] }', '[map_create, prog_load, 20]', 'any'],
  map_types: ['{ only: [hash], allow: [ringbuf, 99] }', 'none'],
  program_types: ['{ allow: [xdp, BPF_PROG_TYPE_EXT] }', '[kprobe]', 'any'],
  attach_types: ['{ deny: [trace_fentry] }', '[xdp, 4294967295]'],
  helpers: ['any', '{ deny: [bpf_loop] }', '[1, 2, 3, 5, 4000]'],
  kfuncs: ['[vfs_read]', 'any', 'none'],
  perf_types: ['[software, kprobe, 40]', 'none', 'any'],
  hooks: ['["sched_*", "!sched_switch"]', '{ deny: [vfs_read] }', 'any'],
  interfaces: ['[lo, eth0]', 'any'],
  netlink: ['{ allow: [attach_xdp] }', '[attach_tc]', 'none', 'any'],
  pin_paths: ['[/sys/fs/bpf/ours/]', 'any'],
  cgroup_paths: ['[/sys/fs/cgroup/ours/]', 'any'],
  readable_paths: ['{ allow: [/proc/, /etc/hostname] }', 'none'],
  foreign_objects: ['inspect', 'use'],
  perf_signals: ['true', 'false'],
  quotas: ['{ maps: 3, map_bytes: 64 MiB, events_per_second: 100 }', '{ programs: any }'],
  leases: ['{ max_seconds: 5 }', '{ max_seconds: any }'],
  accept: ['{ cids: [2, 3], source_ports: any }', '{ cids: [] }'],
};

const words = [
  ...['observe', 'full', 'any', 'none', 'inspect', 'use', 'true', 'privileged', '*', 'null', '~'],
  ...['xdp', 'kprobe', 'hash', 'map_create', 'bpf_loop', '99', '4294967295', '4294967296', '-1'],
  ...['sched_*', '!sys_*', '/sys/fs/bpf/', '/proc/../etc', 'lo', '64 MiB', '1e9', '0x10', '""'],
  ...['&a [x]', '*a', '!!binary aGk=', '2026-01-01', '[', '{', '|'],
] as const;

function value(random: Random, depth = 0): string {
  switch (random.below(depth > 2 ? 2 : 5)) {
    case 0:
    case 1:
      return random.pick(words);
    case 2:
      return `[${Array.from({ length: random.below(4) }, () => value(random, depth + 1)).join(', ')}]`;
    default: {
      const inner = ['only', 'allow', 'deny', 'maps', 'map_bytes', 'events_per_second', 'cids'];
      const some = [...inner, 'source_ports', 'max_seconds', random.pick(words)];
      const members = Array.from(
        { length: random.below(4) },
        () => `${random.pick(some)}: ${value(random, depth + 1)}`,
      );
      return `{ ${members.join(', ')} }`;
    }
  }
}

/** A file is a policy with rules, or its error names a place inside the file. */
export function policies(random: Random): boolean {
  const lines = Array.from({ length: 1 + random.below(5) }, () => {
    const key = random.pick(keys);
    const values = random.once(8) ? undefined : usual[key];
    return `${key}: ${Array.isArray(values) ? random.pick(values) : value(random)}`;
  });
  const text = Buffer.from(random.spoilt(Buffer.from(lines.join('\n')))).toString('utf8');
  const file = readPolicyFile(text, 'fuzz.yaml');
  for (const { code, detail } of file.problems) {
    assert.equal(code, 'ERR_POLICY_FILE');
    assert.ok(detail.line >= 1 && detail.line <= text.split(/\r\n|[\r\n]/).length + 1);
    assert.ok(detail.column >= 1);
  }
  if (file.problems.length > 0) return false;
  assert.ok(describePolicy(file).every(({ allows }) => typeof allows === 'string'));
  assert.ok(warningsOf(file).every(({ from }) => from !== ''));
  // Encoding takes as long as everything else, and depends on less.
  if (random.once(8)) assert.ok(encodeRules(compile(file.policy, kernel)).length > 0);
  return true;
}
