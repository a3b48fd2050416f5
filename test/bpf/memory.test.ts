import t from 'tap';
import { encodeRaw, enums, type ObjectSpecs } from '../../src/bpf/index.js';
import { Process } from './process.js';
import { hex, mapSpec, putWords, replyTo, toHex } from './tools.js';

const { Cmd } = enums;

const specs: ObjectSpecs = {
  possibleCpus: 2,
  mapSpec: (handle) => (handle === 70 ? mapSpec() : undefined),
  kindOf: (handle) => ({ 70: 'map', 90: 'prog', 91: 'btf' })[handle] as 'map' | undefined,
  linkTypeOf: () => undefined,
};

function attribute(sizeBytes: number, ...words: (readonly [offset: number, word: number])[]) {
  const image = new Uint8Array(sizeBytes);
  for (const [offset, word] of words) putWords(image, offset, word);
  return image;
}

const ADDRESS = 0x100n;

t.test('a lookup is read from memory, and its value written back', async (t) => {
  const process = new Process();
  process.handles.set(4, 70);
  process.put(0x2000, hex('0a0b0c0d'));
  const image = attribute(32, [0, 4], [8, 0x2000], [16, 0x3000]);
  const encoded = encodeRaw(
    { command: Cmd.BPF_MAP_LOOKUP_ELEM, address: ADDRESS, image },
    process,
    specs,
  );
  const [sent, key, value] = encoded.call.buffers;
  t.same(key, hex('0a0b0c0d'));
  t.same(value, { inout: new Uint8Array(8) });
  t.equal(toHex(sent as Uint8Array), `46${'00'.repeat(31)}`, 'no address or descriptor travels');
  t.same(encoded.call.relocations, [0, 0, 1, 70, 0, 8, 0, 1, 0, 16, 0, 2]);
  t.equal(image[0], 4, 'the caller’s image is left alone');
  const reply = replyTo(encoded, ([value]) => value?.fill(9));
  t.same(encoded.writes(reply), [{ address: 0x3000n, bytes: new Uint8Array(8).fill(9) }]);
});

t.test('what lies behind the elements that a batch has returned is left alone', async (t) => {
  const process = new Process();
  process.handles.set(4, 70);
  // Together with the first key, what follows it looks like an address.
  process.put(0x3000, hex('0000000011040000'));
  const image = attribute(56, [8, 0x2000], [16, 0x3000], [24, 0x4000], [32, 2], [36, 4]);
  const call = { command: Cmd.BPF_MAP_LOOKUP_BATCH, address: ADDRESS, image };
  const encoded = encodeRaw(call, process, specs);
  const reply = replyTo(encoded, (outputs) => {
    outputs[0]?.set([1, 0, 0, 0], 32);
    outputs[2]?.set([7]);
  });
  const written = encoded.writes({ ...reply, result: -1, errno: 2 });
  t.same(
    written.filter(({ address }) => address >= 0x3000n && address < 0x4000n),
    [{ address: 0x3000n, bytes: hex('07') }],
  );
});

t.test('an unknown descriptor becomes one that is closed', async (t) => {
  const image = attribute(32, [0, 55], [8, 0x2000]);
  const { call } = encodeRaw(
    { command: Cmd.BPF_MAP_LOOKUP_ELEM, address: ADDRESS, image },
    new Process(),
    specs,
  );
  t.equal(toHex((call.buffers[0] as Uint8Array).subarray(0, 4)), 'ffffffff');
  t.notOk(call.relocations.includes(1, 2) && call.relocations[2] === 1, 'no handle');
});

t.test('a descriptor of something else becomes one that is open and of no use', async (t) => {
  const sent = (descriptor: number) => {
    const image = attribute(32, [0, descriptor], [8, 0x2000]);
    const call = { command: Cmd.BPF_MAP_LOOKUP_ELEM, address: ADDRESS, image };
    const { buffers } = encodeRaw(call, new Process(), specs).call;
    return toHex((buffers[0] as Uint8Array).subarray(0, 4));
  };
  t.equal(sent(98), '01000000');
  t.same([0, 1, 2].map(sent), ['00000000', '01000000', '02000000'], 'those are open everywhere');
});

