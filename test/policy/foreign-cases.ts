import { enums, insn, rows } from '../../src/bpf/index.js';
import { type Policy, profiles } from '../../src/policy/index.js';
import {
  type Case,
  end,
  foreignLink,
  foreignMap,
  foreignProgram,
  load,
  map,
  raw,
  TRACING,
} from './case.js';

const { AttachType, Cmd, MapType, ProgType } = enums;
const { BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_ARRAY_OF_MAPS } = MapType;

const program = /^an object from prog_get_fd_by_id \(13\), to be (attached|run|changed)$/;
const aMap = /^an object from map_get_fd_by_id \(14\), to be changed$/;
const link = /^an object from link_get_fd_by_id \(30\), to be (changed|run)$/;

/** Everything, but with the objects of others for looking at only. */
const inspects: Partial<Policy> = { ...profiles.full, foreign_objects: 'inspect' };

/** A map of maps of the session's own. */
async function ofMaps(session: Parameters<Case['refused']>[0]) {
  const innerMap = await map(session, BPF_MAP_TYPE_ARRAY);
  const outer = await session.createMap({
    type: BPF_MAP_TYPE_ARRAY_OF_MAPS,
    keySize: 4,
    valueSize: 4,
    maxEntries: 1,
    innerMap,
  });
  return { outer, inner: innerMap };
}

/** The words with which a program is attached to a map of sockets, where there are none. */
const ofSockets = (program: { readonly handle: number }) => ({
  4: program,
  8: AttachType.BPF_SK_SKB_VERDICT,
});
const iterates = { 8: AttachType.BPF_TRACE_ITER, 24: 4 };
const usesMap = (one: { readonly handle: number }) =>
  insn.program(insn.loadMapValue('r1', one), insn.mov('r0', 0), insn.exit());
const clock = { type: 1, config: 0, samplePeriod: 1_000_000, pid: 0 } as const;

