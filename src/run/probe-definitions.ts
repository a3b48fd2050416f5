/*
 * Definitions of probes that a program writes to kprobe_events and uprobe_events. In the guest,
 * such a definition would outlive the program, and every process would see it. So waep keeps the
 * definitions on this machine. The program reads an id from the tracing file system. When it opens
 * an event by that id, waep opens an event of the kprobe or uprobe PMU instead. The guest's kernel
 * makes both from the same parts (kernel/trace/trace_event_perf.c), and removes the PMU's probe
 * with its descriptor.
 */
import { openSync } from 'node:fs';
import { constants } from 'node:os';
import { failure, type SystemError, systemError, type WaepError } from '../errors.js';
import { openPerfEvent } from '../kernel/perf-event.js';
import { native } from '../native.js';
import type { Session } from '../session.js';
import type { GuestFiles } from '../view/index.js';
import type { Notification } from './notification.js';
import { definitionNumbers, freeNumber } from './numbered.js';
import type { Placeholders } from './placeholders.js';
import type { ProbedFiles } from './probed-files.js';
import { ProcessMemory } from './process-memory.js';

const { errno } = constants;

/** WRITE_BUFSIZE of kernel/trace/trace_dynevent.c. */
const MAX_TEXT_BYTES = 4096;
/** Larger than every event type of a kernel: event types have 16 bits. */
const FIRST_ID = 0x10000;
const RETURNS = 1n;
const REFERENCE_SHIFT = 32n;

const kinds = ['kprobe', 'uprobe'] as const;

/** The PMU that makes the event of a definition. */
export type ProbeKind = (typeof kinds)[number];

/** The attributes with which an event of the kprobe or uprobe PMU is opened. */
export interface Probe {
  readonly kind: ProbeKind;
  readonly config: bigint;
  /** The name of the function, or the path of the file. */
  readonly config1: string;
  /** The offset in the function or file. */
  readonly config2: bigint;
}

interface Defined extends Probe {
  readonly id: number;
  /** The line as the guest's kernel would list it. */
  readonly line: string;
}

const name = '[A-Za-z_]\\w{0,62}';
/**
 * `p:GROUP/EVENT PLACE`, with r instead of p for a return probe. Arguments to fetch are not
 * supported.
 */
const definition = new RegExp(`^([pr]):(?:(${name})/)?(${name})[ \\t]+(\\S+)\\s*$`);
const removal = new RegExp(`^-:(?:(${name})/)?(${name})\\s*$`);
const places: { readonly [K in ProbeKind]: RegExp } = {
  kprobe: /^([A-Za-z_.][\w.]*)(?:\+(0|[1-9]\d{0,8}|0x[\da-f]{1,8}))?$/i,
  // A reference counter, as USDT uses, follows the offset.
  uprobe: /^(\/.*):(0x[\da-f]{1,16})(?:\((0x[\da-f]{1,8})\))?$/i,
};

const file = /^\/sys\/kernel\/(?:debug\/)?tracing\/(kprobe|uprobe)_events$/;
const event = /^(\/sys\/kernel\/(?:debug\/)?tracing\/events\/)(\w+\/\w+)(\/id)?$/;
/** An event that every kernel has. */
const LIKE = 'sched/sched_switch';

/** Returns the kind of probes that a file defines. Returns undefined for any other file. */
export function definitionsIn(path: string): ProbeKind | undefined {
  return file.exec(path)?.[1] as ProbeKind | undefined;
}

/** The probes that a program has defined, and its descriptors of the files of definitions. */
export class ProbeDefinitions {
  readonly #files = new Map<ProbeKind, number>();
  readonly #defined = new Map<string, Defined>();
  #nextId = FIRST_ID;

  /**
   * Gives the program a descriptor whose write(2) calls the filter hands over.
   *
   * @returns whether the program has it; false if no such number is free
   */
  open(call: Notification, kind: ProbeKind): boolean {
    const number = freeNumber(call.thread, definitionNumbers);
    if (number === undefined) return false;
    const fd = this.#files.get(kind) ?? unwritable();
    this.#files.set(kind, fd);
    if (!call.replaceDescriptor(fd, number)) return false;
    call.succeed(number);
    return true;
  }