t.test('trailing bytes that no row knows are kept, and so is the size', async (t) => {
  const image = attribute(200, [0, 4], [196, 0xdead]);
  const { call } = encodeRaw(
    { command: Cmd.BPF_MAP_FREEZE, address: ADDRESS, image },
    new Process(),
    specs,
  );
  const [sent] = call.buffers as [Uint8Array];
  t.equal(sent.length, 200);
  t.equal(toHex(sent.subarray(196)), 'adde0000');
});

t.test(
  'a short attribute is sent as short, and late outputs are not written beyond it',
  async (t) => {
    const process = new Process();
    process.put(0x2000, hex('9500000000000000'));
    process.put(0x3000, Buffer.from('GPL\0'));
    const image = attribute(48, [0, 1], [4, 1], [8, 0x2000], [16, 0x3000], [28, 16], [32, 0x4000]);
    const encoded = encodeRaw(
      { command: Cmd.BPF_PROG_LOAD, address: ADDRESS, image },
      process,
      specs,
      5,
    );
    t.equal(encoded.call.result, 5);
    t.equal((encoded.call.buffers[0] as { inout: Uint8Array }).inout.length, 48);
    t.same(encoded.call.buffers[2], Buffer.from('GPL\0'));
    const reply = replyTo(encoded, ([, log]) => {
      log?.set(Buffer.from('why\0'));
    });
    t.same(encoded.writes(reply), [
      { address: 0x4000n, bytes: new Uint8Array(Buffer.from('why\0')) },
    ]);
    t.equal(encoded.decode(reply).log_buf, 'why');
  },
);

t.test('lengths are kept, but for what the kernel writes and for words cut in two', async (t) => {
  const next = Cmd.BPF_MAP_GET_NEXT_ID;
  const freeze = Cmd.BPF_MAP_FREEZE;
  const lookup = Cmd.BPF_MAP_LOOKUP_ELEM;
  const load = Cmd.BPF_PROG_LOAD;
  const cases = [
    [freeze, 4, 4],
    [freeze, 3, 4],
    [freeze, 0, 0],
    [freeze, 4097, 4097],
    [next, 4, 8],
    [next, 13, 13],
    [lookup, 4, 4],
    [lookup, 9, 16],
    [lookup, 20, 24],
    [lookup, 24, 24],
    [load, 143, 143],
    [load, 168, 168],
  ] as const;
  for (const [command, given, sent] of cases) {
    const raw = { command, address: ADDRESS, image: new Uint8Array(given) };
    const [buffer] = encodeRaw(raw, new Process(), specs, 1).call.buffers;
    const bytes = buffer instanceof Uint8Array ? buffer : (buffer as { inout: Uint8Array }).inout;
    t.equal(bytes.length, sent, `command ${command} of ${given} bytes`);
  }
});

t.test('sizes of records come back when the kernel has written its own', async (t) => {
  const process = new Process();
  process.put(0x2000, new Uint8Array(40));
  const image = attribute(128, [0, 1], [76, 40], [80, 0x2000], [88, 1], [92, 16]);
  const raw = { command: Cmd.BPF_PROG_LOAD, address: ADDRESS, image };
  const encoded = encodeRaw(raw, process, specs, 5);
  const alone = replyTo(encoded, () => {}, -1, 7);
  t.same(encoded.writes(alone), [], 'nothing is written that has not changed');
  const reply = replyTo(encoded, ([attribute]) => putWords(attribute, 76, 8), -1, 7);
  t.same(encoded.writes(reply), [{ address: ADDRESS + 76n, bytes: hex('08000000') }]);
});

