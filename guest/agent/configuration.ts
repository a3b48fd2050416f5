/*
 * Reads the files of an agent: at its start, and again at SIGHUP.
 *
 * The process that talks to clients has no capability and cannot change its own rules. So another
 * process, with the same command line, reads the files again. The agent receives the result and a
 * keeper that has the new rules.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { fstatSync, readSync } from 'node:fs';
import { failure, systemError } from '../../src/errors.js';
import type { SessionLimits } from '../../src/frame/messages.js';
import { readGivenFile } from '../../src/given-file.js';
import { native, nativeFile } from '../../src/native.js';
// This does not import the folder's index: without a policy file the parser is never loaded.
import { compile } from '../../src/policy/compile.js';
import type { Policy } from '../../src/policy/index.js';
import { profileNamed } from '../../src/policy/profiles.js';
import type { Rules } from '../../src/policy/rules.js';
import { readTlsFiles, type TlsFileOptions } from '../../src/tls-files.js';
import type { AgentTerms } from './agent.js';
import { ControlChannel, ControlKind } from './control.js';
import { Keeper } from './keeper.js';
import { kernelNames, patternsWithoutHooks } from './kernel-names.js';

/** The options that name files. */
export interface ConfigurationOptions extends TlsFileOptions {
  profile: string;
  policy?: string;
  anySourcePort: boolean;
  tlsOn: 'all' | 'tcp';
  maxLeaseMs?: number;
  audit?: string;
}

/** The contents of an agent's files. */
export interface Configuration {
  readonly terms: AgentTerms;
  readonly rules: Rules;
}

/** The part of a configuration that the reading process sends to the agent. */
interface HandedOver {
  readonly terms: AgentTerms;
  readonly limits: SessionLimits;
  readonly keeper: Keeper;
}

async function readPolicy({ policy, profile }: ConfigurationOptions): Promise<Policy> {
  if (policy === undefined) return profileNamed(profile);
  const { parsePolicy } = await import('../../src/policy/file.js');
  return parsePolicy(readGivenFile('--policy', policy, 'a policy file').toString(), policy);
}

/** Reads the files that options name. */
export async function readConfiguration(options: ConfigurationOptions): Promise<Configuration> {
  const policy = await readPolicy(options);
  const tls = readTlsFiles(options, 'agent');
  const { hooks } = policy;
  for (const pattern of hooks.includes('*') ? [] : patternsWithoutHooks(hooks)) {
    console.error(
      `waep-agent: warning: the policy's hook "${pattern}" is the name of no function and no tracepoint of this kernel. Check its spelling`,
    );
  }
  const rules = compile(policy, kernelNames());
  return {
    terms: {
      profile: policy.name,
      accept: options.anySourcePort ? { ...policy.accept, source_ports: 'any' } : policy.accept,
      tls: tls === undefined ? undefined : { ...tls, on: options.tlsOn },
      maxLeaseMs: options.maxLeaseMs ?? policy.leases.max_seconds * 1000,
    },
    // A report for each call takes time, so only an audit log asks for it.
    rules: options.audit === undefined ? { ...rules, reports: [] } : rules,
  };
}

/** The descriptor by which the process that reads the files again sends the result. */
const HAND_OVER = 3;
/** Policies, certificates and revocation lists, as text. */
const MAX_BYTES = 64 * 1024 * 1024;

/** The exit status of a process that has sent what is wrong with the files. Node has no such one. */
const SENT_WHY = 77;

/**
 * Reads the files and sends their contents to the agent, or what is wrong with them. Runs in a
 * process of its own, and returns its exit status.
 */
export async function handOver(options: ConfigurationOptions, eventNice: number): Promise<number> {
  try {
    const { terms, rules } = await readConfiguration(options);
    const { descriptors } = await Keeper.start(rules, eventNice);
    send({ terms, limits: rules.limits }, descriptors);
    return 0;
  } catch (error) {
    send({ why: (error as Error).message });
    return SENT_WHY;
  }
}

/** Sends descriptors, and after them one with a value. */
function send(value: object, descriptors: readonly number[] = []): void {
  const texts = JSON.stringify(value, (_, part) =>
    part instanceof Uint8Array || part?.type === 'Buffer'
      ? Buffer.from(part).toString('latin1')
      : part,
  );
  const bytes = Buffer.from(texts);
  const memory = native.shareMemory(bytes.length);
  if (typeof memory === 'number') throw failure('ERR_AGENT', { why: `memfd_create: ${memory}` });
  memory.set(bytes);
  for (const descriptor of [...descriptors, memory.fd]) {
    const sent = native.sendMessage(HAND_OVER, [Uint8Array.of(0)], descriptor);
    if (sent < 0) throw systemError('sendmsg', sent);
  }
}

/**
 * The process that reads an agent's files again. It is started before the agent confines itself.
 */
export class Reloader {
  readonly #child: ChildProcess;
  readonly #channel: ControlChannel;
  readonly #given: number;
  #over: (status: number | undefined) => void = () => {};

  constructor() {
    const [ours, theirs] = ControlChannel.pair();
    const [given, giving] = ControlChannel.pair();
    const [script = '', ...words] = process.argv.slice(1);
    const command = [process.execPath, ...process.execArgv, script, ...words, '--hand-over'];
    this.#child = spawn(nativeFile('waep-keeper'), ['reload', ...command], {
      stdio: [theirs, 'ignore', 'inherit', giving],
    });
    this.#child.unref();
    this.#child.on('error', () => this.#over(undefined));
    native.close(theirs);
    native.close(giving);
    this.#given = given;
    // What was sent is there once the sender has ended. Nothing else may be waited for.
    native.setBlocking(given, false);
    const ended = () => this.#over(undefined);
    this.#channel = new ControlChannel(
      ours,
      ({ kind, number }) => {
        if (kind === ControlKind.RELOADED) this.#over(number);
      },
      ended,
    );
  }

  /** @throws an error that says what is wrong with a file; ERR_AGENT when nobody could read it */
  async reload(): Promise<HandedOver> {
    const status = await new Promise<number | undefined>((resolve) => {
      this.#over = resolve;
      this.#channel.send({ kind: ControlKind.RELOAD });
    });
    // A process that ended with one of these has sent its descriptors.
    const sent = status === 0 || status === SENT_WHY << 8;
    const given = status === 0 ? [0, 1].map(() => native.receiveDescriptor(this.#given)) : [];
    const memory = sent ? native.receiveDescriptor(this.#given) : -1;
    if (memory < 0) {
      const why = status === undefined ? 'nobody is left to read its files' : 'it said why above';
      throw failure('ERR_AGENT', { why });
    }
    let value: Omit<HandedOver, 'keeper'> | { readonly why: string };
    try {
      value = JSON.parse(textOf(memory));
    } finally {
      native.close(memory);
    }
    if ('why' in value) throw new Error(value.why);
    const [channel = -1, starts = -1] = given;
    return { ...value, keeper: Keeper.adopt([channel, starts]) };
  }

  close(): void {
    this.#channel.close();
    native.close(this.#given);
  }
}

function textOf(fd: number): string {
  const { size } = fstatSync(fd);
  const bytes = Buffer.alloc(Math.min(size, MAX_BYTES));
  const length = readSync(fd, bytes, 0, bytes.length, 0);
  return bytes.toString('utf8', 0, length).replace(/\0+$/, '');
}
