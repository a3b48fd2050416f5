import { enums, type Ref, type Results, rows } from '../bpf/index.js';
import { viewOf } from '../codec/index.js';
import { errnoNumber } from '../errno.js';
import type { SystemError } from '../errors.js';
import { refuseUnknownOptions } from '../known-options.js';
import { type Patience, patienceNames } from '../session/caller.js';
import { patient } from './bpf-calls.js';
import type { GuestKernel } from './guest-kernel.js';
import { openObject } from './guest-object.js';

/** A place that programs are attached to. */
export type Place =
  /** A cgroup: its folder in the guest, or what {@link Session.openObject} opened. */
  | { readonly cgroup: string | Ref<'cgroup'> }
  /** A network interface of the guest, for tcx and netkit; since 6.6. */
  | { readonly interfaceIndex: number }
  /** A network namespace: its file in the guest, or what {@link Session.openObject} opened. */
  | { readonly netns: string | Ref<'netns'> };

/** The programs that are attached to a place. */
export interface Attached {
  /** The programs, in the order in which they run. */
  readonly programs: readonly {
    readonly id: number;
    /** The id of the link that holds it there, or 0; of tcx and netkit only. */
    readonly linkId: number;
  }[];
  /** `BPF_F_ALLOW_OVERRIDE` and `BPF_F_ALLOW_MULTI` of a cgroup. */
  readonly flags: number;
  /** Rises whenever something changes there, of tcx and netkit; else 0. */
  readonly revision: bigint;
}

/** Room for programs; a place that has more is asked again. */
const ROOM = 64;
const ENOSPC = errnoNumber('ENOSPC');

/** The outcome of a query, of whichever shape. */
interface Asked {
  readonly result: number;
  readonly errno: number;
  values(): Results<typeof rows.PROG_QUERY_INTERFACE>;
  error(): SystemError;
}
type Ask = (common: {
  attach_type: number;
  query_flags: number;
  prog_cnt: number;
}) => Promise<Asked>;

/** Lists the programs that are attached to a place; see {@link Session.attached}. */
export async function attached(
  session: GuestKernel,
  place: Place,
  attachType: number,
  options: { effective?: boolean } & Patience,
): Promise<Attached> {
  refuseUnknownOptions('attached()', options, { effective: true, ...patienceNames });
  const { effective = false, ...patience } = options;
  if ('interfaceIndex' in place) {
    const { interfaceIndex } = place;
    const about = patient({ subject: `network interface ${interfaceIndex}` }, options);
    const target = { target_ifindex: interfaceIndex, link_ids: true };
    return query(attachType, effective, (common) =>
      session.tryBpf(rows.PROG_QUERY_INTERFACE, { ...target, ...common }, about),
    );
  }
  if ('cgroup' in place) {
    const { cgroup } = place;
    if (typeof cgroup !== 'string') {
      const about = patient({ subject: cgroup }, options);
      return query(attachType, effective, (common) =>
        session.tryBpf(rows.PROG_QUERY_CGROUP, { target_fd: cgroup, ...common }, about),
      );
    }
    await using opened = await openObject(session, 'cgroup', cgroup, patience);
    return await attached(session, { cgroup: opened }, attachType, options);
  }
  const { netns } = place;
  if (typeof netns !== 'string') {
    const about = patient({ subject: netns }, options);
    return query(attachType, effective, (common) =>
      session.tryBpf(rows.PROG_QUERY_NETNS, { target_fd: netns, ...common }, about),
    );
  }
  await using opened = await openObject(session, 'netns', netns, patience);
  return await attached(session, { netns: opened }, attachType, options);
}

async function query(attachType: number, effective: boolean, ask: Ask): Promise<Attached> {
  const { BPF_F_QUERY_EFFECTIVE } = enums.QueryFlag;
  const common = {
    attach_type: attachType,
    query_flags: effective ? BPF_F_QUERY_EFFECTIVE : 0,
  };
  for (let room = ROOM; ; ) {
    const outcome = await ask({ ...common, prog_cnt: room });
    if (outcome.result < 0 && outcome.errno !== ENOSPC) throw outcome.error();
    const answer = outcome.values();
    // Programs may have been added since the kernel counted them.
    if (outcome.errno === ENOSPC || answer.prog_cnt > room) {
      room = Math.max(answer.prog_cnt, 2 * room);
      continue;
    }
    const ids = viewOf(answer.prog_ids ?? new Uint8Array(0));
    const links = viewOf(answer.link_ids ?? new Uint8Array(0));
    const word = (view: DataView, at: number) =>
      4 * at + 4 <= view.byteLength ? view.getUint32(4 * at, true) : 0;
    const programs = Array.from({ length: answer.prog_cnt }, (_, at) => ({
      id: word(ids, at),
      linkId: word(links, at),
    }));
    return { programs, flags: answer.attach_flags, revision: answer.revision };
  }
}
