import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { provideFileSystems } from '../../guest/agent/file-systems.js';
import { localAgent } from '../agent/local-agent.js';
import { ownerOf, pageFile, pageOf, readRecording } from '../conformance/paths/page.js';
import { alike, namedIn } from '../conformance/paths/trace.js';
import { application, cli } from './application.js';

const recording = readRecording();

t.test('the page says what was recorded', async (t) => {
  t.equal(readFileSync(pageFile, 'utf8'), pageOf(recording));
  t.ok(recording.commands >= 60, `${recording.commands} commands`);
});

t.test('paths are found in what strace writes', async (t) => {
  const written = [
    '17 openat(AT_FDCWD</root>, "/proc/17/maps", O_RDONLY) = 3</proc/17/maps>',
    '17 newfstatat(3</sys/class>, "net", {st_mode=…}, 0) = 0',
    '17 openat(AT_FDCWD</root>, "net", O_RDONLY) = -1 ENOENT',
    '17 execve("/proc/self/exe", …) = 0',
    '17 stat("/sys/devices/system/cpu/cpu3/online", {…}) = 0',
  ].join('\n');
  t.same(namedIn(written), [
    { call: 'openat', path: '/proc/ID/maps' },
    { call: 'newfstatat', path: '/sys/class/net' },
    { call: 'stat', path: '/sys/devices/system/cpu/cpuN/online' },
  ]);
  t.equal(alike('/lib/modules/6.1.0-57-cloud-amd64/build'), '/lib/modules/RELEASE/build');
});

const skip = process.getuid?.() !== 0 && 'it takes root to hide files';

/** Reading these waits for more, or takes from others. */
const waits = /trace_pipe|\/proc\/kmsg|\/proc\/ID\/(mem|pagemap|clear_refs)/;

t.test(
  'the host answers for no path that tools look at and that is on no list',
  { skip },
  async (t) => {
    provideFileSystems();
    const program = application('whose');
    const cache = mkdtempSync(join(tmpdir(), 'waep-cache-'));
    const { address, close } = await localAgent();
    t.teardown(async () => {
      program.dispose();
      rmSync(cache, { recursive: true });
      await close();
    });
    const release = execFileSync('uname', ['-r'], { encoding: 'utf8' }).trim();
    const lines = recording.paths
      .filter(({ path }) => ownerOf(path).owner === 'guest' && !/mounts$|mountinfo$/.test(path))
      .map(({ path, calls }) => {
        // A process that is none of the program's.
        const named = path
          .replace('/ID', `/${process.pid}`)
          .replace('/task/ID', `/task/${process.pid}`)
          .replace('RELEASE', release)
          .replace('SYSTEM', 'sched')
          .replace('EVENT', 'sched_switch')
          .replace('/root/PATH', '/root/usr/bin/env')
          .replace(/N\b/, '0');
        return `${waits.test(path) ? 'look' : calls.join(',')} ${named}`;
      });
    t.ok(lines.length > 100, `${lines.length} paths`);
    const input = `${lines.join('\n')}\n`;
    const expected = execFileSync(program.path, { input, encoding: 'utf8' });

    // Whatever the program would find here by itself is hidden from it.
    const top = new Set(lines.map((line) => line.replace(/^\S+ (\/[^/]+(?:\/[^/]+)?).*/, '$1')));
    const hide = [...top].flatMap((path) => {
      const found = statSync(path, { throwIfNoEntry: false });
      if (found === undefined || /^\/(proc|sys)$|^\/proc\/(\d+|sys|self)$/.test(path)) return [];
      return found.isDirectory()
        ? `mount -t tmpfs hidden ${path}`
        : `mount --bind /dev/null ${path}`;
    });
    hide.push(...['kernel', 'net', 'vm'].map((name) => `mount -t tmpfs hidden /proc/sys/${name}`));
    const words = [process.execPath, cli, 'run', '--vm', address, '--', program.path];
    const child = spawn(
      'unshare',
      ['--mount', 'sh', '-c', `${hide.join(' && ')} && exec "$@"`, 'sh', ...words],
      {
        env: { ...process.env, NO_COLOR: '1', WAEP_CACHE_DIR: cache },
      },
    );
    child.stdin.end(input);
    const [output, errors] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'close'),
    ]);
    const native = expected.trim().split('\n');
    const silent = output
      .trim()
      .split('\n')
      .flatMap((line, index) => {
        const [path = ''] = line.split(' ');
        return line === native[index] ||
          errors.includes(` ${path} `) ||
          errors.includes(` ${path}.`)
          ? []
          : [`${native[index]}\n      is ${line}`];
      });
    t.same(silent, []);
  },
);