t.test('a test run without a length for its data gives all that there is', async (t) => {
  const process = new Process(undefined, 0x40000);
  process.handles.set(3, 90);
  process.put(0x2000, hex('01020304'));
  const image = attribute(80, [0, 3], [8, 4], [16, 0x2000], [24, 0x3000]);
  const raw = { command: Cmd.BPF_PROG_TEST_RUN, address: ADDRESS, image };
  const encoded = encodeRaw(raw, process, specs);
  const [, , room] = encoded.call.buffers;
  t.ok((room as number) >= 65536);
  const reply = replyTo(encoded, ([attribute, data]) => {
    putWords(attribute, 12, 6);
    data?.set(hex('060504030201'));
  });
  t.same(encoded.writes(reply), [
    { address: 0x3000n, bytes: hex('060504030201') },
    { address: ADDRESS + 12n, bytes: hex('06000000') },
  ]);
  t.equal(encoded.decode(reply).data_size_out, 6);
});

t.test('a context is written back only where the program has changed it', async (t) => {
  const process = new Process();
  process.handles.set(3, 90);
  process.put(0x2000, hex('0102030405060708'));
  const image = attribute(80, [0, 3], [40, 8], [48, 0x2000]);
  const raw = { command: Cmd.BPF_PROG_TEST_RUN, address: ADDRESS, image };
  const encoded = encodeRaw(raw, process, specs);
  t.same(encoded.writes(replyTo(encoded, () => {})), []);
  const reply = replyTo(encoded, ([, context]) => putWords(context, 4, 0xff));
  t.same(encoded.writes(reply), [{ address: 0x2004n, bytes: hex('ff000000') }]);
});

t.test('common attributes are a second argument, with a log of its own', async (t) => {
  const process = new Process();
  const command = Cmd.BPF_MAP_CREATE | enums.CallFlag.BPF_COMMON_ATTRS;
  const common = { address: 0x600n, image: attribute(24, [0, 0x3000], [8, 16], [12, 1]) };
  const raw = { command, address: ADDRESS, image: attribute(20, [0, 1]), common };
  const encoded = encodeRaw(raw, process, specs, 5);
  t.match(encoded.call, { command, args: 2, result: 5 });
  t.same(encoded.call.buffers[0], attribute(20, [0, 1]));
  t.same(encoded.call.relocations, [1, 0, 0, 2]);
  const reply = replyTo(
    encoded,
    ([common, log]) => {
      putWords(common, 16, 40);
      log?.set(Buffer.from('Invalid'));
    },
    -1,
    22,
  );
  t.match(encoded.decodeCommon(reply), { log_buf: 'Invalid', log_true_size: 40 });
  t.match(encoded.error(reply), { code: 'EINVAL', log: 'Invalid' });
  const quiet = encoded.writes(replyTo(encoded, () => {}, 5));
  t.notOk(
    quiet.some(({ address }) => address === 0x3000n),
    'a log is left alone that the kernel has left alone',
  );
  t.same(
    encoded.writes(reply).map(({ address }) => address),
    [0x3000n, 0x610n],
  );
  const none = encodeRaw({ command, address: ADDRESS, image: attribute(20) }, process, specs, 5);
  t.same(none.call.buffers[1], { inout: new Uint8Array(0) });
});

t.test('a value of kernel functions holds programs where their types say', async (t) => {
  const process = new Process();
  process.handles.set(4, 60);
  process.handles.set(5, 90);
  process.put(0x2000, new Uint8Array(4));
  process.put(0x3000, attribute(32, [0, 5], [8, 5], [24, 99]));
  const image = attribute(32, [0, 4], [8, 0x2000], [16, 0x3000]);
  const raw = { command: Cmd.BPF_MAP_UPDATE_ELEM, address: ADDRESS, image };
  const map = mapSpec({
    type: enums.MapType.BPF_MAP_TYPE_STRUCT_OPS,
    valueSize: 32,
    programOffsets: [8, 16, 24],
  });
  const encoded = encodeRaw(raw, process, { ...specs, mapSpec: () => map });
  const value = encoded.call.buffers[2] as Uint8Array;
  t.equal(
    toHex(value),
    '05000000000000005a00000000000000' + '0000000000000000ffffffff00000000',
    'data stays, a program is its handle, nothing stays nothing, and the unknown is closed',
  );
  t.ok(toHex(Uint8Array.from(encoded.call.relocations)).includes('0208015a'));
});

