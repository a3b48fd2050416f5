/* Other users of a guest, who must not notice what a host does there. */
import { execFileSync } from 'node:child_process';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KernelChoice } from '../../guest/image/kernel.js';
import { type AgentOptions, type BootOptions, boot, type Guest } from '../../guest/index.js';
import { enums, insn } from '../../src/bpf/index.js';
import type { Handle } from '../../src/call.js';
import { type KeyedMap, type Link, type Program, readFile } from '../../src/kernel/index.js';
import { Session } from '../../src/session.js';
import { patient, until } from '../until.js';

const TRACEFS = '/sys/kernel/tracing';
const CANARY = `${TRACEFS}/instances/canary`;
/** On a busy machine, an emulated guest may take this long to boot. */
const BOOT_MS = 300_000;
const LEVEL = 0x11223300;
const MAP_VALUE = Buffer.from('precious');

/** Compares its own code and data a hundred times a second, and tells the canary of changes. */
const victim = `
#include <stdio.h>
#include <unistd.h>
volatile unsigned number __attribute__((section(".data"))) = 0;
unsigned level(void);
__asm__(".text\\n.globl level\\nlevel:\\n.byte 0xb8,0x00,0x33,0x22,0x11\\nret\\n");
int main(void) {
  FILE *marker = fopen("${CANARY}/trace_marker", "w");
  setvbuf(marker, 0, _IOLBF, 0);
  for (unsigned told = 0;; usleep(10000)) {
    if (told || (number == 0 && level() == ${LEVEL})) continue;
    told = fprintf(marker, "the process was changed: %u %x\\n", number, level());
  }
}
`;

/** The attacked places in the victim's file. */
interface VictimPlaces {
  /** The offset of a function whose first instruction has 5 bytes. */
  readonly code: number;
  /** The offset of a 32-bit word of its data. */
  readonly data: number;
  /** The address of that word in the process. */
  readonly address: number;
}

/** A guest with a process, a session and settings of others in it. */
export interface Bystanders {
  readonly guest: Guest;
  /** The path of the victim's program in the guest. */
  readonly file: string;
  readonly places: VictimPlaces;
  readonly pid: number;
  /** Ids of the second session's objects. */
  readonly ids: { readonly map: number; readonly program: number; readonly link: number };
  readonly owner: Session;
  /** Runs a shell script in the guest as root and returns its output. */
  shell(script: string): Promise<string>;
  /** Returns all changes to objects and settings of others, in words. */
  changes(): Promise<string[]>;
  /** Returns the ids of all objects of bpf(2), by kind. */
  allIds(): Promise<Record<string, number[]>>;
  stop(): Promise<void>;
}

/** Boots a guest in which others are at work; `files` replace those of its image. */
export async function bootBystanders(
  agent: AgentOptions,
  kernel: KernelChoice = {},
  files: BootOptions['files'] = {},
): Promise<Bystanders> {
  const folder = await mkdtemp(join(tmpdir(), 'waep-victim-'));
  const source = join(folder, 'victim');
  await writeFile(`${source}.c`, victim);
  execFileSync('gcc', ['-static', '-no-pie', '-O1', '-o', source, `${source}.c`]);
  const guest = await boot({
    exec: true,
    network: 'none',
    agent,
    kernel,
    files: { ...files, '/victim': { source, mode: 0o755 } },
    deadlineMs: BOOT_MS,
    notice: () => {},
  });
  try {
    return await settle(guest, placesIn(source));
  } catch (error) {
    await guest.stop();
    throw error;
  }
}

function placesIn(file: string): VictimPlaces {
  const symbols = execFileSync('nm', [file], { encoding: 'latin1' });
  const sections = execFileSync('readelf', ['-SW', file], { encoding: 'latin1' });
  const address = (name: string) =>
    Number.parseInt(new RegExp(`^(\\w+) \\w ${name}$`, 'm').exec(symbols)?.[1] ?? '', 16);
  const offset = (section: string, at: number) => {
    const [, start = '', begins = ''] =
      new RegExp(` \\${section} +PROGBITS +(\\w+) (\\w+)`).exec(sections) ?? [];
    return at - Number.parseInt(start, 16) + Number.parseInt(begins, 16);
  };
  const data = address('number');
  return { code: offset('.text', address('level')), data: offset('.data', data), address: data };
}

