import t from 'tap';
import { perf, rows } from '../../src/bpf/index.js';
import { charactersIn, instructions, offsetIn, textIn, wordIn } from '../../src/policy/places.js';

/* Where rules look in the attribute of a call. The numbers are those of linux/bpf.h. */

const { MAP_CREATE, OBJ_PIN, PROG_LOAD, RAW_TRACEPOINT_OPEN, LINK_CREATE_KPROBE_MULTI } = rows;

t.test('the offsets and the widths of words', async (t) => {
  t.equal(offsetIn(MAP_CREATE, 'map_type'), 0);
  t.equal(offsetIn(PROG_LOAD, 'license'), 16);
  t.same(wordIn(MAP_CREATE, 'map_flags'), { offset: 16, width: 4 });
  t.same(wordIn(MAP_CREATE, 'map_extra'), { offset: 64, width: 8 });
  t.same(wordIn(PROG_LOAD, 'insns'), { offset: 8, width: 8 }, 'a pointer is a word');
  t.same(wordIn(perf.PERF_EVENT_ATTR, 'config'), { offset: 8, width: 8 });
});

t.test('text behind a pointer, with the most that the kernel reads of it', async (t) => {
  t.same(textIn(PROG_LOAD, 'license'), { pointer: 16, maximum: 128 });
  t.same(textIn(OBJ_PIN, 'pathname'), { pointer: 0, maximum: 4096 });
  t.same(textIn(RAW_TRACEPOINT_OPEN, 'name'), { pointer: 0, maximum: 128 });
  t.match(textIn(LINK_CREATE_KPROBE_MULTI, 'syms'), { pointer: 24 }, 'the texts of an array');
});

t.test('text that is a field itself', async (t) => {
  t.same(charactersIn(MAP_CREATE, 'map_name'), { offset: 28, size: 16 });
  t.same(charactersIn(PROG_LOAD, 'prog_name'), { offset: 48, size: 16 });
});

t.test('instructions of eight bytes, and how many there are', async (t) => {
  t.same(instructions(0x85), {
    kind: 'records',
    records: { pointer: 8, count: 4, mask: 0xf0ff, pattern: 0x85 },
  });
  t.match(instructions(0x85, 0xff), { records: { mask: 0xff } });
});

t.test('a rule about a field that is not there, or of another kind, is a mistake', async (t) => {
  const wrong = (look: () => unknown, message: string) => t.throws(look, { message }, message);
  wrong(() => offsetIn(MAP_CREATE, 'nam'), 'BPF_MAP_CREATE has no field nam');
  wrong(() => wordIn(MAP_CREATE, 'nam'), 'BPF_MAP_CREATE has no word nam');
  wrong(() => wordIn(MAP_CREATE, 'map_name'), 'BPF_MAP_CREATE has no word map_name');
  wrong(() => textIn(MAP_CREATE, 'nam'), 'BPF_MAP_CREATE has no text nam');
  wrong(() => textIn(MAP_CREATE, 'map_name'), 'BPF_MAP_CREATE has no text map_name');
  wrong(() => textIn(PROG_LOAD, 'insns'), 'BPF_PROG_LOAD has no text insns');
  // The kernel writes it, and its end is not its NUL.
  wrong(() => textIn(PROG_LOAD, 'log_buf'), 'BPF_PROG_LOAD has no text log_buf');
  wrong(() => charactersIn(MAP_CREATE, 'nam'), 'BPF_MAP_CREATE has no characters nam');
  wrong(() => charactersIn(PROG_LOAD, 'license'), 'BPF_PROG_LOAD has no characters license');
});
