import { enums, perf, type Ref } from '../bpf/index.js';
import {
  type CallBuffer,
  type Handle,
  type PerfOpenCall,
  Relocation,
  type Reply,
} from '../call.js';
import { viewOf } from '../codec/index.js';
import { systemError } from '../errors.js';
import { type OptionNames, refuseUnknownOptions } from '../known-options.js';
import type { Patience } from '../session/caller.js';
import { patient } from './bpf-calls.js';
import type { GuestKernel } from './guest-kernel.js';
import { GuestObject } from './guest-object.js';

/** Whose events are counted. */
export interface PerfTarget {
  /** A process of the guest. Default: all of them, on the CPU given. */
  pid?: number;
  /** A cgroup of the guest, on the CPU given. */
  cgroup?: Ref<'cgroup'>;
  /** A CPU of the guest. Default: 0 where neither `pid` nor it is given, else all. */
  cpu?: number;
}

/** Options of {@link Session.openPerfEvent}: fields of `struct perf_event_attr`. */
export interface PerfEventOptions extends PerfTarget, Patience {
  /** `PERF_TYPE_*`, or the number in a file such as /sys/bus/event_source/devices/kprobe/type. */
  type: number;
  /** What is counted, by the type of the event. Default 0. */
  config?: number | bigint;
  /** config1, or a text that it points to: the function of a kprobe, the file of a uprobe. */
  config1?: number | bigint | string;
  /** Further settings, by the type of the event. Default 0. */
  config2?: number | bigint;
  /** Every how many events a sample is taken; the program, where one is attached, is run. */
  samplePeriod?: number | bigint;
  /** How many samples a second there are to be, in place of `samplePeriod`. */
  sampleFrequency?: number | bigint;
  /** `PERF_SAMPLE_*`: what a sample is made of. */
  sampleType?: number | bigint;
  /** `PERF_FORMAT_*`: what reading returns besides the count. */
  readFormat?: number | bigint;
  /** The 64 bits of flags that follow, `disabled` being bit 0. */
  flags?: number | bigint;
  /** How many records wake a reader up. */
  wakeupEvents?: number;
  /** The event that leads the group that this one joins. */
  group?: Ref<'perf_event'>;
  /** Its name in errors. */
  name?: string;
}

const optionNames: OptionNames<PerfEventOptions> = {
  type: true,
  config: true,
  config1: true,
  config2: true,
  samplePeriod: true,
  sampleFrequency: true,
  sampleType: true,
  readFormat: true,
  flags: true,
  wakeupEvents: true,
  group: true,
  name: true,
  pid: true,
  cgroup: true,
  cpu: true,
  timeoutMs: true,
  signal: true,
};

const { PERF_FLAG_PID_CGROUP } = enums.PerfFlag;
const CONFIG1 = perf.PERF_EVENT_ATTR.fields.config1.offset;
const ATTR_FREQUENCY = 1n << BigInt(perf.PerfEventBit.freq);
const MAX_PROGRAMS = 64;

type Request<K> = K extends `PERF_EVENT_IOC_${infer Name}` ? Name : never;

/**
 * A perf event in the guest: something that is counted, sampled, or where programs are run. It
 * counts until it is disabled or closed.
 */
export class PerfEvent extends GuestObject<'perf_event'> {
  constructor(session: GuestKernel, handle: Handle, name: string) {
    super(session, handle, 'perf_event', name, true);
  }

  /** Starts counting (PERF_EVENT_IOC_ENABLE). */
  async enable(): Promise<void> {
    await this.#ioctl('ENABLE', argument(0));
  }

  /** Stops counting (PERF_EVENT_IOC_DISABLE). */
  async disable(): Promise<void> {
    await this.#ioctl('DISABLE', argument(0));
  }

  /** Sets the count to 0 (PERF_EVENT_IOC_RESET). */
  async reset(): Promise<void> {
    await this.#ioctl('RESET', argument(0));
  }

  /** Changes every how many events a sample is taken (PERF_EVENT_IOC_PERIOD). */
  async setPeriod(period: number | bigint): Promise<void> {
    await this.#ioctl('PERIOD', argument(0), word(period));
  }

  /** Writes its samples to the buffer of another event (PERF_EVENT_IOC_SET_OUTPUT). */
  async setOutput(to: Ref<'perf_event'> | undefined): Promise<void> {
    await this.#ioctl('SET_OUTPUT', to === undefined ? argument(-1n) : to);
  }

  /**
   * Counts only what passes a filter, such as `prev_pid == 1` (PERF_EVENT_IOC_SET_FILTER).
   *
   * @throws EINVAL for a filter that the event cannot have
   */
  async setFilter(filter: string): Promise<void> {
    await this.#ioctl('SET_FILTER', argument(0), Buffer.from(`${filter}\0`));
  }

