/*
 * Definitions of probes that are written to the tracing file system. What is defined there outlives
 * who wrote it, so nothing is; but tools fall back to it when perf_event_open(2) has failed, to be
 * told why. That the guest's kernel tells them: trace_kprobe.c has one function that registers the
 * probes of both.
 */
import { lstatSync, openSync } from 'node:fs';
import { constants } from 'node:os';
import { failure, type SystemError, systemError, type WaepError } from '../errors.js';
import { openPerfEvent } from '../kernel/perf-event.js';
import { native } from '../native.js';
import type { Session } from '../session.js';
import type { GuestFiles } from '../view/index.js';
import type { Notification } from './notification.js';
import type { Placeholders } from './placeholders.js';
import { ProcessMemory } from './process-memory.js';

const { errno } = constants;

/** The descriptors whose write(2) is handed over: seccomp_filter.cc has the same. */
const FIRST_NUMBER = 992;
const NUMBERS = 32;

/** WRITE_BUFSIZE of kernel/trace/trace_dynevent.c. */
const MAX_TEXT_BYTES = 4096;

/** `p:GROUP/EVENT FUNCTION+OFFSET` without arguments to fetch; r is for returns. */
const definition =
  /^([pr])(?:\d{1,4})?(?::(?:[A-Za-z_]\w{0,62}\/)?[A-Za-z_]\w{0,62})?[ \t]+([A-Za-z_.][\w.]*)(?:\+(\d{1,9}))?\s*$/;

/** The file in which kernel functions are probed by name. */
export function isProbeDefinitions(path: string): boolean {
  return /^\/sys\/kernel\/(debug\/)?tracing\/kprobe_events$/.test(path);
}

/** What a program has as the guest's file of definitions, to write to. */
export class ProbeDefinitions {
  #fd = -1;

  /**
   * Gives the program a descriptor of which the filter hands over what is written.
   *
   * @returns whether it has one; it may have no number left
   */
  open(call: Notification): boolean {
    const number = freeNumber(call.thread);
    if (number === undefined) return false;
    if (this.#fd < 0) this.#fd = unwritable();
    if (!call.replaceDescriptor(this.#fd, number)) return false;
    call.succeed(number);
    return true;
  }

  /** Whether a descriptor of a thread is one that {@link open} has given. */
  has(thread: number, descriptor: number): boolean {
    if (this.#fd < 0) return false;
    return native.identify(thread, descriptor) === native.identify(process.pid, this.#fd);
  }

  close(): void {
    if (this.#fd >= 0) native.close(this.#fd);
    this.#fd = -1;
  }
}

/** What answering needs of the guest. */
interface Definer {
  readonly session: Session;
  readonly files: GuestFiles;
  readonly placeholders: Placeholders;
  readonly definitions: ProbeDefinitions;
}

/** Answers write(2) to a file of definitions: why the probe cannot be, or that it is refused. */
export async function defineProbe(call: Notification, guest: Definer): Promise<void> {
  if (!guest.definitions.has(call.thread, call.descriptor(0))) return call.proceed();
  const memory = new ProcessMemory(call, guest.placeholders);
  const lengthBytes = Number(call.word(2));
  if (lengthBytes > MAX_TEXT_BYTES) throw refusal();
  const text = memory.read(call.word(1), lengthBytes);
  if (text.length < lengthBytes) return call.fail(errno.EFAULT);
  const [, kind, name, offset = '0'] = definition.exec(Buffer.from(text).toString('latin1')) ?? [];
  if (name === undefined) throw refusal();
  const why = await probeError(guest, name, Number(offset), kind === 'r');
  if (why === 0) throw refusal();
  call.fail(why);
}

/** The refusal of what would be there when the program has ended. */
export function refusal(): WaepError {
  return failure('ERR_RUN_REFUSED', {
    call: 'writing to /sys/kernel/tracing/kprobe_events',
    why: 'probes that are defined there outlive the program',
    instead: 'Attach by a link or by perf_event_open(2), which need none of them.',
  });
}

/** Why the guest's kernel does not probe a function, or 0 if it does. Nothing of it stays. */
async function probeError(
  { session, files }: Definer,
  name: string,
  offset: number,
  returns: boolean,
): Promise<number> {
  const type = await files.read('/sys/bus/event_source/devices/kprobe/type').catch(() => undefined);
  // A kernel without this type of event is one whose answer to a definition is not known.
  if (type === undefined) return 0;
  try {
    const event = await openPerfEvent(session, {
      type: Number(type),
      config: returns ? 1 : 0,
      config1: name,
      config2: offset,
    });
    await event.close();
    return 0;
  } catch (error) {
    const { syscall, errno: number } = error as SystemError;
    if (syscall !== 'perf_event_open' || number === undefined) throw error;
    return errorOfDefinition(-number, session.kernel.release);
  }
}

/** Since Linux 6.11 names are looked up apart, and are EINVAL when they mean no one function. */
function errorOfDefinition(error: number, release: string): number {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  const apart = Number(major) * 1000 + Number(minor) >= 6011;
  const ofName = error === errno.ENOENT || error === errno.EADDRNOTAVAIL;
  return apart && ofName ? errno.EINVAL : error;
}

/** A descriptor that can be told from all others; copies of it that are not seen cannot be written to. */
function unwritable(): number {
  const memory = native.shareMemory(1);
  if (typeof memory === 'number') throw systemError('memfd_create', memory);
  try {
    return openSync(`/proc/self/fd/${memory.fd}`, 'r');
  } finally {
    native.close(memory.fd);
  }
}

function freeNumber(thread: number): number | undefined {
  const numbers = Array.from({ length: NUMBERS }, (_, index) => FIRST_NUMBER + index);
  return numbers.find(
    (number) => lstatSync(`/proc/${thread}/fd/${number}`, { throwIfNoEntry: false }) === undefined,
  );
}
