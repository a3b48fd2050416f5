import { type ChildProcess, spawn } from 'node:child_process';
import { nativeFile } from '../../src/native.js';

/** What an executor reports when its session has ended. */
export interface ExecutorReport {
  /** 0 at a clean end, 1 inside a frame, 2 and 3 at a frame refused, else a negative errno. */
  end: number;
  framesIn: number;
  framesOut: number;
  bytesIn: number;
  bytesOut: number;
  calls: number;
  refused: number;
  handles: number;
}

/** How an executor ended: with its report, or without one when it was killed. */
export interface ExecutorEnd {
  report: ExecutorReport | undefined;
  exitCode: number | null;
  signal: NodeJS.Signals | null;
}

/**
 * The process that serves one session (addon/core/executor_main.cc). It ends when its connection
 * does, when it is told to, or with this process.
 */
export class ExecutorProcess {
  readonly pid: number;
  /** Resolves once the process is gone, and every object of its session with it. */
  readonly ended: Promise<ExecutorEnd>;
  readonly #child: ChildProcess;

  /**
   * @param fd the connected socket. The caller keeps its copy and has to close it.
   * @param rules from `encodeRules`
   */
  constructor(fd: number, rules: Uint8Array) {
    const child = spawn(nativeFile('waep-executor'), [String(process.pid)], {
      stdio: ['pipe', 'pipe', 'inherit', fd],
    });
    this.#child = child;
    this.pid = child.pid ?? -1;
    let output = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    this.ended = new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (exitCode, signal) => {
        // One that is killed leaves no report.
        const report =
          exitCode === 0 && signal === null ? (JSON.parse(output) as ExecutorReport) : undefined;
        resolve({ report, exitCode, signal });
      });
    });
    // An executor that dies before it has read its rules is seen by its exit.
    child.stdin?.on('error', () => {});
    child.stdin?.end(rules);
  }

  /** Ends the session at once. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }
}
