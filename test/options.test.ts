/* Every operation of the public API that takes options refuses those that it does not have. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { BpfMap, enums, KernelIterator, Program, Session, struct, u32 } from '../src/index.js';
import { packageFolder } from '../src/paths.js';
import * as transport from '../src/transport/index.js';
import { fakeAgent } from './session/fake-agent.js';

const vm = await import(new URL('../guest/library.js', import.meta.url).href);
const { MapType } = enums;
const agent = await fakeAgent(() => {});
t.teardown(agent.close);
const session = await Session.connect(agent.address);
t.teardown(() => session.close());

function mapOf(type: number): BpfMap<number, number> {
  const spec = { type, keySize: 4, valueSize: 4, maxEntries: 4096, flags: 0 };
  return new BpfMap(session, session.newHandle(), spec, { key: u32, value: u32 });
}

const hash = mapOf(MapType.BPF_MAP_TYPE_HASH);
const queue = mapOf(MapType.BPF_MAP_TYPE_QUEUE);
const filter = mapOf(MapType.BPF_MAP_TYPE_BLOOM_FILTER);
const ring = mapOf(MapType.BPF_MAP_TYPE_RINGBUF);
const iterator = new KernelIterator(session, session.newHandle());
const spec = { type: 1, expectedAttachType: 0, name: '', log: '' };
const program = new Program(session, session.newHandle(), spec);
const guest = vm.Guest.prototype;
const device = transport.VsockDevice.prototype;
const address = 'unix:/nowhere';
const call = { command: 0, args: 1 as const, result: 0, buffers: [], relocations: [] };
const perfCall = { result: 1, pid: 0, cpu: 0, group: 0, flags: 0, buffers: [], relocations: [] };
const ioctl = { handle: 1, request: 0, buffers: [], relocations: [] };
const message = { protocol: 0, message: new Uint8Array(16) };
const file = { operation: 0, path: '/' };
const origin = { source: 'ring', map: 1, sizeBytes: 4096 } as const;
const next = (generator: AsyncIterator<unknown>) => generator.next();

/** A call of each of them, with options. */
const operations: Readonly<Record<string, (options: never) => unknown>> = {
  'BpfMap.lookup': (options) => hash.lookup(1, 0, options),
  'BpfMap.lookupMany': (options) => hash.lookupMany([], options),
  'BpfMap.update': (options) => hash.update(1, 1, 0, options),
  'BpfMap.updateMany': (options) => hash.updateMany([], options),
  'BpfMap.delete': (options) => hash.delete(1, options),
  'BpfMap.deleteMany': (options) => hash.deleteMany([], options),
  'BpfMap.lookupAndDelete': (options) => hash.lookupAndDelete(1, options),
  'BpfMap.push': (options) => queue.push(1, 0, options),
  'BpfMap.peek': (options) => queue.peek(options),
  'BpfMap.pop': (options) => queue.pop(options),
  'BpfMap.mayHave': (options) => filter.mayHave(1, options),
  'BpfMap.nextKey': (options) => hash.nextKey(1, options),
  'BpfMap.keys': (options) => next(hash.keys(options)),
  'BpfMap.entries': (options) => next(hash.entries(options)),
  'BpfMap.batches': (options) => next(hash.batches(options)),
  'BpfMap.drain': (options) => next(hash.drain(options)),
  'BpfMap.freeze': (options) => hash.freeze(options),
  'BpfMap.info': (options) => hash.info(options),
  'BpfMap.records': (options) => ring.records(options),
  'KernelIterator.chunks': (options) => next(iterator.chunks(options)),
  'KernelIterator.bytes': (options) => iterator.bytes(options),
  'KernelIterator.text': (options) => iterator.text(options),
  'KernelIterator.lines': (options) => next(iterator.lines(options)),
  'KernelIterator.records': (options) => next(iterator.records(u32, options)),
  'Program.attachRawTracepoint': (options) => program.attachRawTracepoint('sys_enter', options),
  'Program.attachTracing': (options) => program.attachTracing(options),
  'Program.attachTcx': (options) => program.attachTcx(1, 'ingress', options),
  'Program.attachNetkit': (options) => program.attachNetkit(1, 'peer', options),
  'Program.attachKprobes': (options) => program.attachKprobes(options),
  'Program.attachUprobes': (options) => program.attachUprobes(options),
  'Program.attachTracepoint': (options) => program.attachTracepoint('sched/sched_switch', options),
  'Program.attachKprobe': (options) => program.attachKprobe(options),
  'Program.attachUprobe': (options) => program.attachUprobe(options),
  'Program.attachPerfEvent': (options) => program.attachPerfEvent(iterator as never, options),
  'Program.attachNetfilter': (options) => program.attachNetfilter(options),
  'Program.attachIterator': (options) => program.attachIterator(options),
  'Program.testRun': (options) => program.testRun(options),
  'Session.connect': (options) => Session.connect(address, options),
  'Session.release': (options) => session.release([], options),
  'Session.releaseAll': (options) => session.releaseAll(options),
  'Session.bpf': (options) => session.bpf({} as never, {} as never, options),
  'Session.tryBpf': (options) => session.tryBpf({} as never, {} as never, options),
  'Session.createMap': (options) => session.createMap(options),
  'Session.map': (options) => session.map({ id: 1 }, options),
  'Session.loadProgram': (options) => session.loadProgram(options),
  'Session.program': (options) => session.program({ id: 1 }, options),
  'Session.link': (options) => session.link({ id: 1 }, options),
  'Session.loadBtf': (options) => session.loadBtf(new Uint8Array(24), options),
  'Session.btf': (options) => session.btf({ id: 1 }, options),
  'Session.symbolize': (options) => session.symbolize([], options),
  'Session.attached': (options) => session.attached({ cgroup: '/' }, 0, options),
  'Session.openPerfEvent': (options) => session.openPerfEvent(options),
  'Session.openObject': (options) => session.openObject('cgroup', '/', options),
  'Session.call': (options) => session.call(call, options),
  'Session.callAll': (options) => session.callAll([call], options),
  'Session.chain': (options) => session.chain([], options),
  'Session.open': (options) => session.open('/', options),
  'Session.read': (options) => session.read(1, 1, options),
  'Session.readPart': (options) => session.readPart(1, 1, options),
  'Session.file': (options) => session.file(file, options),
  'Session.perfEventOpen': (options) => session.perfEventOpen(perfCall, options),
  'Session.ioctl': (options) => session.ioctl(ioctl, options),
  'Session.netlink': (options) => session.netlink(message, options),
  'Session.subscribe': (options) => session.subscribe(origin, options, () => {}),
  struct: (options) => struct({}, options),
  'Server.listen': (options) => transport.createServer().listen(address, options),
  'VsockDevice.open': (options) => transport.VsockDevice.open(options),
  'VsockDevice.connect': (options) => device.connect.call({ address: () => address }, 1, options),
  'VsockDevice.listen': (options) =>
    device.listen.call({ address: () => address }, 1, () => {}, options),
  connect: (options) => transport.connect(address, options),
  createConnection: (options) => transport.createConnection(address, options),
  createServer: (options) => transport.createServer(options),
  webSocketOptions: (options) => transport.webSocketOptions(address, options),
  'Guest.exec': (options) => guest.exec([], options),
  'Guest.spawn': (options) => guest.spawn([], options),
  'Guest.sh': (options) => guest.sh('', options),
  boot: (options) => vm.boot(options),
  buildImage: (options) => vm.buildImage(options),
};

