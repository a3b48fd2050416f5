import { execFileSync } from 'node:child_process';
import { copyFileSync, renameSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { kernelNames } from '../../guest/agent/kernel-names.js';
import { probePlaces } from '../../guest/agent/probe-places.js';
import { compile, profiles } from '../../src/policy/index.js';
import { Session } from '../../src/session.js';
import { localAgent } from './local-agent.js';

const source = `
#include <stdio.h>
__attribute__((noinline)) int target(int x) { return x + 1; }
int main(void) { printf("%d\\n", target(1)); }
/* What <sys/sdt.h> leaves of DTRACE_PROBE(provider, name) with a semaphore. */
unsigned short semaphore __attribute__((section(".probes")));
__asm__(".text\\nprobe_here: nop\\nret\\n"
        ".section .stapsdt.base,\\"aG\\",\\"progbits\\",.stapsdt.base,comdat\\n"
        "_.stapsdt.base: .space 1\\n.size _.stapsdt.base,1\\n"
        ".pushsection .note.stapsdt,\\"\\",\\"note\\"\\n.balign 4\\n"
        ".4byte 2f-1f,4f-3f,3\\n1: .asciz \\"stapsdt\\"\\n2: .balign 4\\n"
        "3: .8byte probe_here,_.stapsdt.base,semaphore\\n"
        ".asciz \\"provider\\"\\n.asciz \\"name\\"\\n.asciz \\"\\"\\n4: .balign 4\\n.popsection\\n.text\\n");
`;

t.test('where a file can be probed is what its own tables say', async (t) => {
  const folder = t.testdir({ 'x.c': source });
  const file = join(folder, 'x');
  execFileSync('gcc', ['-O1', '-o', file, join(folder, 'x.c')]);
  const symbols = execFileSync('nm', [file], { encoding: 'latin1' });
  const address = (name: string) =>
    Number.parseInt(new RegExp(`^(\\w+) \\w ${name}$`, 'm').exec(symbols)?.[1] ?? '0', 16);
  const [target] = probePlaces(file, (name) => name === 'target');
  // gcc maps what is run where it lies in the file.
  t.same(target, { offset: address('target'), counter: 0 });
  const headers = execFileSync('readelf', ['-lW', file], { encoding: 'latin1' });
  const writable = /LOAD +0x(\w+) 0x(\w+) 0x\w+ 0x\w+ 0x\w+ RW/.exec(headers);
  const moved =
    Number.parseInt(writable?.[2] ?? '0', 16) - Number.parseInt(writable?.[1] ?? '0', 16);
  const [noted] = probePlaces(file, (name) => name === 'provider:name');
  t.same(noted, { offset: address('probe_here'), counter: address('semaphore') - moved });
  t.same(
    probePlaces(file, (name) => name === 'printf'),
    [],
    'what others define is not in it',
  );
  t.same(
    probePlaces(join(folder, 'x.c'), () => true),
    [],
    'no ELF file',
  );
  t.same(
    probePlaces(join(folder, 'none'), () => true),
    [],
    'no file',
  );
});

t.test('a file that has changed has no places any more', async (t) => {
  const folder = t.testdir({ 'x.c': source });
  const file = join(folder, 'x');
  execFileSync('gcc', ['-O1', '-o', file, join(folder, 'x.c')]);
  const [place] = probePlaces(file, (name) => name === 'target');
  const names = kernelNames();
  const uprobe = names.perfType('uprobe') ?? 61;
  const local = await localAgent({
    rules: compile(
      { ...profiles.observe, uprobes: [`${file}:target`] },
      { ...names, perfType: (device) => (device === 'uprobe' ? uprobe : names.perfType(device)) },
    ),
  });
  t.teardown(() => local.close());
  /** The rule that refuses a probe and what it says, or nothing where the kernel is asked. */
  const refusal = async () => {
    await using session = await Session.connect(local.address);
    const event = { type: uprobe, config1: file, config2: place?.offset ?? 0, pid: 0 };
    return await session.openPerfEvent(event).then(
      () => undefined,
      (error: { code: string; message: string }) =>
        error.code === 'ERR_POLICY_REFUSED' ? error.message : undefined,
    );
  };
  t.equal(await refusal(), undefined);
  const changed = /\/x, which is not the file in which its places were looked up/;
  utimesSync(file, 0, 0);
  t.match(await refusal(), changed, 'written to');
  copyFileSync(file, `${file}.new`);
  renameSync(`${file}.new`, file);
  t.match(await refusal(), changed, 'another one');
});