t.test('what cannot be carried is refused with what to do instead', async (t) => {
  const image = new Uint8Array(128);
  putWords(image, 0, enums.ProgType.BPF_PROG_TYPE_SYSCALL);
  image.set(Buffer.from('__loader.prog'), 48);
  const raw = { command: Cmd.BPF_PROG_LOAD, address: ADDRESS, image };
  t.throws(() => encodeRaw(raw, new Process(), specs), {
    code: 'ERR_BPF_UNSUPPORTED',
    message: /the loader of a light skeleton .* without -L/,
  });
});

t.test('the next id is written even to an attribute that ends before it', async (t) => {
  const encoded = encodeRaw(
    { command: Cmd.BPF_MAP_GET_NEXT_ID, address: ADDRESS, image: attribute(4, [0, 8]) },
    new Process(),
    specs,
  );
  const reply = replyTo(encoded, ([attribute]) => putWords(attribute, 4, 9));
  t.same(encoded.writes(reply), [{ address: ADDRESS + 4n, bytes: hex('09000000') }]);
});

t.test('maps in instructions are found by descriptor, in a copy', async (t) => {
  const process = new Process();
  process.handles.set(4, 70);
  const code = hex('1811000004000000 0000000000000000 1811000005000000 0000000000000000');
  process.put(0x2000, code);
  process.put(0x3000, hex('00'));
  const image = attribute(120, [4, 4], [8, 0x2000], [16, 0x3000]);
  const { call } = encodeRaw(
    { command: Cmd.BPF_PROG_LOAD, address: ADDRESS, image },
    process,
    specs,
    5,
  );
  t.equal(
    toHex(call.buffers[1] as Uint8Array),
    '18110000460000000000000000000000' + '18110000ffffffff0000000000000000',
  );
  t.same(call.relocations.slice(0, 4), [1, 4, 1, 70]);
  t.equal(call.relocations.length, 12);
});

t.test('without a count, fd_array is read as far as instructions reach', async (t) => {
  const process = new Process();
  process.handles.set(6, 70);
  process.put(0x2000, hex('1851000002000000 0000000000000000'));
  process.put(0x3000, hex('00'));
  process.put(0x4000, hex('05000000 05000000 06000000 07000000'));
  const image = attribute(144, [4, 2], [8, 0x2000], [16, 0x3000], [120, 0x4000]);
  const { call } = encodeRaw(
    { command: Cmd.BPF_PROG_LOAD, address: ADDRESS, image },
    process,
    specs,
    5,
  );
  t.equal(toHex(call.buffers[3] as Uint8Array), '050000000500000046000000');
});

