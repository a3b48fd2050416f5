/* Places for programs that newer kernels have, and programs made of more than instructions. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';
import { enums, insn, type ProgramOptions, u32, u64 } from '../../src/index.js';
import { lacks } from '../bpf/kernel.js';
import { int, Kind, type RawType, writeBtf } from '../btf/writer.js';
import { session as open, skip } from './local-session.js';

const { AttachType, MapType, ProgType } = enums;
const { alu, atomic, callKernel, exit, loadMapValue, mov } = insn;
const { program, store } = insn;

const LOOPBACK = 1;
const ENOMEM = 12;
const skipTypes = existsSync('/sys/kernel/btf/vmlinux') ? false : 'this kernel has no BTF';
const returning = (value: number) => program(mov('r0', value), exit());
/** The code of an error, or '' without one. */
const codeOf = (made: Promise<unknown>): Promise<string> =>
  made.then(
    () => '',
    (error: { code: string }) => error.code,
  );

/** The types of programs of two functions, "int f(void)" (3) and "int main(void)" (4). */
const functions: readonly RawType[] = [
  int('int', 4, 1),
  { kind: Kind.FUNC_PROTO, size: 1 },
  { kind: Kind.FUNC, name: 'f', vlen: 1, size: 2 },
  { kind: Kind.FUNC, name: 'main', vlen: 1, size: 2 },
];
const records = (recordBytes: number, ...words: number[]) => ({
  bytes: new Uint8Array(Uint32Array.from(words).buffer),
  recordBytes,
});

