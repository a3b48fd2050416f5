import t from 'tap';
import {
  describePolicy,
  nameOf,
  type Policy,
  parsePolicy,
  profiles,
  readPolicyFile,
  warningsOf,
} from '../../src/policy/index.js';
import { MAX_VALUE } from '../../src/policy/rules.js';
import { numberOf, vocabularies } from '../../src/policy/vocabulary.js';

/** What a file allows by a rule, and where that was said. */
function allowed(text: string) {
  const found = describePolicy(readPolicyFile(text, 'p.yaml'));
  return (rule: string) => {
    const one = found.find((each) => each.rule === rule);
    return [one?.allows, one?.from];
  };
}

t.test('rules are told in words, with where they were written', async (t) => {
  const rule = allowed(
    `profile: observe
commands: { only: [map_create, 57, 58, 63] }
program_types: [xdp]
map_types: { only: [] }
helpers: any
attach_types: { deny: [trace_iter] }
kfuncs: [bpf_iter_num_new, bpf_iter_num_next]
hooks: any
interfaces: none
perf_signals: true
quotas: { programs: 3, maps: any }
leases: { max_seconds: 9 }
accept: { cids: [2, 5], subjects: [ops, dev] }
`,
  );
  t.same(rule('commands'), ['map_create, 57–58, 63', 'p.yaml:2']);
  t.match(rule('program_types'), [/(^|, )xdp(,|$)/, 'p.yaml:3']);
  t.same(rule('map_types'), ['none', 'p.yaml:4']);
  t.same(rule('helpers'), ['any', 'p.yaml:5']);
  t.match(rule('attach_types'), [
    /^trace_raw_tp, trace_fentry, trace_fexit, perf_event, /,
    'p.yaml:6',
  ]);
  t.same(rule('kfuncs'), ['bpf_iter_num_new, bpf_iter_num_next', 'p.yaml:7']);
  t.same(rule('hooks'), ['any', 'p.yaml:8']);
  t.same(rule('interfaces'), ['none', 'p.yaml:9']);
  t.same(rule('perf_signals'), ['yes', 'p.yaml:10']);
  t.same(rule('quotas.programs'), ['3', 'p.yaml:11']);
  t.same(rule('quotas.maps'), ['any', 'p.yaml:11']);
  t.same(rule('leases.max_seconds'), ['9', 'p.yaml:12']);
  t.same(rule('accept.cids'), ['2, 5', 'p.yaml:13']);
  t.same(rule('accept.subjects'), ['ops, dev', 'p.yaml:13']);
  t.same(rule('foreign_objects'), [profiles.observe.foreign_objects, 'profile observe']);
  t.same(rule('accept.source_ports'), [profiles.observe.accept.source_ports, 'p.yaml:13']);
});

t.test('what later kernels have is told, too', async (t) => {
  const rule = allowed('profile: full\nhelpers: { deny: [bpf_sys_bpf] }\n');
  t.same(rule('helpers'), ['all but bpf_sys_bpf', 'p.yaml:2']);
  t.same(rule('commands'), ['any', 'profile full']);
  t.same(rule('perf_signals'), ['yes', 'profile full']);
  const observing = describePolicy(parsePolicyFile('observe'));
  const helpers = observing.find(({ rule }) => rule === 'helpers')?.allows ?? '';
  t.match(helpers, /^all but .*bpf_probe_write_user.*, those without a name here$/);
});