t.test('info is written around the process’s own pointers, save those withheld', async (t) => {
  const process = new Process();
  process.handles.set(3, 90);
  const info = attribute(240, [20, 16], [32, 0x5000], [52, 2], [56, 0x6000]);
  process.put(0x2000, info);
  const encoded = encodeRaw(
    {
      command: Cmd.BPF_OBJ_GET_INFO_BY_FD,
      address: ADDRESS,
      image: attribute(16, [0, 3], [4, 240], [8, 0x2000]),
    },
    process,
    specs,
  );
  const reply = replyTo(encoded, ([attribute, info, , ids]) => {
    putWords(attribute, 4, 232);
    putWords(info, 0, 17);
    putWords(info, 200, 5);
    putWords(info, 52, 1);
    info?.fill(0, 32, 40);
    putWords(ids, 0, 33);
  });
  for (const { address, bytes } of encoded.writes(reply)) process.put(Number(address), bytes);
  const after = new DataView(process.bytes.buffer);
  t.equal(after.getUint32(0x104, true), 232, 'info_len');
  t.equal(after.getUint32(0x2000, true), 17, 'type');
  t.equal(after.getUint32(0x2000 + 200, true), 5, 'run_cnt');
  t.equal(after.getUint32(0x2000 + 32, true), 0, 'a pointer that the kernel cleared');
  t.equal(after.getUint32(0x2000 + 56, true), 0x6000, 'a pointer of the process');
  t.equal(after.getUint32(0x6000, true), 33, 'the first id');
  t.equal(after.getUint32(0x6004, true), 0, 'and no second');
});

t.test('what the kernel leaves alone is not written', async (t) => {
  const process = new Process();
  process.handles.set(4, 70);
  process.put(0x3000, hex('00108899aa7f0000'));
  const image = attribute(32, [0, 4], [8, 0x2000], [16, 0x3000]);
  const call = { command: Cmd.BPF_MAP_LOOKUP_ELEM, address: ADDRESS, image };
  const encoded = encodeRaw(call, process, specs);
  const { inout } = encoded.call.buffers[2] as { inout: Uint8Array };
  t.equal(toHex(inout), '00108899aa7f0080', 'a left-over address does not travel as one');
  t.same(encoded.writes(replyTo(encoded, () => {}, -1, 2)), []);
  const reply = replyTo(encoded, ([value]) => value?.fill(0, 0, 1).fill(3, 1, 2));
  t.same(encoded.writes(reply)[0]?.bytes.subarray(0, 1), hex('03'), 'from the first change on');
});

t.test(
  'what is too long to be kept is written when the kernel has certainly done so',
  async (t) => {
    const process = new Process();
    const given = attribute(40, [8, 0x2000], [16, 4], [20, 0x2000], [24, 1]);
    given.set(hex('0030'), 0);
    given.set(hex('0040'), 8);
    const encoded = encodeRaw(
      { command: Cmd.BPF_BTF_LOAD, address: ADDRESS, image: given },
      process,
      specs,
    );
    t.equal(encoded.call.buffers[1 + 1], 0x2000, 'a length travels');
    const silent = encoded.writes(replyTo(encoded, () => {}, -1, 22));
    t.notOk(
      silent.some(({ address }) => address === 0x4000n),
      'no log, no NUL',
    );
    const reply = replyTo(encoded, ([, log]) => log?.set(Buffer.from('no!')), -1, 22);
    const written = encoded.writes(reply).find(({ address }) => address === 0x4000n);
    t.same(written?.bytes, new Uint8Array(Buffer.from('no!\0')));
  },
);

t.test('memory that the process does not have is left out', async (t) => {
  const process = new Process();
  process.handles.set(4, 70);
  const image = attribute(32, [0, 4], [8, 0xfffe], [16, 0x20000]);
  const call = { command: Cmd.BPF_MAP_LOOKUP_ELEM, address: ADDRESS, image };
  const [, key, value] = encodeRaw(call, process, specs).call.buffers;
  t.equal((key as Uint8Array).length, 2);
  t.same(value, { inout: new Uint8Array(0) });
});

t.test('symbols are read pointer by pointer', async (t) => {
  const process = new Process();
  process.handles.set(3, 90);
  process.put(0x2000, hex('0030000000000000 0040000000000000'));
  process.put(0x3000, Buffer.from('vfs_read\0'));
  process.put(0x4000, Buffer.from('vfs_write\0'));
  const kprobes = enums.AttachType.BPF_TRACE_KPROBE_MULTI;
  const image = attribute(64, [0, 3], [8, kprobes], [20, 2], [24, 0x2000]);
  const { call } = encodeRaw(
    { command: Cmd.BPF_LINK_CREATE, address: ADDRESS, image },
    process,
    specs,
    5,
  );
  t.equal(Buffer.from(call.buffers[2] as Uint8Array).toString(), 'vfs_read\0vfs_write\0');
});

