import t from 'tap';
import { kernelNames } from '../../guest/agent/kernel-names.js';
import { preflight } from '../../src/kernel/index.js';
import { compile, profiles } from '../../src/policy/index.js';
import { Session } from '../../src/session.js';
import { executorDescriptors, localAgent } from '../agent/local-agent.js';

t.test('what the kernel offers, and what the policy leaves of it', async (t) => {
  const quotas = { ...profiles.observe.quotas, events_per_second: 500 };
  const local = await localAgent({
    rules: compile({ ...profiles.observe, quotas }, kernelNames()),
    profile: 'observe',
  });
  t.teardown(() => local.close());
  const session = await Session.connect(local.address);
  t.teardown(() => session.close());
  const found = await preflight(session);
  const of = (kind: 'programTypes' | 'mapTypes' | 'helpers', name: string) =>
    found[kind].find((finding) => finding.name === name);
  t.match(of('programTypes', 'raw_tracepoint'), { offered: true, refusedBy: undefined });
  t.match(of('programTypes', 'xdp'), { offered: undefined, refusedBy: 'program_types' });
  t.match(of('mapTypes', 'hash'), { offered: true });
  t.match(of('mapTypes', 'devmap'), { refusedBy: 'map_types' });
  t.match(of('helpers', 'bpf_ktime_get_ns'), { refusedBy: undefined });
  t.match(of('helpers', 'bpf_send_signal'), { refusedBy: 'helpers' });
  t.equal(found.helpers.length, 211);
  t.match(found, { profile: 'observe', maxEventsPerSecond: 500 });
  t.match(of('mapTypes', 'array_of_maps'), { refusedBy: 'map_types' });
  t.match(of('mapTypes', 'sk_storage'), { offered: true });

  const all = await localAgent();
  t.teardown(() => all.close());
  const open = await Session.connect(all.address);
  t.teardown(() => open.close());
  const everything = await preflight(open);
  t.ok(everything.programTypes.every(({ refusedBy }) => refusedBy === undefined));
  t.equal(everything.maxEventsPerSecond, 0);
  const offered = (findings: readonly { name: string; offered: boolean | undefined }[]) =>
    findings.filter((one) => one.offered === true).map(({ name }) => name);
  // Since Linux 5.10 at the latest, whatever it was built for.
  for (const name of ['xdp', 'cgroup_sock_addr', 'cgroup_sockopt', 'sk_lookup', 'tracing']) {
    t.ok(offered(everything.programTypes).includes(name), name);
  }
  for (const name of ['array_of_maps', 'hash_of_maps', 'sk_storage', 'hash', 'ringbuf']) {
    t.ok(offered(everything.mapTypes).includes(name), name);
  }
  const unknown = [...everything.mapTypes, ...everything.programTypes, ...everything.helpers]
    .filter(({ offered }) => offered === undefined)
    .map(({ name, why }) => ({ name, why }));
  t.ok(
    unknown.every(({ why }) => why !== undefined),
    `what is not known is said with its reason: ${JSON.stringify(unknown)}`,
  );
  const before = executorDescriptors(all.agent);
  await preflight(open);
  t.same(executorDescriptors(all.agent), before, 'it leaves nothing behind');
});
