// Runs a command as on a machine that nobody has set up: in a mount namespace of its own, in which
// nothing is mounted below /sys/kernel or /sys/fs/bpf. With --mounted everything is mounted there.
// The namespace ends with the command. It needs root.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { parseArgs } from 'node:util';

const HELP = `node scripts/fresh.mjs [--mounted] [-- COMMAND ...]

Run a command, or all tests, in a mount namespace of its own.

  --mounted   mount tracefs, debugfs, bpffs and securityfs, instead of unmounting them`;

/** The file systems that show the kernel's state, and where everybody looks for them. */
const usual = {
  tracefs: '/sys/kernel/tracing',
  debugfs: '/sys/kernel/debug',
  bpf: '/sys/fs/bpf',
  securityfs: '/sys/kernel/security',
};

const { values, positionals } = parseArgs({
  options: { mounted: { type: 'boolean', default: false }, help: { type: 'boolean' } },
  allowPositionals: true,
});
if (values.help) {
  console.log(HELP);
  process.exit();
}
if (process.geteuid() !== 0) {
  console.error('fresh: only root may change what is mounted (try: sudo node scripts/fresh.mjs)');
  process.exit(1);
}

/** What is mounted here, the newest first: what lies upon something else goes before it. */
function mounts() {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').trim().split('\n');
  return lines.reverse().map((line) => {
    const fields = line.split(' ');
    const path = fields[4].replace(/\\([0-7]{3})/g, (_, code) =>
      String.fromCharCode(Number.parseInt(code, 8)),
    );
    return { path, type: fields[fields.indexOf('-') + 1] };
  });
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const unmounting = mounts()
  .filter(({ path, type }) => type in usual || /^\/sys\/(kernel|fs\/bpf)(\/|$)/.test(path))
  .map(({ path }) => `umount --lazy ${quoted(path)}`);
const known = readFileSync('/proc/filesystems', 'utf8').split(/\s+/);
const mounting = Object.entries(usual)
  .filter(([type, path]) => values.mounted && known.includes(type) && existsSync(path))
  .map(([type, path]) => `mount --types ${type} ${type} ${path}`);

const command = positionals.length > 0 ? positionals : [process.execPath, 'scripts/test.mjs'];
const script = ['set -e', ...unmounting, ...mounting, 'exec "$@"'].join('\n');
const child = spawn(
  'unshare',
  ['--mount', '--propagation', 'private', 'sh', '-c', script, 'fresh', ...command],
  { stdio: 'inherit' },
);
// A terminal interrupts the command, too, which ends as it likes.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => child.kill('SIGTERM'));
child.on('error', (error) => {
  console.error(`fresh: ${error.message} (try: apt-get install util-linux)`);
  process.exitCode = 1;
});
child.on('exit', (status, signal) => {
  process.exitCode = status ?? 128 + constants.signals[signal];
});