t.test('an unknown command is refused', async (t) => {
  const raw = { command: 200, address: ADDRESS, image: new Uint8Array(8) };
  t.throws(() => encodeRaw(raw, new Process(), specs), { code: 'ERR_BPF_UNKNOWN_COMMAND' });
});

/** A look-up in a map with values of such a length, and the value that is there before. */
function lookUp(valueSize: number, before: Uint8Array) {
  const process = new Process();
  process.handles.set(4, 70);
  process.put(0x3000, before);
  const image = attribute(32, [0, 4], [8, 0x2000], [16, 0x3000]);
  const raw = { command: Cmd.BPF_MAP_LOOKUP_ELEM, address: ADDRESS, image };
  return encodeRaw(raw, process, { ...specs, mapSpec: () => mapSpec({ valueSize }) });
}

t.test('only what may be an address of the process is kept from the guest', async (t) => {
  const words = [0xffffn, 0x10000n, 0x7fff_ffff_ffffn, 0x8000_0000_0000n, 0n];
  const before = new Uint8Array(BigUint64Array.from(words).buffer);
  const encoded = lookUp(40, before);
  const { inout } = encoded.call.buffers[2] as { inout: Uint8Array };
  const high = 1n << 63n;
  const sent = [0xffffn, 0x10000n | high, 0x7fff_ffff_ffffn | high, 0x8000_0000_0000n, 0n];
  t.equal(toHex(inout), toHex(new Uint8Array(BigUint64Array.from(sent).buffer)));
  const reply = replyTo(encoded, ([value]) => {
    putWords(value, 0, 7);
    putWords(value, 32, 8);
  });
  const after = before.slice(0, 33);
  after.set([7, 0], 0);
  after.set([8], 32);
  t.same(
    encoded.writes(reply),
    [{ address: 0x3000n, bytes: after }],
    'what the kernel left between its bytes is as the process has it',
  );
});

t.test('up to a page, the contents of memory for output are sent', async (t) => {
  t.same(lookUp(4096, hex('01')).call.buffers[2], { inout: attribute(4096, [0, 1]) });
  t.equal(lookUp(4097, hex('01')).call.buffers[2], 4097);
});

t.test('a structure longer than a page is sent as far as it takes to be refused', async (t) => {
  const process = new Process();
  process.handles.set(3, 90);
  const image = attribute(16, [0, 3], [4, 9000], [8, 0x2000]);
  const { call } = encodeRaw(
    { command: Cmd.BPF_OBJ_GET_INFO_BY_FD, address: ADDRESS, image },
    process,
    specs,
  );
  t.equal((call.buffers[1] as { inout: Uint8Array }).inout.length, 4097);
});

t.test('a map that nothing is known of, and a count of 0, leave no room', async (t) => {
  const process = new Process();
  const raw = (image: Uint8Array, command: number) => ({ command, address: ADDRESS, image });
  const lookup = attribute(32, [0, 55], [8, 0x2000], [16, 0x3000]);
  const one = encodeRaw(raw(lookup, Cmd.BPF_MAP_LOOKUP_ELEM), process, specs);
  t.same(one.call.buffers.slice(1), [new Uint8Array(0), { inout: new Uint8Array(0) }]);
  process.handles.set(4, 70);
  const none = attribute(56, [16, 0x3000], [24, 0x4000], [36, 4]);
  const batch = encodeRaw(raw(none, Cmd.BPF_MAP_LOOKUP_BATCH), process, specs);
  const empty = { inout: new Uint8Array(0) };
  t.same(batch.call.buffers.slice(1), [empty, empty]);
});