t.test('numbers at the end of the known ones, and names that are all but one', async (t) => {
  const { names } = vocabularies.commands;
  const end = names.length;
  const commands = (ranges: Policy['commands']) =>
    describePolicy({
      ...parsePolicyFile('full'),
      policy: { ...profiles.full, commands: ranges },
    }).find(({ rule }) => rule === 'commands')?.allows;
  t.equal(
    commands([
      [0, 0],
      [end, end],
    ]),
    `map_create, ${end}`,
  );
  t.equal(
    commands([
      [0, 0],
      [end - 1, end + 1],
    ]),
    `map_create, ${names[end - 1]}, ${end}–${end + 1}`,
  );
  t.equal(
    commands([
      [0, 0],
      [end, MAX_VALUE],
    ]),
    `map_create, ${end} and above`,
  );
  t.equal(commands([[0, end - 1]]), 'all but those without a name here');
  t.equal(commands([[0, MAX_VALUE]]), 'any');
  t.equal(
    commands([
      [0, 0],
      [2, MAX_VALUE],
    ]),
    `all but ${names[1]}`,
  );
  const hooks = (list: string[]) =>
    describePolicy({
      ...parsePolicyFile('full'),
      policy: { ...profiles.full, hooks: list },
    }).find(({ rule }) => rule === 'hooks')?.allows;
  t.same([['*'], ['x'], ['*', 'x'], []].map(hooks), ['any', 'x', '*, x', 'none']);
});

t.test('one of each kind of things has a word', async (t) => {
  t.same(
    Object.values(vocabularies).map(({ one }) => one),
    ['command', 'map type', 'program type', 'attach type', 'helper', 'perf event type'],
  );
});

/** A profile without a file. */
function parsePolicyFile(base: 'observe' | 'full') {
  return { policy: profiles[base], file: '', base, places: new Map(), problems: [] };
}

t.test('each rule of a policy is told', async (t) => {
  const keys = new Set(
    describePolicy(parsePolicyFile('full')).map(({ rule }) => rule.split('.')[0]),
  );
  const expected = Object.keys(profiles.full).filter((key) => key !== 'name');
  t.same([...keys].sort(), expected.sort());
});

t.test('bpf(2) inside the kernel is warned of when all that it takes is allowed', async (t) => {
  const text = 'profile: full\n';
  const warned = (policy: Policy) =>
    warningsOf({ ...parsePolicyFile('full'), policy }).map(({ rules, from }) => ({ rules, from }));
  const expected = [{ rules: ['helpers', 'program_types'], from: 'profile full' }];
  t.same(warned(parsePolicy(text, 'p')), expected);
  for (const without of [
    'helpers: { deny: [bpf_sys_bpf] }',
    'program_types: { deny: [syscall] }',
    'commands: { deny: [prog_load] }',
    'commands: { deny: [prog_test_run] }',
  ]) {
    t.same(warned(parsePolicy(`${text}${without}\n`, 'p')), [], without);
  }
  const [warning] = warningsOf(readPolicyFile(`${text}\nprogram_types: any\n`, 'p.yaml'));
  t.equal(warning?.from, 'p.yaml:3', 'it is said where');
  t.match(warning, { what: /syscall may call bpf_sys_bpf/, cure: /deny: \[bpf_sys_bpf\]/ });
});

t.test('names and numbers', async (t) => {
  t.equal(numberOf('commands', 'map_create'), 0);
  t.equal(numberOf('commands', 'BPF_MAP_CREATE'), 0, "the kernel's own spelling");
  t.equal(numberOf('map_types', 'Hash'), 1);
  t.equal(numberOf('program_types', 'bpf_prog_type_xdp'), 6);
  t.equal(numberOf('attach_types', 'lsm_mac'), 27);
  t.equal(numberOf('helpers', 'bpf_map_lookup_elem'), 1);
  t.equal(numberOf('perf_types', 'tracepoint'), 2);
  t.equal(numberOf('commands', '123456789'), 123_456_789);
  t.equal(numberOf('commands', '1234567890'), undefined, 'no number is as long');
  t.equal(numberOf('commands', '1x'), undefined);
  t.equal(numberOf('commands', 'x1'), undefined);
  t.equal(nameOf('helpers', 1), 'bpf_map_lookup_elem');
  t.equal(nameOf('map_types', 1), 'hash');
  t.equal(nameOf('map_types', 4000), '4000');
});
