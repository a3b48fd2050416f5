import type { KernelChoice, Progress } from '../../../guest/index.js';
import { WaepError } from '../../../src/errors.js';
import { Session } from '../../../src/index.js';
import { compare, worse } from './compare.js';
import { equip } from './equipment.js';
import { equipmentIn, joinGuest, openGuest } from './equipped-guest.js';
import { type HostWatch, type Sighting, watchHost } from './host-watch.js';
import { settledExecutors } from './rest.js';
import { NOT_RUN, type Outcome, type Result, type Run } from './row.js';
import { allRows } from './rows/index.js';
import { guestSide, hostSide, play, type Stage, standbySide } from './sides.js';

/** The rows to run, and the receivers of the results. */
export interface Options {
  readonly only?: RegExp;
  /** The kernel of the matrix's own guest. Default: that of the configured suites. */
  readonly kernel?: KernelChoice;
  /** The suite of Debian that the tools are from. Default: this machine's own tools. */
  readonly suite?: string;
  /** The file that describes a guest to use instead of an own one. */
  readonly join?: string;
  readonly show: (result: Result, done: number, total: number) => void;
  readonly progress: Progress;
  /** Receives the run after each row. */
  readonly record?: (run: Run) => Promise<void>;
  /** Receives the outputs of both sides if they differ. */
  readonly outputs?: (text: string) => void;
}

/** Runs the matrix in a guest. */
export async function runMatrix({
  only,
  kernel: choice,
  suite,
  join,
  show,
  progress,
  outputs,
  record,
}: Options): Promise<Run> {
  const startedMs = performance.now();
  const equipped = join === undefined ? await equip(progress, suite, choice) : undefined;
  const equipment = equipped ?? (await equipmentIn(join ?? ''));
  const rows = allRows(equipment);
  const chosen = rows.filter(({ tool, command }) => only?.test(`${tool}: ${command}`) ?? true);
  if (chosen.length === 0) throw new Error(`No command matches ${only}. Expected a part of one.`);
  await using guest = await (equipped === undefined
    ? joinGuest(join ?? '')
    : openGuest(equipped, progress, choice));
  const env = { COMPAT: guest.folder };
  const address = guest.agent;
  await using session = await Session.connect(address);
  const watching = await watchHost();
  await using watch = typeof watching === 'string' ? unwatched : watching;
  const wrap = [...watch.wrap, ...equipment.wrap];
  await using standby = await standbySide(address, env, wrap);
  const stage: Stage = { guest, session, executors: await settledExecutors(guest), env };
  const sides = [guestSide(guest, env), hostSide(address, env, wrap), standby] as const;
  const at = new Date().toISOString();
  const { kernel, kernelOrigin, accel } = guest.info;
  const { suite: from, versions = '' } = equipment;
  const tools = from === undefined ? {} : { suite: from, versions };
  const results: Result[] = [];
  const withoutFolder = (text: string) => text.replaceAll(guest.folder, '$COMPAT');
  const sofar = async (): Promise<Run> => ({
    info: {
      ...{ at, ...tools, kernel, kernelOrigin, accel, rows: results.length },
      tookS: Math.round((performance.now() - startedMs) / 1000),
      host:
        typeof watching === 'string' ? `not watched: ${watching}` : seen(await watch.sighting()),
    },
    results,
    rows,
  });
  for (const row of chosen) {
    const outcomes: Outcome[] = [];
    for (const side of sides) {
      const othersMs = Math.max(0, ...outcomes.map(({ tookMs }) => tookMs));
      const outcome = await play(row, side, stage, othersMs).catch(unplayable);
      const { stdout, stderr } = outcome;
      outcomes.push({
        ...outcome,
        stdout: withoutFolder(stdout),
        stderr: withoutFolder(stderr),
      });
    }
    const [inGuest, fromHost, withStandby] = outcomes as [Outcome, Outcome, Outcome];
    const result = worse(
      compare(row, inGuest, fromHost, at),
      compare(row, inGuest, withStandby, at),
    );
    results.push(result);
    show(result, results.length, chosen.length);
    if (result.verdict !== 'same') outputs?.(printed(inGuest, fromHost, withStandby));
    await record?.(await sofar());
  }
  // Without await, the guest would be closed before it answers.
  return await sofar();
}

/** A row that cannot be set up does not end the matrix. A guest that does not answer does. */
function unplayable(error: Error): Outcome {
  if (!(error instanceof WaepError) || error.code !== 'ERR_GUEST_COMMAND') throw error;
  return { ending: NOT_RUN, stdout: '', stderr: error.message, tookMs: 0, left: [] };
}

const unwatched: HostWatch = {
  wrap: [],
  sighting: async () => ({ calls: 0n, looks: 0, changes: 0 }),
  [Symbol.asyncDispose]: async () => {},
};

function seen({ calls, looks, changes }: Sighting): string {
  const lists =
    changes === 0
      ? 'never changed'
      : `changed between ${changes} of them, while others used this machine`;
  return `its kernel executed ${calls} bpf(2) and perf_event_open(2) calls of the tools, and its lists of programs, maps and links, looked at ${looks} times, ${lists}`;
}

const SHOWN_CHARACTERS = 3000;

function printed(guest: Outcome, host: Outcome, standby: Outcome): string {
  const part = (name: string, { ending, stdout, stderr }: Outcome) =>
    `--- ${name}: ${ending}\n${stdout.slice(-SHOWN_CHARACTERS)}${stderr === '' ? '' : `--- its errors\n${stderr.slice(-SHOWN_CHARACTERS)}`}`;
  return `${part('guest', guest)}\n${part('host', host)}\n${part('host, with a standby', standby)}\n`;
}
