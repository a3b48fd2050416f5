import t from 'tap';
import { profileNamed, profiles } from '../../src/policy/profiles.js';
import { contains, MAX_VALUE } from '../../src/policy/rules.js';
import { vocabularies } from '../../src/policy/vocabulary.js';

t.test('a profile has the name that it is found by', async (t) => {
  for (const [name, policy] of Object.entries(profiles)) {
    t.equal(policy.name, name);
    t.equal(profileNamed(name), policy);
  }
});

t.test('another name is refused with the names that there are', async (t) => {
  for (const name of ['observer', '', 'toString']) {
    t.throws(() => profileNamed(name), {
      code: 'ERR_OPTION_INVALID',
      message: `Invalid profile: "${name}". Expected one of observe, full.`,
    });
  }
});

t.test('who may connect, and how long a session may outlive its connection', async (t) => {
  for (const { accept, leases } of Object.values(profiles)) {
    t.same(accept, { cids: [1, 2], source_ports: 'privileged', subjects: ['*'] });
    t.same(leases, { max_seconds: 60 });
  }
});

t.test('observe allows the helpers of its kernel but those that change something', async (t) => {
  const { helpers, kfuncs, uprobes, interfaces, pin_paths, cgroup_paths } = profiles.observe;
  const refused = vocabularies.helpers.names.filter((_, number) => !contains(helpers, number));
  t.same(
    refused.sort(),
    [
      ...['bpf_override_return', 'bpf_probe_write_user', 'bpf_send_signal'],
      ...['bpf_send_signal_thread', 'bpf_setsockopt', 'bpf_sys_bpf', 'bpf_sys_close'],
    ].sort(),
  );
  t.notOk(contains(helpers, vocabularies.helpers.names.length), 'not what a later kernel adds');
  t.same([kfuncs, uprobes, interfaces, pin_paths, cgroup_paths].flat(), [], 'and none of these');
});

t.test('full allows every number, and names no file twice', async (t) => {
  const { full } = profiles;
  const sets = ['commands', 'map_types', 'program_types', 'attach_types', 'helpers'] as const;
  for (const key of sets) t.same(full[key], [[0, MAX_VALUE]], key);
  for (const { name, readable_paths } of Object.values(profiles)) {
    t.equal(new Set(readable_paths).size, readable_paths.length, name);
  }
  t.same(
    profiles.observe.readable_paths.filter((path) => !full.readable_paths.includes(path)),
    [],
    'what observe may read, full may read',
  );
});
