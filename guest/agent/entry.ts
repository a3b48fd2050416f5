/*
 * The start of the agent's bundle. It loads everything else, the addon included, so that an agent
 * that cannot start prints the reason in two lines.
 */
import { accessSync, constants } from 'node:fs';

const OLDEST_NODE = 20;

async function start(): Promise<void> {
  const [major = 0] = process.versions.node.split('.').map(Number);
  if (major < OLDEST_NODE) throw new Error(`Node ${process.version} is too old`);
  const { native, nativeFile } = await import('../../src/native.js');
  // This call has no effect. Like every native function, it throws if the addon cannot be loaded.
  native.close(-1);
  for (const name of ['waep-keeper', 'waep-executor']) accessSync(nativeFile(name), constants.X_OK);
  await import('./main.js');
}

start().catch((error: Error) => {
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  const glibc = report.header?.glibcVersionRuntime ?? 'no glibc';
  console.error(`waep-agent: it cannot start: ${error.message.replaceAll('\n', ' ')}`);
  console.error(
    `waep-agent: it needs Node ${OLDEST_NODE} or later, and beside it waep.node, waep-keeper and waep-executor, made for a glibc that is not newer than the one here. This is Node ${process.version} with glibc ${glibc}.`,
  );
  process.exitCode = 1;
});