t.test('fd_array is read by its count, or not at all when nothing uses it', async (t) => {
  const process = new Process();
  process.handles.set(6, 70);
  process.put(0x2000, hex('9500000000000000'));
  process.put(0x4000, hex('06000000 06000000 06000000'));
  const load = (count: number) => {
    const image = attribute(152, [4, 1], [8, 0x2000], [120, 0x4000], [148, count]);
    const raw = { command: Cmd.BPF_PROG_LOAD, address: ADDRESS, image };
    return encodeRaw(raw, process, specs, 5).call.buffers[2];
  };
  t.same(load(0), new Uint8Array(0));
  t.same(load(2), hex('46000000 46000000'));
});

t.test('a descriptor behind the end of a short attribute is none', async (t) => {
  const process = new Process();
  process.handles.set(0, 70);
  const raw = { command: Cmd.BPF_MAP_LOOKUP_ELEM, address: ADDRESS, image: new Uint8Array(0) };
  t.same(encodeRaw(raw, process, specs).call.relocations, []);
});

t.test('a call that returns no descriptor binds no handle', async (t) => {
  const image = attribute(32, [0, 55]);
  const raw = { command: Cmd.BPF_MAP_LOOKUP_ELEM, address: ADDRESS, image };
  t.equal(encodeRaw(raw, new Process(), specs, 9).call.result, 0);
});

t.test('a map is looked up once for a call, and a closed one never', async (t) => {
  const process = new Process();
  process.handles.set(4, 70);
  const asked: number[] = [];
  const counting = {
    ...specs,
    mapSpec: (handle: number) => {
      asked.push(handle);
      return mapSpec();
    },
  };
  const lookUp = (descriptor: number) => {
    const image = attribute(56, [8, 0x2000], [16, 0x3000], [24, 0x4000], [32, 2], [36, descriptor]);
    const raw = { command: Cmd.BPF_MAP_LOOKUP_BATCH, address: ADDRESS, image };
    encodeRaw(raw, process, counting);
    return asked.splice(0);
  };
  t.same(lookUp(4), [70], 'three lengths depend on it');
  t.same(lookUp(55), []);
});

t.test('what a kernel answers is written once it is certain', async (t) => {
  const process = new Process();
  process.handles.set(3, 91);
  const image = attribute(16, [0, 3], [4, 32], [8, 0x2000]);
  process.put(0x2000, attribute(32, [0, 0x4000], [8, 0x2000]));
  const raw = { command: Cmd.BPF_OBJ_GET_INFO_BY_FD, address: ADDRESS, image };
  const encoded = encodeRaw(raw, process, specs);
  const types = (result: number, errno: number) =>
    encoded
      .writes(replyTo(encoded, ([, , btf]) => btf?.set([1]), result, errno))
      .find(({ address }) => address === 0x4000n)?.bytes.length;
  t.equal(types(0, 0), 0x2000, 'all of it, with its zeroes');
  t.equal(types(-1, 14), 1, 'nobody knows more after a call that failed');
  t.equal(types(-1, 28), 0x2000, 'the count is valid');
});

t.test('elements of a batch are written by the count that came back', async (t) => {
  const process = new Process();
  process.handles.set(4, 70);
  process.put(0x3000, new Uint8Array(64).fill(9));
  const batch = (count: number, result: number, errno: number) => {
    const image = attribute(56, [16, 0x3000], [24, 0x6000], [32, count], [36, 4]);
    const raw = { command: Cmd.BPF_MAP_LOOKUP_BATCH, address: ADDRESS, image };
    const encoded = encodeRaw(raw, process, specs);
    const reply = replyTo(
      encoded,
      ([attribute, keys]) => {
        putWords(attribute, 32, 3);
        keys?.fill(0);
      },
      result,
      errno,
    );
    return encoded.writes(reply).find(({ address }) => address === 0x3000n)?.bytes.length;
  };
  // Keys of 4 bytes: 12 in a page or less are compared, and 2000 are not.
  for (const [result, errno] of [
    [0, 0],
    [-1, 2],
    [-1, 28],
  ] as const) {
    t.equal(batch(12, result, errno), 12, `few, errno ${errno}`);
    t.equal(batch(2000, result, errno), 12, `many, errno ${errno}`);
  }
  t.equal(batch(12, -1, 14), 48, 'whatever has changed');
  t.equal(batch(2000, -1, 14), undefined, 'whatever is not zero');
});

