import { enums, rows } from '../bpf/index.js';
import { failure } from '../errors.js';
import { type OptionNames, refuseUnknownOptions } from '../known-options.js';
import { isMissing, lacks, readText } from './guest-file.js';
import type { GuestKernel } from './guest-kernel.js';
import type { GuestObject } from './guest-object.js';
import { Link } from './link.js';
import { openPerfEvent, type PerfEvent, type PerfEventOptions } from './perf-event.js';

/** An attachment by a perf event: a link, or before Linux 5.15 the event itself. */
export type PerfAttachment = Link | PerfEvent;

/** A function of the guest's kernel that a KPROBE program is run at. */
export interface KprobeTarget {
  /** Its name. */
  symbol: string;
  /** How many bytes behind its start. Default 0. */
  offset?: number | bigint;
  /** Whether to run when it returns. */
  onReturn?: boolean;
  /** The result of bpf_get_attach_cookie(), since Linux 5.15. */
  cookie?: number | bigint;
}

/** A place in a program file of the guest that a KPROBE program is run at. */
export interface UprobeTarget {
  /** The file, in the guest. */
  path: string;
  /** The offset in the file, in bytes. */
  offset: number | bigint;
  /** The offset of the counter that switches a USDT probe on. */
  referenceCounter?: number;
  /** Only in this process of the guest. */
  pid?: number;
  /** Whether to run when the function at the place returns. */
  onReturn?: boolean;
  /** The result of bpf_get_attach_cookie(), since Linux 5.15. */
  cookie?: number | bigint;
}

const PERF_TYPE_TRACEPOINT = 2;
/** The bit of `config` for return probes, and where its half for reference counters begins. */
const ON_RETURN = 1n;
const REFERENCE_COUNTER_SHIFT = 32n;
const TRACING = '/sys/kernel/tracing';
const EINVAL = 22;

/** The event of a tracepoint such as `sched/sched_switch`. */
export async function tracepointEvent(
  session: GuestKernel,
  name: string,
): Promise<PerfEventOptions> {
  if (!/^[\w-]+\/[\w-]+$/.test(name)) {
    const expected = 'category/name, as in /sys/kernel/tracing/events';
    throw failure('ERR_OPTION_INVALID', { option: 'tracepoint', value: name, expected });
  }
  const text = await readText(session, `${TRACING}/events/${name}/id`).catch(async (error) => {
    if (!isMissing(error) || (await isThere(session, `${TRACING}/available_events`))) throw error;
    throw lacks(session, 'tracefs, so that tracepoints have no names there', error);
  });
  return { type: PERF_TYPE_TRACEPOINT, config: Number(text), samplePeriod: 1, name };
}

const kprobeNames: OptionNames<KprobeTarget> = {
  ...{ symbol: true, offset: true, onReturn: true, cookie: true },
};
const uprobeNames: OptionNames<UprobeTarget> = {
  ...{ path: true, offset: true, referenceCounter: true, pid: true, onReturn: true, cookie: true },
};

/** The event of a kernel function. */
export async function kprobeEvent(
  session: GuestKernel,
  target: KprobeTarget,
): Promise<PerfEventOptions> {
  refuseUnknownOptions('attachKprobe()', target, kprobeNames);
  const { symbol, offset = 0, onReturn = false } = target;
  checkText('symbol', symbol, 'the name of a function of the guest’s kernel');
  const type = await deviceType(session, 'kprobe');
  const config = onReturn ? ON_RETURN : 0n;
  return { type, config, config1: symbol, config2: offset, name: `kprobe ${symbol}` };
}

/** The event of a place in a program file. */
export async function uprobeEvent(
  session: GuestKernel,
  target: UprobeTarget,
): Promise<PerfEventOptions> {
  refuseUnknownOptions('attachUprobe()', target, uprobeNames);
  const { path, offset, referenceCounter = 0, pid, onReturn = false } = target;
  checkText('path', path, 'the path of a file in the guest');
  const counter = BigInt(referenceCounter) << REFERENCE_COUNTER_SHIFT;
  return {
    type: await deviceType(session, 'uprobe'),
    config: counter | (onReturn ? ON_RETURN : 0n),
    config1: path,
    config2: offset,
    name: `uprobe ${path}`,
    ...(pid === undefined ? {} : { pid }),
  };
}

function checkText(option: string, value: unknown, expected: string): void {
  if (typeof value === 'string' && value !== '') return;
  throw failure('ERR_OPTION_INVALID', { option, value, expected });
}

async function deviceType(session: GuestKernel, device: string): Promise<number> {
  const path = `/sys/bus/event_source/devices/${device}/type`;
  const text = await readText(session, path).catch((error) => {
    throw isMissing(error) ? lacks(session, `perf events of the type ${device}`, error) : error;
  });
  return Number(text);
}

async function isThere(session: GuestKernel, path: string): Promise<boolean> {
  try {
    await session.release([await session.open(path)]);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** Opens an event and attaches a program to it; see {@link Program.attachPerfEvent}. */
export async function attachToEvent(
  program: GuestObject<'prog'>,
  options: PerfEventOptions,
  cookie?: number | bigint,
): Promise<PerfAttachment> {
  const { session } = program;
  const event = await openPerfEvent(session, options);
  let kept = false;
  try {
    const attached = await attachPerfEvent(program, event, cookie);
    kept = attached === event;
    return attached;
  } finally {
    // A link keeps the event itself.
    if (!kept) await event.close();
  }
}

/** Attaches a program to an event; see {@link Program.attachPerfEvent}. */
export async function attachPerfEvent(
  program: GuestObject<'prog'>,
  event: PerfEvent,
  cookie?: number | bigint,
): Promise<PerfAttachment> {
  const subject = { toString: () => `${program} to ${event}` };
  const outcome = await program.session.tryBpf(
    rows.LINK_CREATE_PERF_EVENT,
    {
      prog_fd: program,
      target_fd: event,
      attach_type: enums.AttachType.BPF_PERF_EVENT,
      ...(cookie === undefined ? {} : { bpf_cookie: cookie }),
    },
    { subject },
  );
  if (outcome.result >= 0) return new Link(program.session, outcome.handle, program.name);
  if (outcome.errno !== EINVAL || cookie !== undefined) throw outcome.error();
  await event.setProgram(program).catch(() => {
    throw outcome.error();
  });
  return event;
}
