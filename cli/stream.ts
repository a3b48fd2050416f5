import { once } from 'node:events';
import { Command, Option } from 'commander';
import pc from 'picocolors';
import { enums } from '../src/bpf/index.js';
import type { Codec } from '../src/codec/index.js';
import { failure } from '../src/errors.js';
import type { BpfMap, RecordStream, Where } from '../src/kernel/index.js';
import { printable } from '../src/printable.js';
import type { Session } from '../src/session.js';
import { wholeNumber } from '../src/whole-number.js';
import {
  type ConnectionOptions,
  connectionOptions,
  leaseOption,
  openSession,
} from './connection.js';
import { closeAfter, untilInterrupted } from './signals.js';
import { columnsOf, cut, padded, widthOf } from './text.js';

interface Options extends ConnectionOptions {
  type?: string;
  format: 'json' | 'table';
  count?: number;
}

const { MapType } = enums;
const STATUS_MS = 1000;
const USUAL_WIDTH = 80;

/** `waep stream`: prints the records that programs in the guest write to a map. */
export function streamCommand(): Command {
  return leaseOption(connectionOptions(new Command('stream')))
    .summary('print the records that programs of a guest write')
    .description(
      'Print the records that programs of a guest write to a ring buffer or to perf buffers, as they arrive. Standard error shows how many were lost and how many bytes wait. Ctrl-C ends it.',
    )
    .argument('<map>', "the map's id, its name, or its path in a bpf file system of the guest")
    .option(
      '--type <type>',
      "the type of a record, from the guest's kernel or from the map's BTF, such as 'struct event'",
    )
    .addOption(
      new Option(
        '--format <format>',
        'json: an object on each line; table: columns, which end with … where the terminal does',
      )
        .choices(['json', 'table'])
        .default('json'),
    )
    .option('--count <n>', 'stop after this number of records', wholeNumber(1))
    .action((map: string, options: Options) =>
      untilInterrupted((signal) => stream(map, options, signal)),
    );
}

async function stream(name: string, options: Options, signal: AbortSignal): Promise<void> {
  await using session = await openSession(options, { client: 'waep stream', signal });
  closeAfter(signal, session);
  const map = await session.map(await find(session, name));
  const codec = options.type === undefined ? undefined : await codecOf(session, map, options.type);
  const records = map.records({ signal, ...(codec === undefined ? {} : { codec }) });
  const status = setInterval(() => report(records), STATUS_MS).unref();
  const print = options.format === 'json' ? json : new Columns();
  let printed = 0;
  try {
    for await (const record of records) {
      if (!process.stdout.write(`${print.line(record)}\n`)) await once(process.stdout, 'drain');
      if (++printed === options.count) break;
    }
  } finally {
    clearInterval(status);
    report(records);
    if (process.stderr.isTTY) process.stderr.write('\n');
  }
}

async function find(session: Session, name: string): Promise<Where> {
  if (name.startsWith('/')) return { path: name };
  if (/^\d+$/.test(name)) return { id: Number(name) };
  const { BPF_MAP_TYPE_RINGBUF, BPF_MAP_TYPE_PERF_EVENT_ARRAY } = MapType;
  const types: number[] = [BPF_MAP_TYPE_RINGBUF, BPF_MAP_TYPE_PERF_EVENT_ARRAY];
  for await (const map of session.maps()) {
    if (map.name === name && types.includes(map.type)) return { id: map.id };
  }
  throw failure('ERR_OPTION_INVALID', {
    option: 'map',
    value: name,
    expected: 'the id, name or path of a ring buffer or of an array of perf events in the guest',
  });
}

async function codecOf(
  session: Session,
  map: BpfMap,
  type: string,
): Promise<Codec<unknown, never>> {
  const { btfId } = await map.info();
  if (btfId !== 0) {
    await using btf = await session.btf({ id: btfId });
    const types = await btf.types();
    try {
      return types.codec(type) as Codec<unknown, never>;
    } catch {
      // The type may be one of the kernel's.
    }
  }
  return (await session.kernelTypes()).codec(type) as Codec<unknown, never>;
}

function report({ statistics }: RecordStream<unknown>): void {
  const { delivered, lost, dropped, lostInTransit, lagBytes } = statistics;
  const losses = [
    [lost, 'lost in the kernel'],
    [dropped, 'dropped by policy'],
    [lostInTransit, 'lost under way'],
  ] as const;
  const told = losses.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`);
  const line = `${delivered} records, ${told.length === 0 ? 'none lost' : told.join(', ')}, ${lagBytes} bytes waiting`;
  // On a terminal, the line is redrawn in its place.
  if (process.stderr.isTTY) {
    process.stderr.write(`\r\x1b[K${pc.dim(cut(line, widthOf(process.stderr, USUAL_WIDTH)))}`);
  } else console.error(line);
}

const plain = (_: string, value: unknown) => {
  if (typeof value === 'bigint') return value.toString();
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
};

const json = {
  line: (record: unknown) =>
    printable(JSON.stringify(record instanceof Uint8Array ? { bytes: record } : record, plain)),
};

/** Columns that are as wide as the widest value so far. */
export class Columns {
  readonly #widths: number[] = [];
  #head: string | undefined;

  line(record: unknown): string {
    const isPlain = record instanceof Uint8Array || typeof record !== 'object' || record === null;
    const fields = isPlain ? [['record', record] as const] : Object.entries(record);
    const cells = fields.map(([, value]) => printable(cell(value)));
    const head = fields.map(([name]) => printable(name));
    const line = this.#row(cells, head);
    if (this.#head !== undefined) return line;
    this.#head = this.#row(head, head);
    return `${pc.bold(this.#head)}\n${line}`;
  }

  #row(cells: readonly string[], head: readonly string[]): string {
    const row = cells.map((text, at) => {
      const known = Math.max(this.#widths[at] ?? 0, columnsOf(head[at] ?? ''));
      const width = Math.max(known, columnsOf(text));
      this.#widths[at] = width;
      return padded(text, width);
    });
    return cut(row.join('  ').trimEnd(), widthOf(process.stdout, Number.POSITIVE_INFINITY));
  }
}

function cell(value: unknown): string {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (typeof value === 'object') return JSON.stringify(value, plain);
  // Each record is one line, so line ends in a text are escaped as in JSON.
  return String(value).replaceAll('\n', '\\n');
}
