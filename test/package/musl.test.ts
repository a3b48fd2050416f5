/* The same addon loads with GLIBC and with musl, where Alpine's Node runs. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { fetchPackage } from '../../guest/image/debian.js';
import { packageFolder } from '../../src/paths.js';

t.setTimeout(1_200_000);

const addon = join(packageFolder, 'prebuilds/linux-x64/waep.node');
const run = (command: string, ...args: string[]) =>
  execFileSync(command, args, { encoding: 'utf8' });
const { folder } = await fetchPackage('musl');
const libc = join(folder, 'lib/ld-musl-x86_64.so.1');

/** The names in a table of dynamic symbols, of those that are undefined or of the others. */
function symbolsOf(path: string, undefinedOnes: boolean): Set<string> {
  const rows = run('readelf', '--dyn-syms', '--wide', path).split('\n');
  const fields = rows
    .map((row) => row.trim().split(/\s+/))
    .filter(([number]) => /^\d+:$/.test(number ?? ''));
  return new Set(
    fields
      .filter(
        ([, , , , binding, , section]) =>
          (section === 'UND') === undefinedOnes && (!undefinedOnes || binding === 'GLOBAL'),
      )
      .map((row) => (row[7] ?? '').replace(/@.*$/, '')),
  );
}

t.test('all that the addon needs is in musl or in Node', async (t) => {
  const offered = symbolsOf(libc, false);
  t.ok(offered.has('malloc'));
  const missing = [...symbolsOf(addon, true)].filter(
    (name) => !/^(napi|uv)_/.test(name) && !offered.has(name),
  );
  t.same(missing, []);
});

t.test('a program of musl loads the addon, and finds what Node calls', async (t) => {
  const source = join(t.testdir({}), 'load.c');
  const { writeFile } = await import('node:fs/promises');
  // Node loads addons so: what they need of Node itself is looked up when it is called.
  await writeFile(
    source,
    `void *dlopen(const char *, int);
     void *dlsym(void *, const char *);
     char *dlerror(void);
     int puts(const char *);
     void _exit(int);
     void begin(void) {
       void *addon = dlopen("${addon}", 1 /* RTLD_LAZY */);
       if (addon == 0) { puts(dlerror()); _exit(1); }
       puts(dlsym(addon, "napi_register_module_v1") == 0 ? dlerror() : "loaded");
       _exit(0);
     }`,
  );
  const program = source.replace(/\.c$/, '');
  const link = [
    '-nostdlib',
    '-ffreestanding',
    '-fno-builtin',
    '-fPIE',
    '-pie',
    '-Wl,-e,begin',
    `-Wl,--dynamic-linker=${libc}`,
  ];
  run('gcc', ...link, source, libc, '-o', program);
  t.equal(run(program), 'loaded\n');
});