t.test('text that is empty is written when the kernel has certainly done so', async (t) => {
  const process = new Process();
  const image = attribute(48, [0, 7], [4, 3], [12, 16], [16, 0x3000]);
  const raw = { command: Cmd.BPF_TASK_FD_QUERY, address: ADDRESS, image };
  const encoded = encodeRaw(raw, process, specs);
  const written = (result: number, errno: number, text = '') =>
    encoded
      .writes(replyTo(encoded, ([, name]) => name?.set(Buffer.from(text)), result, errno))
      .find(({ address }) => address === 0x3000n)?.bytes;
  t.same(written(0, 0), hex('00'));
  t.same(written(0, 0, 'ab'), hex('616200'));
  t.same(written(-1, 2), undefined, 'the call may have failed before');
  t.same(written(-1, 2, 'a'), hex('6100'));
  t.same(written(-1, 28), hex('00'), 'there was room for nothing else');
  t.same(written(0, 0, 'x'.repeat(16))?.length, 16, 'text without its NUL');
});

t.test('a log that stays empty is not written', async (t) => {
  const process = new Process();
  const image = attribute(28, [8, 0x4000], [20, 64], [24, 1]);
  const raw = { command: Cmd.BPF_BTF_LOAD, address: ADDRESS, image };
  const encoded = encodeRaw(raw, process, specs, 5);
  t.same(encoded.writes(replyTo(encoded, () => {}, 5)), []);
  const load = attribute(48, [28, 64], [32, 0x4000]);
  const program = encodeRaw(
    { command: Cmd.BPF_PROG_LOAD, address: ADDRESS, image: load },
    process,
    specs,
    5,
  );
  t.same(program.writes(replyTo(program, () => {}, 5)), []);
});

t.test('outputs behind the end of a short attribute', async (t) => {
  const process = new Process();
  process.handles.set(3, 90);
  const next = { command: Cmd.BPF_MAP_GET_NEXT_ID, address: ADDRESS, image: attribute(4, [0, 8]) };
  const id = encodeRaw(next, process, specs);
  t.same(
    id.writes(replyTo(id, () => {}, 0)),
    [{ address: ADDRESS + 4n, bytes: new Uint8Array(4) }],
    'a zero is an answer, too',
  );
  t.same(id.writes(replyTo(id, () => {}, -1, 2)), [], 'a call that failed gives none');
  const run = { command: Cmd.BPF_PROG_TEST_RUN, address: ADDRESS, image: attribute(8, [0, 3]) };
  const test = encodeRaw(run, process, specs);
  t.same(
    test.writes(replyTo(test, () => {}, 0)),
    [{ address: ADDRESS + 36n, bytes: new Uint8Array(4) }],
    'counts that are still zero are none',
  );
  const load = { command: Cmd.BPF_PROG_LOAD, address: ADDRESS, image: attribute(142) };
  const late = encodeRaw(load, process, specs, 5);
  const reply = replyTo(late, ([attribute]) => attribute?.set([1, 1], 140), 5);
  t.same(late.writes(reply), [], 'the kernel writes this one to a long enough attribute only');
});

t.test('an answer that has no outputs writes nothing', async (t) => {
  const encoded = lookUp(8, new Uint8Array(0));
  t.same(encoded.writes({ result: -1, errno: 22, outputs: [] }), []);
});
