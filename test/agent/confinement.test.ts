import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { packageFolder } from '../../src/paths.js';
import { capabilities, confinementOf, parsePolicy, profiles } from '../../src/policy/index.js';

const nativeModule = new URL('../../src/native.js', import.meta.url).href;
const eventLoopModule = new URL('../../src/event-loop.js', import.meta.url).href;

const namesOf = (policy: Parameters<typeof confinementOf>[0]) => {
  const { capabilities: bits } = confinementOf(policy);
  return capabilities
    .filter(({ number }) => ((bits >> BigInt(number)) & 1n) === 1n)
    .map(({ name }) => name.replace('CAP_', ''))
    .join(' ');
};

t.test('capabilities follow from a policy', async (t) => {
  const policy = (text: string) => parsePolicy(text, 'test');
  t.equal(namesOf(profiles.observe), 'BPF PERFMON SYS_ADMIN SYSLOG IPC_LOCK');
  t.equal(namesOf(profiles.full), capabilities.map(({ name }) => name.slice(4)).join(' '));
  const own = `profile: observe
commands: { only: [map_create, map_lookup_elem, map_update_elem, prog_load, raw_tracepoint_open] }
perf_types: none
readable_paths: [/proc/version]
`;
  t.equal(namesOf(policy(own)), 'BPF PERFMON', 'nothing by id, no perf events, no addresses');
  t.equal(namesOf(policy(`${own}program_types: [xdp]\n`)), 'BPF PERFMON NET_ADMIN');
  t.equal(namesOf(policy(`${own}program_types: [77]\n`)), 'BPF PERFMON NET_ADMIN', 'a later type');
  t.equal(namesOf(policy(`${own}helpers: any\n`)), 'BPF PERFMON SYS_ADMIN');
  t.equal(namesOf(policy(`${own}pin_paths: [/sys/fs/bpf/x/]\n`)), 'BPF PERFMON DAC_OVERRIDE');
  t.equal(namesOf(policy(`${own}cgroup_paths: [/sys/fs/cgroup/x/]\n`)), 'BPF PERFMON DAC_OVERRIDE');
  t.equal(namesOf(policy(`${own}perf_signals: true\n`)), 'BPF PERFMON KILL');
});

t.test('SECURITY.md lists them', async (t) => {
  const text = readFileSync(join(packageFolder, 'SECURITY.md'), 'utf8');
  for (const { name, why, needed } of capabilities) {
    const under = Object.values(profiles).filter(needed);
    const names = under.map((profile) => `\`${profile.name}\``).join(', ');
    t.match(text, `| \`${name}\` | ${why} | ${names} |`);
  }
});

t.test('files follow from a policy', async (t) => {
  t.match(confinementOf(profiles.observe), { wholeRoot: false, probed: [], pins: [] });
  t.equal(confinementOf(profiles.full).memoryBytes, 0);
  t.equal(confinementOf(profiles.observe).memoryBytes, Math.floor(1.1 * 512 * 1024 * 1024));
  const { memoryBytes } = confinementOf(parsePolicy('quotas: { map_bytes: 16 MiB }\n', 'test'));
  t.equal(memoryBytes, Math.floor(1.1 * 16 * 1024 * 1024) + 8 * 1024 * 1024, 'and for its calls');
  t.match(confinementOf(profiles.full), { wholeRoot: true });
  const text = 'uprobes: ["/bin/bash:read*"]\npin_paths: [/sys/fs/bpf/x/]\ncgroup_paths: [/x/]\n';
  t.match(confinementOf(parsePolicy(text, 'test')), {
    wholeRoot: false,
    probed: ['/bin/bash'],
    pins: ['/sys/fs/bpf/x/'],
    cgroups: ['/x/'],
  });
});

/** What a fresh process of Node says that has run a script with the addon, as an agent does. */
function says(script: string): string {
  const begin = `
    import { startWithoutRings } from '${eventLoopModule}';
    import { native } from '${nativeModule}';
    startWithoutRings();`;
  const words = ['--input-type=module', '-e', begin + script];
  const { stdout, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8' });
  return stdout + stderr;
}

t.test('all threads lose their capabilities, those that come later too', async (t) => {
  const said = says(`
    import { readdirSync, readFileSync } from 'node:fs';
    import { Worker } from 'node:worker_threads';
    const wait = () => new Promise((resolve) => {
      new Worker('setInterval(() => {}, 1e6)', { eval: true }).once('online', resolve);
    });
    await wait();
    console.log('result', native.dropCapabilities());
    await wait();
    for (const thread of readdirSync('/proc/self/task')) {
      console.log(/CapEff:.*/.exec(readFileSync('/proc/self/task/' + thread + '/status', 'utf8'))[0]);
    }
    process.exit();`);
  const [result, ...threads] = said.trim().split('\n');
  t.equal(result, 'result 0');
  t.ok(threads.length > 6, `${threads.length} threads`);
  t.same(new Set(threads), new Set(['CapEff:\t0000000000000000']));
});

t.test('an agent that is taken over calls nothing', async (t) => {
  const said = says(`
    import { spawnSync } from 'node:child_process';
    import { Buffer } from 'node:buffer';
    console.log('result', native.refuseSystemCalls());
    console.log('unshare', native.leaveMounts());
    console.log('mount', native.mount('tmpfs', '/mnt'));
    console.log('execve', spawnSync('/bin/true').error.code);
    setTimeout(() => console.log('Node goes on'), 10);`);
  t.equal(said, 'result 0\nunshare -1\nmount -1\nexecve EPERM\nNode goes on\n');
});
