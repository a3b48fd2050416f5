import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import {
  installation,
  locate,
  managerOf,
  purposesOf,
  type Table,
  toolsFor,
} from '../../guest/tool-table.mjs';
import { packageFolder } from '../../src/paths.js';

const table: Table = JSON.parse(readFileSync(join(packageFolder, 'guest/tools.json'), 'utf8'));
const names = (tools: readonly { tool: string }[]) => tools.map(({ tool }) => tool);
const managers = ['apt', 'dnf', 'pacman'] as const;

t.test('each row names purposes of the table', async (t) => {
  for (const { tool, for: purposes, helps = [], why } of table.tools) {
    t.ok(purposes.length > 0, tool);
    t.match(why, /^[a-z].*[^.]$/);
    for (const purpose of [...purposes, ...helps]) t.ok(purpose in table.purposes, purpose);
  }
  t.equal(new Set(names(table.tools)).size, table.tools.length, 'each tool has one row');
});

t.test('a purpose needs what those need that it includes', async (t) => {
  t.same(purposesOf(table, 'compat').sort(), ['build', 'compat', 'guest', 'test']);
  t.throws(() => purposesOf(table, 'tests'), {
    message: /^There is no purpose tests; expected one of build, guest, bench, test, /,
  });
  const guest = names(toolsFor(table, 'guest', 'apt'));
  t.same(guest, ['qemu-system-x86_64', 'busybox', 'ldd', 'setpriv', 'gcc', 'libc.a']);
  t.same(names(toolsFor(table, 'guest', 'dnf')), [...guest, 'kernel'], 'no archive of kernels');
  t.same(names(toolsFor(table, 'guest', 'apt', 'helps')), ['xz', 'zstd', 'lz4', 'gzip']);
  const test = names(toolsFor(table, 'test', 'apt'));
  for (const tool of [...guest, 'g++', 'socat']) t.ok(test.includes(tool), tool);
  t.notOk(test.includes('go'));
});

t.test('what guests, tests and measurements need has a package for every manager', async (t) => {
  for (const name of managers) {
    for (const purpose of ['guest', 'test', 'bench']) {
      t.same(names(installation(table, name, toolsFor(table, purpose, name)).without), []);
    }
  }
});

t.test('the package manager of a system, by its os-release', async (t) => {
  const systems = {
    'PRETTY_NAME="Debian GNU/Linux 12"\nVERSION_ID="12"\nID=debian\n': 'apt',
    'NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\n': 'apt',
    'NAME="Linux Mint"\nID=linuxmint\nID_LIKE="ubuntu debian"\n': 'apt',
    "NAME='Fedora Linux'\nID=fedora\n": 'dnf',
    'NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\n': 'dnf',
    'NAME="Arch Linux"\nID=arch\n': 'pacman',
    'NAME="Manjaro"\nID=manjaro\nID_LIKE=arch\n': 'pacman',
    'NAME="Alpine"\nID=alpine\n': undefined,
    '': undefined,
  };
  for (const [text, name] of Object.entries(systems)) t.equal(managerOf(table, text), name, text);
});

t.test('the commands that install', async (t) => {
  const wanted = table.tools.filter(({ tool }) => ['make', 'unshare', 'setpriv'].includes(tool));
  const apt = ['apt-get', 'install', '-y', '--no-install-recommends', 'make', 'util-linux'];
  t.same(installation(table, 'apt', wanted).commands, [['apt-get', 'update'], apt]);
  t.same(installation(table, 'dnf', wanted).commands, [['dnf', 'install', '-y', ...apt.slice(-2)]]);
  t.same(installation(table, 'pacman', wanted).commands, [
    ['pacman', '-S', '--needed', '--noconfirm', ...apt.slice(-2)],
  ]);
  const opensnoop = table.tools.filter(({ tool }) => tool === 'opensnoop');
  t.match(installation(table, 'dnf', opensnoop), { commands: [], without: opensnoop });
});

t.test('a program is found on the PATH, a file where it may be', async (t) => {
  const folder = t.testdir({ bin: {}, lib: { '7.1': { file: '' }, '8': {} } });
  const program = join(folder, 'bin/some-program');
  writeFileSync(program, '');
  const { PATH } = process.env;
  t.teardown(() => {
    process.env.PATH = PATH;
  });
  process.env.PATH = join(folder, 'bin');
  t.equal(locate({ tool: 'some-program' }), undefined, 'it cannot be executed');
  chmodSync(program, 0o755);
  t.equal(locate({ tool: 'some-program' }), program);
  const paths = [join(folder, 'none'), join(folder, 'lib/*/file')];
  t.equal(locate({ tool: 'file', paths }), join(folder, 'lib/7.1/file'));
  t.equal(locate({ tool: 'file', paths: paths.slice(0, 1) }), undefined);
});
