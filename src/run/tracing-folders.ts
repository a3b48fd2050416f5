/* Folders of the tracing file system, which programs list to find tracepoints. */
import { mkdirSync, statfsSync, writeFileSync } from 'node:fs';
import type { GuestFiles } from '../view/index.js';

const ROOT = '/sys/kernel/tracing';
const AVAILABLE = `${ROOT}/available_events`;
/** TMPFS_MAGIC of linux/magic.h. */
const TMPFS = 0x01021994;
/** What there is of each event, to be seen; what is read is the guest's. */
const eventFiles = ['enable', 'filter', 'format', 'id', 'trigger'];

/**
 * What a program sees when it lists the folders of events in /sys/kernel/tracing: those of the
 * guest. waep-launch has put an empty file system there, which nobody else sees, and a folder is
 * filled when it is opened. Only names are in it: opening a file opens the guest's.
 */
export class TracingFolders {
  readonly #files: GuestFiles;
  readonly #filled = new Map<string, Promise<void>>();
  #events: Promise<ReadonlyMap<string, readonly string[]>> | undefined;

  constructor(files: GuestFiles) {
    this.#files = files;
  }

  /**
   * Fills a folder for a thread of the program. Returns false for what is no folder of events, and
   * where the program could not be given a file system of its own.
   *
   * @throws the guest's system error; ERR_POLICY_REFUSED
   */
  async fill(path: string, thread: number): Promise<boolean> {
    const [found, system] = /^\/sys\/kernel\/tracing\/events\/?([^/]+)?/.exec(path) ?? [];
    const seen = `/proc/${thread}/root${ROOT}`;
    if (found === undefined || statfsSync(seen).type !== TMPFS) return false;
    const name = system ?? '';
    const filled = this.#filled.get(name) ?? this.#put(`${seen}/events`, name);
    this.#filled.set(name, filled);
    await filled;
    return true;
  }

  /** @param system the one whose events to put into `folder`, or '' for a folder of each system */
  async #put(folder: string, system: string): Promise<void> {
    this.#events ??= this.#list();
    const events = await this.#events;
    for (const name of system === '' ? events.keys() : [system]) {
      mkdirSync(`${folder}/${name}`, { recursive: true });
    }
    for (const event of events.get(system) ?? []) {
      mkdirSync(`${folder}/${system}/${event}`, { recursive: true });
      for (const file of eventFiles) writeFileSync(`${folder}/${system}/${event}/${file}`, '');
    }
  }

  /** The names of the guest's events, by those of their systems. */
  async #list(): Promise<ReadonlyMap<string, readonly string[]>> {
    const events = new Map<string, string[]>();
    for (const line of Buffer.from(await this.#files.bytes(AVAILABLE))
      .toString()
      .split('\n')) {
      const [, system = '', event = ''] = /^([\w-]+):([\w-]+)$/.exec(line) ?? [];
      if (event === '') continue;
      const others = events.get(system);
      if (others === undefined) events.set(system, [event]);
      else others.push(event);
    }
    return events;
  }
}
