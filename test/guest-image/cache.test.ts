import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { cached, contentKey, keptForMs, locked, prune } from '../../guest/image/cache.js';

t.beforeEach((t) => {
  process.env.WAEP_CACHE_DIR = t.testdir();
});

t.test('what is there is not made again, and two who want it make it once', async (t) => {
  let fills = 0;
  const fill = async (folder: string) => {
    fills++;
    await sleep(50);
    await writeFile(join(folder, 'file'), 'content');
  };
  const [one, other] = await Promise.all([
    cached('kind', 'key', fill),
    cached('kind', 'key', fill),
  ]);
  t.equal(one, other);
  t.ok(existsSync(join(one, 'file')));
  t.equal(await cached('kind', 'key', fill), one);
  t.equal(fills, 1);
});

t.test('what nobody has asked for in a long time is removed', async (t) => {
  const fill = (folder: string) => writeFile(join(folder, 'file'), 'content');
  const parent = join(process.env.WAEP_CACHE_DIR ?? '', 'images');
  const [unused, asked, young, draft, other] = [
    await cached('images', 'unused', fill),
    await cached('images', 'asked', fill),
    await cached('images', 'young', fill),
    join(parent, '.draft-4194305-0'),
    await cached('others', 'unused', fill),
  ];
  const note = join(parent, 'note.json');
  await mkdir(draft);
  await writeFile(note, '');
  const longAgo = new Date(Date.now() - keptForMs - 60_000);
  for (const path of [unused, asked, draft, other, note]) await utimes(path, longAgo, longAgo);
  const recently = new Date(Date.now() - keptForMs + 60_000);
  await utimes(young, recently, recently);

  t.equal(await cached('images', 'asked', fill), asked);
  await prune('images');
  t.same(readdirSync(parent).sort(), ['asked', 'note.json', 'young']);
  t.ok(existsSync(other), 'another kind is left alone');
  await prune('nothing of this kind');
});

t.test('a failure leaves nothing behind', async (t) => {
  const fail = async () => {
    throw new Error('no');
  };
  await t.rejects(cached('kind', 'key', fail), { message: 'no' });
  const folder = process.env.WAEP_CACHE_DIR ?? '';
  t.same(readdirSync(join(folder, 'kind')), []);
  t.same(readdirSync(join(folder, 'locks')), []);
});

t.test(
  'an empty folder, or one that is not complete, is not taken for what was made',
  async (t) => {
    const parent = join(process.env.WAEP_CACHE_DIR ?? '', 'kind');
    await mkdir(join(parent, 'empty'), { recursive: true });
    const empty = await cached('kind', 'empty', (folder) => writeFile(join(folder, 'file'), 'new'));
    t.same(readdirSync(empty), ['file']);

    const complete = async (folder: string) => existsSync(join(folder, 'wanted'));
    await mkdir(join(parent, 'half'));
    await writeFile(join(parent, 'half/other'), '');
    const half = await cached('kind', 'half', (f) => writeFile(join(f, 'wanted'), ''), complete);
    t.same(readdirSync(half), ['wanted']);

    const fill = (folder: string) => writeFile(join(folder, 'other'), '');
    await t.rejects(cached('kind', 'never', fill, complete), { message: /never is not complete$/ });
    await t.rejects(
      cached('kind', 'nothing', async () => {}),
      { message: /nothing is not complete$/ },
    );
    t.same(readdirSync(parent).sort(), ['empty', 'half']);
  },
);

t.test('the lock of a process that is gone is taken over', async (t) => {
  const folder = join(process.env.WAEP_CACHE_DIR ?? '', 'locks');
  await mkdir(folder, { recursive: true });
  // Above the largest number that Linux gives to a process (PID_MAX_LIMIT).
  await writeFile(join(folder, 'name'), '4194305\n');
  t.equal(await locked('name', async () => 'mine'), 'mine');
});

t.test('a key tells apart what concatenation would not', async (t) => {
  t.not(contentKey('ab', 'c'), contentKey('a', 'bc'));
  t.equal(contentKey('a', Buffer.from('b')), contentKey('a', 'b'));
});

t.test('what is damaged is made again', async (t) => {
  let fills = 0;
  const fill = async (folder: string) => {
    fills++;
    await mkdir(join(folder, 'deep'));
    await writeFile(join(folder, 'deep/file'), 'content');
  };
  const said: string[] = [];
  t.intercept(console, 'error', { value: (line: string) => said.push(line) });
  const path = join(await cached('kind', 'key', fill), 'deep/file');
  await utimes(path, new Date(), new Date());
  await cached('kind', 'key', fill);
  t.equal(fills, 1, 'a time alone is nothing');
  for (const damage of ['con', '', 'CONTENT']) {
    await writeFile(path, damage);
    const before = fills;
    await cached('kind', 'key', fill);
    t.equal(fills, before + 1, damage);
    t.equal(readFileSync(path, 'utf8'), 'content');
  }
  t.equal(said.length, 3);
  t.match(said[0], /deep\/file has changed since, or not all of it is there; .*key is made again/);
  for (const name of readdirSync(join(process.env.WAEP_CACHE_DIR ?? '', 'manifests'))) {
    await writeFile(join(process.env.WAEP_CACHE_DIR ?? '', 'manifests', name), '{"deep/fi');
  }
  await cached('kind', 'key', fill);
  t.equal(fills, 4, 'half a manifest says nothing');
});

t.test('a lock whose holder is killed is free, and one who waits says for whom', async (t) => {
  const module = new URL('../../guest/image/cache.js', import.meta.url).href;
  const script = `import { locked } from '${module}';
    await locked('name', () => new Promise((r) => { console.log('held'); setTimeout(r, 1e6); }));`;
  const holder = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => holder.kill('SIGKILL'));
  await once(holder.stdout, 'data');
  const told = new Promise((resolve) => t.intercept(console, 'error', { value: resolve }));
  const mine = locked('name', async () => 'mine');
  t.match(await told, /waep: waiting for another process, which makes name/);
  holder.kill('SIGKILL');
  t.equal(await mine, 'mine');
});
