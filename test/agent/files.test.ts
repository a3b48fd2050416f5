import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { provideFileSystems } from '../../guest/agent/file-systems.js';
import { kernelNames } from '../../guest/agent/kernel-names.js';
import { enums } from '../../src/bpf/index.js';
import { FileOperation } from '../../src/call.js';
import { readFile } from '../../src/kernel/guest-file.js';
import { askFile, listFolder } from '../../src/kernel/guest-folder.js';
import { compile, profiles } from '../../src/policy/index.js';
import { Session } from '../../src/session.js';
import { localAgent } from './local-agent.js';

const skip = process.getuid?.() !== 0 && 'it takes root to mount';
const { STAT, STATFS, READLINK, LIST, MKDIR, RMDIR, UNLINK, RENAME } = FileOperation;
const { MKDIR_CGROUP, RMDIR_CGROUP, SYMLINK } = FileOperation;
const groups = /^\S+ (\S+) cgroup2 /m.exec(readFileSync('/proc/mounts', 'utf8'))?.[1];
const RENAME_NOREPLACE = 1;
const RENAME_EXCHANGE = 2;
const BPF_FS_MAGIC = 0xcafe4a11;

/** Other names of a folder that look as if they were below it. */
const selves = (folder: string) =>
  ['/', '//', '/.', '/./', '/././/', '//.'].map((end) => folder + end);

/** Names in a listing. */
function namesIn(records: Buffer): string[] {
  const names: string[] = [];
  for (let at = 0; at < records.length; at += records.readUInt16LE(at + 16)) {
    names.push(records.toString('latin1', at + 19, records.indexOf(0, at + 19)));
  }
  return names.filter((name) => name !== '.' && name !== '..').sort();
}

if (!skip) provideFileSystems();
const web = `/sys/fs/bpf/waep-test-${process.pid}`;
t.teardown(() => rmSync(web, { recursive: true, force: true }));

