import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { Session } from '../../src/session/index.js';
import { eventsFigure } from '../chart/events.js';
import { ratio } from '../comparisons.js';
import type { Programs } from '../compile.js';
import type { Amount, Arm, Batch, Experiment } from '../experiment.js';
import { expectSamples } from '../harness.js';
import type { LabRoad } from '../lab.js';
import {
  agentCpuMetric,
  deliveredMetric,
  latencyErrorMetric,
  latencyMetric,
  offeredMetric,
  recordMetric,
} from '../metrics.js';
import { type Emission, emission } from '../programs/emit.js';

const recordBytes = [16, 256, 4096];
const records: Readonly<Record<number, number>> = { 16: 40_000, 256: 40_000, 4096: 50_000 };
const ringBytes = 4 * 1024 * 1024;
const sweep = {
  recordBytes: 256,
  ringBytes: 256 * 1024,
  records: 10_000,
  pausesNs: [100_000, 50_000, 20_000, 0],
};
const roads = ['tcp', 'vsock-mux', 'vsock-kernel', 'vsock-device'];
const lowRateMs = 5;
const deliveryTimeoutMs = 30_000;
/** At least 0.7 of the C program's rate. */
const boundOfRate = 1 / 0.7;

/** Records of a ring buffer from the guest's programs to the host, and to a C program beside them. */
export const events: Experiment = {
  name: 'events',
  title: 'Events of the guest, on the host and in the guest',
  hypothesis:
    'The host gets records of a ring buffer at 0.7 times the rate, or more, of a C program in the guest that reads them where they lie; at a low rate a record is on the host within 1.5 plain C round trips of its road.',
  parameters: { recordBytes, records, ringBytes, sweep, lowRateMs },
  placement: 'host processes and the vCPU unpinned',
  remarks: [
    'A loop of getpgid(2) in the guest drives a program that emits a record at each call, at full speed. `native` is bench/c/events.c, which maps the ring and reads it with epoll(7) as libbpf does; the other arms are `map.records().consume()` on the host. A record’s time is that from the first to the last one delivered, divided by their number; records that the full ring refused are not delivered. While it refuses, the loop in the guest goes on, and has as much of the guest’s only processor as who sends the records: those of 4 KiB cannot leave faster than half of it sends them.',
    'Latency: from bpf_ktime_get_ns() in the program to the callback on the host, at one record every 5 ms, made by a process of the guest that sleeps in between. The stamp is placed on the host’s timeline by `session.readClock()`; `event latency, give or take` is the bound of that placing’s error. `/c`: a plain C round trip of 64 bytes on the same road, at the same rate.',
    'Agent CPU: what all threads of the executors in the guest used, by /proc/PID/task/TID/schedstat, divided by the records delivered.',
  ],
  guest: true,
  full: { boots: 1, rounds: 5, samples: 100, warmup: 100 },
  quick: { boots: 1, rounds: 2, samples: 40, warmup: 40 },
  comparisons: roads.flatMap((arm) => [
    ...recordBytes.map((size) => ratio(arm, 'native', recordMetric(size), boundOfRate)),
    ratio(arm, `${arm}/c`, latencyMetric, 1.5),
  ]),
  async prepare(lab) {
    const { guest } = lab;
    if (guest === undefined) throw new TypeError('the events experiment needs a guest');
    const [first] = guest.roads;
    if (first === undefined) throw new TypeError('the guest has no road');
    const arm = (road: LabRoad, name: string, measure: Measure): Arm => ({
      name,
      measure: async (amount) => {
        // Another road may have been in use since.
        await using source = await Source.open(road, guest.programs);
        // Not before that has ended is the session closed.
        return await measure(source, amount);
      },
    });
    return {
      arms: [
        arm(first, 'native', (source) => measureRates(source, readInGuest)),
        ...guest.roads.flatMap((road) => [
          arm(road, road.name, async (source, amount) => [
            ...(await measureRates(source, readOnHost)),
            ...(await measureLatency(source, amount)),
          ]),
          limitArm(road),
        ]),
      ],
      absent: guest.absent,
      [Symbol.asyncDispose]: async () => {},
    };
  },
  figures: (summary, environment) => [
    eventsFigure(summary, environment, recordBytes, sweep.pausesNs),
  ],
};

type Batches = Pick<Batch, 'metric' | 'unit' | 'values'>[];

/** What a reader got of a run: how many records, and how long from the first to the last. */
interface Taken {
  delivered: number;
  elapsedNs: number;
}

type Measure = (source: Source, amount: Amount) => Promise<Batches>;

/** A session in whose guest records are made. */
class Source {
  readonly session: Session;
  readonly run: LabRoad['run'];
  readonly #programs: Programs;

  private constructor(session: Session, run: LabRoad['run'], programs: Programs) {
    this.session = session;
    this.run = run;
    this.#programs = programs;
  }

