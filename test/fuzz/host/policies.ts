import assert from 'node:assert/strict';
import {
  compile,
  describePolicy,
  encodeRules,
  type KernelNames,
  readPolicyFile,
  warningsOf,
} from '../../../src/policy/index.js';
import type { Random } from './random.js';

const kernel: KernelNames = {
  possibleCpus: 2,
  functions: (matches) => (matches('vfs_read') ? [7] : []),
  hooks: (matches) => (matches('vfs_read') ? [7] : []),
  tracepoints: (matches) => (matches('sched_switch') ? [300] : []),
  perfType: (device) => (device === 'kprobe' ? 6 : undefined),
  interfaceIndex: (name) => (name === 'lo' ? 1 : undefined),
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
  'interfaces',
  'pin_paths',
  'readable_paths',
  'foreign_objects',
  'perf_signals',
  'quotas',
  'leases',
  'accept',
  '__proto__',
  'toString',
] as const;

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

/** A file says what is wrong with it, with a place inside of it, or it is a policy with rules. */
export function policies(random: Random): boolean {
  const lines = Array.from(
    { length: random.below(6) },
    () => `${random.pick(keys)}: ${value(random)}`,
  );
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
  assert.ok(encodeRules(compile(file.policy, kernel)).length > 0);
  return true;
}
