import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { failure } from '../../src/errors.js';
import { crowdMetrics } from '../metrics.js';
import { leashed } from '../process.js';
import { expectSamples } from '../samples.js';
import type {
  DeviceRequest,
  Followed,
  FollowedRequest,
  FollowRequest,
  MeasureRequest,
  ProbeAnswer,
  Profile,
  ProfileRequest,
} from './protocol.js';

/** A client process that measures on request, one thing at a time. */
export class Probe implements AsyncDisposable {
  readonly #child: ChildProcess;

  /** @param cpu the CPU to keep it on; by default it may run on all */
  constructor(cpu?: number) {
    const main = fileURLToPath(new URL('./main.js', import.meta.url));
    const [program = '', ...args] = leashed(cpu, [process.execPath, main]);
    this.#child = spawn(program, args, {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      serialization: 'advanced',
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /**
   * Returns samples by metric: as many as asked for of each, in nanoseconds, or in operations per
   * second for a codec.
   *
   * @throws ERR_TOOL_FAILED when the probe fails or ends; ERR_BENCH_INCOMPLETE
   */
  async measure(request: MeasureRequest): Promise<ReadonlyMap<string, readonly number[]>> {
    const answer = await this.#ask(request);
    const samples = new Map(Object.entries('samples' in answer ? answer.samples : {}));
    for (const [metric, values] of samples) {
      expectSamples(metric, values.length, expectedSamples(request, metric));
    }
    return samples;
  }

  /**
   * Returns where the time of look-ups goes on the client's side.
   *
   * @throws ERR_TOOL_FAILED when the probe fails or ends
   */
  async profile(request: Omit<ProfileRequest, 'task'>): Promise<Profile | undefined> {
    const answer = await this.#ask({ task: 'profile', ...request });
    return 'profile' in answer ? answer.profile : undefined;
  }

  /**
   * Has the process serve a guest's vsock device, directly for itself and by a multiplexer for others.
   *
   * @throws ERR_TOOL_FAILED when the probe fails or ends
   */
  async openDevice(request: Omit<DeviceRequest, 'task'>): Promise<void> {
    await this.#ask({ task: 'device', ...request });
  }

  /**
   * Has a program emit in the guest and reads what it emits, until {@link followed} asks for it.
   *
   * @throws ERR_TOOL_FAILED when the probe fails or ends
   */
  async follow(request: Omit<FollowRequest, 'task'>): Promise<void> {
    await this.#ask({ task: 'follow', ...request });
  }

  /**
   * Returns what was read once all of it has arrived.
   *
   * @throws ERR_TOOL_FAILED when the probe fails or ends, or something does not arrive
   */
  async followed(): Promise<Followed> {
    const answer = await this.#ask({ task: 'followed' });
    if ('followed' in answer) return answer.followed;
    throw new TypeError('the probe has answered another question');
  }

  /** Ends the session that events were followed in. */
  async leave(): Promise<void> {
    await this.#ask({ task: 'leave' });
  }

  async #ask(
    request: MeasureRequest | ProfileRequest | DeviceRequest | FollowRequest | FollowedRequest,
  ): Promise<Exclude<ProbeAnswer, { error: unknown }>> {
    const answered = new AbortController();
    const { signal } = answered;
    try {
      this.#child.send(request);
      const answer = await Promise.race([
        once(this.#child, 'message', { signal }).then(([message]) => message as ProbeAnswer),
        once(this.#child, 'exit', { signal }).then(([code, killer]): ProbeAnswer => {
          return { error: { message: `it ended with ${code ?? killer}`, stack: '' } };
        }),
      ]);
      if (!('error' in answer)) return answer;
      throw failure('ERR_TOOL_FAILED', {
        tool: `The measuring process (${JSON.stringify(request)})`,
        why: answer.error.message,
        log: answer.error.stack,
      });
    } finally {
      answered.abort();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exit;
  }
}

/** A crowd has one rate. */
function expectedSamples(request: MeasureRequest, metric: string): number {
  return request.task === 'crowd' && metric === crowdMetrics.rate ? 1 : request.samples;
}
