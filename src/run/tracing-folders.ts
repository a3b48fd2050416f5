/* Folders of the tracing file system, which programs list to find tracepoints. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { native } from '../native.js';
import type { GuestFiles } from '../view/index.js';

const ROOT = '/sys/kernel/tracing';
const AVAILABLE = `${ROOT}/available_events`;
/** What there is of each event, to be seen; what is read is the guest's. */
const eventFiles = ['enable', 'filter', 'format', 'id', 'trigger'];

/**
 * What a program sees when it lists the folders of events in /sys/kernel/tracing: those of the
 * guest. waep-launch has put an empty file system there, which nobody else sees, and a folder is
 * filled when it is opened. Only names are in it: opening a file opens the guest's.
 */
export class TracingFolders {
  readonly #files: GuestFiles;
  #root: number | undefined;
  readonly #filled = new Map<string, Promise<void>>();
  #events: Promise<ReadonlyMap<string, readonly string[]>> | undefined;

  /**
   * @param root a descriptor of that file system, which {@link close} closes; undefined when the
   *   program has none. Nothing is made by the program's path to it, where the program could have
   *   put a link.
   */
  constructor(files: GuestFiles, root: number | undefined) {
    this.#files = files;
    this.#root = root;
  }

  /**
   * Fills a folder. Returns false for what is no folder of events, and where the program could not
   * be given a file system of its own.
   *
   * @throws the guest's system error; ERR_POLICY_REFUSED
   */
  async fill(path: string): Promise<boolean> {
    const [found, system] = /^\/sys\/kernel\/tracing\/events\/?([^/]+)?/.exec(path) ?? [];
    if (found === undefined || this.#root === undefined) return false;
    const name = system ?? '';
    const filled = this.#filled.get(name) ?? this.#put(name);
    this.#filled.set(name, filled);
    await filled;
    return true;
  }

  /** Fills no folder any more. */
  close(): void {
    if (this.#root !== undefined) native.close(this.#root);
    this.#root = undefined;
  }

  /** @param system the one whose events to put into its folder, or '' for a folder of each system */
  async #put(system: string): Promise<void> {
    this.#events ??= this.#list();
    const events = await this.#events;
    if (this.#root === undefined) return;
    const folder = `/proc/self/fd/${this.#root}/events`;
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
