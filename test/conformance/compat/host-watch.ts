/*
 * Watches whether the matrix reaches this machine's own kernel. There are two witnesses. A program
 * on the kernel's raw system call tracepoint counts the eBPF calls of the tools; a call that waep
 * answers never gets there. The kernel's lists of objects must not change.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { enums, insn, Session, u32, u64 } from '../../../src/index.js';
import { localAgent } from '../../agent/local-agent.js';
import { census } from './census.js';

/** The numbers of the calls that must not reach this machine's kernel. */
const SYS_BPF = 321;
const SYS_PERF_EVENT_OPEN = 298;
/** The helper's number, see bpf-helpers(7). */
const GET_CURRENT_CGROUP_ID = 80;
const LOOK_MS = 1000;

/** The counts of the witnesses. */
export interface Sighting {
  /** bpf(2) and perf_event_open(2) calls of the tools that this machine's kernel executed. */
  readonly calls: bigint;
  readonly looks: number;
  /** How many of the looks found other objects than the look before. */
  readonly changes: number;
}

/** The witnesses. `await using` ends them. */
export interface HostWatch extends AsyncDisposable {
  /** Words before a command that make the command one of the watched ones. */
  readonly wrap: readonly string[];
  sighting(): Promise<Sighting>;
}

/**
 * Starts to watch, or returns why this machine cannot be watched.
 *
 * Watching needs root, a cgroup2 mount to distinguish the tools from other processes, and a kernel
 * with raw tracepoints.
 */
export async function watchHost(): Promise<HostWatch | string> {
  const root = cgroupRoot();
  if (root === undefined) return 'it has no cgroup2 mount';
  const group = join(root, `waep-compat-${randomBytes(4).toString('hex')}`);
  const local = await localAgent();
  try {
    const session = await Session.connect(local.address);
    mkdirSync(group);
    const calls = await countCalls(session, BigInt(statSync(group, { bigint: true }).ino));
    const lists = watchLists(session);
    return {
      wrap: ['/bin/sh', '-c', `echo 0 > ${group}/cgroup.procs && exec "$@"`, 'sh'],
      sighting: async () => ({ calls: (await calls.lookup(0)) ?? 0n, ...lists.seen() }),
      [Symbol.asyncDispose]: async () => {
        await lists.stop();
        session.close();
        await local.close();
        rmdirSync(group);
      },
    };
  } catch (error) {
    await local.close();
    if (existsSync(group)) rmdirSync(group);
    return (error as Error).message;
  }
}

function cgroupRoot(): string | undefined {
  return readFileSync('/proc/mounts', 'utf8').match(/^\S+ (\S+) cgroup2 /m)?.[1];
}

async function countCalls(session: Session, cgroup: bigint) {
  const calls = await session.createMap({
    type: enums.MapType.BPF_MAP_TYPE_ARRAY,
    key: u32,
    value: u64,
    maxEntries: 1,
    name: 'reached_host',
  });
  const program = await session.loadProgram({
    type: enums.ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
    name: 'reached_host',
    license: 'GPL',
    // The second argument of raw_tracepoint/sys_enter is the call's number.
    instructions: insn.program(
      insn.load(8, 'r6', 'r1', 8),
      insn.jumpIf('eq', 'r6', SYS_BPF, 'watched'),
      insn.jumpIf('ne', 'r6', SYS_PERF_EVENT_OPEN, 'done'),
      insn.label('watched'),
      insn.call(GET_CURRENT_CGROUP_ID),
      insn.loadNumber('r1', cgroup),
      insn.jumpIf('ne', 'r0', 'r1', 'done'),
      insn.loadMapValue('r1', calls),
      insn.load(8, 'r2', 'r1', 0),
      insn.alu('add', 'r2', 1),
      insn.store(8, 'r1', 0, 'r2'),
      insn.label('done'),
      insn.mov('r0', 0),
      insn.exit(),
    ),
  });
  await program.attachRawTracepoint('sys_enter');
  return calls;
}

function watchLists(session: Session) {
  let [looks, changes, last] = [0, 0, ''];
  let looking: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    looking = looking
      .then(() => census(session))
      .then((all) => {
        const now = [...all].join();
        if (looks++ > 0 && now !== last) changes++;
        last = now;
      })
      .catch(() => {});
  }, LOOK_MS);
  return {
    seen: () => ({ looks, changes }),
    stop: async () => {
      clearInterval(timer);
      await looking;
    },
  };
}
