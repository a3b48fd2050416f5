import t from 'tap';
import { encode, rows } from '../../src/bpf/index.js';
import { hex, putWords, replyTo, specs } from './tools.js';

const map = { handle: 7 };
const key = hex('01020304');

t.test('a value comes back as the bytes of the reply', async (t) => {
  const encoded = encode(rows.MAP_LOOKUP_ELEM, { map_fd: map, key }, specs());
  const reply = replyTo(encoded, ([value]) => value?.fill(5));
  const { value } = encoded.decode(reply);
  t.same(value, new Uint8Array(8).fill(5));
  t.equal(value, reply.outputs[0]);
});

t.test('an output that is longer than was asked for is cut', async (t) => {
  const encoded = encode(rows.MAP_LOOKUP_ELEM, { map_fd: map, key }, specs());
  const { value } = encoded.decode({ result: 0, errno: 0, outputs: [new Uint8Array(64)] });
  t.equal(value.length, 8);
});

t.test('numbers come back from the attribute', async (t) => {
  const encoded = encode(rows.PROG_GET_NEXT_ID, { start_id: 3 }, specs());
  const reply = replyTo(encoded, ([attribute]) => putWords(attribute, 4, 4000000000));
  t.same(encoded.decode(reply), { next_id: 4000000000 });
});

t.test('a batch is cut to the count that the kernel returned, also when it failed', async (t) => {
  const encoded = encode(rows.MAP_LOOKUP_BATCH, { map_fd: map, count: 10 }, specs());
  const fill = (outputs: Uint8Array[]) => putWords(outputs[0], 32, 3);
  const decoded = encoded.decode(replyTo(encoded, fill, -1, 2));
  t.match(decoded, { count: 3 });
  t.equal(decoded.keys?.length, 12);
  t.equal(decoded.values?.length, 24);
  t.equal(decoded.out_batch?.length, 4);
});

t.test('a count above what was asked for cuts nothing', async (t) => {
  const encoded = encode(
    rows.OBJ_GET_INFO_BY_FD_PROG,
    { bpf_fd: map, info: { nr_map_ids: 2 } },
    specs(),
  );
  const { info } = encoded.decode(replyTo(encoded, ([, info]) => putWords(info, 52, 9)));
  t.equal(info.nr_map_ids, 9);
  t.equal(info.map_ids?.length, 8);
});

t.test('a structure comes back with text, bytes, bits and large numbers', async (t) => {
  const encoded = encode(rows.OBJ_GET_INFO_BY_FD_PROG, { bpf_fd: map }, specs());
  const reply = replyTo(encoded, ([attribute, info]) => {
    putWords(attribute, 4, 200);
    info?.set(Buffer.from('0123456789abcdef'), 64);
    info?.set(hex('0102030405060708'), 8);
    putWords(info, 40, 1, 2);
    putWords(info, 84, 0xfffffffd);
  });
  const decoded = encoded.decode(reply);
  t.match(decoded, { info_len: 200, info: { name: '0123456789abcdef', gpl_compatible: true } });
  t.equal(decoded.info.load_time, 0x200000001n);
  t.same(decoded.info.tag, hex('0102030405060708'));
  t.equal(decoded.info.map_ids, undefined);
});

t.test('what the kernel withholds is absent, not zero', async (t) => {
  const encoded = encode(
    rows.OBJ_GET_INFO_BY_FD_PROG,
    { bpf_fd: map, info: { xlated_prog_len: 64, nr_map_ids: 1 } },
    specs(),
  );
  const reply = replyTo(encoded, ([, info]) => info?.fill(0, 32, 40));
  const { info } = encoded.decode(reply);
  t.equal(info.xlated_prog_insns, undefined);
  t.equal(info.map_ids?.length, 4);
});

t.test('the result cuts what a command reads', async (t) => {
  const encoded = encode(
    rows.PROG_STREAM_READ_BY_FD,
    { prog_fd: map, stream_id: 1, stream_buf_len: 100 },
    specs(),
  );
  t.equal(encoded.decode(replyTo(encoded, () => {}, 5)).stream_buf?.length, 5);
  t.equal(encoded.decode(replyTo(encoded, () => {}, -1, 22)).stream_buf?.length, 0);
});

t.test('a failed load becomes an error with the errno and the log', async (t) => {
  const values = { insns: hex('9500000000000000'), license: 'GPL', log_level: 1, log_size: 64 };
  const encoded = encode(rows.PROG_LOAD, values, specs(), 1);
  const reply = replyTo(
    encoded,
    ([attribute, log]) => {
      putWords(attribute, 140, 14);
      log?.set(Buffer.from('R0 !read_ok\n\0'));
    },
    -1,
    13,
  );
  t.match(encoded.decode(reply), { log_true_size: 14, log_buf: 'R0 !read_ok\n' });
  const error = encoded.error(reply);
  t.match(error, {
    code: 'EACCES',
    errno: -13,
    syscall: 'bpf',
    command: 'BPF_PROG_LOAD',
    side: 'guest',
    log: 'R0 !read_ok\n',
  });
  t.match(error.message, /bpf\(BPF_PROG_LOAD\) EACCES\nR0 !read_ok/);
});

