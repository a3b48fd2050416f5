import { fileURLToPath } from 'node:url';
import { crowdMetrics } from '../metrics.js';
import { leashed } from '../process.js';
import { expectSamples } from '../samples.js';
import { Worker } from '../worker.js';
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

/** A client process that measures on request, one thing at a time. */
export class Client implements AsyncDisposable {
  readonly #worker: Worker<ClientRequest, ClientAnswer>;

  /** @param cpu the CPU to keep it on; by default it may run on all */
  constructor(cpu?: number) {
    const main = fileURLToPath(new URL('./main.js', import.meta.url));
    this.#worker = new Worker('The measuring client', leashed(cpu, [process.execPath, main]));
  }

  get pid(): number {
    return this.#worker.pid;
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

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker[Symbol.asyncDispose]();
  }
}

/** A crowd has one rate. */
function expectedSamples(request: MeasureRequest, metric: string): number {
  return request.task === 'crowd' && metric === crowdMetrics.rate ? 1 : request.samples;
}
