import { Session } from '../../src/session.js';
import { eventsFigure } from '../chart/events.js';
import type { Measurer } from '../client/client.js';
import type { Followed } from '../client/protocol.js';
import { ratio } from '../comparisons.js';
import type { Programs } from '../compile.js';
import type { Experiment } from '../experiment.js';
import type { LabTransport } from '../lab.js';
import {
  agentCpuMetric,
  deliveredMetric,
  latencyErrorMetric,
  latencyMetric,
  offeredMetric,
  raisedRecordMetric,
  recordMetric,
} from '../metrics.js';
import { emission } from '../programs/emit.js';
import { expectSamples } from '../samples.js';
import type { Amount, Arm, Batch } from '../types.js';

const recordBytes = [16, 256, 4096];
const records: Readonly<Record<number, number>> = { 16: 40_000, 256: 40_000, 4096: 200_000 };
/** Fewer, because the C program then takes long for each. */
const raisedRecords = { ...records, 4096: 50_000 };
const ringBytes = 4 * 1024 * 1024;
const sweep = {
  recordBytes: 256,
  ringBytes: 256 * 1024,
  records: 10_000,
  pausesNs: [100_000, 50_000, 20_000, 0],
};
const transports = ['tcp', 'vsock-mux', 'vsock-kernel', 'vsock-device'];
const lowRateMs = 5;
/** The priority of the agent's thread that sends events, by default; the C program can have it, too. */
const raisedNice = -4;
/** Where a line of /proc/PID/stat has the nice value (proc_pid_stat(5)), in a shell. */
const niceField = `\${19}`;
/** At least 0.7 of the C program's rate. */
const boundOfRate = 1 / 0.7;

/**
 * Records of a ring buffer from the guest's programs to the host, and to a C program beside them.
 */
