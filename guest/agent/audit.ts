import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { errnoName } from '../../src/errno.js';
import { failure } from '../../src/errors.js';
import { native } from '../../src/native.js';
import type { Agent } from './agent.js';
import type { ExecutorCall } from './executor.js';
import { TracepointNames } from './tracepoint-names.js';

/** Where an audit log goes, and how large it may get. */
export interface AuditOptions {
  /** A path, `-` for standard output, or `syslog` for the machine's log. */
  target: string;
  /** When the file has this size, it is renamed to `FILE.1`, and a new one begins. */
  maxBytes: number;
  /** How many older files are kept, from `FILE.1` on. */
  keep: number;
  /** The least urgent level whose lines are written. Default: all levels. */
  level?: Level;
  /** Called once when a line cannot be written, and not again before a line could be written. */
  failed?: (error: Error) => void;
}

/** The levels of lines, from most to least urgent, with the numbers of syslog(3). */
export const levels = ['error', 'warning', 'info', 'debug'] as const;
export type Level = (typeof levels)[number];

const severities: Readonly<Record<Level, number>> = { error: 3, warning: 4, info: 6, debug: 7 };
/** LOG_AUTHPRIV. */
const FACILITY = 10;
const SYSLOG = '/dev/log';
/** How reports name PERF_TYPE_TRACEPOINT. */
const TRACEPOINT = 'tracepoint (2)';
const NEWLINE = 10;
const DAY_MS = 24 * 3600 * 1000;
/** The part of a file that one client may fill with one kind of line in a day. */
const SHARE = 1 / 4;
/** The name of all peers together that have not proven who they are, though they have to. */
const UNPROVEN = 'unproven peers';
/** The number of clients whose shares are counted. */
const MAX_CLIENTS = 1000;

/** Writes lines. `write` returns whether the whole line was written. */
interface Sink {
  write(line: string, level: Level): void;
  reopen(): void;
}

/**
 * Writes events of an agent's sessions, each as a line of JSON. No session waits for the log: lines
 * that cannot be written are counted, and a later line gives their number.
 *
 * A file is rotated, so old lines are deleted in the end. To prevent a client from deleting lines
 * about itself, each client has a daily share for each kind of line. Further lines are only
 * counted.
 */
export class AuditLog {
  readonly #target: string;
  readonly #sink: Sink;
  readonly #level: number;
  readonly #failed: (error: Error) => void;
  readonly #shares: Shares | undefined;
  readonly #tracepoints = new TracepointNames();
  #lost = 0;
  #why: Error | undefined;

  /** @throws ERR_OPTION_INVALID when it cannot be written to */
  constructor(options: AuditOptions) {
    const { target, maxBytes, level = 'debug', failed = () => {} } = options;
    this.#level = levels.indexOf(level);
    this.#failed = failed;
    this.#target = target;
    if (target === '-') this.#sink = new StandardOutput();
    else if (target === 'syslog') this.#sink = new SystemLog();
    else {
      this.#sink = new LogFile(options);
      this.#shares = new Shares(maxBytes * SHARE);
    }
  }