/** Why others do not. */
const others: Readonly<Record<string, string>> = {
  'Session.start': 'The operations above check their options before they call it.',
  'Server.forward': 'Its target is another server.',
  agent: 'Options that it does not have are those of http.Agent.',
  dispatcher: 'Options that it does not have are those of the class that it makes.',
  iterTargetNamed: 'It takes a name.',
};

/** The functions and methods of the API whose parameters look like options. */
function operationsWithOptions(): string[] {
  const found = new Set<string>();
  let owner: string | undefined;
  const api = readFileSync(join(packageFolder, 'test/package/api.txt'), 'utf8');
  for (const line of api.split('\n')) {
    const [, kind, name = ''] =
      /^(class|interface|function|type|const|namespace) (\w+)/.exec(line) ?? [];
    if (kind !== undefined) owner = kind === 'class' ? name : undefined;
    const method = owner && /^ {2}(?:static )?(\w+)[(<]/.exec(line)?.[1];
    const operation = kind === 'function' ? name : method && `${owner}.${method}`;
    if (!operation || method === 'constructor') continue;
    if (
      /: [^(]*?(Options|Patience|Targets?|Order|Scope)\b|options\??: |\w+\?: \{ \w+\?: /.test(line)
    ) {
      found.add(operation);
    }
  }
  return [...found];
}

t.test('the table has every operation with options', async (t) => {
  const listed = new Set([...Object.keys(operations), ...Object.keys(others)]);
  const known = operationsWithOptions().filter((name) => !name.endsWith('.error'));
  t.ok(known.length > 70, `${known.length} operations`);
  t.same(
    known.filter((name) => !listed.has(name)),
    [],
  );
});

const refused = { code: 'ERR_OPTION_UNKNOWN', message: /has no option "timeoutMS"\. / };

for (const [name, operation] of Object.entries(operations)) {
  t.test(`${name} refuses an option that it does not have`, async (t) => {
    await t.rejects(async () => operation({ timeoutMS: 1 } as never), refused);
  });
}

t.test('an object is asked for by its id or its path', async (t) => {
  for (const where of [undefined, 5, {}, { id: '5' }, { pth: '/sys/fs/bpf/calls' }]) {
    await t.rejects(session.map(where as unknown as { id: number }), {
      code: 'ERR_OPTION_INVALID',
      message:
        /^Invalid where: .* Expected the id or the path of a map, as \{ id \} or \{ path \}\.$/,
    });
  }
});
