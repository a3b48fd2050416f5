import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { findKernel } from '../../guest/index.js';

t.setTimeout(1_800_000);

/**
 * Runs PROGRAM in a root that is a copy of this machine's but for what is done to it here. Nothing
 * of it is seen outside.
 */
const inOwnRoot = `
set -eu
kernel=$1 modules=$2 release=$3 without=$4; shift 4
mount -t tmpfs tmpfs "$ROOT"
mkdir "$ROOT/upper" "$ROOT/work" "$ROOT/root"
mount -t overlay -o "lowerdir=/,upperdir=$ROOT/upper,workdir=$ROOT/work" overlay "$ROOT/root"
root=$ROOT/root
for folder in dev proc sys; do mount --rbind "/$folder" "$root/$folder"; done
rm -rf "$root/etc/apt" "$root/var/lib/apt/lists" "$root/boot" "$root/usr/lib/modules"
for file in $without; do rm -f "$root$file"; done
mkdir -p "$root/boot" "$root/usr/lib/modules/$release" "$root/var/cache/waep"
cp "$kernel" "$root/boot/vmlinuz-$release"
mount --bind "$modules" "$root/usr/lib/modules/$release"
WAEP_CACHE_DIR=/var/cache/waep exec chroot "$root" "$@"
`;

const cases = {
  'an archive that nothing can be fetched from': '',
  'a system without apt': '/usr/bin/apt-get /usr/bin/apt-cache',
};

const skip = process.getuid?.() === 0 ? false : 'it changes roots: run the tests as root';
for (const [name, without] of Object.entries(cases)) {
  t.test(`${name}, and a kernel in /boot`, { skip }, async (t) => {
    const { image, modules, release } = await findKernel();
    const folder = t.testdir({ root: {} });
    const script = join(folder, 'script');
    writeFileSync(script, inOwnRoot);
    const program = fileURLToPath(new URL('own-kernel-guest.js', import.meta.url));
    const { stdout } = await promisify(execFile)(
      'unshare',
      [
        ...['--mount', '--propagation', 'private', 'sh', script],
        ...[image, modules, release, without, process.execPath, program],
      ],
      { env: { ...process.env, NODE_OPTIONS: '', ROOT: join(folder, 'root') } },
    );
    t.same(JSON.parse(stdout), { origin: `/boot/vmlinuz-${release}`, release });
  });
}
