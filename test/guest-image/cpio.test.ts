import { execFileSync } from 'node:child_process';
import { lstatSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { type CpioEntry, cpio } from '../../guest/image/cpio.js';
import { type Image, writeInitramfs } from '../../guest/image/image.js';

const entries = new Map<string, CpioEntry>([
  ['/etc/deep/file', { kind: 'file', content: Buffer.from('four') }],
  ['/bin/odd', { kind: 'file', content: Buffer.from('seven !'), mode: 0o755 }],
  ['/empty', { kind: 'file', content: new Uint8Array() }],
  ['/link', { kind: 'link', to: 'bin/odd' }],
  ['/proc', { kind: 'folder' }],
]);

t.test('busybox unpacks what cpio() packs', async (t) => {
  const folder = t.testdir();
  const archive = Buffer.concat([...cpio(entries)]);
  execFileSync('busybox', ['cpio', '-i'], { cwd: folder, input: archive, stdio: 'pipe' });
  t.equal(readFileSync(join(folder, 'etc/deep/file'), 'utf8'), 'four', 'folders above are made');
  t.equal(readFileSync(join(folder, 'bin/odd'), 'utf8'), 'seven !');
  t.equal(lstatSync(join(folder, 'bin/odd')).mode & 0o777, 0o755);
  t.equal(lstatSync(join(folder, 'empty')).size, 0);
  t.equal(readlinkSync(join(folder, 'link')), 'bin/odd');
  t.ok(lstatSync(join(folder, 'proc')).isDirectory());
});

t.test('equal contents give equal bytes', async (t) => {
  t.same(Buffer.concat([...cpio(entries)]), Buffer.concat([...cpio(entries)]));
});

t.test('what is put into a guest can be a text, a file of this machine, or a link', async (t) => {
  const folder = t.testdir({ base: '', source: 'of this machine', unpacked: {} });
  const image: Image = {
    ...{ base: join(folder, 'base'), key: '', node: process.version },
    kernel: { release: '1', origin: '', image: '', modules: '' },
  };
  const path = await writeInitramfs(image, folder, {
    files: {
      '/text': { text: 'given' },
      '/file': { source: join(folder, 'source'), mode: 0o700 },
      '/lib/link': { link: '/file' },
    },
  });
  const unpacked = join(folder, 'unpacked');
  const input = readFileSync(path);
  execFileSync('busybox', ['cpio', '-i'], { cwd: unpacked, input, stdio: 'pipe' });
  t.equal(readFileSync(join(unpacked, 'text'), 'utf8'), 'given');
  t.equal(readFileSync(join(unpacked, 'file'), 'utf8'), 'of this machine');
  t.equal(lstatSync(join(unpacked, 'file')).mode & 0o777, 0o700);
  t.equal(readlinkSync(join(unpacked, 'lib/link')), '/file');
});
