import t from 'tap';
import { encode, type Ref, rows } from '../../src/bpf/index.js';
import { hex, specs } from './tools.js';

// What is asserted here is asserted by the compiler: each line below an expectation must not
// compile, and the types of results must be those that are written out.
t.test('the compiler knows the fields of a row, their kinds and what comes back', async (t) => {
  const map: Ref<'map'> = { handle: 1, kind: 'map' };
  const program: Ref<'prog'> = { handle: 2, kind: 'prog' };
  const key = hex('01020304');

  const lookup = encode(rows.MAP_LOOKUP_ELEM, { map_fd: map, key, flags: 1n }, specs());
  const read = (): Uint8Array => lookup.decode({ result: 0, errno: 0, outputs: [] }).value;
  t.type(read, 'function');

  const refused = [
    // @ts-expect-error a program where a map belongs
    () => encode(rows.MAP_LOOKUP_ELEM, { map_fd: program, key }, specs()),
    // @ts-expect-error no key
    () => encode(rows.MAP_LOOKUP_ELEM, { map_fd: map }, specs()),
    // @ts-expect-error a misspelt field
    () => encode(rows.MAP_FREEZE, { map_fd: map, flag: 1 }, specs()),
    // @ts-expect-error text where a number belongs
    () => encode(rows.MAP_CREATE, { map_type: 'hash' }, specs()),
    // @ts-expect-error a field that only comes back
    () => encode(rows.PROG_GET_NEXT_ID, { next_id: 1 }, specs()),
  ];
  t.equal(refused.length, 5);

  const info = encode(rows.OBJ_GET_INFO_BY_FD_MAP, { bpf_fd: map }, specs());
  const names = (): [string, bigint, number, Uint8Array | undefined] => {
    const { info: specs } = info.decode({ result: 0, errno: 0, outputs: [] });
    return [specs.name, specs.netns_ino, specs.key_size, specs.hash];
  };
  t.type(names, 'function');
});