async function settle(guest: Guest, places: VictimPlaces): Promise<Bystanders> {
  const shell = async (script: string) =>
    (await guest.exec(['/bin/sh', '-c', script])).stdout.trim();
  await shell(`
    mountpoint -q ${TRACEFS} || mount -t tracefs tracefs ${TRACEFS}
    mkdir ${CANARY}
    echo precious > ${CANARY}/trace_marker
    echo 64 > ${TRACEFS}/buffer_size_kb
    (/victim; echo the process has ended > ${CANARY}/trace_marker) > /dev/null 2>&1 &
  `);
  const pid = Number(await until('the process of others', () => shell('pidof victim')));
  const owner = await Session.connect(guest.vsock(), patient);
  const theirs = await makeObjects(owner);
  const kept = () => settings(owner);
  const before = await kept();
  return {
    guest,
    file: '/victim',
    places,
    pid,
    ids: {
      map: (await theirs.map.info()).id,
      program: (await theirs.program.info()).id,
      link: (await theirs.link.info()).id,
    },
    owner,
    shell,
    changes: async () => {
      const [after, objects] = await Promise.all([kept(), changedObjects(theirs)]);
      const changed = Object.entries(before).filter(([name, text]) => after[name] !== text);
      return [...changed.map(([name]) => `${name} is ${after[name]}`), ...objects];
    },
    allIds: () => allIds(owner),
    stop: async () => {
      await owner.close();
      await guest.stop();
    },
  };
}

/** Returns the settings of others in tracefs, and the reports to the canary. */
async function settings(session: Session): Promise<Record<string, string>> {
  const files = ['canary/trace', 'canary/tracing_on', 'canary/buffer_size_kb'].map(
    (name) => `${TRACEFS}/instances/${name}`,
  );
  files.push(
    ...['buffer_size_kb', 'current_tracer', 'kprobe_events'].map((n) => `${TRACEFS}/${n}`),
  );
  const texts = await Promise.all(
    files.map(async (path) => {
      const text = await readFile(session, path, 1 << 16).then(
        (bytes) => Buffer.from(bytes).toString(),
        (error: Error) => error.message,
      );
      return [path, text] as const;
    }),
  );
  return Object.fromEntries(texts);
}

interface Objects {
  readonly map: KeyedMap;
  /** How often the program has run. */
  readonly runs: KeyedMap;
  readonly program: Program;
  readonly link: Link;
}

async function makeObjects(owner: Session): Promise<Objects> {
  const type = enums.MapType.BPF_MAP_TYPE_ARRAY;
  const made = () => owner.createMap({ type, keySize: 4, valueSize: 8, maxEntries: 1 });
  const [map, runs] = [await made(), await made()];
  await map.update(Buffer.alloc(4), MAP_VALUE);
  const load = (...body: Uint8Array[]) =>
    owner.loadProgram({
      type: enums.ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
      instructions: insn.program(...body, insn.mov('r0', 0), insn.exit()),
      license: 'GPL',
      name: 'bystander',
    });
  const program = await load(
    insn.loadMapValue('r1', runs),
    insn.load(8, 'r2', 'r1', 0),
    insn.alu('add', 'r2', 1),
    insn.store(8, 'r1', 0, 'r2'),
  );
  const link = await (await load()).attachRawTracepoint('sched_switch');
  return { map, runs, program, link };
}

async function changedObjects({ map, runs, program, link }: Objects): Promise<string[]> {
  const key = Buffer.alloc(4);
  const bytes = async (of: KeyedMap) => Buffer.from((await of.lookup(key)) as Uint8Array);
  const tried = (what: string, act: () => Promise<unknown>) =>
    act().then(
      () => [],
      (error: Error) => [`${what}: ${error.message}`],
    );
  // The session answers the requests in this order.
  const [value, ran, thawed, loaded, attached] = await Promise.all([
    bytes(map),
    bytes(runs).then((count) => count.readBigUInt64LE()),
    tried('their map', () => map.update(key, MAP_VALUE)),
    tried('their program', () => program.info()),
    tried('their link', () => link.info()),
  ]);
  return [
    ...(value.equals(MAP_VALUE) ? [] : [`their map has ${value.toString('hex')}`]),
    ...(ran === 0n ? [] : [`their program was run ${ran} times`]),
    ...thawed,
    ...loaded,
    ...attached,
  ];
}

async function allIds(session: Session): Promise<Record<string, number[]>> {
  const ids = async (of: AsyncIterable<{ readonly id: Handle }>) => {
    const found: number[] = [];
    for await (const { id } of of) found.push(id);
    return found;
  };
  return {
    maps: await ids(session.maps()),
    programs: await ids(session.programs()),
    links: await ids(session.links()),
    btfs: await ids(session.btfs()),
  };
}