  /**
   * Writes the first line since the agent was started.
   *
   * @throws ERR_OPTION_INVALID when it cannot be written
   */
  begin(details: object): void {
    try {
      this.#sink.write(lineOf('begun', details), 'info');
    } catch (cause) {
      throw unwritable(this.#target, cause as Error);
    }
  }

  /** Writes every event that `agent` emits from now on. */
  follow(agent: Agent): this {
    agent.on('session', (details) => this.write('session', details));
    agent.on('detached', (details) => this.write('detached', details));
    agent.on('joined', (details) => this.write('joined', details));
    agent.on('ended', (details) => {
      this.#lost += details.report?.recordsDropped ?? 0;
      this.write('ended', details);
    });
    agent.on('refused', ({ peer, proven, error }) =>
      this.write('refused', { peer, why: error.message }, 'warning', proven ? peer : UNPROVEN),
    );
    agent.on('silent', ({ peer, proven }) =>
      this.write('silent', { peer }, 'debug', proven ? peer : UNPROVEN),
    );
    agent.on('fault', ({ peer, error }) =>
      this.write('fault', { peer, why: error.message }, 'error'),
    );
    agent.on('call', ({ call, dropped, ...who }) => {
      const { event, ...made } = call;
      this.#lost += dropped;
      // The executor's facts say nothing of who it was.
      const details = { ...who, ...made, ...this.#tracepointOf(call), ...who };
      this.write(event, details, event === 'refused' ? 'warning' : 'info');
    });
    return this;
  }

  /** Returns the name of a perf event's tracepoint. The call itself has only its number. */
  #tracepointOf({ event, command, type, config, rule, value }: ExecutorCall) {
    if (!command.startsWith('perf_event_open')) return {};
    const id = event === 'refused' ? rule === 'hooks' && value : type === TRACEPOINT && config;
    const tracepoint = id && /^\d+$/.test(id) ? this.#tracepoints.of(id) : undefined;
    return tracepoint === undefined ? {} : { tracepoint };
  }

  /**
   * Writes one line. If lines before it were lost, a line with their number goes first.
   *
   * @param client whose share of the file the line takes. Default: the peer's
   */
  write(
    event: string,
    details: object,
    level: Level = 'info',
    client = (details as { peer?: string }).peer,
  ): void {
    if (levels.indexOf(level) > this.#level) return;
    const line = lineOf(event, details);
    const shares = client === undefined ? undefined : this.#shares;
    const counted = shares === undefined ? 0 : shares.take(`${client}`, event, line.length);
    if (counted === undefined) return;
    const suppressed = { peer: client, of: event, lines: counted };
    if (counted > 0 && !this.#append(lineOf('suppressed', suppressed))) this.#lost += counted;
    if (this.#lost > 0) {
      const lost = lineOf('lost', { lines: this.#lost, why: this.#why?.message });
      if (this.#append(lost)) this.#lost = 0;
    }
    if (!this.#append(line, level)) this.#lost++;
  }

  /**
   * Opens its path again, because the file may have been renamed. On failure the old file stays.
   */
  reopen(): void {
    try {
      this.#sink.reopen();
    } catch (error) {
      this.#failed(error as Error);
    }
  }

  #append(line: string, level: Level = 'info'): boolean {
    try {
      this.#sink.write(line, level);
      this.#why = undefined;
      return true;
    } catch (error) {
      // The disk may be full, for example.
      if (this.#why === undefined) this.#failed(error as Error);
      this.#why = error as Error;
      return false;
    }
  }
}

function lineOf(event: string, details: object): string {
  const fixed = { time: new Date().toISOString(), event };
  return `${JSON.stringify({ ...fixed, ...details, ...fixed })}\n`;
}

function unwritable(target: string, cause: Error): Error {
  const expected = `a log that can be written to (${cause.message})`;
  return failure('ERR_OPTION_INVALID', { option: '--audit', value: target, expected }, cause);
}

class StandardOutput implements Sink {
  /** The end of a line of which the reader has only the beginning. */
  #rest: Uint8Array = new Uint8Array(0);

  write(line: string): void {
    while (this.#rest.length > 0) this.#rest = this.#rest.subarray(writeSync(1, this.#rest));
    const bytes = Buffer.from(line);
    this.#rest = bytes.subarray(writeSync(1, bytes));
  }

  reopen(): void {}
}

/** Sends messages of RFC 3164 to the machine's log, as syslog(3) does. */
class SystemLog implements Sink {
  write(line: string, level: Level): void {
    const priority = FACILITY * 8 + severities[level];
    const text = `<${priority}>waep-agent[${process.pid}]: ${line.trimEnd()}`;
    const sent = native.sendDatagram(SYSLOG, Buffer.from(text));
    if (sent < 0) throw new Error(`no log daemon listens at ${SYSLOG}: ${errnoName(-sent)}`);
  }

  reopen(): void {}
}

const {
  O_APPEND,
  O_CLOEXEC = 0o2000000,
  O_CREAT,
  O_NOFOLLOW,
  O_RDWR,
} = constants as typeof constants & {
  O_CLOEXEC?: number;
};

class LogFile implements Sink {
  readonly #path: string;
  readonly #maxBytes: number;
  readonly #keep: number;
  #fd: number;
  #bytes = 0;

  constructor({ target, maxBytes, keep }: AuditOptions) {
    this.#path = target;
    this.#maxBytes = maxBytes;
    this.#keep = keep;
    try {
      this.#fd = this.#open();
    } catch (cause) {
      throw unwritable(target, cause as Error);
    }
  }

  write(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#bytes > 0 && this.#bytes + bytes.length > this.#maxBytes) this.#rotate();
    let written = 0;
    try {
      while (written < bytes.length) written += writeSync(this.#fd, bytes, written);
    } catch (error) {
      // A reader must never see half a line.
      if (written > 0) ftruncateSync(this.#fd, this.#bytes);
      throw error;
    }
    this.#bytes += bytes.length;
  }

  reopen(): void {
    const fd = this.#open();
    closeSync(this.#fd);
    this.#fd = fd;
  }

  #rotate(): void {
    if (this.#keep === 0) {
      ftruncateSync(this.#fd);
      this.#bytes = 0;
      return;
    }
    // If the file cannot be renamed, such as a mount point, the older files must stay as they are. If
    // the agent ended between the two steps the last time, FILE.0 is there already.
    this.#shift();
    if (existsSync(this.#path)) renameSync(this.#path, `${this.#path}.0`);
    this.#shift();
    this.reopen();
  }

  /** Makes FILE.0 FILE.1, and so on. If there is no FILE.0, the others stay as they are. */
  #shift(): void {
    if (!existsSync(`${this.#path}.0`)) return;
    for (let n = this.#keep; n > 0; n--) {
      try {
        renameSync(`${this.#path}.${n - 1}`, `${this.#path}.${n}`);
      } catch (error) {
        // Not all of the older files exist yet.
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
  }

  /** Opens the file. If its writer was ended in the middle of the last line, this ends the line. */
  #open(): number {
    const fd = openSync(this.#path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0o600);
    const about = fstatSync(fd);
    this.#bytes = about.isFile() ? about.size : 0;
    const last = Buffer.alloc(1);
    if (this.#bytes > 0 && readSync(fd, last, 0, 1, this.#bytes - 1) === 1 && last[0] !== NEWLINE) {
      this.#bytes += writeSync(fd, '\n');
    }
    return fd;
  }
}

interface Share {
  left: number;
  since: number;
  counted: number;
}

/** Counts the bytes that each client has written of each kind of line. */
class Shares {
  readonly #bytes: number;
  readonly #shares = new Map<string, Share>();

  constructor(bytes: number) {
    this.#bytes = bytes;
  }

  /**
   * Takes a line's length from its client's share. Returns the number of earlier lines that were
   * only counted. Returns undefined when the share is used up, and counts this line.
   */
  take(peer: string, event: string, bytes: number): number | undefined {
    // The port is left out of the key, because every connection has a different one.
    const key = `${event} ${peer.replace(/:\d+(?= as |$)/, '')}`;
    const now = Date.now();
    const share = this.#shares.get(key) ?? { left: this.#bytes, since: now, counted: 0 };
    this.#shares.delete(key);
    this.#shares.set(key, share);
    // The share that was unused for the longest time has regained most of its bytes.
    const [oldest] = this.#shares.keys();
    if (this.#shares.size > MAX_CLIENTS && oldest !== undefined) this.#shares.delete(oldest);
    const back = (Math.max(0, now - share.since) * this.#bytes) / DAY_MS;
    share.left = Math.min(this.#bytes, share.left + back);
    share.since = now;
    // The line that reports counted lines needs room, too.
    if (share.left < 2 * bytes) {
      share.counted++;
      return undefined;
    }
    share.left -= bytes;
    const { counted } = share;
    share.counted = 0;
    return counted;
  }
}
