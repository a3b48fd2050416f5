import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cached, contentKey, filesBelow } from '../guest/image/cache.js';
import { runTool } from '../guest/tools.js';
import { packageFolder } from '../src/paths.js';

/** Paths of the programs of bench/c that run in the guest as well, compiled. */
export interface Programs {
  /** The plain C ping-pong; see bench/c/pingpong.c. */
  pingpong: string;
  /** The plain C maker of bpf calls; see bench/c/native.c. */
  native: string;
  /** The plain C user of a map; see bench/c/maps.c. */
  maps: string;
  /** Times whole runs of a command; see bench/c/stopwatch.c. */
  stopwatch: string;
  /** Times uname(2); see bench/c/uname.c. */
  uname: string;
  /** The plain C maker and reader of events; see bench/c/events.c. */
  events: string;
}

/** All programs of bench/c. */
export interface HostPrograms extends Programs {
  /** The client that is its guest's vsock device; see bench/c/device.cc. */
  device: string;
}

const folder = join(packageFolder, 'bench/c');
const core = join(packageFolder, 'addon/core');

const flags = ['-O2', '-Wall', '-Wextra', '-Werror', '-static'];
const c = ['gcc', '-std=gnu11', ...flags] as const;
const cpp = ['g++', '-std=gnu++17', '-fno-exceptions', '-fno-rtti', ...flags] as const;

/** How each is compiled: the compiler with its flags, and the sources. */
const recipes: Readonly<Record<keyof HostPrograms, readonly string[]>> = {
  pingpong: [...c, join(folder, 'pingpong.c'), join(folder, 'address.c')],
  native: [...c, join(folder, 'native.c'), join(folder, 'address.c')],
  maps: [...c, join(folder, 'maps.c')],
  stopwatch: [...c, join(folder, 'stopwatch.c')],
  uname: [...c, join(folder, 'uname.c')],
  events: [...c, join(folder, 'events.c')],
  device: [
    ...cpp,
    join(folder, 'device.cc'),
    ...[
      'transport/guest_memory',
      'transport/vhost_backend',
      'transport/vhost_user',
      'transport/virtqueue',
      'transport/vsock_connection',
      'transport/vsock_device',
    ].map((name) => join(core, `${name}.cc`)),
  ],
};

/**
 * Compiles the programs, statically so that they run in the guest too. The result is kept in
 * the cache by the content of sources and headers.
 *
 * @throws ERR_TOOL_MISSING, or ERR_TOOL_FAILED with the compiler's words
 */
export async function compilePrograms(): Promise<HostPrograms> {
  const files = [...(await filesBelow(folder)), ...(await filesBelow(core))];
  const contents = await Promise.all(files.map((file) => readFile(file)));
  const key = contentKey(JSON.stringify(recipes), ...files, ...contents);
  const compiled = await cached('bench-c', key, async (draft) => {
    for (const [program, [compiler = '', ...args]] of Object.entries(recipes)) {
      await runTool(compiler, [...args, '-o', join(draft, program)]);
    }
  });
  return {
    pingpong: join(compiled, 'pingpong'),
    native: join(compiled, 'native'),
    maps: join(compiled, 'maps'),
    stopwatch: join(compiled, 'stopwatch'),
    uname: join(compiled, 'uname'),
    events: join(compiled, 'events'),
    device: join(compiled, 'device'),
  };
}
