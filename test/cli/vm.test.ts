import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const cli = fileURLToPath(new URL('../../cli/waep.cjs', import.meta.url));
const bench = fileURLToPath(new URL('../../bench/main.js', import.meta.url));

/** Runs a program that is expected to end by itself, and at once. */
function run(args: readonly string[]): Promise<{ failed: boolean; output: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [...args], (error, stdout, stderr) => {
      resolve({ failed: error !== null, output: stdout + stderr });
    });
  });
}

t.test('what no guest could boot with is refused before one is booted', async (t) => {
  const profile = await run([cli, 'vm', '--profile', 'foo']);
  t.equal(profile.failed, true);
  t.match(profile.output, /'foo' is invalid.*observe, full/);
  const memory = await run([cli, 'vm', '--memory', '256']);
  t.equal(memory.failed, true);
  t.match(memory.output, /'256' is invalid.*384 or more/);
});

t.test('the bench takes the same options about the machine of a guest as waep vm', async (t) => {
  for (const command of [
    [cli, 'vm', '--help'],
    [bench, '--help'],
  ]) {
    const { output } = await run(command);
    for (const option of ['accel', 'machine', 'cpu', 'append', 'boot-timeout']) {
      t.match(output, new RegExp(`^ +--${option} <`, 'm'), `${command.at(0)} --${option}`);
    }
  }
});
