import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { buildImage, findMultiplexer } from '../../guest/index.js';
import { until } from '../until.js';

t.setTimeout(1_200_000);

await Promise.all([buildImage(), findMultiplexer()]);

const index = new URL('../../guest/index.js', import.meta.url).href;
const transport = new URL('../../src/transport/index.js', import.meta.url).href;

function program(t: Tap, script: string) {
  const folder = t.testdir({
    'program.mjs': `
      import { boot, ensurePrivateNetwork } from ${JSON.stringify(index)};
      import { connect } from ${JSON.stringify(transport)};
      const isolated = await ensurePrivateNetwork();
      ${script}`,
  });
  const child = spawn(process.execPath, [`${folder}/program.mjs`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  return child;
}

type Tap = Pick<typeof t, 'teardown' | 'testdir'>;

function interfaces(): string[] {
  return readFileSync('/proc/net/dev', 'utf8')
    .split('\n')
    .map((line) => line.split(':')[0]?.trim() ?? '')
    .filter((name) => name.startsWith('waep'));
}

function running(pids: readonly number[]): number[] {
  return pids.filter((pid) => readdirSync('/proc').includes(`${pid}`));
}

const skip = process.getuid?.() === 0 ? false : 'needs root';

t.test('the program ends as its second self does', { skip }, async (t) => {
  const child = program(t, 'process.exitCode = isolated ? 7 : 1;');
  const [code] = await once(child, 'exit');
  t.equal(code, 7);
});

t.test('a guest on a tap is reached over TCP, and nothing of it is left', { skip }, async (t) => {
  const child = program(
    t,
    `const guest = await boot({ exec: true, network: 'auto', agent: { tcp: 'anybody' }, notice: () => {} });
     const socket = await connect(guest.tcp());
     console.log(JSON.stringify({ network: guest.info.network, to: socket.remoteAddress, ...guest.processes }));
     socket.destroy();
     await guest.stop();`,
  );
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  t.equal(code, 0);
  const facts = JSON.parse(output);
  t.match(facts, { network: 'tap', to: /^10\./ });
  t.same(running([facts.qemu, facts.vsock]), []);
  t.same(interfaces(), [], 'the tap was never in the network of the machine');
});

t.test('a program that is killed takes its guest along', { skip }, async (t) => {
  const child = program(
    t,
    `const guest = await boot({ agent: false, exec: true, notice: () => {} });
     console.log(JSON.stringify({ log: guest.log, ...guest.processes }));
     setInterval(() => {}, 1000);`,
  );
  const [line] = await once(child.stdout, 'data');
  const facts = JSON.parse(String(line));
  t.teardown(() => rmSync(facts.log.replace(/\/[^/]*$/, ''), { recursive: true, force: true }));
  child.kill('SIGKILL');
  const pids = [facts.qemu, facts.vsock];
  await until(
    () => `the end of ${running(pids)}`,
    () => running(pids).length === 0,
  );
});