export const events: Experiment = {
  name: 'events',
  title: 'Events of the guest, on the host and in the guest',
  hypothesis:
    'The host gets records of a ring buffer at 0.7 times the rate, or more, of a C program in the guest that reads them where they lie; at a low rate a record is on the host within 1.5 plain C round trips of its transport.',
  parameters: { recordBytes, records, raisedRecords, ringBytes, sweep, lowRateMs, raisedNice },
  placement: 'host processes and the vCPU unpinned',
  remarks: [
    'A loop of getpgid(2) in the guest drives a program that emits a record at each call, at full speed. `native` is bench/c/events.c, which maps the ring and reads it with epoll(7) as libbpf does; the other arms are `map.records().consume()` on the host, in the process that has the in-process device. A record’s time is that from the first to the last one delivered, divided by their number; records that the full ring refused are not delivered. While it refuses, the loop in the guest goes on, and competes for the guest’s only processor with who sends the records: the agent’s thread for events, and the kernel’s worker for vsock. All of them, and the C program, have the nice value 0. `reader at nice −4`: the C program, and that thread of the agent’s, have the priority that the agent gives it by default (`--event-nice`). The C program’s time is then nearly the same for each size of records: presumably it is woken for each record, and without the priority for many at a time. The latency is measured with the agent’s default.',
    'Latency: from bpf_ktime_get_ns() in the program to the callback on the host, at one record every 5 ms, made by a process of the guest that sleeps in between. The stamp is placed on the host’s timeline by `session.readClock()`, which makes two round trips after each record; `event latency, give or take` is the bound of that placing’s error. `/c`: a plain C round trip of 64 bytes on the same transport, at the same rate.',
    'Agent CPU: what all threads of the executors in the guest used, by /proc/PID/task/TID/schedstat, divided by the records delivered.',
  ],
  guest: true,
  full: { boots: 2, rounds: 3, samples: 100, warmup: 100 },
  quick: { boots: 1, rounds: 2, samples: 40, warmup: 40 },
  comparisons: [
    ...transports.flatMap((arm) => [
      ...recordBytes.map((size) => ratio(arm, 'native', recordMetric(size), boundOfRate)),
      ...recordBytes.map((size) => ratio(arm, 'native', raisedRecordMetric(size), boundOfRate)),
      ratio(arm, `${arm}/c`, latencyMetric, 1.5),
    ]),
    ...['native', ...transports].flatMap((arm) =>
      sweep.pausesNs.map((pauseNs) => ({
        ...ratio(arm, arm, deliveredMetric(pauseNs)),
        againstMetric: offeredMetric(pauseNs),
      })),
    ),
  ],
  async prepare(lab) {
    const { guest } = lab;
    if (guest === undefined) throw new TypeError('the events experiment needs a guest');
    const [first] = guest.transports;
    if (first === undefined) throw new TypeError('the guest has no transport');
    const { client } = guest;
    const native = async () => {
      await first.use();
      await using session = await Session.connect(first.agent, { client: 'waep bench' });
      const driver = new Driver(first.run, guest.programs);
      return [
        ...(await measureRates(readInGuest(session, driver, 0))),
        ...(await measureRaised(readInGuest(session, driver, raisedNice))),
      ];
    };
    const host = async (transport: LabTransport, amount: Amount) => {
      // Another transport may have been in use since.
      await transport.use();
      const driver = new Driver(transport.run, guest.programs);
      const follow = (one: Driver) => readOnHost(client, transport.agent, one);
      try {
        return [
          ...(await measureRates(follow(driver.withoutPriorities()))),
          ...(await measureRaised(follow(driver))),
          ...(await measureLatency(client, transport.agent, driver, amount)),
        ];
      } finally {
        await client.leave();
      }
    };
    return {
      arms: [
        { name: 'native', measure: native },
        ...guest.transports.flatMap((transport) => [
          { name: transport.name, measure: (amount: Amount) => host(transport, amount) },
          limitArm(transport),
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

/** The sizes of the ring and of a record. */
interface Kind {
  ringBytes: number;
  recordBytes: number;
}

/** The records that a reader received in a run, and the agent's processor time for them. */
type Taken = Omit<Followed, 'latencies'> & { agentCpuNs: number };

/**
 * Lets the guest emit a number of records at an interval, and reads them.
 *
 * @param withCpu whether to ask for `agentCpuNs`, which takes as long as a short run; it is 0
 *   without
 */
type Read = (kind: Kind, count: number, pauseNs: number, withCpu: boolean) => Promise<Taken>;

/** The program that makes events, run in the guest of a transport. */
class Driver {
  readonly #run: LabTransport['run'];
  readonly #program: string;
  readonly #priorities: boolean;

  constructor(run: LabTransport['run'], programs: Pick<Programs, 'events'>, priorities = true) {
    this.#run = run;
    this.#program = programs.events;
    this.#priorities = priorities;
  }

  /** The same, except that the agent's threads have no priority while the program runs. */
  withoutPriorities(): Driver {
    return new Driver(this.#run, { events: this.#program }, false);
  }

  async drive(command: readonly string[], count: number, pauseNs: number): Promise<string> {
    const amount = ['--count', String(count), '--pause', String(pauseNs)];
    const run = () => this.#run([this.#program, ...command, ...amount]);
    if (this.#priorities) return await run();
    const raised = await this.#ofExecutors(
      `set -- $(cat $t/stat) && [ ${niceField} = ${raisedNice} ] && echo \${t##*/}`,
    );
    if (raised.length === 0)
      throw new TypeError(`no thread of an executor has the nice value ${raisedNice}`);
    const setAll = (nice: number) => this.#run(['/bin/busybox', 'renice', `${nice}`, ...raised]);
    await setAll(0);
    try {
      return await run();
    } finally {
      await setAll(raisedNice);
    }
  }

  /** What the executors in the guest have used of its processors, in nanoseconds. */
  async agentCpuNs(): Promise<number> {
    const lines = await this.#ofExecutors('cat $t/schedstat');
    return lines.reduce((sum, line) => sum + Number(line.split(' ')[0]), 0);
  }

  /** The lines that a command of the guest's shell prints for the folder `$t` of each thread. */
  async #ofExecutors(command: string): Promise<string[]> {
    const script = `for t in /proc/[0-9]*/task/[0-9]*; do read c < $t/comm && [ "$c" = waep-executor ] && ${command}; done; true`;
    const text = (await this.#run(['/bin/sh', '-c', script])).trim();
    return text === '' ? [] : text.split('\n');
  }
}

function readInGuest(session: Session, driver: Driver, nice: number): Read {
  return async ({ ringBytes, recordBytes }, count, pauseNs) => {
    await using made = await emission(session, ringBytes, recordBytes);
    await using _ = await made.program.attachRawTracepoint('sys_enter');
    const { id } = await made.ring.info();
    const which = ['--map', String(id), '--size', String(ringBytes)];
    const command = ['consume', ...which, '--nice', String(nice)];
    const [, delivered, elapsedNs] = (await driver.drive(command, count, pauseNs)).split(' ');
    const read = { delivered: Number(delivered), elapsedNs: Number(elapsedNs), agentCpuNs: 0 };
    return { ...read, ...(await made.counts()) };
  };
}

function readOnHost(client: Measurer, address: string, driver: Driver): Read {
  return async (kind, count, pauseNs, withCpu) => {
    const cpuNs = async () => (withCpu ? await driver.agentCpuNs() : 0);
    await client.follow({ address, ...kind, stamped: false });
    const before = await cpuNs();
    await driver.drive(['drive'], count, pauseNs);
    const taken = await client.followed();
    return { ...taken, agentCpuNs: (await cpuNs()) - before };
  };
}

async function measureSizes(
  read: Read,
  counts: Readonly<Record<number, number>>,
  metricOf: (recordBytes: number) => string,
  cpuMetricOf?: (recordBytes: number) => string,
): Promise<Batches> {
  const measured: Batches = [];
  for (const size of recordBytes) {
    const withCpu = cpuMetricOf !== undefined;
    const taken = await read({ ringBytes, recordBytes: size }, counts[size] ?? 0, 0, withCpu);
    const each = taken.elapsedNs / taken.delivered;
    measured.push({ metric: metricOf(size), unit: 'ns', values: [each] });
    if (cpuMetricOf === undefined || taken.agentCpuNs === 0) continue;
    const values = [taken.agentCpuNs / taken.delivered];
    measured.push({ metric: cpuMetricOf(size), unit: 'ns', values });
  }
  return measured;
}

function measureRaised(read: Read): Promise<Batches> {
  return measureSizes(read, raisedRecords, raisedRecordMetric);
}

async function measureRates(read: Read): Promise<Batches> {
  const measured = await measureSizes(read, records, recordMetric, agentCpuMetric);
  for (const pauseNs of sweep.pausesNs) {
    const taken = await read(sweep, sweep.records, pauseNs, false);
    const perSecond = 1e9 / taken.elapsedNs;
    const offered = (taken.emitted + taken.refused) * perSecond;
    const delivered = taken.delivered * perSecond;
    measured.push(
      { metric: offeredMetric(pauseNs), unit: 'ops/s', values: [offered] },
      { metric: deliveredMetric(pauseNs), unit: 'ops/s', values: [delivered] },
    );
  }
  return measured;
}

async function measureLatency(
  client: Measurer,
  address: string,
  driver: Driver,
  { samples, warmup }: Amount,
): Promise<Batches> {
  await client.follow({ address, ringBytes: 64 * 1024, recordBytes: 16, stamped: true });
  await driver.drive(['drive'], warmup + samples, lowRateMs * 1e6);
  const placed = (await client.followed()).latencies.slice(warmup);
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
}

function limitArm(transport: LabTransport): Arm {
  const exchange = { requestBytes: 64, replyBytes: 64, pauseNs: lowRateMs * 1e6 };
  return {
    name: `${transport.name}/c`,
    measure: async (amount) => {
      const values = await transport.limit(exchange, amount);
      expectSamples(latencyMetric, values.length, amount.samples);
      return [{ metric: latencyMetric, unit: 'ns', values }];
    },
  };
}