t.test(
  'folders for pins are made, listed, moved and removed under pin_paths',
  { skip },
  async (t) => {
    mkdirSync(web);
    const policy = { ...profiles.observe, pin_paths: [`${web}/`] };
    const { agent, address, close } = await localAgent({ rules: compile(policy, kernelNames()) });
    t.teardown(close);
    const told: object[] = [];
    agent.on('call', ({ call }) => told.push(call));
    await using session = await Session.connect(address);
    const ask = (operation: number, path: string, more: { number?: number; other?: string } = {}) =>
      askFile(session, { operation, path, ...more });

    await ask(MKDIR, `${web}/a`, { number: 0o700 });
    await ask(MKDIR, `${web}/a/b`, { number: 0o755 });
    await t.rejects(ask(MKDIR, `${web}/a`), { code: 'EEXIST', side: 'guest' });
    const mode = (await ask(STAT, `${web}/a`)).subarray(28, 30);
    t.equal(Buffer.from(mode).readUInt16LE(), 0o040700);
    const system = Buffer.from(await ask(STATFS, `${web}/a`));
    t.equal(Number(system.readBigUInt64LE()), BPF_FS_MAGIC);
    const map = await session.createMap({
      type: enums.MapType.BPF_MAP_TYPE_ARRAY,
      keySize: 4,
      valueSize: 4,
      maxEntries: 1,
    });
    await map.pin(`${web}/a/map`);
    t.same(namesIn(await listFolder(session, `${web}/a`)), ['b', 'map']);
    await t.rejects(ask(RMDIR, `${web}/a`), { code: 'ENOTEMPTY' });
    await t.rejects(ask(UNLINK, `${web}/a/b`), { code: /EISDIR|EPERM/ });
    const onto = (other: string) =>
      ask(RENAME, `${web}/a/map`, { other, number: RENAME_NOREPLACE });
    await t.rejects(onto(`${web}/a/b`), { code: 'EEXIST' });
    await onto(`${web}/a/again`);
    t.same(namesIn(await listFolder(session, `${web}/a/`)), ['again', 'b']);
    await ask(UNLINK, `${web}/a/again`);
    await ask(RMDIR, `${web}/a/b`);
    await ask(RMDIR, `${web}/a`);
    await ask(MKDIR, `${web}/c/`, { number: 0o700 });
    await ask(RENAME, `${web}/c/`, { other: `${web}/d//` });
    await ask(RMDIR, `${web}/d//`);
    await ask(SYMLINK, `${web}/link`, { other: `${web}/later/` });
    await t.rejects(ask(SYMLINK, `${web}/link`, { other: `${web}/x` }), { code: 'EEXIST' });
    t.equal(Buffer.from(await ask(READLINK, `${web}/link`)).toString(), `${web}/later`);
    await t.rejects(ask(MKDIR, `${web}/link/a`), { code: /ELOOP|ENOTDIR/ });
    await ask(UNLINK, `${web}/link`);
    t.same(namesIn(await listFolder(session, web)), []);

    // What is not below the folder is neither changed nor listed; what leads to it can be looked at.
    const refused = (rule: string, command: string) => ({
      code: 'ERR_POLICY_REFUSED',
      detail: { rule, command },
    });
    await ask(STAT, '/sys/fs/bpf');
    await t.rejects(ask(MKDIR, '/sys/fs/bpf/elsewhere'), refused('pin_paths', 'mkdir'));
    await t.rejects(ask(MKDIR, web), refused('pin_paths', 'mkdir'));
    await t.rejects(ask(RMDIR, `${web}/../x`), refused('pin_paths', 'rmdir'));
    for (const itself of selves(web)) {
      await t.rejects(ask(RMDIR, itself), refused('pin_paths', 'rmdir'), itself);
      for (const [from, other] of [
        [itself, `${web}/x`],
        [`${web}/x`, itself],
      ] as const) {
        const exchange = { other, number: RENAME_EXCHANGE };
        await t.rejects(ask(RENAME, from, exchange), refused('pin_paths', 'rename'), itself);
      }
    }
    await t.rejects(
      ask(RENAME, `${web}/x`, { other: '/sys/fs/bpf/x' }),
      refused('pin_paths', 'rename'),
    );
    for (const other of [
      '/sys/fs/bpf/x',
      `${web}/a/../../x`,
      `${web}/..`,
      'x',
      '',
      '/etc/passwd',
      ...selves(web),
    ]) {
      const linked = ask(SYMLINK, `${web}/link`, { other });
      await t.rejects(linked, refused('pin_paths', 'symlink'), `a link to ${other}`);
    }
    await t.rejects(
      ask(SYMLINK, '/sys/fs/bpf/x', { other: `${web}/x` }),
      refused('pin_paths', 'symlink'),
    );
    await t.rejects(ask(LIST, '/sys/fs/bpf'), refused('readable_paths', 'list'));
    await t.rejects(ask(STAT, '/sys/fs/other'), refused('readable_paths', 'stat'));
    await t.rejects(ask(READLINK, '/proc/1/exe'), refused('readable_paths', 'readlink'));

    t.match(
      told.filter((call) => (call as { event?: string }).event === 'file'),
      [
        { event: 'file', command: 'mkdir', path: `${web}/a` },
        { event: 'file', command: 'mkdir', path: `${web}/a/b` },
        { event: 'file', command: 'rename', path: `${web}/a/map`, to: `${web}/a/again` },
        { event: 'file', command: 'unlink', path: `${web}/a/again` },
        { event: 'file', command: 'rmdir', path: `${web}/a/b` },
        { event: 'file', command: 'rmdir', path: `${web}/a` },
        { event: 'file', command: 'mkdir', path: `${web}/c` },
        { event: 'file', command: 'rename', path: `${web}/c`, to: `${web}/d` },
        { event: 'file', command: 'rmdir', path: `${web}/d` },
        { event: 'file', command: 'symlink', path: `${web}/link`, to: `${web}/later` },
        { event: 'file', command: 'unlink', path: `${web}/link` },
      ],
    );
    t.ok(existsSync(web), 'the folder of the rule stays');
    t.ok(
      told.some((call) => 'value' in call && call.value === '/sys/fs/bpf/elsewhere'),
      'a refusal is told',
    );
  },
);

