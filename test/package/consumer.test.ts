import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

// The addon is compiled once.
t.setTimeout(3_600_000);

const repository = fileURLToPath(new URL('../../..', import.meta.url));
const { headers } = await import(new URL('../../../scripts/headers.mjs', import.meta.url).href);

const run = (cwd: string, command: string, ...args: string[]) =>
  execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

t.test('the package works in an empty project', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'waep-package-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  run(repository, 'npm', 'pack', '--ignore-scripts', '--pack-destination', folder);
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }');
  const { version } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'));
  run(folder, 'npm', 'install', '--no-audit', '--no-fund', `./waep-${version}.tgz`);
  const packages = readdirSync(join(folder, 'node_modules')).filter((name) => name[0] !== '.');
  t.same(packages, ['node-addon-api', 'waep'], 'it brings what an addon is compiled with');
  const script = `
    import { Session, rows, enums, WaepError } from 'waep';
    import { connect, createServer, parseAddress } from 'waep/transport';
    const server = createServer((peer) => peer.end('hello')).listen('unix:' + process.argv[1]);
    await new Promise((resolve) => server.once('listening', resolve));
    const socket = await connect('unix:' + process.argv[1]);
    for await (const chunk of socket) process.stdout.write(chunk);
    server.close();
    console.log(' ', typeof Session.connect, rows.PROG_LOAD.name);`;
  const use = () =>
    run(folder, process.execPath, '--input-type=module', '-e', script, join(folder, 's'));
  t.equal(use(), 'hello  function BPF_PROG_LOAD\n', 'with the addon as it is shipped');
  t.match(run(folder, 'npx', 'waep', '--help'), /Usage: waep/);
  const guest = `
    import { Session } from 'waep';
    import { boot } from 'waep/vm';
    const guest = await boot({ vsock: 'device' });
    const session = await Session.connect(guest.vsock());
    console.log(session.kernel.release === guest.info.kernel);
    await session.close();
    await guest[Symbol.asyncDispose]();`;
  const boots = run(folder, process.execPath, '--input-type=module', '-e', guest);
  t.equal(boots, 'true\n', 'a guest boots, and has an agent');

  const installed = join(folder, 'node_modules/waep');
  rmSync(join(installed, 'prebuilds'), { recursive: true });
  t.equal(use(), 'hello  function BPF_PROG_LOAD\n', 'what needs no addon works without it');
  const vsock = `import { connect } from 'waep/transport'; await connect('vsock:3:1024');`;
  const useVsock = () => run(folder, process.execPath, '--input-type=module', '-e', vsock);
  t.throws(useVsock, /ERR_ADDON_MISSING/, 'what needs it says so');
  t.throws(useVsock, /Build it with "npx node-gyp rebuild"/, 'and the cure');
  const nodeGyp = join(repository, 'node_modules/node-gyp/bin/node-gyp.js');
  const local = headers === undefined ? [] : [`--nodedir=${headers}`];
  run(installed, process.execPath, nodeGyp, 'rebuild', ...local);
  t.equal(use(), 'hello  function BPF_PROG_LOAD\n', 'with the addon built there');
});

t.test(
  'the types compile, as strictly as a compiler can, with the types of every Node',
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'waep-types-'));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    run(repository, 'npm', 'pack', '--ignore-scripts', '--pack-destination', folder);
    writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }');
    const { version } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'));
    writeFileSync(
      join(folder, 'use.ts'),
      `import { type Socket as NetSocket } from 'node:net';
     import { type BpfMap, enums, type KeyedMap, type MapOf, type RingBuffer, rows, Session, u32, u64 } from 'waep';
     import { connect, createConnection, createServer, type Socket } from 'waep/transport';
     import { boot, type Guest } from 'waep/vm';
     export const start = (): Promise<Guest> => boot({ vsock: 'device', memoryMib: 768 });
     export async function use(session: Session): Promise<number> {
       const { next_id } = await session.bpf(rows.PROG_GET_NEXT_ID, { start_id: 0 });
       // @ts-expect-error no such field
       await session.bpf(rows.PROG_GET_NEXT_ID, { start: 0 });
       const type = enums.MapType.BPF_MAP_TYPE_HASH;
       const map = await session.createMap({ type, key: u32, value: u64, maxEntries: 1 });
       const value: bigint | undefined = await map.lookup(1);
       // @ts-expect-error a hash has no push
       await map.push(1n);
       // @ts-expect-error a hash has no records
       map.records();
       // @ts-expect-error a hash has keys
       await session.createMap({ type, value: u64, maxEntries: 1 });
       // @ts-expect-error and values
       await session.createMap({ type, key: u32, maxEntries: 1 });
       const sizes: KeyedMap = await session.createMap({ type, keySize: 4, valueSize: 8, maxEntries: 1 });
       const ring = enums.MapType.BPF_MAP_TYPE_RINGBUF;
       // @ts-expect-error a ring buffer has no keys
       await session.createMap({ type: ring, key: u32, maxEntries: 4096 });
       const events: RingBuffer = await session.createMap({ type: ring, maxEntries: 4096 });
       for await (const record of events.records()) await sizes.update(record, record);
       // @ts-expect-error and no entries
       for await (const entry of events) console.log(entry);
       const queue = enums.MapType.BPF_MAP_TYPE_QUEUE;
       // @ts-expect-error a queue has no keys
       await session.createMap({ type: queue, key: u32, value: u64, maxEntries: 1 });
       const waiting = await session.createMap({ type: queue, value: u64, maxEntries: 1 });
       const next: bigint | undefined = await waiting.pop();
       // @ts-expect-error a misspelt option
       await session.createMap({ type, key: u32, value: u64, maxEntires: 1, maxEntries: 1 });
       const any: BpfMap<number, bigint> = await session.map({ id: 1 }, { key: u32, value: u64 });
       const counts: MapOf<typeof type, number, bigint> = any;
       await counts.update(1, next ?? 0n);
       const socket = await connect('vsock:3:1024', { timeoutMs: 5 });
       const net: NetSocket = await connect('unix:/x');
       const one: Socket = createConnection('unix:/x', {}, () => net.end());
       createServer((peer) => peer.pipe(peer)).listen('unix:/y');
       return next_id + socket.bytesRead + one.bytesWritten + Number(value);
     }`,
    );
    const install = (...names: string[]) =>
      run(folder, 'npm', 'install', '--no-audit', '--no-fund', '--no-save', ...names);
    const tsc = join(repository, 'node_modules/typescript/bin/tsc');
    const options = ['--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess'];
    const how = ['--noEmit', '--skipLibCheck', 'false', '--types', 'node', '--target', 'es2022'];
    const libraries = ['--module', 'nodenext', '--lib', 'es2023,esnext.disposable'];
    for (const types of ['20', '22', '24', 'latest']) {
      install(`./waep-${version}.tgz`, `@types/node@${types}`);
      const { status, stdout } = spawnSync(
        process.execPath,
        [tsc, ...options, ...how, ...libraries, 'use.ts'],
        { cwd: folder, encoding: 'utf8' },
      );
      t.equal(stdout, '', `@types/node@${types}`);
      t.equal(status, 0);
    }
  },
);