t.test('attachments', { skip }, async (t) => {
  const session = await open(t);
  const loaded = (options: Partial<ProgramOptions> & { type: number }, value = 0) =>
    session.loadProgram({ instructions: returning(value), license: 'GPL', ...options });

  t.test('tcx: programs have an order and a revision', async (t) => {
    const attachType = AttachType.BPF_TCX_EGRESS;
    const goOn = -1; // TCX_NEXT
    const one = { type: ProgType.BPF_PROG_TYPE_SCHED_CLS, expectedAttachType: attachType };
    await using last = await loaded(one, goOn);
    await using middle = await loaded(one, goOn);
    await using first = await loaded(one, goOn);
    const place = { interfaceIndex: LOOPBACK };
    if ((await codeOf(session.attached(place, attachType))) === 'EINVAL')
      return lacks(t, 'tcx', '6.6');
    await using link = await last.attachTcx(LOOPBACK, 'egress');
    t.match(await link.info(), { type: 'tcx', interfaceIndex: LOOPBACK, attachType });
    const { revision } = await session.attached(place, attachType);
    const late = { before: link, expectedRevision: revision + 1n };
    await t.rejects(first.attachTcx(LOOPBACK, 'egress', late), { code: 'ESTALE' });
    await using _before = await first.attachTcx(LOOPBACK, 'egress', {
      ...late,
      expectedRevision: revision,
    });
    await using _after = await middle.attachTcx(LOOPBACK, 'egress', { after: first });
    const there = await session.attached(place, attachType);
    const ids = await Promise.all(
      [first, middle, last].map(async (prog) => (await prog.info()).id),
    );
    t.same(
      there.programs.map(({ id }) => id).filter((id) => ids.includes(id)),
      ids,
    );
    t.ok(there.revision > revision);
    return undefined;
  });

  t.test('netkit: only its own devices take programs', async (t) => {
    await using one = await loaded({ type: ProgType.BPF_PROG_TYPE_SCHED_CLS });
    const code = await codeOf(one.attachNetkit(LOOPBACK, 'peer'));
    if (code === 'EINVAL') return lacks(t, 'netkit', '6.7 with CONFIG_NETKIT');
    t.equal(code, 'ENXIO', 'the loopback is none of them');
    return undefined;
  });

  t.test('a map of sockets', async (t) => {
    await using map = await session.createMap({
      ...{ type: MapType.BPF_MAP_TYPE_SOCKMAP, keySize: 4, valueSize: 4, maxEntries: 1 },
    });
    const attachType = AttachType.BPF_SK_SKB_STREAM_VERDICT;
    await using one = await loaded({
      type: ProgType.BPF_PROG_TYPE_SK_SKB,
      expectedAttachType: attachType,
    });
    const code = await codeOf(one.attachSockmap(map, AttachType.BPF_SK_MSG_VERDICT));
    t.equal(code, 'EINVAL', 'the program is of another type');
    const link = await one.attachSockmap(map).catch((error) => {
      if (error.code !== 'EINVAL') throw error;
    });
    if (link === undefined) return lacks(t, 'links to maps of sockets', '6.10');
    const mapId = (await map.info()).id;
    t.match(await link.info(), { type: 'sockmap', mapId, attachType });
    await link.close();
    return undefined;
  });

  t.test('netfilter', async (t) => {
    const target = { protocolFamily: 2, hook: 1, priority: -321 };
    const options = {
      type: ProgType.BPF_PROG_TYPE_NETFILTER,
      expectedAttachType: AttachType.BPF_NETFILTER,
    };
    const accept = await loaded(options, 1).catch((error) => {
      if (error.code !== 'EINVAL') throw error;
    });
    if (accept === undefined) return lacks(t, 'netfilter programs', '6.4');
    await using link = await accept.attachNetfilter(target);
    t.match(await link.info(), { type: 'netfilter', ...target });
    await t.rejects(accept.attachNetfilter({ ...target, hook: 99 }), { code: 'EPROTO' });
    await accept.close();
    return undefined;
  });

  t.test('what programs print to their streams', { skip: skipTypes }, async (t) => {
    const types = await session.kernelTypes();
    // The kernel has had it under both names.
    const print =
      types.find('func', 'bpf_stream_vprintk_impl') ?? types.find('func', 'bpf_stream_vprintk');
    if (print === undefined) return lacks(t, 'streams of programs', '6.17');
    const format = 'number %d\n\0';
    await using text = await session.createMap({
      ...{ type: MapType.BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize: 16, maxEntries: 1 },
      flags: enums.ObjectFlag.BPF_F_RDONLY_PROG,
    });
    await text.update(new Uint8Array(4), Buffer.from(format.padEnd(16, '\0')));
    await text.freeze();
    await using printing = await loaded({
      type: ProgType.BPF_PROG_TYPE_SYSCALL,
      flags: enums.ProgFlag.BPF_F_SLEEPABLE,
      instructions: program(
        store(8, 'r10', -8, 42),
        mov('r1', enums.Stream.BPF_STREAM_STDERR),
        loadMapValue('r2', text),
        mov('r3', 'r10'),
        alu('add', 'r3', -8),
        mov('r4', 8),
        mov('r5', 0),
        callKernel(print),
        exit(),
      ),
    });
    const { returnValue } = await printing.testRun();
    t.equal(await printing.readStream(1), '');
    if (returnValue === 2 ** 32 - ENOMEM) {
      const skip = 'this kernel has no memory for streams at any time (try: a processor with cx16)';
      t.pass('what is printed', { skip });
      return undefined;
    }
    t.equal(returnValue, 0);
    t.equal(await printing.readStream(2, 7), 'number ');
    t.equal(await printing.readStream(2), '42\n');
    t.equal(await printing.readStream(2), '', 'it is taken out');
    return undefined;
  });

  t.test('the kernel relocates what depends on its types', { skip: skipTypes }, async (t) => {
    // The structure as the program knows it has 4 bytes.
    const known: RawType = {
      ...{ kind: Kind.STRUCT, name: 'task_struct', vlen: 1, size: 4, words: ['pid0', 1, 0] },
    };
    const bytes = Buffer.from(writeBtf([...functions, known]));
    const access = bytes.indexOf('0\0') - bytes.readUInt32LE(4) - bytes.readUInt32LE(16);
    await using btf = await session.loadBtf(bytes);
    const TYPE_SIZE = 9; // BPF_CORE_TYPE_SIZE
    await using sized = await loaded({
      type: ProgType.BPF_PROG_TYPE_XDP,
      instructions: program(mov('r0', 4), exit()),
      btf,
      functions: records(8, 0, 4),
      coreRelocations: records(16, 0, 5, access, TYPE_SIZE),
    });
    const types = await session.kernelTypes();
    const { returnValue } = await sized.testRun({ data: new Uint8Array(64) });
    t.equal(returnValue, types.sizeOf(types.named('struct task_struct')));
  });

  t.test('counters of places in programs are switched on', async (t) => {
    const folder = t.testdir({ 'counted.c': counted });
    const path = join(folder, 'counted');
    execFileSync('gcc', ['-O1', '-o', path, `${path}.c`]);
    const child = spawn(path, { stdio: ['pipe', 'pipe', 'inherit'] });
    t.teardown(() => child.kill());
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const next = async () => (await lines.next()).value as string;
    const [offset = 0, referenceCounter = 0] = (await next())
      .split(' ')
      .map((address) => offsetOf(child.pid ?? 0, Number(address)));
    const counter = async () => {
      child.stdin.write('\n');
      return await next();
    };
    t.equal(await counter(), '0');
    await using one = await loaded({ type: ProgType.BPF_PROG_TYPE_KPROBE });
    const link = await one.attachUprobe({ path, offset, referenceCounter });
    t.equal(await counter(), '1');
    await link.close();
    t.equal(await counter(), '0');
    await using many = await loaded({
      type: ProgType.BPF_PROG_TYPE_KPROBE,
      expectedAttachType: AttachType.BPF_TRACE_UPROBE_MULTI,
    });
    const places = {
      path,
      offsets: [BigInt(offset)],
      referenceCounters: [BigInt(referenceCounter)],
    };
    const links = await many.attachUprobes(places).catch((error) => {
      if (!['EINVAL', 'EOPNOTSUPP'].includes(error.code)) throw error;
    });
    if (links !== undefined) {
      t.equal(await counter(), '1');
      t.match(await links.info(), { type: 'uprobe_multi', path, offsets: 1 });
      await links.close();
      t.equal(await counter(), '0');
    } else lacks(t, 'links to many uprobes', '6.6');
    child.stdin.end();
    await once(child, 'exit');
  });

  t.test('what comes back from a run', async (t) => {
    const SKB_BYTES = 192;
    const MARK = 8;
    await using marking = await loaded({
      type: ProgType.BPF_PROG_TYPE_SCHED_CLS,
      instructions: program(store(4, 'r1', MARK, 77), mov('r0', 0), exit()),
    });
    const data = new Uint8Array(64);
    t.equal((await marking.testRun({ data })).context.length, 0, 'nothing is asked for');
    const { context } = await marking.testRun({ data, contextOutBytes: SKB_BYTES });
    t.equal(context.length, SKB_BYTES);
    t.equal(new DataView(context.buffer, context.byteOffset).getUint32(MARK, true), 77);
  });

  t.test('packets are sent on, a batch at a time', async (t) => {
    await using counts = await session.createMap({
      ...{ type: MapType.BPF_MAP_TYPE_ARRAY, key: u32, value: u64, maxEntries: 1 },
    });
    await using dropping = await loaded({
      type: ProgType.BPF_PROG_TYPE_XDP,
      instructions: program(
        loadMapValue('r1', counts),
        mov('r2', 1),
        atomic('add', 8, 'r1', 0, 'r2'),
        mov('r0', 1), // XDP_DROP
        exit(),
      ),
    });
    const flags = enums.TestRunFlag.BPF_F_TEST_XDP_LIVE_FRAMES;
    const run = { data: new Uint8Array(64), dataOutBytes: 0, flags, repeat: 50 };
    const code = await codeOf(dropping.testRun({ ...run, batchSize: 257 }));
    if (code === 'EINVAL') return lacks(t, 'live packets in test runs', '5.18');
    t.equal(code, 'E2BIG', 'a batch has at most 256');
    await dropping.testRun({ ...run, batchSize: 16 });
    t.equal(await counts.lookup(0), 50n);
    return undefined;
  });
});

/** Says where its place and its counter are, and after each line what the counter is. */
const counted = `
#include <stdio.h>
volatile unsigned short counter __attribute__((section(".counters"))) = 0;
__attribute__((noinline)) void place(void) { __asm__ volatile(""); }
int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  printf("%p %p\\n", (void *)place, (void *)&counter);
  while (getchar() != EOF) {
    place();
    printf("%d\\n", counter);
  }
}
`;

/** Where the file that a process has mapped at an address has the byte there. */
function offsetOf(pid: number, address: number): number {
  const maps = readFileSync(`/proc/${pid}/maps`, 'utf8');
  for (const [, start, end, offset] of maps.matchAll(/^(\w+)-(\w+) \S+ (\w+)/gm)) {
    const from = Number.parseInt(start ?? '', 16);
    if (address < from || address >= Number.parseInt(end ?? '', 16)) continue;
    return address - from + Number.parseInt(offset ?? '', 16);
  }
  throw new Error(`process ${pid} has nothing at ${address.toString(16)}`);
}
