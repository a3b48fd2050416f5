/*
 * Prints the screens of the commands as on a terminal of the width that the argument says. They are
 * those of no machine: reports are of made-up findings. NO_COLOR and FORCE_COLOR choose colours. The
 * folder screens/ keeps what this prints. Who has changed a screen, and looked at it, writes it there
 * anew: NO_COLOR=1 node dist/test/cli/screens.js 80 >test/cli/screens/80.txt; colours.txt has 40 columns
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { thesis } from '../../bench/experiments/thesis.js';
import { summarise } from '../../bench/summary.js';
import { lastLines, runTables } from '../../bench/terminal.js';
import { answers, rendered as doctorReport, type Finding } from '../../cli/doctor.js';
import { fitted, helloCommand } from '../../cli/hello.js';
import { keysCommand } from '../../cli/keys.js';
import { pingCommand } from '../../cli/ping.js';
import { policyCommand } from '../../cli/policy.js';
import { preflightCommand, rendered as preflightReport } from '../../cli/preflight.js';
import { runCommand } from '../../cli/run.js';
import { standbyCommand } from '../../cli/standby.js';
import { Columns, streamCommand } from '../../cli/stream.js';
import { traceCommand } from '../../cli/trace.js';
import { vmCommand } from '../../cli/vm.js';
import { vsockDeviceCommand } from '../../cli/vsock-device.js';
import type { Preflight } from '../../src/kernel/index.js';
import { syntheticBatches, syntheticEnvironment } from '../bench/synthetic.js';

const width = Number(process.argv[2]);
Object.assign(process.stdout, { columns: width, isTTY: true });

const folder = mkdtempSync(join(tmpdir(), 'waep-screens-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
process.chdir(folder);
const policy = [
  'profile: observe',
  'name: 観測',
  'helpers: { deny: [bpf_trace_printk] }',
  'hooks: ["sched_*", "sys_*", "!sys_exit"]',
  'pin_paths: [/sys/fs/bpf/地図/]',
  'readable_paths: [/sys/kernel/tracing/, /proc/sys/kernel/perf_event_max_sample_rate]',
];
writeFileSync('方針.yaml', policy.join('\n'));

function screen(words: string, text: string): void {
  console.log(`# ${words}\n${text.trimEnd()}\n`);
}

const commands = [
  ...[runCommand(), standbyCommand(), helloCommand(), pingCommand(), traceCommand()],
  ...[streamCommand(), preflightCommand(), vmCommand(), vsockDeviceCommand(), policyCommand()],
  keysCommand(),
];
const waep = new Command('waep').enablePositionalOptions();
for (const command of commands) waep.addCommand(command);

const pin = `/sys/fs/bpf/${'地図'.repeat(8)}`;
const asked = ['--helper', 'bpf_trace_printk', '--pin', pin, '--hook', 'sys_exit', '--map', 'hash'];

for (const words of [['check'], ['explain', ...asked]]) {
  const all = ['policy', ...words, '方針.yaml'];
  console.log(`# waep ${all.join(' ')}`);
  await waep.parseAsync(all, { from: 'user' });
  console.log('');
}
process.exitCode = 0;

const finding = (name: string, offered?: boolean, refusedBy?: string, why?: string) => ({
  ...{ name, offered, refusedBy },
  ...(why === undefined ? {} : { why }),
});
const types = ['socket_filter', 'kprobe', 'sched_cls', 'sched_act', 'lwt_xmit', 'sk_skb'];
const found: Preflight = {
  ...{ kernel: '6.1.0-57-cloud-amd64', profile: '観測', btf: true, lockdown: undefined },
  maxEventsPerSecond: 100_000,
  facilities: [
    finding('BTF of the kernel', true),
    finding('calls of kernel functions', false),
    finding('links of kprobes', undefined, undefined, 'the kernel says EBUSY'),
  ],
  programTypes: [
    ...types.map((name) => finding(name, true)),
    ...['struct_ops', 'cgroup_sock_addr'].map((name) => finding(name, false, 'program_types')),
    ...['netfilter', 'flow_dissector'].map((name) => finding(name, false)),
  ],
  mapTypes: [
    ...['hash', 'array', 'perf_event_array'].map((name) => finding(name, true)),
    finding('arena', true, undefined, 'making one ends with ENOMEM'),
    ...['cgroup_storage_deprecated', 'user_ringbuf'].map((name) => finding(name, false)),
  ],
  helpers: [
    { ...finding('bpf_map_lookup_elem', true), programTypes: types },
    { ...finding('bpf_skb_store_bytes', true), programTypes: types.slice(2) },
    { ...finding('bpf_get_current_ancestor_cgroup_id', true), programTypes: ['kprobe'] },
    { ...finding('bpf_probe_write_user', undefined, 'helpers'), programTypes: [] },
  ],
  helpersNotAskedOf: {
    ext: 'a program of this type replaces a function of another program',
    struct_ops: 'refused by program_types',
  },
};
for (const all of [false, true])
  screen(`waep preflight${all ? ' --all' : ''}`, preflightReport(found, { all, width }));

const checks: Finding[] = [
  { check: 'privileges', status: 'ok', found: 'root' },
  { check: 'agent', status: 'ok', found: `/home/${'観測'.repeat(18)}/dist/guest/agent.cjs` },
  {
    ...{ check: 'qemu-system-x86_64', status: 'lacking', neededFor: ['guest', 'bench', 'test'] },
    ...{ found: 'missing: it runs guests', cure: 'apt-get install qemu-system-x86' },
  },
  {
    ...{ check: 'vhost-vsock', status: 'lesser', cure: 'modprobe vhost_vsock' },
    found: 'this machine has no /dev/vhost-vsock; waep serves guests itself',
  },
];
const purposes = answers(checks).map(({ cure: _, ...answer }) => answer);
screen('waep doctor', doctorReport(purposes, checks, width));

const lines = ['sleep', 'kworker/u4:2-ev'].map(
  (name) => `${name.padStart(16)}-4711    [000] d..31  1234.567890: bpf_trace_printk: Hello World!`,
);
screen('waep hello', lines.map((line) => fitted(line, width)).join('\n'));

const table = new Columns();
const path = `/srv/${'地図'.repeat(20)}`;
const records = [
  { pid: 1, comm: 'sh', path: '/bin/true', status: 0 },
  { pid: 4711, comm: '地図を見る', path: '/usr/bin/env', status: -2 },
  { pid: 12, comm: 'line\u001b[31m\n', path, status: 1 },
];
screen('waep stream', records.map((record) => table.line(record)).join('\n'));

const run = {
  ...{ experiment: thesis, environment: syntheticEnvironment },
  summary: summarise(
    [
      ...syntheticBatches('native', 'PROG_LOAD', 500_000, { rounds: 1 }),
      ...syntheticBatches('vsock-device/standby', 'PROG_LOAD', 912_000),
    ],
    [
      {
        ...{ kind: 'ratio', arm: 'vsock-device/standby', against: 'native' },
        ...{ metric: 'PROG_LOAD', quantile: 'p50', bound: 1.5 },
      },
    ],
    { experiment: 'thesis', accel: 'tcg', run: 'r' },
  ),
};
screen('npm run bench', `${runTables(run)}\n\n${lastLines([run], 'results')}`);

// Commander does not break the lines of a help for narrow terminals.
const helped = width < 80 ? [] : commands.flatMap((command) => [command, ...command.commands]);
for (const command of helped) screen(`${command.name()} --help`, command.helpInformation());
