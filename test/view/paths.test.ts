import { readFileSync } from 'node:fs';
import t from 'tap';
import { exceptions, isGuestPath, mergeMounts, processOf } from '../../src/view/index.js';

t.test(
  'what is below the folders of kernels is of the guest, but for what the docs list',
  async (t) => {
    for (const path of [
      '/proc',
      '/sys',
      '/proc/partitions',
      '/proc/1/fd',
      '/proc/sys/vm/swappiness',
      '/sys/fs/cgroup',
      '/sys/kernel/mm/hugepages',
      '/boot/config-6.1.0',
      '/lib/modules/6.1.0/build',
      '/usr/lib/modules/6.1.0',
    ]) {
      t.ok(isGuestPath(path), path);
    }
    for (const path of [
      '/proc/self',
      '/proc/self/maps',
      '/proc/thread-self/comm',
      '/proc/sys/fs/nr_open',
      '/proc/sys/vm/overcommit_memory',
      '/sys/kernel/mm/transparent_hugepage/enabled',
      '/procfs',
      '/system',
      '/lib/x86_64-linux-gnu/libc.so.6',
      '/dev/null',
      '/bootstrap',
    ]) {
      t.notOk(isGuestPath(path), path);
    }
    const page = readFileSync('docs/run.md', 'utf8');
    for (const { what, why } of exceptions) t.ok(page.includes(`| ${what} | ${why} |`), what);
    t.equal(processOf('/proc/17/maps'), 17);
    t.equal(processOf('/proc/17'), 17);
    t.equal(processOf('/proc/self/maps'), undefined);
  },
);

t.test('mounts of both sides come together', async (t) => {
  const own =
    '/dev/vda / ext4 rw 0 0\nproc /proc proc rw 0 0\nwaep /sys/kernel/tracing tmpfs rw 0 0\n';
  const guests = '/dev/vdb / ext4 rw 0 0\nsysfs /sys sysfs ro 0 0\nbpf /sys/fs/bpf bpf rw 0 0\n';
  t.equal(
    mergeMounts('mounts', own, guests),
    '/dev/vda / ext4 rw 0 0\nsysfs /sys sysfs ro 0 0\nbpf /sys/fs/bpf bpf rw 0 0\n',
  );
  t.equal(
    mergeMounts(
      'mountinfo',
      '1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / /sys rw - sysfs b rw\n',
      '7 1 0:9 / /sys/fs ro - x c ro\n',
    ),
    '1 0 0:1 / / rw - ext4 a rw\n7 1 0:9 / /sys/fs ro - x c ro\n',
  );
});

t.test('bpf file systems are those of the guest, wherever they are', async (t) => {
  t.equal(
    mergeMounts(
      'mounts',
      '/dev/vda / ext4 rw 0 0\nown /mnt/own bpf rw 0 0\n',
      '/dev/vdb / ext4 rw 0 0\ntokens /mnt/tokens bpf rw,delegate_cmds=prog_load 0 0\n',
    ),
    '/dev/vda / ext4 rw 0 0\ntokens /mnt/tokens bpf rw,delegate_cmds=prog_load 0 0\n',
  );
  t.equal(
    mergeMounts(
      'mountinfo',
      '1 0 0:1 / / rw shared:1 - ext4 a rw\n2 1 0:2 / /mnt/own rw - bpf own rw\n',
      '7 1 0:9 / /mnt/tokens rw shared:5 master:3 - bpf tokens rw\n8 1 0:9 / /mnt/x rw - x bpf rw\n',
    ),
    '1 0 0:1 / / rw shared:1 - ext4 a rw\n7 1 0:9 / /mnt/tokens rw shared:5 master:3 - bpf tokens rw\n',
  );
});
