/* Cases about programs that implement operations of the kernel: a congestion control of TCP. */
import type { Case, Layout, Place } from '../script.js';
import { AttachType, Cmd, MapType, ProgType } from '../uapi.js';
import type { World } from '../world.js';
import { integers } from './btf.js';
import { collect } from './collect.js';
import { ask, element, hash, map, prog, returns, volatileInfo, words } from './objects.js';

const { MAP_UPDATE_ELEM, MAP_LOOKUP_ELEM, MAP_DELETE_ELEM } = Cmd;
const { LINK_CREATE, LINK_DETACH, LINK_UPDATE } = Cmd;
const NO_DESCRIPTOR = 899;
const REPLACE = 4;
/** BPF_F_LINK: the map is registered by a link. */
const BY_LINK = 1 << 13;

/** The operations that every congestion control has. */
const operations = ['ssthresh', 'undo_cwnd', 'cong_avoid'] as const;

/** The structure that the kernel registers, in the guest's kernel. */
class Control {
  readonly #ops;
  readonly #value;

  constructor(world: World) {
    this.#ops = world.structure('tcp_congestion_ops');
    this.#value = world.structure('bpf_struct_ops_tcp_congestion_ops');
  }

  /** Makes a map for it. */
  map(c: Case, flags = 0, more: Layout = {}): number {
    const { fd } = c.bpf(Cmd.BTF_LOAD, { 0: c.put(integers), 16: integers.length });
    const { id, sizeBytes: value } = this.#value;
    const { STRUCT_OPS: type } = MapType;
    return map(c, { type, value, entries: 1, flags, more: { 48: fd, 60: id, ...more } });
  }

  /** Loads a program for one of its operations. */
  program(c: Case, operation: string): number {
    const { id } = this.#ops;
    const { index } = this.#ops.member(operation);
    return prog(c, ProgType.STRUCT_OPS, returns(2), { 68: index, 108: id });
  }

  at(member: string): number {
    return this.#value.member('data').offset + this.#ops.member(member).offset;
  }

  /** Lays out the value: a name, and the descriptors of programs. */
  value(c: Case, name: string, changed: { readonly [member: string]: number } = {}): Place {
    const programs = Object.fromEntries(
      operations.map((one) => [one, changed[one] ?? this.program(c, one)]),
    );
    const words = Object.entries({ ...programs, ...changed }).map(
      ([member, fd]): [number, bigint] => [this.at(member), BigInt(fd)],
    );
    const end = this.#value.sizeBytes;
    return c.put({
      ...Object.fromEntries(words),
      [this.at('name')]: name,
      [end]: new Uint8Array(0),
    });
  }

  lookUp(c: Case, fd: number): void {
    const value = c.room(this.#value.sizeBytes);
    for (const operation of operations) c.differs('program id', value, this.at(operation), 8);
    c.bpf(MAP_LOOKUP_ELEM, element(fd, c.put(words(0)), value));
  }
}

/** What is wrong with a value, and its name, which must be another one in each case. */
const wrong: Readonly<
  Record<string, (c: Case, control: Control) => { readonly [member: string]: number }>
> = {
  'a program that is not open': () => ({ ssthresh: NO_DESCRIPTOR }),
  'a map for a program': (c) => ({ ssthresh: hash(c) }),
  'a file for a program': (c) => ({ ssthresh: c.open('/proc/version') }),
  'a program of another type': (c) => ({ ssthresh: prog(c) }),
  'a program for another operation': (c, control) => ({
    ssthresh: control.program(c, 'cong_avoid'),
  }),
  'a pointer that is no operation': (c, control) => ({ owner: control.program(c, 'ssthresh') }),
  'an operation that programs cannot have': (c, control) => ({
    get_info: control.program(c, 'get_info'),
  }),
  'an operation fewer': () => ({ cong_avoid: 0 }),
};

/** Returns the cases about STRUCT_OPS maps, their programs and their links. */
export function structOpsCases(world: World): Case[] {
  const control = new Control(world);
  return collect((add) => {
    const key = (c: Case, number = 0) => c.put(words(number));
    add(MAP_UPDATE_ELEM, 'STRUCT_OPS: register, read and unregister', (c) => {
      // Linux 5.10 reads its own types when a program first needs them.
      control.program(c, 'ssthresh');
      const fd = control.map(c);
      control.lookUp(c, fd);
      const value = control.value(c, 'diff_one');
      c.bpf(MAP_UPDATE_ELEM, element(fd, key(c, 1), value));
      c.bpf(MAP_UPDATE_ELEM, element(fd, key(c), value, 2));
      c.bpf(MAP_UPDATE_ELEM, element(fd, key(c), value));
      c.bpf(MAP_UPDATE_ELEM, element(fd, key(c), value));
      control.lookUp(c, fd);
      c.bpf(MAP_DELETE_ELEM, { 0: fd, 8: key(c) });
      c.bpf(MAP_DELETE_ELEM, { 0: fd, 8: key(c) });
      c.bpf(MAP_UPDATE_ELEM, element(fd, key(c), value));
    });
    for (const [number, [name, change]] of Object.entries(wrong).entries()) {
      add(MAP_UPDATE_ELEM, `STRUCT_OPS: ${name}`, (c) => {
        const fd = control.map(c);
        const value = control.value(c, `diff_wrong_${number}`, change(c, control));
        c.bpf(MAP_UPDATE_ELEM, element(fd, key(c), value));
        c.bpf(MAP_DELETE_ELEM, { 0: fd, 8: key(c) });
      });
    }
    for (const [name, more] of Object.entries<(c: Case) => Layout>({
      'a type of no structure': () => ({ 60: 1 }),
      'a type that there is not': () => ({ 60: 0x7fff_ffff }),
      'types that are not open': () => ({ 48: NO_DESCRIPTOR }),
      'types of the caller’s own': () => ({ 52: 1, 56: 1 }),
    })) {
      add(Cmd.MAP_CREATE, `STRUCT_OPS: ${name}`, (c) => control.map(c, 0, more(c)));
    }
    add(LINK_CREATE, 'STRUCT_OPS: register by a link, replace and detach', (c) => {
      const [one, two] = [control.map(c, BY_LINK), control.map(c, BY_LINK)];
      const made = { 4: 0, 8: AttachType.STRUCT_OPS, 12: 0 };
      c.bpf(LINK_CREATE, { 0: one, ...made });
      for (const fd of [one, two]) {
        c.bpf(MAP_UPDATE_ELEM, element(fd, key(c), control.value(c, 'diff_link')));
      }
      const { fd: link } = c.bpf(LINK_CREATE, { 0: one, ...made });
      c.bpf(LINK_CREATE, { 0: one, ...made });
      const { info } = ask(c, link, 32);
      for (const [name, offset, length] of volatileInfo.link) c.differs(name, info, offset, length);
      c.differs('map id', info, 16);
      control.lookUp(c, one);
      c.bpf(LINK_UPDATE, { 0: link, 4: two, 8: REPLACE, 12: two });
      c.bpf(LINK_UPDATE, { 0: link, 4: two, 8: REPLACE, 12: one });
      c.bpf(LINK_UPDATE, { 0: link, 4: hash(c), 8: 0, 12: 0 });
      control.lookUp(c, one);
      control.lookUp(c, two);
      c.bpf(LINK_DETACH, { 0: link });
    });
  });
}
