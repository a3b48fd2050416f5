/* Finding objects that are in the guest's kernel already: by id, by path, one after the other. */
import { type Command, enums, type Ref, type Results, rows } from '../bpf/index.js';
import { type Handle, Relocation } from '../call.js';
import { viewOf } from '../codec/index.js';
import { errnoName } from '../errno.js';
import { failure, systemError, WaepError } from '../errors.js';
import type { Patience } from '../session/caller.js';
import { patient } from './bpf-calls.js';
import type { GuestKernel } from './guest-kernel.js';

/** Where an object is found: under its id, or under its path in a bpf file system of the guest. */
export type Where = { readonly id: number } | { readonly path: string };

type Findable = 'map' | 'prog' | 'link' | 'btf';

const byId = {
  map: (id: number, flags: number) => [rows.MAP_GET_FD_BY_ID, { map_id: id, open_flags: flags }],
  prog: (id: number) => [rows.PROG_GET_FD_BY_ID, { prog_id: id }],
  link: (id: number) => [rows.LINK_GET_FD_BY_ID, { link_id: id }],
  btf: (id: number) => [rows.BTF_GET_FD_BY_ID, { btf_id: id }],
} as const satisfies Record<Findable, (id: number, flags: number) => readonly [Command, object]>;

const nextId = {
  map: rows.MAP_GET_NEXT_ID,
  prog: rows.PROG_GET_NEXT_ID,
  link: rows.LINK_GET_NEXT_ID,
  btf: rows.BTF_GET_NEXT_ID,
} as const;

/**
 * Opens an object and returns its handle.
 *
 * @param how `flags`: BPF_F_RDONLY or BPF_F_WRONLY, of a map
 */
export async function open(
  session: GuestKernel,
  kind: Findable,
  where: Where,
  how: { flags?: number | undefined; patience?: Patience | undefined } = {},
): Promise<Handle> {
  const { flags = 0, patience } = how;
  const { id, path } = Object(where) as { id?: unknown; path?: unknown };
  if (typeof id === 'number') return openById(session, kind, id, { flags, patience });
  if (typeof path !== 'string') {
    const expected = `the id or the path of a ${kind}, as { id } or { path }`;
    throw failure('ERR_OPTION_INVALID', { option: 'where', value: where, expected });
  }
  const about = patient({ subject: `${kind} at ${path}` }, patience);
  const { handle } = await session.bpf(rows.OBJ_GET, { pathname: path, file_flags: flags }, about);
  const found = await findableKind(session, handle);
  if (found === kind) return handle;
  await session.release([handle]);
  throw failure('ERR_OPTION_INVALID', {
    option: 'path',
    value: path,
    expected: `the path of a ${kind}; this is that of a ${found}`,
  });
}

async function openById(
  session: GuestKernel,
  kind: Findable,
  id: number,
  how: { flags: number; patience?: Patience | undefined; handle?: Handle },
): Promise<Handle> {
  const [row, values] = byId[kind](id, how.flags);
  const about = patient({ subject: `${kind} ${id}`, handle: how.handle }, how.patience);
  return (await session.bpf(row as Command, values, about)).handle;
}

/*
 * The kernel does not say what kind of object a path leads to. But the information on each kind
 * has a length of its own, which grows with releases without ever meeting that of another:
 * struct bpf_link_info has 32 to 64 bytes, bpf_map_info 80 to 104, bpf_prog_info 200 and more.
 */
const LEAST_MAP_INFO_BYTES = 72;
const LEAST_PROG_INFO_BYTES = 160;
const ROOM_BYTES = 512;

/** The kind of object that a handle stands for, if it can be pinned. */
export async function findableKind(session: GuestKernel, handle: Handle): Promise<Findable> {
  const attribute = new Uint8Array(16);
  viewOf(attribute).setUint32(0, handle, true);
  viewOf(attribute).setUint32(4, ROOM_BYTES, true);
  const { result, errno, outputs } = await session.call(
    {
      command: enums.Cmd.BPF_OBJ_GET_INFO_BY_FD,
      args: 1,
      result: 0,
      buffers: [{ inout: attribute }, { inout: new Uint8Array(ROOM_BYTES) }],
      relocations: [...[0, 0, Relocation.FD32, handle], ...[0, 8, Relocation.POINTER, 1]],
    },
    { name: 'BPF_OBJ_GET_INFO_BY_FD' },
  );
  if (result < 0) {
    throw systemError('bpf', errno, { command: 'BPF_OBJ_GET_INFO_BY_FD', side: 'guest' });
  }
  const length = viewOf(outputs[0] ?? attribute).getUint32(4, true);
  if (length >= LEAST_PROG_INFO_BYTES) return 'prog';
  return length >= LEAST_MAP_INFO_BYTES ? 'map' : 'link';
}

/**
 * Yields what `read` makes of every object of a kind, in the order of their ids. What is gone by
 * then is left out. The next id is asked for while an object is looked at.
 */
export async function* each<T>(
  session: GuestKernel,
  kind: Findable,
  flags: number,
  read: (object: Ref<never>) => Promise<T>,
): AsyncGenerator<T> {
  const after = (id: number) => session.tryBpf(nextId[kind], { start_id: id });
  let found = await after(0);
  let before = 0;
  while (found.result >= 0) {
    const id = (found.values() as Results<typeof rows.PROG_GET_NEXT_ID>).next_id;
    if (id <= before) {
      const received = `the ${kind} ${id} after ${before} from ${session.address}`;
      throw failure('ERR_PROTOCOL_UNEXPECTED', { received, expected: 'ascending ids' });
    }
    before = id;
    const following = after(id);
    following.catch(() => {});
    const one = await look(session, kind, id, flags, read);
    if (one !== undefined) yield one.read;
    found = await following;
  }
  if (errnoName(found.errno) !== 'ENOENT') throw found.error();
}

/** Opens, reads and closes without waiting in between: who opens chooses the handle. */
async function look<T>(
  session: GuestKernel,
  kind: Findable,
  id: number,
  flags: number,
  read: (object: Ref<never>) => Promise<T>,
): Promise<{ read: T } | undefined> {
  const handle = session.newHandle();
  const opening = openById(session, kind, id, { flags, handle });
  const reading = read({ handle });
  reading.catch(() => {});
  try {
    await opening;
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return { read: await reading };
  } finally {
    await session.release([handle]).catch((error: unknown) => {
      if (!(error instanceof WaepError)) throw error;
    });
  }
}