  /** Stops or resumes writing to its buffer (PERF_EVENT_IOC_PAUSE_OUTPUT). */
  async pauseOutput(paused: boolean): Promise<void> {
    await this.#ioctl('PAUSE_OUTPUT', argument(paused ? 1 : 0));
  }

  /**
   * Runs a program whenever the event happens (PERF_EVENT_IOC_SET_BPF,
   * perf_event_set_bpf_prog() in kernel/events/core.c). Closing the event detaches it;
   * {@link Program.attachPerfEvent} makes a link instead.
   *
   * @throws EEXIST when it has one, EINVAL when the program is of a type that does not go there
   */
  async setProgram(program: Ref<'prog'>): Promise<void> {
    await this.#ioctl('SET_BPF', program);
    this.session.calls.collected.needs(this.handle, [program.handle]);
  }

  /** The ids of the programs attached to the tracepoint (PERF_EVENT_IOC_QUERY_BPF). */
  async programIds(): Promise<number[]> {
    const query = new Uint8Array(8 + 4 * MAX_PROGRAMS);
    viewOf(query).setUint32(0, MAX_PROGRAMS, true);
    const { outputs } = await this.#ioctl('QUERY_BPF', argument(0), { inout: query });
    const view = viewOf(outputs[0] as Uint8Array);
    const count = Math.min(view.getUint32(4, true), MAX_PROGRAMS);
    return Array.from({ length: count }, (_, at) => view.getUint32(8 + 4 * at, true));
  }

  /** The number that stands for the event in samples (PERF_EVENT_IOC_ID). */
  async id(): Promise<bigint> {
    const { outputs } = await this.#ioctl('ID', argument(0), 8);
    return viewOf(outputs[0] as Uint8Array).getBigUint64(0, true);
  }

  /** Reads the count and what else `readFormat` asked for, as 64-bit words (read(2)). */
  async read(): Promise<bigint[]> {
    const bytes = (await this.session.read(this.handle, 4096)) ?? new Uint8Array(0);
    const view = viewOf(bytes);
    return Array.from({ length: bytes.length >> 3 }, (_, at) => view.getBigUint64(8 * at, true));
  }

  async #ioctl(
    name: Request<keyof typeof enums.PerfIoctl>,
    first: Uint8Array | Ref,
    behind?: CallBuffer,
  ): Promise<Reply> {
    const handle = this.handle;
    const refers = !(first instanceof Uint8Array);
    const reply = await this.session.ioctl({
      handle,
      request: enums.PerfIoctl[`PERF_EVENT_IOC_${name}`],
      buffers: [refers ? argument(0) : first, ...(behind === undefined ? [] : [behind])],
      relocations: refers
        ? [0, 0, Relocation.FD64, first.handle]
        : behind === undefined
          ? []
          : [0, 0, Relocation.POINTER, 1],
    });
    if (reply.result >= 0) return reply;
    const object = `PERF_EVENT_IOC_${name} of ${this}`;
    throw systemError('ioctl', reply.errno, { side: 'guest', object });
  }
}

function word(value: number | bigint): Uint8Array {
  return new Uint8Array(BigInt64Array.of(BigInt(value)).buffer);
}

const argument = word;

/** Opens a perf event; see {@link Session.openPerfEvent}. */
export async function openPerfEvent(
  session: GuestKernel,
  options: PerfEventOptions,
): Promise<PerfEvent> {
  refuseUnknownOptions('openPerfEvent()', options, optionNames);
  const { cgroup, group, name = '' } = options;
  const { pid = -1, cpu = pid === -1 ? 0 : -1 } = options;
  const { config1 } = options;
  const attribute = attributeOf(options);
  const text = typeof config1 === 'string' ? Buffer.from(`${config1}\0`) : undefined;
  const handle = session.newHandle();
  const call: PerfOpenCall = {
    result: handle,
    pid: cgroup === undefined ? pid : { handle: cgroup.handle },
    cpu,
    group: group?.handle ?? 0,
    flags: cgroup === undefined ? 0 : PERF_FLAG_PID_CGROUP,
    buffers: text === undefined ? [attribute] : [attribute, text],
    relocations: text === undefined ? [] : [0, CONFIG1, Relocation.POINTER, 1],
  };
  const reply = await session.perfEventOpen(call, patient({}, options));
  if (reply.result >= 0) return new PerfEvent(session, handle, name);
  const object = name === '' ? `type ${options.type}` : name;
  throw systemError('perf_event_open', reply.errno, { side: 'guest', object });
}

function attributeOf(options: PerfEventOptions): Uint8Array {
  const { samplePeriod, sampleFrequency, config1, flags = 0 } = options;
  return perf.perfAttribute({
    ...options,
    // A text is put there by a relocation.
    config1: typeof config1 === 'string' ? 0 : (config1 ?? 0),
    samplePeriod: samplePeriod ?? sampleFrequency ?? 0,
    flags: BigInt(flags) | (sampleFrequency === undefined ? 0n : ATTR_FREQUENCY),
  });
}
