import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { release as kernelRelease } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { Release } from '../../src/bpf/rows.js';
import { assertions } from './assertions.js';

const HEADER = '/usr/include/linux/bpf.h';
const VMLINUX = '/sys/kernel/btf/vmlinux';

function missing(tool: string): boolean {
  return spawnSync(tool, ['--version']).error !== undefined;
}

const noCompiler = missing('gcc') ? 'no gcc (try: apt-get install gcc)' : false;

/** Compiles C against a header; the compiler's output is the proof, or says what is wrong. */
function compile(folder: string, source: string): string {
  const file = join(folder, 'check.c');
  writeFileSync(file, source);
  const { status, stderr } = spawnSync('gcc', ['-std=c11', '-fsyntax-only', '-I', folder, file], {
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
    const version = readFileSync('/usr/include/linux/version.h', 'utf8');
    const major = /LINUX_VERSION_MAJOR (\d+)/.exec(version)?.[1] ?? '0';
    const minor = /LINUX_VERSION_PATCHLEVEL (\d+)/.exec(version)?.[1] ?? '0';
    const text = readFileSync(HEADER, 'utf8');
    const include = '#include <linux/bpf.h>';
    const made = assertions(include, `${Number(major)}.${Number(minor)}`, text);
    t.equal(compile(t.testdir(), made.source), '');
    t.ok(made.checked.length > 300, `${made.checked.length} facts compared`);
    for (const one of made.skipped) t.comment(`newer than the header: ${one}`);
  },
);

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
    t.ok(made.checked.length > 300, `${made.checked.length} facts compared`);
    for (const one of made.skipped) t.comment(`not in this kernel: ${one}`);
  },
);

t.test('a wrong row does not compile', { skip: noCompiler }, async (t) => {
  const source = assertions('#include <linux/bpf.h>', '5.10', '').source;
  const wrong = source.replace(
    '(union bpf_attr, map_type) == 0',
    '(union bpf_attr, map_type) == 4',
  );
  t.not(wrong, source);
  t.match(compile(t.testdir(), wrong), /BPF_MAP_CREATE\.map_type offset/);
});