/** Cases about what may be done with objects of others, beyond the commonest. */
export const foreignCases: readonly Case[] = (
  [
    {
      name: "a program that uses the value of another's map",
      refused: async (session) => load(session, usesMap(await foreignMap(session))),
      value: aMap,
      allowed: async (session) => load(session, usesMap(await map(session, BPF_MAP_TYPE_ARRAY))),
    },
    {
      name: "a program that has another's map in a list",
      refused: async (session) =>
        raw(session, Cmd.BPF_PROG_LOAD, 152, {
          0: ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
          4: end.byteLength / 8,
          8: end,
          120: [await foreignMap(session)],
          148: 1,
        }),
      value: aMap,
      allowed: async (session) =>
        raw(session, Cmd.BPF_PROG_LOAD, 128, {
          0: ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
          4: end.byteLength / 8,
          8: end,
          120: [await map(session, BPF_MAP_TYPE_ARRAY)],
        }),
    },
    {
      name: "another's map inside of a map",
      policy: inspects,
      refused: async (session) =>
        raw(session, Cmd.BPF_MAP_UPDATE_ELEM, 32, {
          0: (await ofMaps(session)).outer,
          8: new Uint8Array(4),
          16: [await foreignMap(session)],
        }),
      value: aMap,
      allowed: async (session) => {
        const { outer, inner } = await ofMaps(session);
        return raw(session, Cmd.BPF_MAP_UPDATE_ELEM, 32, {
          0: outer,
          8: new Uint8Array(4),
          16: [inner],
        });
      },
    },
    {
      name: "another's map inside of a map, by a batch",
      policy: inspects,
      refused: async (session) =>
        raw(session, Cmd.BPF_MAP_UPDATE_BATCH, 56, {
          16: new Uint8Array(4),
          24: [await foreignMap(session)],
          32: 1,
          36: (await ofMaps(session)).outer,
        }),
      value: aMap,
      allowed: async (session) => {
        const { outer, inner } = await ofMaps(session);
        return raw(session, Cmd.BPF_MAP_UPDATE_BATCH, 56, {
          16: new Uint8Array(4),
          24: [inner],
          32: 1,
          36: outer,
        });
      },
    },
    {
      name: "another's program at a perf event",
      refused: async (session) => {
        const event = await session.openPerfEvent(clock);
        return event.setProgram(await foreignProgram(session));
      },
      value: program,
      allowed: async (session) => {
        const event = await session.openPerfEvent(clock);
        return event.setProgram(await load(session, end, ProgType.BPF_PROG_TYPE_PERF_EVENT));
      },
    },
    {
      name: "another's program, attached without a link",
      policy: inspects,
      refused: async (session) =>
        raw(session, Cmd.BPF_PROG_ATTACH, 16, ofSockets(await foreignProgram(session))),
      value: program,
      allowed: async (session) =>
        raw(session, Cmd.BPF_PROG_ATTACH, 16, ofSockets(await load(session))),
    },
    {
      name: "a program in the place of another's at a control group",
      policy: inspects,
      refused: async (session) => raw(session, Cmd.BPF_PROG_ATTACH, 16, { 4: await load(session) }),
      value: /^cgroup_inet_ingress \(0\)$/,
      allowed: async (session) =>
        raw(session, Cmd.BPF_LINK_CREATE, 48, {
          0: await load(session),
          8: AttachType.BPF_CGROUP_INET_INGRESS,
        }),
    },
    {
      name: "a program in the place of another's in a network namespace",
      policy: inspects,
      refused: async (session) =>
        raw(session, Cmd.BPF_PROG_ATTACH, 16, {
          4: await load(session),
          8: AttachType.BPF_FLOW_DISSECTOR,
        }),
      value: /^flow_dissector \(17\)$/,
      allowed: async (session) =>
        raw(session, Cmd.BPF_LINK_CREATE, 48, {
          0: await load(session),
          8: AttachType.BPF_FLOW_DISSECTOR,
        }),
    },
    {
      name: "detaching another's program from a control group by naming an own one",
      policy: inspects,
      refused: async (session) => raw(session, Cmd.BPF_PROG_DETACH, 16, { 4: await load(session) }),
      value: /^cgroup_inet_ingress \(0\)$/,
      allowed: async (session) =>
        raw(session, Cmd.BPF_PROG_DETACH, 16, ofSockets(await load(session))),
    },
    {
      name: "running another's program",
      policy: inspects,
      refused: async (session) =>
        session.tryBpf(rows.PROG_TEST_RUN, { prog_fd: await foreignProgram(session) }),
      value: program,
      allowed: async (session) => (await load(session)).testRun(),
    },
    {
      name: "freezing another's map",
      refused: async (session) =>
        session.tryBpf(rows.MAP_FREEZE, { map_fd: await foreignMap(session) }),
      value: aMap,
      allowed: async (session) => (await map(session, BPF_MAP_TYPE_ARRAY)).freeze(),
    },
    {
      name: "a link of another's program",
      refused: async (session) =>
        raw(session, Cmd.BPF_LINK_CREATE, 48, {
          0: await foreignProgram(session),
          8: AttachType.BPF_TRACE_FENTRY,
        }),
      value: program,
      allowed: async (session) =>
        raw(session, Cmd.BPF_LINK_CREATE, 48, {
          0: await load(session),
          8: AttachType.BPF_TRACE_FENTRY,
        }),
    },
    {
      name: "an iterator over another's map",
      refused: async (session) =>
        raw(session, Cmd.BPF_LINK_CREATE, 48, {
          ...iterates,
          0: await load(session),
          16: [await foreignMap(session)],
        }),
      value: aMap,
      allowed: async (session) =>
        raw(session, Cmd.BPF_LINK_CREATE, 48, {
          ...iterates,
          0: await load(session),
          16: [await map(session, BPF_MAP_TYPE_ARRAY)],
        }),
    },
    {
      name: "another program in another's link",
      policy: inspects,
      refused: async (session) =>
        session.tryBpf(rows.LINK_UPDATE, {
          link_fd: await foreignLink(session),
          new_prog_fd: await load(session),
        }),
      value: link,
      allowed: async (session) => {
        const own = await load(session);
        return session.tryBpf(rows.LINK_UPDATE, {
          link_fd: await own.attachRawTracepoint('sys_enter'),
          new_prog_fd: own,
        });
      },
    },
    {
      name: "another's program in a link",
      policy: inspects,
      refused: async (session) =>
        session.tryBpf(rows.LINK_UPDATE, {
          link_fd: await (await load(session)).attachRawTracepoint('sys_enter'),
          new_prog_fd: await foreignProgram(session),
        }),
      value: program,
      allowed: async (session) =>
        session.tryBpf(rows.OBJ_GET_INFO_BY_FD_LINK, { bpf_fd: await foreignLink(session) }),
    },
    {
      name: "detaching another's link",
      policy: inspects,
      refused: async (session) =>
        session.tryBpf(rows.LINK_DETACH, { link_fd: await foreignLink(session) }),
      value: link,
      allowed: async (session) => {
        const own = await (await load(session)).attachRawTracepoint('sys_enter');
        return session.tryBpf(rows.LINK_DETACH, { link_fd: own });
      },
    },
    {
      name: "a program in the place of a function of another's",
      policy: inspects,
      refused: async (session) =>
        raw(session, Cmd.BPF_PROG_LOAD, 128, {
          0: ProgType.BPF_PROG_TYPE_EXT,
          4: end.byteLength / 8,
          8: end,
          108: 1,
          112: await foreignProgram(session),
        }),
      value: program,
      // Watching it changes nothing.
      allowed: async (session) =>
        raw(session, Cmd.BPF_PROG_LOAD, 128, {
          0: TRACING,
          4: end.byteLength / 8,
          8: end,
          68: AttachType.BPF_TRACE_FENTRY,
          108: 1,
          112: await foreignProgram(session),
        }),
    },
    {
      name: "another's program in an array of programs",
      refused: async (session) =>
        raw(session, Cmd.BPF_MAP_UPDATE_ELEM, 32, {
          0: await session.createMap({
            type: MapType.BPF_MAP_TYPE_PROG_ARRAY,
            keySize: 4,
            valueSize: 4,
            maxEntries: 1,
          }),
          8: new Uint8Array(4),
          16: [await foreignProgram(session)],
        }),
      value: program,
      allowed: async (session) =>
        raw(session, Cmd.BPF_MAP_UPDATE_ELEM, 32, {
          0: await session.createMap({
            type: MapType.BPF_MAP_TYPE_PROG_ARRAY,
            keySize: 4,
            valueSize: 4,
            maxEntries: 1,
          }),
          8: new Uint8Array(4),
          16: [await load(session)],
        }),
    },
    {
      name: "a map bound to another's program",
      refused: async (session) =>
        raw(session, Cmd.BPF_PROG_BIND_MAP, 12, {
          0: await foreignProgram(session),
          4: await map(session, BPF_MAP_TYPE_ARRAY),
        }),
      value: program,
      allowed: async (session) =>
        raw(session, Cmd.BPF_PROG_BIND_MAP, 12, {
          0: await load(session),
          4: await map(session, BPF_MAP_TYPE_ARRAY),
        }),
    },
    {
      name: "what another's program has printed",
      refused: async (session) =>
        raw(session, Cmd.BPF_PROG_STREAM_READ_BY_FD, 24, { 16: await foreignProgram(session) }),
      value: program,
      allowed: async (session) =>
        raw(session, Cmd.BPF_PROG_STREAM_READ_BY_FD, 24, { 16: await load(session) }),
    },
    {
      name: "reading from another's iterator",
      refused: async (session) =>
        raw(session, Cmd.BPF_ITER_CREATE, 8, { 0: await foreignLink(session) }),
      value: link,
      allowed: async (session) =>
        raw(session, Cmd.BPF_ITER_CREATE, 8, {
          0: await (await load(session)).attachRawTracepoint('sys_enter'),
        }),
    },
    {
      name: "writing to another's map",
      refused: async (session) =>
        raw(session, Cmd.BPF_MAP_UPDATE_ELEM, 32, {
          0: await foreignMap(session),
          8: new Uint8Array(4),
          16: new Uint8Array(8),
        }),
      value: aMap,
      allowed: async (session) =>
        raw(session, Cmd.BPF_MAP_LOOKUP_ELEM, 32, {
          0: await foreignMap(session),
          8: new Uint8Array(4),
          16: new Uint8Array(8),
        }),
    },
    {
      name: 'detaching whatever program is there',
      policy: inspects,
      refused: async (session) =>
        raw(session, Cmd.BPF_PROG_DETACH, 16, { 8: AttachType.BPF_TCX_INGRESS }),
      value: /^0$/,
      allowed: async (session) =>
        raw(session, Cmd.BPF_PROG_DETACH, 16, {
          4: await load(session),
          8: AttachType.BPF_TCX_INGRESS,
        }),
    },
    {
      name: "another's map in a place that is not known",
      refused: async (session) =>
        raw(session, Cmd.BPF_MAP_GET_NEXT_ID, 12, { 8: await foreignMap(session) }),
      value: /^an object from map_get_fd_by_id \(14\), used in a way that is not known$/,
      allowed: async (session) =>
        raw(session, Cmd.BPF_MAP_GET_NEXT_ID, 12, { 8: await map(session, BPF_MAP_TYPE_ARRAY) }),
    },
  ] satisfies readonly Omit<Case, 'rule'>[]
).map((one) => ({ ...one, rule: 'foreign_objects' }));