  /** Connects by this road, once it is the one in use. */
  static async open(road: LabRoad, programs: Programs): Promise<Source> {
    await road.use();
    const session = await Session.connect(road.agent, { client: 'waep bench' });
    return new Source(session, road.run, programs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.session.close();
  }

  /** Attaches a program with a ring of its own for as long as `use` takes. */
  async emitting<T>(ring: number, record: number, use: (from: Emission) => Promise<T>): Promise<T> {
    await using made = await emission(this.session, ring, record);
    await using _ = await made.program.attachRawTracepoint('sys_enter');
    return await use(made);
  }

  drive(command: readonly string[], count: number, pauseNs: number): Promise<string> {
    const amount = ['--count', String(count), '--pause', String(pauseNs)];
    return this.run([this.#programs.events, ...command, ...amount]);
  }
}

type Read = (from: Emission, source: Source, count: number, pauseNs: number) => Promise<Taken>;

const readInGuest: Read = async ({ ring }, source, count, pauseNs) => {
  const { id } = await ring.info();
  const size = String(ring.facts.maxEntries);
  const command = ['consume', '--map', String(id), '--size', size];
  const [, delivered, elapsedNs] = (await source.drive(command, count, pauseNs)).split(' ');
  return { delivered: Number(delivered), elapsedNs: Number(elapsedNs) };
};

const readOnHost: Read = async (from, source, count, pauseNs) => {
  const events = from.ring.records();
  const before = await from.counts();
  let firstMs = 0;
  let lastMs = 0;
  let delivered = 0;
  await events.consume(() => {
    delivered++;
    // Reading the clock for each would cost more than the rest.
    if (firstMs === 0) firstMs = performance.now();
    else if ((delivered & 63) === 0) lastMs = performance.now();
  });
  await source.drive(['drive'], count, pauseNs);
  const { emitted } = await from.counts();
  await until(() => delivered >= emitted - before.emitted);
  await events.close();
  return { delivered, elapsedNs: (lastMs - firstMs) * 1e6 };
};

async function measureRates(source: Source, read: Read): Promise<Batches> {
  const measured: Batches = [];
  for (const size of recordBytes) {
    await source.emitting(ringBytes, size, async (from) => {
      const before = await agentCpuNs(source);
      const taken = await read(from, source, records[size] ?? 0, 0);
      const cpuNs = (await agentCpuNs(source)) - before;
      const each = taken.elapsedNs / taken.delivered;
      measured.push({ metric: recordMetric(size), unit: 'ns', values: [each] });
      if (read === readInGuest) return;
      const values = [cpuNs / taken.delivered];
      measured.push({ metric: agentCpuMetric(size), unit: 'ns', values });
    });
  }
  for (const pauseNs of sweep.pausesNs) {
    await source.emitting(sweep.ringBytes, sweep.recordBytes, async (from) => {
      const taken = await read(from, source, sweep.records, pauseNs);
      const { emitted, refused } = await from.counts();
      const perSecond = 1e9 / taken.elapsedNs;
      measured.push(
        {
          metric: offeredMetric(pauseNs),
          unit: 'ops/s',
          values: [(emitted + refused) * perSecond],
        },
        { metric: deliveredMetric(pauseNs), unit: 'ops/s', values: [taken.delivered * perSecond] },
      );
    });
  }
  return measured;
}

async function measureLatency(source: Source, { samples, warmup }: Amount): Promise<Batches> {
  const { session } = source;
  const count = warmup + samples;
  return await source.emitting(64 * 1024, 16, async ({ ring }) => {
    const stamps: { ktime: bigint; receivedMs: number }[] = [];
    const readings: Promise<unknown>[] = [session.readClock()];
    const stream = ring.records();
    await stream.consume((record) => {
      const receivedMs = performance.now();
      const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
      stamps.push({ ktime: view.getBigUint64(8, true), receivedMs });
      // Soon after one record and long before the next.
      readings.push(session.readClock(2));
    });
    await readings[0];
    await source.drive(['drive'], count, lowRateMs * 1e6);
    await until(() => stamps.length >= count);
    await Promise.all(readings);
    await stream.close();
    const clock = await session.readClock();
    const placed = stamps.slice(warmup).map(({ ktime, receivedMs }) => {
      const { hostMs, errorMs } = clock.place(ktime, receivedMs);
      return { latencyNs: (receivedMs - hostMs) * 1e6, errorNs: errorMs * 1e6 };
    });
    expectSamples(latencyMetric, placed.length, samples);
    const batch = (metric: string, values: number[]) => ({ metric, unit: 'ns' as const, values });
    return [
      batch(
        latencyMetric,
        placed.map(({ latencyNs }) => latencyNs),
      ),
      batch(
        latencyErrorMetric,
        placed.map(({ errorNs }) => errorNs),
      ),
    ];
  });
}

/** Waits for what is under way already. */
async function until(reached: () => boolean): Promise<void> {
  const endMs = performance.now() + deliveryTimeoutMs;
  while (!reached()) {
    if (performance.now() > endMs) throw new Error('records that were emitted have not arrived');
    await sleep(1);
  }
}

function limitArm(road: LabRoad): Arm {
  const exchange = { requestBytes: 64, replyBytes: 64, pauseNs: lowRateMs * 1e6 };
  return {
    name: `${road.name}/c`,
    measure: async (amount) => {
      const values = await road.limit(exchange, amount);
      expectSamples(latencyMetric, values.length, amount.samples);
      return [{ metric: latencyMetric, unit: 'ns', values }];
    },
  };
}

/** What the executors in the guest have used of its processors, in nanoseconds. */
async function agentCpuNs(source: Source): Promise<number> {
  const script =
    'for t in /proc/[0-9]*/task/[0-9]*; do read c < $t/comm && [ "$c" = waep-executor ] && cat $t/schedstat; done; true';
  const lines = (await source.run(['/bin/sh', '-c', script])).trim().split('\n');
  return lines.reduce((sum, line) => sum + Number(line.split(' ')[0]), 0);
}
