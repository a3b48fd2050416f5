import { closeSync, openSync, readFileSync } from 'node:fs';
import t from 'tap';
import { native } from '../../src/native.js';
import type { GuestFiles } from '../../src/view/guest-files.js';
import { RecentFiles } from '../../src/view/recent-files.js';
import { openDescriptors } from '../descriptors.js';

const MIB = 1024 * 1024;

/** Files of so many bytes as their names say. */
function filesOf(opened: string[]): GuestFiles {
  const open = async (path: string) => {
    opened.push(path);
    const memory = native.shareMemory(Number(path));
    if (typeof memory === 'number') throw new Error(`memfd_create: ${memory}`);
    memory.subarray(0, 8).fill(path.charCodeAt(0));
    const fd = openSync(`/proc/self/fd/${memory.fd}`, 'r');
    native.close(memory.fd);
    return fd;
  };
  return { open } as Partial<GuestFiles> as GuestFiles;
}

async function read(recent: RecentFiles, path: string): Promise<string> {
  const fd = await recent.open(path);
  try {
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

t.test('what was opened a moment ago is there, from its start for each reader', async (t) => {
  const opened: string[] = [];
  const recent = new RecentFiles(filesOf(opened));
  const before = openDescriptors();
  t.notOk(recent.has('3'));
  t.equal(await read(recent, '3'), '333');
  t.ok(recent.has('3'));
  t.equal(await read(recent, '3'), '333');
  const both = await Promise.all([read(recent, '4'), read(recent, '4')]);
  t.same(both, ['4444', '4444']);
  t.same(opened, ['3', '4', '4']);
  recent.close();
  t.notOk(recent.has('3'));
  t.same(openDescriptors(), before, 'no descriptor stays');
});

t.test('the oldest copies make room, and what is too large is not kept', async (t) => {
  const opened: string[] = [];
  const recent = new RecentFiles(filesOf(opened));
  const before = openDescriptors();
  const paths = [60 * MIB, 61 * MIB, 62 * MIB, 130 * MIB].map(String);
  for (const path of paths) closeSync(await recent.open(path));
  t.same(
    paths.map((path) => recent.has(path)),
    [false, true, true, false],
  );
  recent.close();
  t.same(openDescriptors(), before, 'no descriptor stays');
});

t.test('a file that cannot be opened is not kept', async (t) => {
  const failed = { open: () => Promise.reject(new Error('ENOENT')) };
  const recent = new RecentFiles(failed as Partial<GuestFiles> as GuestFiles);
  await t.rejects(recent.open('/proc/1/exe'), /ENOENT/);
  t.notOk(recent.has('/proc/1/exe'));
});