  /**
   * Returns the kind of probes that a descriptor of a thread defines, if {@link open} made the
   * descriptor.
   */
  kindOf(thread: number, descriptor: number): ProbeKind | undefined {
    for (const [kind, fd] of this.#files) {
      if (native.identify(thread, descriptor) === native.identify(process.pid, fd)) return kind;
    }
    return undefined;
  }

  has(key: string): boolean {
    return this.#defined.has(key);
  }

  add(key: string, line: string, probe: Probe): void {
    this.#defined.set(key, { ...probe, line, id: this.#nextId++ });
  }

  /**
   * Removes the events with a name, from all groups if `group` is undefined. Returns whether there
   * were any.
   */
  remove(kind: ProbeKind, group: string | undefined, name: string): boolean {
    const keys = [...this.#defined].flatMap(([key, one]) => {
      const matches = group === undefined ? key.endsWith(`/${name}`) : key === `${group}/${name}`;
      return one.kind === kind && matches ? [key] : [];
    });
    for (const key of keys) this.#defined.delete(key);
    return keys.length > 0;
  }

  /** Returns the definitions as the guest's kernel would list them after its own. */
  list(kind: ProbeKind): string {
    const ofKind = [...this.#defined.values()].filter((one) => one.kind === kind);
    return ofKind.map(({ line }) => `${line}\n`).join('');
  }

  /**
   * Returns the probe that the program has defined and whose id it uses as that of a tracepoint.
   */
  probeOf(id: bigint): Probe | undefined {
    if (id < BigInt(FIRST_ID)) return undefined;
    return [...this.#defined.values()].find((one) => BigInt(one.id) === id);
  }

  /** Returns the text of an event's id file, if the path names the id file of a defined event. */
  textOf(path: string): string | undefined {
    const [, , key = '', isFile] = event.exec(path) ?? [];
    const id = this.#defined.get(key)?.id;
    return id === undefined || isFile === undefined ? undefined : `${id}\n`;
  }

  /** Returns an existing path of the guest that resembles a path of a defined event. */
  like(path: string): string | undefined {
    const [, folder, key = '', isFile = ''] = event.exec(path) ?? [];
    return this.#defined.has(key) ? `${folder}${LIKE}${isFile}` : undefined;
  }

  close(): void {
    for (const fd of this.#files.values()) native.close(fd);
    this.#files.clear();
  }
}

/** The parts of the context that an answer needs. */
interface Definer {
  readonly session: Session;
  readonly files: GuestFiles;
  readonly placeholders: Placeholders;
  readonly probed: ProbedFiles;
  readonly definitions: ProbeDefinitions;
}

/** Answers write(2) to a file of definitions, line by line. */
export async function defineProbes(call: Notification, context: Definer): Promise<void> {
  const kind = context.definitions.kindOf(call.thread, call.descriptor(0));
  if (kind === undefined) return call.proceed();
  const memory = new ProcessMemory(call, context.placeholders);
  const lengthBytes = Number(call.word(2));
  if (lengthBytes > MAX_TEXT_BYTES) return call.fail(errno.E2BIG);
  const text = memory.read(call.word(1), lengthBytes);
  if (text.length < lengthBytes) return call.fail(errno.EFAULT);
  for (const line of Buffer.from(text).toString('latin1').split('\n')) {
    const words = line.replace(/#.*/, '').trim();
    const why = words === '' ? 0 : await define(words, kind, call, context);
    if (why !== 0) return call.fail(why);
  }
  call.succeed(lengthBytes);
}

/** Executes one line. Returns 0, or the errno with which writing the line fails. */
async function define(
  line: string,
  kind: ProbeKind,
  call: Notification,
  context: Definer,
): Promise<number> {
  const { definitions, files, probed } = context;
  const [, group, old] = removal.exec(line) ?? [];
  if (old !== undefined) return definitions.remove(kind, group, old) ? 0 : errno.ENOENT;
  const [, type = '', itsGroup = `${kind}s`, name = '', place = ''] = definition.exec(line) ?? [];
  const [, target, offset = '0', reference = '0'] = places[kind].exec(place) ?? [];
  if (target === undefined) throw refusal(line);
  const returns = type === 'r' ? RETURNS : 0n;
  const probe: Probe = {
    kind,
    config: returns | (BigInt(reference) << REFERENCE_SHIFT),
    config1: target,
    config2: BigInt(offset),
  };
  if (kind === 'uprobe') await probed.check(call.thread, target);
  const why = await probeError(context, probe);
  if (why !== 0) return why;
  const key = `${itsGroup}/${name}`;
  const ofGuest = files.look(`/sys/kernel/tracing/events/${key}`).then(
    () => true,
    () => false,
  );
  if (definitions.has(key) || (await ofGuest)) return errno.EEXIST;
  definitions.add(key, `${type}:${key} ${place}`, probe);
  return 0;
}

function refusal(line: string): WaepError {
  return failure('ERR_RUN_REFUSED', {
    call: `the definition of a probe "${line}"`,
    why: 'waep makes a probe with a name, at a function or at an offset in a file, and no arguments',
    instead: 'Attach by a link or by perf_event_open(2).',
  });
}

/** Returns the refusal of an open(2) after which waep would not see the writes. */
export function unseen(path: string): WaepError {
  return failure('ERR_RUN_REFUSED', {
    call: `opening ${path} to write otherwise than with O_WRONLY and O_APPEND`,
    why: 'what a shell writes goes by another descriptor, and is not seen',
    instead: 'Attach by a link or by perf_event_open(2).',
  });
}

/** Returns the number of the guest's PMU for a kind of probes, if the guest reports one. */
export async function pmuOf(
  kind: ProbeKind,
  { files }: Pick<Definer, 'files'>,
): Promise<number | undefined> {
  const path = `/sys/bus/event_source/devices/${kind}/type`;
  const type = await files.read(path).catch(() => undefined);
  return type === undefined ? undefined : Number(type);
}

/**
 * Returns 0 if the guest's kernel can make a probe, or else its errno. The probe is closed again.
 */
async function probeError(context: Definer, probe: Probe): Promise<number> {
  const { session } = context;
  const type = await pmuOf(probe.kind, context);
  if (type === undefined) throw withoutPmu(probe.kind);
  try {
    const { config, config1, config2 } = probe;
    const opened = await openPerfEvent(session, { type, config, config1, config2 });
    await opened.close();
    return 0;
  } catch (error) {
    const { syscall, errno: number } = error as SystemError;
    if (syscall !== 'perf_event_open' || number === undefined) throw error;
    return probe.kind === 'kprobe' ? errorOfDefinition(-number, session.kernel.release) : -number;
  }
}

/** Returns the refusal of a probe that the guest's kernel cannot remove with its descriptor. */
export function withoutPmu(kind: ProbeKind): WaepError {
  return failure('ERR_RUN_REFUSED', {
    call: `writing to ${kind}_events`,
    why: `the guest's kernel does not tell of a PMU "${kind}", and any other probe outlives the program`,
    instead: 'Have the guest run Linux 4.17 or later, and its policy let /sys/bus/ be read.',
  });
}

/**
 * Since Linux 6.11 the kernel looks a name up separately. It returns EINVAL unless the name stands
 * for exactly one function.
 */
function errorOfDefinition(error: number, release: string): number {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  const apart = Number(major) * 1000 + Number(minor) >= 6011;
  const ofName = error === errno.ENOENT || error === errno.EADDRNOTAVAIL;
  return apart && ofName ? errno.EINVAL : error;
}

/**
 * Returns a read-only descriptor with an inode of its own. A write to a copy that the filter does
 * not catch therefore fails.
 */
function unwritable(): number {
  const memory = native.shareMemory(1);
  if (typeof memory === 'number') throw systemError('memfd_create', memory);
  try {
    return openSync(`/proc/self/fd/${memory.fd}`, 'r');
  } finally {
    native.close(memory.fd);
  }
}
