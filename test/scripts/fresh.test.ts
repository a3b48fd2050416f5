import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import t from 'tap';

const skip =
  process.getuid?.() !== 0 ? 'only root may change what is mounted (try: sudo npm test)' : false;

const fresh = (...words: string[]) => [process.execPath, 'scripts/fresh.mjs', ...words] as const;

/** What a command sees mounted where the kernel shows its state, as `path type`. */
function seen([program, ...words]: readonly [string, ...string[]]): string[] {
  const text = execFileSync(program, words, { encoding: 'utf8' });
  return text.split('\n').flatMap((line) => {
    const [, path, type] = /^\S+ \S+ \S+ \S+ (\/sys\/\S+) .* - (\S+)/.exec(line) ?? [];
    return path !== undefined && /^\/sys\/(kernel|fs\/bpf)/.test(path) ? [`${path} ${type}`] : [];
  });
}

t.test('a command has mounts of its own', { skip }, async (t) => {
  const show = ['cat', '/proc/self/mountinfo'] as const;
  const before = seen(show);
  t.same(seen(fresh('--', ...show)), []);
  const all = seen(fresh('--mounted', '--', ...show));
  const known = readFileSync('/proc/filesystems', 'utf8').split(/\s+/);
  const expected = [
    ['/sys/fs/bpf', 'bpf'],
    ['/sys/kernel/debug', 'debugfs'],
    ['/sys/kernel/security', 'securityfs'],
    ['/sys/kernel/tracing', 'tracefs'],
  ].filter(([, type]) => known.includes(type as string));
  t.ok(expected.length > 0);
  t.same(all.sort(), expected.map((pair) => pair.join(' ')).sort());
  t.same(seen(fresh('--mounted', '--', ...fresh('--', ...show))), [], 'and takes away others');
  t.same(seen(show), before, "this process's are as before");
});

t.test('a command ends as it does by itself', { skip }, async (t) => {
  const [program, ...words] = fresh('--', 'sh', '-c', 'exit 7');
  t.equal(spawnSync(program, words).status, 7);
  const [again, ...others] = fresh('--', 'sh', '-c', 'kill -TERM $$');
  t.equal(spawnSync(again, others).status, 128 + 15);
});
