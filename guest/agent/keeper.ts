import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { failure, systemError } from '../../src/errors.js';
import { native, nativeFile } from '../../src/native.js';
import { encodeConfinement } from '../../src/policy/confinement.js';
import { type Confinement, encodeRules, type Rules } from '../../src/policy/rules.js';
import { askControl, ControlChannel, ControlKind, type ControlMessage, pieces } from './control.js';

/** How a process ended. */
export interface Ending {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
}

/** A process that the keeper has started. */
export interface Kept {
  readonly pid: number;
  /** Resolves once the process is gone. */
  readonly ended: Promise<Ending>;
  /** Ends the process at once. */
  kill(): void;
}

/** How long the answer to a start may take. It is one fork(2). */
const START_TIMEOUT_MS = 30_000;

/**
 * The process that starts executors (addon/core/executor/keeper_main.cc). It receives the rules
 * once, so that the agent itself can give up its capabilities.
 */
export class Keeper {
  /** Resolves when the process is gone, and every executor with it. */
  readonly ended: Promise<Ending>;
  readonly #channel: ControlChannel;
  readonly #descriptors: readonly [number, number];
  /** The descriptor by which executors are requested; -1 when the keeper is gone. */
  #starts: number;
  readonly #kept = new Map<number, (ending: Ending) => void>();
  #started = 0;
  #ready: () => void = () => {};

  /**
   * @param eventNice as in `AgentOptions`
   * @throws ERR_AGENT_KEEPER when it does not start; standard error says why
   */
  static async start(rules: Rules, eventNice: number): Promise<Keeper> {
    const [ours, theirs] = ControlChannel.pair();
    const [starts, theirStarts] = ControlChannel.pair();
    const words = [`${eventNice}`, nativeFile('waep-executor')];
    const child = spawn(nativeFile('waep-keeper'), words, {
      stdio: [theirs, 'ignore', 'inherit', theirStarts],
    });
    native.close(theirs);
    native.close(theirStarts);
    const exited = new Promise<Ending>((resolve) => {
      child.on('error', () => {
        keeper.#channel.close();
        resolve({ exitCode: 127, signal: null });
      });
      child.on('exit', (exitCode, signal) => resolve({ exitCode, signal }));
    });
    const keeper = new Keeper(ours, starts, exited);
    const ready = new Promise<void>((resolve) => {
      keeper.#ready = resolve;
    });
    keeper.#tell(rules, rules.confinement);
    const gone = await Promise.race([ready, keeper.ended]);
    if (gone !== undefined) throw failure('ERR_AGENT_KEEPER', { why: endingText(gone) });
    return keeper;
  }

  /** Takes over a keeper that another process has started, by the descriptors that it sent. */
  static adopt([channel, starts]: readonly [number, number]): Keeper {
    return new Keeper(channel, starts);
  }

  /** @param exited resolves with how the process ended, which only its parent process learns */
  private constructor(
    channel: number,
    starts: number,
    exited: Promise<Ending> = Promise.resolve({ exitCode: null, signal: null }),
  ) {
    this.#descriptors = [channel, starts];
    this.#starts = starts;
    native.setTimeouts(starts, START_TIMEOUT_MS);
    let silent = () => {};
    const silence = new Promise<void>((resolve) => {
      silent = resolve;
    });
    this.#channel = new ControlChannel(channel, (message) => this.#receive(message), silent);
    // The last messages about executors are received first.
    this.ended = Promise.all([exited, silence]).then(([ending]) => {
      for (const end of this.#kept.values()) end({ exitCode: null, signal: 'SIGKILL' });
      this.#kept.clear();
      native.close(this.#starts);
      this.#starts = -1;
      return ending;
    });
  }

  /** The descriptors of the keeper's two channels, for the process that will {@link adopt} it. */
  get descriptors(): readonly [channel: number, starts: number] {
    return this.#descriptors;
  }

  #tell(rules: Rules, confinement: Confinement): void {
    for (const payload of pieces(encodeRules(rules))) {
      this.#channel.send({ kind: ControlKind.RULES, payload });
    }
    this.#channel.send({ kind: ControlKind.CONFINEMENT, payload: encodeConfinement(confinement) });
  }

  /**
   * Starts an executor with `control` as its standard input. The caller closes `control`.
   *
   * @throws ERR_AGENT_KEEPER when there is no keeper any more, or a system error when the start
   * fails
   */
  start(control: number): Kept {
    if (this.#starts < 0) throw failure('ERR_AGENT_KEEPER', { why: 'it has ended' });
    const number = ++this.#started;
    const answer = askControl(this.#starts, {
      kind: ControlKind.START,
      number,
      descriptor: control,
    });
    if (answer === undefined) throw failure('ERR_AGENT_KEEPER', { why: 'it does not answer' });
    if (answer.number === 0) {
      const { buffer, byteOffset } = answer.payload;
      throw systemError('fork', -new DataView(buffer, byteOffset).getInt32(0, true));
    }
    const ended = new Promise<Ending>((resolve) => this.#kept.set(number, resolve));
    return {
      pid: answer.number,
      ended,
      kill: () => {
        if (this.#kept.has(number)) this.#channel.send({ kind: ControlKind.KILL, number });
      },
    };
  }

  /** Ends the keeper and everything that it has started. */
  async close(): Promise<void> {
    this.#channel.close();
    await this.ended;
  }

  #receive({ kind, number, payload }: ControlMessage): void {
    if (kind === ControlKind.READY) this.#ready();
    if (kind !== ControlKind.ENDED) return;
    const status = new DataView(payload.buffer, payload.byteOffset).getInt32(0, true);
    this.#kept.get(number)?.(endingOf(status));
    this.#kept.delete(number);
  }
}

/** Returns how a process ended, from its wait(2) status. */
function endingOf(status: number): Ending {
  const killed = status & 0x7f;
  if (killed === 0) return { exitCode: (status >> 8) & 0xff, signal: null };
  const known = Object.entries(constants.signals) as [NodeJS.Signals, number][];
  return { exitCode: null, signal: known.find(([, one]) => one === killed)?.[0] ?? 'SIGKILL' };
}

function endingText({ exitCode, signal }: Ending): string {
  return signal === null ? `it ended with status ${exitCode}` : `it was killed by ${signal}`;
}
