import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { release as kernelRelease } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { fetchPackage } from '../../guest/image/debian.js';
import { Cmd } from '../../src/bpf/enums.js';
import { PERF_EVENT_FLAGS, PerfEventBit } from '../../src/bpf/perf.js';
import type { Release } from '../../src/bpf/rows.js';
import { type Assertions, assertions } from './assertions.js';

const INCLUDES = '#include <linux/bpf.h>\n#include <linux/perf_event.h>';
const HEADER = '/usr/include/linux/bpf.h';
const VMLINUX = '/sys/kernel/btf/vmlinux';

/** The release of the header in `folder`, such as `6.1`. */
function headerRelease(folder: string): Release {
  const version = readFileSync(join(folder, 'linux/version.h'), 'utf8');
  const number = (name: string) => Number(new RegExp(`${name} (\\d+)`).exec(version)?.[1] ?? 0);
  return `${number('LINUX_VERSION_MAJOR')}.${number('LINUX_VERSION_PATCHLEVEL')}`;
}

/** The text of the headers in `folder` that the table is about. */
function headers(folder: string): string {
  const names = ['linux/bpf.h', 'linux/perf_event.h'];
  return names.map((name) => readFileSync(join(folder, name), 'utf8')).join('\n');
}

function report(t: Test, { checked, skipped }: Assertions): void {
  t.ok(checked.length > 400, `${checked.length} facts proved, ${skipped.length} others not in it`);
  for (const one of skipped) t.comment(`not in it: ${one}`);
}

function missing(tool: string): boolean {
  return spawnSync(tool, ['--version']).error !== undefined;
}

const noCompiler = missing('gcc') ? 'no gcc (try: apt-get install gcc)' : false;

/** Compiles C against a header; the compiler's output is the proof, or says what is wrong. */
function compile(folder: string, source: string, includes: readonly string[] = []): string {
  const file = join(folder, 'check.c');
  writeFileSync(file, source);
  const folders = [...includes, folder].flatMap((path) => ['-I', path]);
  const { status, stderr } = spawnSync('gcc', ['-std=c11', '-fsyntax-only', ...folders, file], {
    encoding: 'utf8',
  });
  return status === 0 ? '' : stderr;
}

t.test(
  'the table agrees with <linux/bpf.h>',
  {
    skip: noCompiler || (!existsSync(HEADER) && 'no header (try: apt-get install linux-libc-dev)'),
  },
  async (t) => {
    const made = assertions(INCLUDES, headerRelease('/usr/include'), headers('/usr/include'));
    t.equal(compile(t.testdir(), made.source), '');
    report(t, made);
  },
);

t.test('the table agrees with the newest header', { skip: noCompiler }, async (t) => {
  const fetched = await fetchPackage('linux-libc-dev', { suite: 'unstable' }).catch(
    (error: Error) => error,
  );
  if (fetched instanceof Error) {
    t.pass('there is no newer header here', {
      skip: `${fetched.message} (try again with a network)`,
    });
    return;
  }
  const folder = join(fetched.folder, 'usr/include');
  const text = headers(folder);
  const made = assertions(INCLUDES, headerRelease(folder), text);
  const architecture = join(folder, 'x86_64-linux-gnu');
  t.equal(compile(t.testdir(), made.source, [folder, architecture]), '');
  report(t, made);
  const known = new Set(Object.keys(Cmd));
  const list = /enum bpf_cmd \{(.*?)__MAX_BPF_CMD/s.exec(text)?.[1] ?? '';
  const newer = [...list.matchAll(/^\s*(BPF_\w+),/gm)].filter(([, name = '']) => !known.has(name));
  t.same(newer, [], 'the table has every command of it');
});

t.test(
  'the table agrees with the types of the running kernel',
  {
    skip:
      noCompiler ||
      (missing('bpftool') && 'no bpftool (try: apt-get install bpftool)') ||
      (!existsSync(VMLINUX) && `no ${VMLINUX} (try: a kernel with CONFIG_DEBUG_INFO_BTF)`),
  },
  async (t) => {
    const arguments_ = ['btf', 'dump', 'file', VMLINUX, 'format', 'c'];
    const text = execFileSync('bpftool', arguments_, { encoding: 'utf8', maxBuffer: 2 ** 28 });
    const running = (/^\d+\.\d+/.exec(kernelRelease())?.[0] ?? '0.0') as Release;
    const folder = t.testdir({ 'vmlinux.h': text });
    const made = assertions('#include "vmlinux.h"', running, text);
    t.equal(compile(folder, made.source), '');
    report(t, made);
  },
);

t.test(
  'the flags of a perf event are where the table has them',
  { skip: noCompiler },
  async (t) => {
    const folder = t.testdir({
      'flags.c': [
        '#include <linux/perf_event.h>',
        '#include <stdio.h>',
        '#include <string.h>',
        'int main(void) { struct perf_event_attr a;',
        ...Object.keys(PerfEventBit).map(
          (name) =>
            `memset(&a, 0, sizeof a); a.${name} = 1;` +
            ' for (unsigned i = 0; i < 8 * sizeof a; ++i)' +
            ` if (((unsigned char *)&a)[i / 8] >> i % 8 & 1) printf("${name} %u\\n", i);`,
        ),
        '}',
      ].join('\n'),
    });
    execFileSync('gcc', ['-o', join(folder, 'flags'), join(folder, 'flags.c')]);
    const said = execFileSync(join(folder, 'flags'), { encoding: 'utf8' }).trim().split('\n');
    t.same(
      said,
      Object.entries(PerfEventBit).map(([name, bit]) => `${name} ${8 * PERF_EVENT_FLAGS + bit}`),
    );
  },
);

t.test('a wrong row does not compile', { skip: noCompiler }, async (t) => {
  const source = assertions(INCLUDES, '5.10', '').source;
  const wrong = source.replace(
    '(union bpf_attr, map_type) == 0',
    '(union bpf_attr, map_type) == 4',
  );
  t.not(wrong, source);
  t.match(compile(t.testdir(), wrong), /BPF_MAP_CREATE\.map_type offset/);
});
