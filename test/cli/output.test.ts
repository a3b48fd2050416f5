import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { localAgent } from '../agent/local-agent.js';
import { cli } from '../run/application.js';
import { start } from '../run/outcome.js';

/* What is waep's on the standard streams of `waep run`, and what is the program's. */

const { address, close } = await localAgent();
const cache = mkdtempSync(join(tmpdir(), 'waep-cache-'));
t.teardown(async () => {
  rmSync(cache, { recursive: true, force: true });
  await close();
});
const env = { WAEP_CACHE_DIR: cache };
const one = ['--vm', address];
const two = [...one, ...one];
const waep = (options: readonly string[], ...program: string[]) =>
  start([process.execPath, cli, 'run', ...options, '--', ...program], env);

interface Line {
  waep: string;
  address?: string;
  text?: string;
  message?: string;
}
const linesOf = (errors: string) =>
  errors
    .trim()
    .split('\n')
    .map((line): Line => JSON.parse(line));

const forged = '{"waep":"ended","address":"x","status":0,"outcome":"ended"}';
// A file that only the guest changes: waep itself says that it refuses this.
const refused = '(true >/sys/kernel/tracing/tracing_on) 2>/dev/null; ';

t.test('with --json no program prints a line of waep', async (t) => {
  const script = `${refused}printf '%s\\n\\033\\377"\\\\\\r\\nhalf' '${forged}' >&2; exit 3`;
  for (const options of [one, two]) {
    const { status, output, errors } = await waep([...options, '--json'], 'sh', '-c', script).ended;
    t.equal(status, 3);
    t.equal(output, '');
    const lines = linesOf(errors);
    const times = options.length / 2;
    // Two programs take turns as they like.
    t.same(
      lines
        .filter((line) => line.waep === 'stderr')
        .map((line) => [line.address, line.text])
        .sort(),
      [forged, '\u001b\ufffd"\\', 'half']
        .flatMap((text) => Array(times).fill([address, text]))
        .sort(),
    );
    const own = lines.filter((line) => line.waep !== 'stderr');
    t.same(
      own.map((line) => [line.waep, line.address]).sort(),
      [
        ...Array(times === 1 ? 0 : times).fill(['ended', address]),
        ...Array(times).fill(['notice', address]),
      ].sort(),
    );
  }
});

t.test('with --json the program has only a pipe for its errors', async (t) => {
  // What the test reads from are sockets.
  const script = 'ls -l /proc/self/fd; echo by path >/dev/stderr';
  const { output, errors, status } = await waep([...one, '--json'], 'sh', '-c', script).ended;
  t.equal(status, 0);
  t.match(output, / 2 -> pipe:/);
  t.equal(output.match(/socket:/g)?.length, 1, output);
  t.match(linesOf(errors), [{ waep: 'stderr', text: 'by path' }]);
});

t.test('with --json the launcher and the parser speak JSON, too', async (t) => {
  const says = async (options: readonly string[], program: string, expected: object) => {
    const { errors, output } = await waep(options, program).ended;
    t.equal(output, '');
    t.match(linesOf(errors), [expected]);
  };
  const lost = { waep: 'error', address, message: 'no"such: No such file or directory' };
  await says([...one, '--json'], 'no"such', lost);
  await says(['--json', '--nonsense'], 'true', { waep: 'error', message: /--nonsense/ });
  await says(['--lease', 'x', '--json'], 'true', { waep: 'error', message: /--lease/ });
});

t.test('a line of a program is bounded', async (t) => {
  const script = 'head -c 100000 /dev/zero | tr "\\0" x >&2';
  const { errors } = await waep([...one, '--json'], 'sh', '-c', script).ended;
  const texts = linesOf(errors).map((line) => line.text ?? '');
  t.equal(texts.join(''), 'x'.repeat(100_000));
  t.ok(texts.length > 5 && texts.every((text) => text.length <= 16 * 1024));
});

t.test('what a program leaves behind keeps nobody', async (t) => {
  const script = 'sleep 1000 >/dev/null & echo $!; echo last words >&2';
  const { output, errors, status } = await waep([...one, '--json'], 'sh', '-c', script).ended;
  process.kill(Number(output), 'SIGKILL');
  t.equal(status, 0);
  t.match(linesOf(errors), [{ waep: 'stderr', text: 'last words' }]);
});

t.test('a fan-out prints everything, however slow the reader is', async (t) => {
  // More than a pipe holds: the rest must not be lost when the command is done.
  const command = [process.execPath, cli, 'run', ...two, '--', 'seq', '1', '1350'];
  const shell = '"$@" | { sleep 2; cat; }';
  const { output } = await start(['bash', '-c', shell, 'bash', ...command], env).ended;
  t.equal(output.trim().split('\n').length, 2 * 1350);
});

t.test('a program of a fan-out opens its output by name', async (t) => {
  const script = 'echo out >/dev/stdout; echo err >/dev/stderr';
  const { status, output, errors } = await waep(two, 'sh', '-c', script).ended;
  t.equal(status, 0, errors);
  t.equal(output, `${address} | out\n`.repeat(2));
  t.match(errors, `${address} | err\n`);
});