t.test(
  'cgroups are made, listed and removed under cgroup_paths',
  { skip: skip || (groups === undefined && 'it takes a mount of cgroup2') },
  async (t) => {
    const web = `${groups}/waep-test-${process.pid}`;
    mkdirSync(web);
    t.teardown(() => rmdirSync(web));
    const policy = { ...profiles.observe, readable_paths: [], cgroup_paths: [`${web}/`] };
    const { agent, address, close } = await localAgent({ rules: compile(policy, kernelNames()) });
    t.teardown(close);
    const told: object[] = [];
    agent.on('call', ({ call }) => told.push(call));
    await using session = await Session.connect(address);
    const ask = (operation: number, path: string, number?: number) =>
      askFile(session, { operation, path, ...(number === undefined ? {} : { number }) });

    await ask(MKDIR_CGROUP, `${web}/a`, 0o755);
    await t.rejects(ask(MKDIR_CGROUP, `${web}/a`), { code: 'EEXIST', side: 'guest' });
    t.ok(existsSync(`${web}/a/cgroup.procs`));
    t.ok(namesIn(await listFolder(session, web)).includes('a'));
    await ask(RMDIR_CGROUP, `${web}/a`);
    t.notOk(existsSync(`${web}/a`));
    await t.rejects(ask(RMDIR_CGROUP, `${web}/cgroup.procs`), { code: 'ENOTDIR' });

    // A pin's folder is none of these, and what is not below the folder stays as it is.
    const refused = (rule: string, command: string) => ({
      code: 'ERR_POLICY_REFUSED',
      detail: { rule, command },
    });
    await t.rejects(ask(MKDIR, `${web}/a`), refused('pin_paths', 'mkdir'));
    await t.rejects(ask(MKDIR_CGROUP, web), refused('cgroup_paths', 'mkdir_cgroup'));
    await t.rejects(ask(RMDIR_CGROUP, web), refused('cgroup_paths', 'rmdir_cgroup'));
    await t.rejects(ask(MKDIR_CGROUP, `${web}/../x`), refused('cgroup_paths', 'mkdir_cgroup'));
    for (const itself of selves(web)) {
      await t.rejects(ask(RMDIR_CGROUP, itself), refused('cgroup_paths', 'rmdir_cgroup'), itself);
    }
    t.ok(existsSync(web), 'the folder of the rule stays');
    t.match(
      told.filter((call) => (call as { event?: string }).event === 'file'),
      [
        { event: 'file', command: 'mkdir_cgroup', path: `${web}/a` },
        { event: 'file', command: 'rmdir_cgroup', path: `${web}/a` },
      ],
    );
  },
);

t.test(
  'any cgroups are those below /sys/fs/cgroup, and no others are writable',
  { skip: skip || (groups === undefined && 'it takes a mount of cgroup2') },
  async (t) => {
    const elsewhere = mkdtempSync(join(tmpdir(), 'waep-cgroups-'));
    const mounted = spawnSync('mount', ['-t', 'cgroup2', 'waep', elsewhere]);
    t.equal(mounted.status, 0, String(mounted.stderr));
    t.teardown(() => {
      spawnSync('umount', [elsewhere]);
      rmdirSync(elsewhere);
    });
    const listed = { ...profiles.observe, readable_paths: [], cgroup_paths: ['*'] };
    for (const policy of [listed, profiles.full]) {
      const { agent, address, close } = await localAgent({ rules: compile(policy, kernelNames()) });
      t.teardown(close);
      await using session = await Session.connect(address);
      const path = `${groups}/waep-test-any-${process.pid}`;
      await askFile(session, { operation: MKDIR_CGROUP, path, number: 0o755 });
      t.ok(existsSync(path), policy.name);
      await askFile(session, { operation: RMDIR_CGROUP, path });
      const [pid] = agent.executorPids;
      const writable = readFileSync(`/proc/${pid}/mountinfo`, 'utf8')
        .split('\n')
        .filter((line) => / rw,\S* .*- cgroup2 /.test(line))
        .map((line) => line.split(' ')[4]);
      t.ok(writable.includes(groups), policy.name);
      t.notOk(writable.includes(elsewhere), policy.name);
    }
  },
);

t.test(
  "no cgroup with a name of the agent's own is made or removed beside it",
  { skip: skip || (groups === undefined && 'it takes a mount of cgroup2') },
  async (t) => {
    const group = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '';
    const base = `${groups}${group.replace(/\/waep-agent$/, '')}`.replace(/\/+$/, '');
    const refused = { code: 'ERR_POLICY_REFUSED', detail: { rule: 'cgroup_paths' } };
    const listed = { ...profiles.observe, readable_paths: [], cgroup_paths: [`${base}/`] };
    for (const policy of [listed, profiles.full]) {
      const { address, close } = await localAgent({ rules: compile(policy, kernelNames()) });
      t.teardown(close);
      await using session = await Session.connect(address);
      const own = ['waep-4194305', 'waep-agent', './waep-4194305', '/waep-agent'];
      const below = ['waep-4194305/1', 'waep-4194305/1/a', 'waep-agent/a', 'waep-4194305//./1'];
      for (const name of [...own, ...below]) {
        const path = `${base}/${name}`;
        for (const operation of [MKDIR_CGROUP, RMDIR_CGROUP]) {
          await t.rejects(askFile(session, { operation, path }), refused, path);
        }
      }
      // These names are no agent's, or are elsewhere.
      const other = `${base}/waep-4194305-${process.pid}`;
      const paths = [other, `${other}/waep-agent`];
      for (const path of paths) await askFile(session, { operation: MKDIR_CGROUP, path });
      for (const path of paths.reverse()) await askFile(session, { operation: RMDIR_CGROUP, path });
    }
  },
);

