/* `waep policy` as a program. What its answers come from is tested in test/policy. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cli } from '../run/application.js';

function waep(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [cli, 'policy', ...args], {
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1' },
  });
  return { status, stdout, stderr };
}

t.test('check prints the rules of a file, with a warning, or its mistakes', async (t) => {
  const folder = t.testdir({
    'good.yaml': 'profile: full\npin_paths: [/sys/fs/bpf/ours/]\n',
    'bad.yaml': 'profile: observe\nhelpers: { allow: [bpf_send_signl] }\nhoks: any\n',
  });
  const file = join(folder, 'good.yaml');
  const good = waep('check', '--json', file);
  t.equal(good.status, 0, 'a warning is no mistake');
  const rules: { rule: string; allows: string; from: string }[] = JSON.parse(good.stdout);
  t.match(
    rules.find(({ rule }) => rule === 'pin_paths'),
    { allows: '/sys/fs/bpf/ours/', from: `${file}:2` },
  );
  t.match(good.stderr, 'profile full: warning: programs of the type syscall may call bpf_sys_bpf');
  const bad = waep('check', join(folder, 'bad.yaml'));
  t.equal(bad.status, 1);
  t.equal(bad.stdout, '');
  t.match(bad.stderr, /bad\.yaml:2:20: found bpf_send_signl; .* Did you mean bpf_send_signal\?/);
  t.match(bad.stderr, /bad\.yaml:3:1: found hoks; .* Did you mean hooks\?/);
});

t.test('explain asks what each option names, in the order of the help', async (t) => {
  const { status, stdout, stderr } = waep(
    ...['explain', '--json', '--helper', 'bpf_send_signal', '--helper', 'bpf_loop'],
    ...['--call', 'map_freeze'],
  );
  t.equal(stderr, '');
  t.equal(status, 1, 'something is refused');
  const from = 'profile observe';
  t.same(JSON.parse(stdout), [
    { what: 'call map_freeze', allowed: true, rule: 'commands', from },
    { what: 'helper bpf_send_signal', allowed: false, rule: 'helpers', from },
    { what: 'helper bpf_loop', allowed: true, rule: 'helpers', from },
  ]);
  t.equal(waep('explain', '--profile', 'full', '--helper', 'bpf_send_signal').status, 0);
  const nothing = waep('explain');
  t.equal(nothing.status, 1);
  t.match(nothing.stderr, /something to ask about/);
});

t.test('explain reads an object file', async (t) => {
  const folder = t.testdir();
  const source = join(folder, 'x.c');
  const object = join(folder, 'x.o');
  writeFileSync(
    source,
    `static long (*send)(unsigned) = (void *)109;
     static int (*now)(void) = (void *)5;
     extern void bpf_rcu_read_lock(void) __attribute__((section(".ksyms")));
     __attribute__((section("tp/sched/sched_switch"), used)) int a(void *c) { return now(); }
     __attribute__((section("raw_tp/sys_enter"), used)) int b(void *c) { bpf_rcu_read_lock(); return send(9); }
     __attribute__((section("xdp"), used)) int d(void *c) { return 2; }`,
  );
  const options = ['-target', 'bpf', '-O2', '-c', source, '-o', object];
  const { error, status } = spawnSync('clang', options);
  if (error !== undefined || status !== 0) {
    t.pass('there is no compiler for objects here', { skip: 'try: apt-get install clang' });
    return;
  }
  const { stdout } = waep('explain', '--json', '--object', object);
  t.match(JSON.parse(stdout), [
    { what: 'tp/sched/sched_switch: program type tracepoint', allowed: true },
    { what: 'tp/sched/sched_switch: hook sched_switch', allowed: true },
    { what: 'tp/sched/sched_switch: helper bpf_ktime_get_ns', allowed: true },
    { what: 'raw_tp/sys_enter: program type raw_tracepoint', allowed: true },
    { what: 'raw_tp/sys_enter: hook sys_enter', allowed: true },
    { what: 'raw_tp/sys_enter: helper bpf_send_signal', allowed: false, rule: 'helpers' },
    { what: 'raw_tp/sys_enter: kernel function bpf_rcu_read_lock', allowed: false },
    { what: 'xdp: program type xdp', allowed: false, rule: 'program_types' },
  ]);
});
