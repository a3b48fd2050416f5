/* Every row is called on the kernel of whoever runs the tests, or it is said here why it is not. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { rows } from '../../src/bpf/index.js';
import { packageFolder } from '../../src/paths.js';

const elsewhere: { readonly [row: string]: string } = {
  PROG_LOAD_LOADER: 'it is refused before there is a call',
  OBJ_GET_INFO_BY_FD_LINK_PERF_KPROBE: 'it needs a kernel with CONFIG_KPROBE_EVENTS',
  OBJ_GET_INFO_BY_FD_LINK_PERF_TRACEPOINT: 'it needs tracefs, which is not mounted everywhere',
  LINK_CREATE_NETKIT: 'it needs a netkit device, which few kernels have',
  OBJ_GET_INFO_BY_FD_LINK_NETKIT: 'it needs a netkit device, which few kernels have',
  LINK_CREATE_TRACING_MULTI: 'it needs Linux 7.2',
  OBJ_GET_INFO_BY_FD_LINK_TRACING_MULTI: 'it needs Linux 7.3',
};

t.test('every row is called on a kernel, or not without a reason', async (t) => {
  const folder = join(packageFolder, 'test');
  const names = readdirSync(join(folder, 'bpf')).filter((name) => /^kernel-.*\.test/.test(name));
  const files = [...names.map((name) => `bpf/${name}`), 'session/perf-event.test.ts'];
  const text = files.map((name) => readFileSync(join(folder, name), 'utf8')).join('\n');
  const called = new Set(
    [...text.matchAll(/\brows\.([A-Z_0-9]+)\b/g)].map(([, name = '']) => name),
  );
  for (const name of Object.keys(rows)) {
    t.not(called.has(name), name in elsewhere, `${name}: ${elsewhere[name] ?? 'called'}`);
  }
});
