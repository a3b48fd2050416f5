/*
 * The system calls of a guest's kernel that take a path, against those that `waep run` answers. A
 * call that nobody thought of would act on this machine.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { boot } from '../../guest/index.js';
import { packageFolder } from '../../src/paths.js';

t.setTimeout(600_000);

/** Calls with a text that `waep run` leaves alone, with the reason. */
const leftAlone: Readonly<Record<string, string>> = {
  ...{ chroot: 'the program changes its own root', pivot_root: 'the program changes its own root' },
  ...{ getcwd: "the program's own folder", memfd_create: 'a name that is only shown' },
  ...{ mq_open: 'the name of a queue', mq_unlink: 'the name of a queue' },
  ...{ mq_timedsend: 'a message', mq_timedreceive: 'a message' },
  ...{ add_key: 'the name of a key', request_key: 'the name of a key' },
  ...{ quotactl: 'a device with a file system of this machine' },
  ...{ sysfs: 'the name of a type of file system', fsconfig: 'fsopen(2) does not exist' },
  ...{ fsetxattr: 'an open file', fgetxattr: 'an open file', flistxattr: 'an open file' },
  ...{ fremovexattr: 'an open file', pread64: 'bytes', pwrite64: 'bytes', getrandom: 'bytes' },
  ...{ getsockopt: 'an option', shmat: 'memory', shmdt: 'memory' },
};

/** The calls that the filter of the supervisor has cases for. */
function filtered(): Set<string> {
  const source = join(packageFolder, 'addon/core/supervisor/seccomp_filter.cc');
  const text = readFileSync(source, 'utf8');
  const old = [...text.matchAll(/SYS_(\w+)/g)].map(([, name]) => name as string);
  // kOpenTreeAttr = 467 is open_tree_attr.
  const newer = [...text.matchAll(/constexpr uint32_t k(\w+) = 4\d\d;/g)].map(([, name]) =>
    (name as string).replaceAll(/(?<!^)([A-Z])/g, '_$1').toLowerCase(),
  );
  return new Set([...old, ...newer]);
}

t.test('no call with a path acts on this machine unseen', async (t) => {
  await using guest = await boot({ exec: true, notice: () => {} });
  const folder = '/sys/kernel/tracing/events/syscalls';
  const words = `cd ${folder} && grep -lE 'field:(const )?char \\*' sys_enter_*/format`;
  const { status, stdout } = await guest.exec(['sh', '-c', words]);
  t.equal(status, 0);
  const calls = stdout
    .trim()
    .split('\n')
    .map((line) => line.replace(/^sys_enter_(\w+)\/format$/, '$1').replace(/^new(?=l?stat$)/, ''))
    .map((name) => (name === 'umount' ? 'umount2' : name));
  t.ok(calls.length > 60, `${calls.length} calls with a text`);
  const known = filtered();
  t.ok(known.has('openat2') && known.has('setxattrat'));
  const unseen = calls.filter((name) => !known.has(name) && leftAlone[name] === undefined);
  t.same(unseen, []);
});
