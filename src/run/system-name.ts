import type { Session } from '../session.js';
import type { GuestFiles } from '../view/index.js';
import type { Notification } from './notification.js';
import type { Placeholders } from './placeholders.js';
import { ProcessMemory } from './process-memory.js';

/** `struct utsname`: six texts. */
const TEXT_BYTES = 65;

/** What uname(2) tells: the guest's kernel and its name. It is asked for once. */
export class SystemName {
  readonly #session: Session;
  readonly #files: GuestFiles;
  #image: Buffer | undefined;

  constructor(session: Session, files: GuestFiles) {
    this.#session = session;
    this.#files = files;
  }

  /** Answers uname(2). */
  tell(call: Notification, placeholders: Placeholders): void | Promise<void> {
    if (this.#image === undefined) return this.#ask().then(() => this.tell(call, placeholders));
    new ProcessMemory(call, placeholders).writeOrFault(call.word(0), this.#image);
    call.succeed(0);
  }

  async #ask(): Promise<void> {
    const { release, version, machine } = this.#session.kernel;
    // The guest's policy decides whether the program may read the host name.
    const name = await this.#files.read('/proc/sys/kernel/hostname').catch(() => 'guest');
    const texts = ['Linux', name, release, version, machine, '(none)'];
    const image = Buffer.alloc(texts.length * TEXT_BYTES);
    for (const [index, text] of texts.entries()) {
      image.write(text.slice(0, TEXT_BYTES - 1), index * TEXT_BYTES);
    }
    this.#image = image;
  }
}
