/* Both ends of a process that executes requests, one at a time. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { failure } from '../src/errors.js';

type Reply<Answer> = { answer: Answer } | { error: { message: string; stack: string } };

/** The end that sends requests. */
export class Worker<Request extends object, Answer extends object> implements AsyncDisposable {
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

  /** @throws ERR_TOOL_FAILED when the process fails or ends */
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
      if ('answer' in reply) return reply.answer;
      throw failure('ERR_TOOL_FAILED', {
        tool: `${this.#what} (${JSON.stringify(request)})`,
        why: reply.error.message,
        log: reply.error.stack,
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

/** Makes this process execute requests until the other end is gone. */
export function serve<Request, Answer>(answer: (request: Request) => Promise<Answer>): void {
  const reply = async (request: Request): Promise<Reply<Answer>> => {
    try {
      return { answer: await answer(request) };
    } catch (error) {
      const { message, stack = '' } = error as Error;
      return { error: { message, stack } };
    }
  };
  process.on('message', (request: Request) => {
    void reply(request).then((made) => process.send?.(made));
  });
  process.on('disconnect', () => process.exit());
}
