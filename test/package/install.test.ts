import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { get } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { foreignPackages, type Lock } from '../package-lock.js';
import { shellCommand } from '../shell.js';

t.setTimeout(3_600_000);

const repository = fileURLToPath(new URL('../../..', import.meta.url));
const npmConfig = (name: string): string =>
  execFileSync('npm', ['config', 'get', name], { encoding: 'utf8' }).trim();

/**
 * A registry that hands on what the configured one has, except for some packages: there are closed
 * networks whose registries have only what runs there.
 */
async function closedRegistry(without: (name: string) => boolean): Promise<Server> {
  const upstream = npmConfig('registry').replace(/\/$/, '');
  const cafile = npmConfig('cafile');
  const ca = existsSync(cafile) ? readFileSync(cafile) : undefined;
  const server = createServer(async (request, response) => {
    const path = request.url ?? '/';
    if (without(decodeURIComponent(path).slice(1))) {
      response.writeHead(404).end('{"error":"not found"}');
      return;
    }
    try {
      const accept = request.headers.accept ?? '*/*';
      const answer = await new Promise<import('node:http').IncomingMessage>((resolve, reject) => {
        get(`${upstream}${path}`, { ca, headers: { accept } }, resolve).on('error', reject);
      });
      const bytes = await buffer(answer);
      const { port } = server.address() as AddressInfo;
      const type = answer.headers['content-type'] ?? '';
      response.writeHead(answer.statusCode ?? 502, { 'content-type': type });
      response.end(
        type.includes('json')
          ? bytes.toString().replaceAll(upstream, `http://127.0.0.1:${port}`)
          : bytes,
      );
    } catch (error) {
      response.writeHead(502).end(String(error));
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

const lock: Lock = JSON.parse(readFileSync(join(repository, 'package-lock.json'), 'utf8'));
const foreign = foreignPackages(lock);
const registry = await closedRegistry(
  (path) =>
    path.startsWith('@cbor-extract/') ||
    foreign.some((name) => path === name || path.startsWith(`${name}/`)),
);
t.teardown(() => registry.close());
const { port } = registry.address() as AddressInfo;

for (const version of ['10', '11']) {
  for (const command of ['ci', 'install']) {
    t.test(`npm ${version}: "npm ${command}" with an empty cache`, async (t) => {
      const folder = t.testdir({});
      for (const name of ['package.json', 'package-lock.json', '.npmrc']) {
        copyFileSync(join(repository, name), join(folder, name));
      }
      // The npm that runs comes from the configured registry, what it installs from the other.
      const from = `--registry=http://127.0.0.1:${port}/`;
      const inner = shellCommand(['npm', command, from, `--cache=${join(folder, 'cache')}`]);
      await t.resolves(
        promisify(execFile)('npx', ['--yes', '--package', `npm@${version}`, '-c', inner], {
          cwd: folder,
          env: { ...process.env, NODE_OPTIONS: '' },
        }),
      );
      for (const name of ['tap', 'esbuild', '@biomejs/cli-linux-x64', 'cbor-x']) {
        t.ok(existsSync(join(folder, 'node_modules', name, 'package.json')), name);
      }
    });
  }
}