t.test(
  'folders that may be read as well are made and removed like the others',
  { skip: skip || (groups === undefined && 'it takes a mount of cgroup2') },
  async (t) => {
    const [pins, cgroups] = ['/sys/fs/bpf', groups].map((place) => {
      const folder = `${place}/waep-test-both-${process.pid}`;
      mkdirSync(folder);
      t.teardown(() => spawnSync('find', [folder, '-depth', '-type', 'd', '-delete']));
      for (const name of ['read', 'changed']) mkdirSync(`${folder}/${name}`);
      return folder;
    }) as [string, string];
    const policy = {
      ...profiles.observe,
      readable_paths: [`${pins}/read/`, `${cgroups}/read/`],
      pin_paths: [`${pins}/`, `${pins}/changed/`],
      cgroup_paths: [`${cgroups}/`, `${cgroups}/changed/`],
    };
    const { address, close } = await localAgent({ rules: compile(policy, kernelNames()) });
    t.teardown(close);
    await using session = await Session.connect(address);
    for (const [folder, make, remove] of [
      [pins, MKDIR, RMDIR],
      [cgroups, MKDIR_CGROUP, RMDIR_CGROUP],
    ] as const) {
      for (const path of [`${folder}/read`, `${folder}/changed`]) {
        await askFile(session, { operation: make, path: `${path}/a`, number: 0o755 });
        await askFile(session, { operation: remove, path: `${path}/a` });
        await askFile(session, { operation: remove, path });
        t.notOk(existsSync(path), path);
      }
    }
  },
);

t.test('under full only bpf file systems are changed', { skip }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'waep-files-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  symlinkSync('/sys/fs/bpf', join(folder, 'pins'));
  const { address, close } = await localAgent();
  t.teardown(close);
  await using session = await Session.connect(address);
  for (const path of [`${folder}/made`, `${folder}/pins/made`, '/sys/kernel/made', '/proc/made']) {
    const code = /^(ERR_POLICY_REFUSED|ELOOP|ENOENT)$/;
    await t.rejects(askFile(session, { operation: MKDIR, path }), { code }, path);
    t.notOk(existsSync(path));
  }
  await t.rejects(askFile(session, { operation: RMDIR, path: '/' }), {
    code: 'ERR_POLICY_REFUSED',
  });
  const path = `/sys/fs/bpf/waep-link-${process.pid}`;
  t.teardown(() => rmSync(path, { force: true }));
  for (const other of [folder, '/sys/fs/bpf', '/etc/passwd', '/proc/1/root']) {
    const code = 'ERR_POLICY_REFUSED';
    await t.rejects(askFile(session, { operation: SYMLINK, path, other }), { code }, other);
  }
  // A cgroup is not made in another file system, even if the policy allows the place.
  const policy = {
    ...profiles.full,
    cgroup_paths: [`${folder}/`, '/sys/fs/bpf/'],
    readable_paths: [`${folder}/`],
  };
  const other = await localAgent({ rules: compile(policy, kernelNames()) });
  t.teardown(other.close);
  await using wider = await Session.connect(other.address);
  for (const path of [`${folder}/made`, '/sys/fs/bpf/made']) {
    await t.rejects(askFile(wider, { operation: MKDIR_CGROUP, path }), {
      code: 'ERR_POLICY_REFUSED',
      detail: { rule: 'cgroup_paths' },
    });
    t.notOk(existsSync(path));
  }
  // A link leads past a folder that others do not enter.
  const inner = join(folder, 'inner');
  mkdirSync(inner, { mode: 0o700 });
  writeFileSync(join(inner, 'file'), 'secret', { mode: 0o644 });
  chmodSync(folder, 0o755);
  symlinkSync(join(inner, 'file'), join(folder, 'link'));
  symlinkSync(inner, join(folder, 'linked'));
  for (const path of [`${folder}/link`, `${folder}/linked/file`, `${inner}/file`]) {
    await t.rejects(wider.open(path), { code: 'ERR_POLICY_REFUSED' }, path);
    await t.rejects(askFile(wider, { operation: STAT, path }), { code: 'ERR_POLICY_REFUSED' });
  }
  chmodSync(inner, 0o755);
  for (const path of [`${folder}/link`, `${folder}/linked/file`]) {
    t.equal(Buffer.from(await readFile(wider, path)).toString(), 'secret');
  }
  // What others do not enter is not told of, and what leads anywhere is not followed.
  for (const path of ['/root/.bashrc', `/proc/${process.pid}/cwd/dist`]) {
    await t.rejects(askFile(session, { operation: STAT, path }), { code: 'ERR_POLICY_REFUSED' });
  }
  t.match(
    Buffer.from(
      await askFile(session, { operation: READLINK, path: `/proc/${process.pid}/exe` }),
    ).toString(),
    /node/,
  );
  await t.rejects(askFile(session, { operation: LIST, path: '/proc/version' }), {
    code: 'ENOTDIR',
  });
});