t.test('an error without a log has none, and ENOTSUPP has its name', async (t) => {
  const encoded = encode(rows.MAP_LOOKUP_ELEM, { map_fd: map, key }, specs());
  const error = encoded.error(replyTo(encoded, () => {}, -1, 524));
  t.equal(error.code, 'ENOTSUPP');
  t.notOk('log' in error);
});

t.test('an error has the length of the log that the kernel would have written', async (t) => {
  const values = { insns: hex('9500000000000000'), license: 'GPL', log_level: 1, log_size: 4 };
  const program = encode(rows.PROG_LOAD, values, specs(), 1);
  const failed = (trueSize: number, log: string) =>
    program.error(
      replyTo(
        program,
        ([attribute, room]) => {
          putWords(attribute, 140, trueSize);
          room?.set(Buffer.from(log));
        },
        -1,
        28,
      ),
    );
  t.match(failed(9000, 'R0\0'), { code: 'ENOSPC', log: 'R0', logTrueSize: 9000 });
  t.notOk('logTrueSize' in failed(0, 'R0\0'), 'this kernel does not tell');
  t.notOk('log' in failed(0, '\0'));
  const btf = { btf: new Uint8Array(24), btf_log_level: 1, btf_log_size: 16 };
  const types = encode(rows.BTF_LOAD, btf, specs(), 1);
  const reply = replyTo(
    types,
    ([attribute, log]) => {
      putWords(attribute, 28, 10);
      log?.set(Buffer.from('bad magic\0'));
    },
    -1,
    22,
  );
  t.match(types.error(reply), { command: 'BPF_BTF_LOAD', log: 'bad magic', logTrueSize: 10 });
});

t.test('an error tells about what it is, and why', async (t) => {
  const encoded = encode(rows.MAP_LOOKUP_ELEM, { map_fd: map, key }, specs());
  const reply = replyTo(encoded, () => {}, -1, 2);
  const error = encoded.error(reply, { object: 'map "x"', why: 'no such key' });
  t.match(error, { object: 'map "x"', why: 'no such key', side: 'guest', syscall: 'bpf' });
});

t.test('what a call writes behind a pointer has a place among the outputs', async (t) => {
  const one = encode(rows.MAP_LOOKUP_ELEM, { map_fd: map, key }, specs());
  t.equal(one.outputOf('value'), 0);
  const batch = encode(rows.MAP_LOOKUP_BATCH, { map_fd: map, count: 10 }, specs());
  t.equal(batch.outputOf('out_batch'), 1, 'behind the attribute');
  t.equal(batch.outputOf('keys'), 2);
  t.equal(batch.outputOf('values'), 3);
  const silent = encode(rows.PROG_LOAD, { insns: hex('9500000000000000'), license: '' }, specs());
  t.throws(() => silent.outputOf('log_buf'), {
    message: 'BPF_PROG_LOAD has no output behind log_buf',
  });
  t.throws(() => batch.outputOf('count'), { message: /has no output behind count/ });
});

t.test('a call from named values writes to no memory', async (t) => {
  const encoded = encode(rows.MAP_LOOKUP_ELEM, { map_fd: map, key }, specs());
  t.same(encoded.writes(replyTo(encoded, ([value]) => value?.fill(5))), []);
});

t.test('a value that did not come back is empty', async (t) => {
  const encoded = encode(rows.MAP_LOOKUP_ELEM, { map_fd: map, key }, specs());
  t.same(encoded.decode({ result: -1, errno: 2, outputs: [] }), { value: new Uint8Array(0) });
});

t.test('data of a test run comes back as far as the program left it', async (t) => {
  const values = { prog_fd: map, data_in: hex('0102'), data_size_out: 8, ctx_in: hex('ff') };
  const encoded = encode(rows.PROG_TEST_RUN, values, specs());
  const reply = replyTo(encoded, ([attribute, , data]) => {
    putWords(attribute, 4, 3);
    putWords(attribute, 12, 2);
    putWords(attribute, 36, 7);
    data?.set(hex('0201'));
  });
  const decoded = encoded.decode(reply);
  t.match(decoded, { retval: 3, duration: 7, data_size_out: 2 });
  t.equal('data_in' in decoded, false, 'what only went in is not among them');
});
