import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cached, contentKey, filesBelow } from '../../guest/image/cache.js';
import { runTool } from '../../guest/tools.js';
import { packageFolder } from '../../src/paths.js';

const flags = [
  '-std=c++17',
  '-fPIC',
  '-shared',
  '-g',
  '-O1',
  '-fno-exceptions',
  '-fno-rtti',
  '-fno-omit-frame-pointer',
  '-fsanitize=address',
];

interface Gyp {
  readonly variables: Readonly<Record<string, readonly string[]>>;
  readonly targets: readonly {
    readonly target_name: string;
    readonly sources: readonly string[];
    readonly defines?: readonly string[];
  }[];
}

/** An addon with AddressSanitizer in it. */
export interface SanitizedAddon {
  /** For WAEP_NATIVE_DIR. */
  readonly folder: string;
  /** For LD_PRELOAD: Node itself is not instrumented, and the sanitizer must be loaded first. */
  readonly runtime: string;
}

/** Compiles the addon, of the sources and definitions in binding.gyp, with AddressSanitizer. */
export async function sanitizedAddon(): Promise<SanitizedAddon> {
  const text = await readFile(join(packageFolder, 'binding.gyp'), 'utf8');
  const { variables, targets } = JSON.parse(text) as Gyp;
  const addon = targets.find(({ target_name }) => target_name === 'waep');
  if (addon === undefined) throw new Error('binding.gyp has no target waep');
  const sources = addon.sources.flatMap((source) => {
    const list = /^<@\((\w+)\)$/.exec(source)?.[1];
    return list === undefined ? [source] : (variables[list] ?? []);
  });
  const files = await filesBelow(join(packageFolder, 'addon'));
  const contents = await Promise.all(files.map((path) => readFile(path)));
  const key = contentKey(text, process.version, flags.join(' '), ...contents);
  const folder = await cached('sanitized-addon', key, async (draft) => {
    await runTool('g++', [
      ...flags,
      ...(addon.defines ?? []).map((name) => `-D${name}`),
      ...['-I', join(dirname(dirname(process.execPath)), 'include/node')],
      ...['-I', join(packageFolder, 'node_modules/node-addon-api')],
      ...sources.map((source) => join(packageFolder, source)),
      ...['-o', join(draft, 'waep.node')],
    ]);
  });
  return { folder, runtime: (await runTool('g++', ['-print-file-name=libasan.so'])).trim() };
}
