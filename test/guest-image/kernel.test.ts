import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { release as runningRelease } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parseStanzas, withDependencies } from '../../guest/image/debian.js';
import { findKernel, knownKernel, ownKernel } from '../../guest/image/kernel.js';

/** An archive whose kernel is spread over packages, as Debian's is since 7.2. */
const index = `
Package: linux-image-cloud-amd64
Version: 7.2.13-1
Depends: linux-base-cloud-amd64 (= 7.2.13-1), linux-image-7.2 (= 7.2.13-1)
Section: kernel

Package: linux-image-7.2
Version: 7.2.13-1
Pre-Depends: linux-base (>= 4.17~)
Depends: dracut | initramfs-tools (>= 0.120) | linux-initramfs-tool, linux-base-7.2 (= 7.2.13-1), linux-binary-7.2 (= 7.2.13-1), linux-modules-7.2 (= 7.2.13-1)
Section: kernel
Description: Linux 7.2
 A line that goes on.
 Depends: is not a field here.

Package: linux-binary-7.2
Version: 7.2.13-1
Depends: linux-base-7.2 (= 7.2.13-1)
Section: kernel

Package: linux-modules-7.2
Version: 7.2.13-1
Depends: kmod, linux-base-7.2 (= 7.2.13-1)
Section: restricted/kernel

Package: linux-base-7.2
Version: 7.2.13-1
Section: kernel

Package: kmod
Version: 34
Depends: libc6
Section: admin

Package: dracut
Version: 112
Section: utils
`;

/** What each of its packages holds. */
const contents: Readonly<Record<string, string>> = {
  'linux-binary-7.2': 'usr/lib/modules/7.2-cloud/vmlinuz',
  'linux-modules-7.2': 'usr/lib/modules/7.2-cloud/kernel/net/vsock.ko',
  'linux-base-7.2': 'usr/lib/modules/7.2-cloud/modules.builtin',
};

const kernelPackages = [
  'linux-image-cloud-amd64',
  'linux-image-7.2',
  'linux-base-7.2',
  'linux-binary-7.2',
  'linux-modules-7.2',
];

/** Puts an archive in the place of the machine's; `without` is a package that has lost its files. */
function archive(t: Test, without?: string): void {
  const { PATH, WAEP_CACHE_DIR } = process.env;
  const folder = t.testdir({ bin: {}, cache: {}, index: {} });
  for (const stanza of parseStanzas(index)) {
    const name = stanza.get('package') ?? '';
    const text = index.split('\n\n').find((text) => text.includes(`Package: ${name}\n`));
    writeFileSync(join(folder, 'index', name), `${text?.trim()}\n\n`);
  }
  const files = Object.entries(contents).filter(([name]) => name !== without);
  const scripts = {
    'apt-cache': 'for name; do cat "$index/$name" 2>/dev/null; done; exit 100',
    'apt-get':
      'for name; do if [ -e "$index/$name" ]; then echo "$name" > "$name"_7_amd64.deb; fi; done',
    'dpkg-deb': [
      'case $(cat "$2") in',
      ...files.map(([name, path]) => `${name}) file=$3/${path};;`),
      '*) file=$3/usr/share/doc/$(cat "$2");;',
      'esac',
      'mkdir -p "$(dirname "$file")" && echo > "$file"',
    ].join('\n'),
  };
  for (const [name, text] of Object.entries(scripts)) {
    const path = join(folder, 'bin', name);
    writeFileSync(path, `#!/bin/sh\nindex='${join(folder, 'index')}'\n${text}\n`);
    chmodSync(path, 0o755);
  }
  process.env.PATH = `${join(folder, 'bin')}:${PATH}`;
  process.env.WAEP_CACHE_DIR = join(folder, 'cache');
  t.teardown(() => {
    process.env.PATH = PATH;
    if (WAEP_CACHE_DIR === undefined) delete process.env.WAEP_CACHE_DIR;
    else process.env.WAEP_CACHE_DIR = WAEP_CACHE_DIR;
  });
}

