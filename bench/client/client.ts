import { fileURLToPath } from 'node:url';
import { crowdMetrics } from '../metrics.js';
import { leashed } from '../process.js';
import { expectSamples } from '../samples.js';
import { type Asker, Worker } from '../worker.js';
import type {
  ClientAnswer,
  ClientRequest,
  DeviceRequest,
  Followed,
  FollowRequest,
  MeasureRequest,
  Profile,
  ProfileRequest,
} from './protocol.js';

/** A process that measures on request, one thing at a time, here or in a guest. */
export class Measurer implements AsyncDisposable {
  readonly #worker: Asker<ClientRequest, ClientAnswer>;

  /** @param worker the process */
  constructor(worker: Asker<ClientRequest, ClientAnswer>) {
    this.#worker = worker;
  }

  /**
   * Returns samples by metric: as many as asked for of each, in nanoseconds, or in operations per
   * second for a codec.
   *
   * @throws ERR_TOOL_FAILED when the client fails or ends; ERR_BENCH_INCOMPLETE
   */
  async measure(request: MeasureRequest): Promise<ReadonlyMap<string, readonly number[]>> {
    const answer = await this.#worker.ask(request);
    const samples = new Map(Object.entries('samples' in answer ? answer.samples : {}));
    for (const [metric, values] of samples) {
      expectSamples(metric, values.length, expectedSamples(request, metric));
    }
    return samples;
  }

  /**
   * Returns where the time of look-ups goes on the client's side.
   *
   * @throws ERR_TOOL_FAILED when the client fails or ends
   */
  async profile(request: Omit<ProfileRequest, 'task'>): Promise<Profile | undefined> {
    const answer = await this.#worker.ask({ task: 'profile', ...request });
    return 'profile' in answer ? answer.profile : undefined;
  }

  /**
   * Makes the process serve a guest's vsock device: directly for itself, and by a multiplexer for
   * others.
   *
   * @throws ERR_TOOL_FAILED when the client fails or ends
   */
  async openDevice(request: Omit<DeviceRequest, 'task'>): Promise<void> {
    await this.#worker.ask({ task: 'device', ...request });
  }

  /**
   * Has a program emit in the guest and reads what it emits, until {@link followed} asks for it.
   *
   * @throws ERR_TOOL_FAILED when the client fails or ends
   */
  async follow(request: Omit<FollowRequest, 'task'>): Promise<void> {
    await this.#worker.ask({ task: 'follow', ...request });
  }

  /**
   * Waits until all records have arrived, and returns what was read.
   *
   * @throws ERR_TOOL_FAILED when the client fails or ends, or something does not arrive
   */
  async followed(): Promise<Followed> {
    const answer = await this.#worker.ask({ task: 'followed' });
    if ('followed' in answer) return answer.followed;
    throw new TypeError('the client has answered another question');
  }

  /** Ends the session that events were followed in. */
  async leave(): Promise<void> {
    await this.#worker.ask({ task: 'leave' });
  }

  /**
   * Runs the Figure 2 program in the guest until {@link detach}.
   *
   * @throws ERR_TOOL_FAILED when the client fails or ends
   */
  async attach(address: string): Promise<void> {
    await this.#worker.ask({ task: 'attach', address });
  }

  /** Ends what {@link attach} has begun. */
  async detach(): Promise<void> {
    await this.#worker.ask({ task: 'detach' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker[Symbol.asyncDispose]();
  }
}

/** A {@link Measurer} on this machine. */
export class Client extends Measurer {
  readonly pid: number;

  /** @param cpu the CPU to keep it on; by default it may run on all */
  constructor(cpu?: number) {
    const main = fileURLToPath(new URL('./main.js', import.meta.url));
    const command = leashed(cpu, [process.execPath, main]);
    const worker = new Worker<ClientRequest, ClientAnswer>('The measuring client', command);
    super(worker);
    this.pid = worker.pid;
  }
}

/** A crowd has one rate. */
function expectedSamples(request: MeasureRequest, metric: string): number {
  return request.task === 'crowd' && metric === crowdMetrics.rate ? 1 : request.samples;
}
