/* Both ends of a process that executes requests, one at a time. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { GuestProcess } from '../guest/index.js';
import { failure } from '../src/errors.js';

type Reply<Answer> = { answer: Answer } | { error: { message: string; stack: string } };

/** The end that sends requests. */
export interface Asker<Request, Answer> extends AsyncDisposable {
  /** @throws ERR_TOOL_FAILED when the process fails or ends */
  ask(request: Request): Promise<Answer>;
}

/** The end that sends requests to a process on this machine. */
export class Worker<Request extends object, Answer extends object>
  implements Asker<Request, Answer>
{
  readonly #what: string;
  readonly #child: ChildProcess;

  /**
   * @param what the process, in the words of an error
   * @param command what to run; it calls {@link serve}
   */
  constructor(what: string, command: readonly string[], env: NodeJS.ProcessEnv = process.env) {
    this.#what = what;
    const [program = '', ...args] = command;
    this.#child = spawn(program, args, {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      serialization: 'advanced',
      env,
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async ask(request: Request): Promise<Answer> {
    const answered = new AbortController();
    const { signal } = answered;
    try {
      this.#child.send(request);
      const reply = await Promise.race([
        once(this.#child, 'message', { signal }).then(([message]) => message as Reply<Answer>),
        once(this.#child, 'exit', { signal }).then(([code, killer]): Reply<Answer> => {
          return { error: { message: `it ended with ${code ?? killer}`, stack: '' } };
        }),
      ]);
      return answerIn(reply, this.#what, request);
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

/** The end that sends requests to a process in a guest, as lines of JSON. */
export class GuestWorker<Request extends object, Answer extends object>
  implements Asker<Request, Answer>
{
  readonly #what: string;
  readonly #process: GuestProcess;
  readonly #lines: AsyncIterator<string>;
  #complaints = '';

  /**
   * @param what the process, in the words of an error
   * @param process it calls {@link serveLines}
   */
  constructor(what: string, process: GuestProcess) {
    this.#what = what;
    this.#process = process;
    this.#lines = createInterface(process.stdout)[Symbol.asyncIterator]();
    process.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#complaints += text;
    });
  }

  async ask(request: Request): Promise<Answer> {
    this.#process.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await this.#lines.next();
    const reply: Reply<Answer> =
      done === true
        ? { error: { message: 'it ended', stack: this.#complaints } }
        : JSON.parse(value);
    return answerIn(reply, this.#what, request);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.destroy();
  }
}

function answerIn<Answer>(reply: Reply<Answer>, what: string, request: object): Answer {
  if ('answer' in reply) return reply.answer;
  throw failure('ERR_TOOL_FAILED', {
    tool: `${what} (${JSON.stringify(request)})`,
    why: reply.error.message,
    log: reply.error.stack,
  });
}

async function replyTo<Answer>(answer: () => Promise<Answer>): Promise<Reply<Answer>> {
  try {
    return { answer: await answer() };
  } catch (error) {
    const { message, stack = '' } = error as Error;
    return { error: { message, stack } };
  }
}

/** Makes this process execute the requests of a {@link Worker} until that is gone. */
export function serve<Request, Answer>(answer: (request: Request) => Promise<Answer>): void {
  process.on('message', (request: Request) => {
    void replyTo(() => answer(request)).then((made) => process.send?.(made));
  });
  process.on('disconnect', () => process.exit());
}

/** Makes this process execute the requests of a {@link GuestWorker} until that is gone. */
export async function serveLines<Request, Answer>(
  answer: (request: Request) => Promise<Answer>,
): Promise<void> {
  for await (const line of createInterface(process.stdin)) {
    const reply = await replyTo(() => answer(JSON.parse(line) as Request));
    process.stdout.write(`${JSON.stringify(reply)}\n`);
  }
  process.exit();
}