t.test('of the dependencies those are followed that are accepted, each once', async (t) => {
  const stanzas = parseStanzas(index);
  const asked: string[] = [];
  const read = async (names: readonly string[]) => {
    asked.push(...names);
    return stanzas.filter((stanza) => names.includes(stanza.get('package') ?? ''));
  };
  const named = (found: readonly ReadonlyMap<string, string>[]) =>
    found.map((stanza) => stanza.get('package'));
  const inKernel = (stanza: ReadonlyMap<string, string>) =>
    (stanza.get('section') ?? '').endsWith('kernel');
  const found = await withDependencies(['linux-image-cloud-amd64'], inKernel, read);
  t.same(named(found), kernelPackages);
  t.same(asked, [...new Set(asked)], 'nothing is asked for twice');
  t.same(named(await withDependencies(['kmod'], () => false, read)), ['kmod']);
  t.same(named(await withDependencies(['kmod'], () => true, read)), ['kmod'], 'no libc6 here');
  const one = await withDependencies(
    ['linux-image-7.2'],
    (s) => s.get('section') === 'utils',
    read,
  );
  t.same(named(one), ['linux-image-7.2', 'dracut'], 'of alternatives, the one that is there');
  await t.rejects(withDependencies(['none'], inKernel, read), {
    message: 'there is no package none',
  });
});

t.test('a kernel that is spread over packages is put together', async (t) => {
  archive(t);
  const kernel = await findKernel({});
  t.match(kernel, { release: '7.2-cloud', origin: 'linux-image-cloud-amd64 7.2.13-1' });
  t.same(readdirSync(kernel.modules).sort(), ['kernel', 'modules.builtin', 'vmlinuz']);
  t.equal(kernel.image, join(kernel.modules, 'vmlinuz'));
  process.env.PATH = '/nonexistent';
  t.same(await findKernel({}), kernel, 'and is found again without an archive');
});

t.test('what the cache has of a kernel counts only when it is complete', async (t) => {
  archive(t);
  const packages = join(process.env.WAEP_CACHE_DIR ?? '', 'packages');
  // What a version before this one left behind.
  const folder = join(packages, 'linux-image-7.2_7.2.13-1');
  mkdirSync(folder, { recursive: true });
  const note = { name: 'linux-image-7.2', version: '7.2.13-1', folder };
  const path = join(packages, 'configured-linux-image-cloud-amd64.json');
  writeFileSync(path, JSON.stringify(note));
  t.equal(await knownKernel(), undefined);
  const kernel = await findKernel({});
  t.equal(kernel.release, '7.2-cloud');
  t.match(kernel.image, JSON.parse(readFileSync(path, 'utf8')).folder);
});

for (const without of Object.keys(contents)) {
  t.test(`without ${without} nothing is kept`, async (t) => {
    archive(t, without);
    const packages = join(process.env.WAEP_CACHE_DIR ?? '', 'packages');
    // Where this machine has a kernel of its own, it is that one.
    const kernel = await findKernel({}).catch(() => undefined);
    t.notOk(kernel?.image.startsWith(packages), `${kernel?.image}`);
    t.same(readdirSync(packages), []);
  });
}

t.test("the machine's own kernel: the running one, else the newest that is whole", async (t) => {
  const whole = () => ({ kernel: {}, 'modules.builtin': '' });
  const root = t.testdir({
    boot: { 'vmlinuz-6.9.1': '', 'vmlinuz-6.10.0': '', 'vmlinuz-6.12.0': '' },
    lib: {
      modules: { '6.9.1': whole(), '6.10.0': whole(), '6.12.0': { kernel: {} }, '6.13.0': whole() },
    },
    usr: { lib: { modules: { '6.8.0': { ...whole(), vmlinuz: '' } } } },
  });
  t.match(await ownKernel(root), {
    release: '6.10.0',
    image: join(root, 'boot/vmlinuz-6.10.0'),
    modules: join(root, 'lib/modules/6.10.0'),
  });
  const running = join(root, 'usr/lib/modules', runningRelease());
  mkdirSync(join(running, 'kernel'), { recursive: true });
  for (const name of ['modules.builtin', 'vmlinuz']) writeFileSync(join(running, name), '');
  t.match(await ownKernel(root), { release: runningRelease(), image: join(running, 'vmlinuz') });
  t.equal(await ownKernel(t.testdir({})), undefined);
});
