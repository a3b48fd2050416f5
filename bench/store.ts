import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { tryLock } from '../guest/image/lock.js';
import { makeFolder, packageFolder } from '../src/paths.js';
import type { Environment } from './environment.js';
import type { DerivedRun, Experiment } from './experiment.js';
import { htmlPage } from './html.js';
import { jsonRows } from './json-rows.js';
import { machineOf, machinesPage } from './machines.js';
import { resultsPage } from './page.js';
import { decodeSamples, encodeSamples } from './samples.js';
import { summarise } from './summary.js';
import type { Batch } from './types.js';

/** The data of a run. Everything else in its folder is derived from it. */
export interface RunRecord {
  environment: Environment;
  batches: readonly Batch[];
  /** Further data, a list with an item for each boot, by the name of their JSON file. */
  records: Readonly<Record<string, unknown>>;
}

/** A run whose name is taken until it ends. */
export interface BegunRun {
  readonly run: string;
  end(): void;
}

const LOCK = '.lock';
const cure = 'Let this user write there.';

/**
 * A folder of results: `<experiment>/<run>/…`, `README.md`, and the same as one file of HTML.
 *
 * Full runs live in `results/`; anything less lives in `results/.quick/`, which is not committed.
 */
export class Store {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  static of(kind: 'full' | 'quick'): Store {
    return new Store(join(packageFolder, 'results', kind === 'full' ? '' : '.quick'));
  }

  /**
   * Gives a run a name that no other has, also of those that other processes measure, and removes
   * what runs have left whose process was killed. What is measured will find a place to be kept.
   *
   * @throws ERR_FOLDER_UNUSABLE or the system error when the folder cannot be written to
   */
  async begin(startedAt: Date): Promise<BegunRun> {
    makeFolder(this.folder, { cure });
    const entries = await readdir(this.folder, { withFileTypes: true });
    for (const { name } of entries) {
      if (!name.startsWith('.') || !name.endsWith(LOCK)) continue;
      const lock = tryLock(join(this.folder, name));
      if (lock === undefined) continue;
      await this.#removeDrafts(name.slice(1, -LOCK.length));
      lock.release();
    }
    for (let timeMs = startedAt.getTime(); ; timeMs += 1000) {
      const run = runName(new Date(timeMs));
      const lock = tryLock(join(this.folder, `.${run}${LOCK}`));
      if (lock === undefined) continue;
      const ofExperiments = await Promise.all(
        (await this.#experiments()).map((name) => readdir(join(this.folder, name))),
      );
      if (!ofExperiments.flat().includes(run)) return { run, end: () => lock.release() };
      lock.release();
    }
  }

  async #experiments(): Promise<string[]> {
    const entries = await readdir(this.folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  }

  async #removeDrafts(run: string): Promise<void> {
    for (const name of await this.#experiments()) {
      await rm(join(this.folder, name, `${run}.part`), { recursive: true, force: true });
    }
  }

  /** Writes a run, with its summary and charts. Nothing is left of it if that fails. */
  async write(experiment: Experiment, record: RunRecord): Promise<DerivedRun> {
    const { run } = record.environment;
    const folder = join(this.folder, experiment.name, run);
    const draft = `${folder}.part`;
    makeFolder(draft, { cure });
    try {
      await writeJson(join(draft, 'environment.json'), record.environment);
      await writeFile(join(draft, 'samples.jsonl.gz'), encodeSamples(record.batches));
      for (const [name, value] of Object.entries(record.records)) {
        await writeJson(join(draft, `${name}.json`), value);
      }
      await rename(draft, folder);
    } catch (error) {
      await rm(draft, { recursive: true, force: true });
      throw error;
    }
    for (const older of (await this.runs(experiment)).slice(0, -1)) {
      await removeCharts(join(this.folder, experiment.name, older));
    }
    return this.render(experiment, run);
  }

  /**
   * Makes a run's summary anew from its samples, and the charts of the newest run of an experiment.
   * No page shows the charts of others.
   */
  async render(experiment: Experiment, run: string): Promise<DerivedRun> {
    const folder = join(this.folder, experiment.name, run);
    const derived = await this.read(experiment, run);
    const { rows, comparisons } = derived.summary;
    const text = `{"rows":${jsonRows(rows)},\n"comparisons":${jsonRows(comparisons)}}\n`;
    await replaceFile(join(folder, 'summary.json'), text);
    const isNewest = (await this.runs(experiment)).at(-1) === run;
    if (!isNewest) {
      await removeCharts(folder);
      return derived;
    }
    for (const figure of experiment.figures(derived.summary, derived.environment)) {
      await writeFile(join(folder, `${figure.file}.svg`), figure.svg);
    }
    return derived;
  }

  /** Reads a run and derives its summary. */
  async read(experiment: Experiment, run: string): Promise<DerivedRun> {
    const folder = join(this.folder, experiment.name, run);
    const environment = JSON.parse(
      await readFile(join(folder, 'environment.json'), 'utf8'),
    ) as Environment;
    const batches = decodeSamples(await readFile(join(folder, 'samples.jsonl.gz')));
    const labels = { experiment: experiment.name, accel: environment.accel, run };
    return { experiment, environment, summary: summarise(batches, experiment.comparisons, labels) };
  }

  /** The runs of an experiment, oldest first. */
  async runs(experiment: Experiment): Promise<string[]> {
    const names = await readdir(join(this.folder, experiment.name)).catch(() => []);
    return names.filter((name) => !name.endsWith('.part')).sort();
  }

  /**
   * Writes `README.md` and `index.html` anew, from the newest run of each experiment, and
   * `machines.md`, from the newest of each machine.
   */
  async publish(experiments: readonly Experiment[]): Promise<DerivedRun[]> {
    const newest: DerivedRun[] = [];
    const ofMachines: DerivedRun[] = [];
    for (const experiment of experiments) {
      const machines = new Map<string, DerivedRun>();
      let last: DerivedRun | undefined;
      for (const run of await this.runs(experiment)) {
        last = await this.read(experiment, run);
        machines.set(machineOf(last.environment), last);
      }
      if (last !== undefined) newest.push(last);
      ofMachines.push(...machines.values());
    }
    makeFolder(this.folder, { cure });
    await replaceFile(join(this.folder, 'machines.md'), machinesPage(ofMachines));
    const page = resultsPage(experiments, newest);
    await replaceFile(join(this.folder, 'README.md'), page);
    const charts = new Map<string, string>();
    for (const [, path = ''] of page.matchAll(/!\[[^\]]*\]\(([^)]+\.svg)\)/g)) {
      charts.set(path, await readFile(join(this.folder, path), 'utf8'));
    }
    await replaceFile(join(this.folder, 'index.html'), htmlPage(page, charts));
    return newest;
  }
}

/** A run's name: when it began, in UTC, to the second. Names sort by age. */
export function runName(startedAt: Date): string {
  return startedAt.toISOString().slice(0, 19).replaceAll(':', '');
}

async function removeCharts(folder: string): Promise<void> {
  const charts = (await readdir(folder)).filter((name) => name.endsWith('.svg'));
  await Promise.all(charts.map((name) => rm(join(folder, name), { force: true })));
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await replaceFile(path, `${JSON.stringify(value, null, 2)}\n`);
}

async function replaceFile(path: string, content: string): Promise<void> {
  const draft = join(dirname(path), `.${process.pid}.part`);
  await writeFile(draft, content);
  await rename(draft, path);
}
