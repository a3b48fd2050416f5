/*
 * The process of one side. `main.js FOLDER` runs the bench of the tree in that folder: it boots the
 * guest and measures arms, one request at a time.
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Prepared } from '../experiment.js';
import type { Lab } from '../lab.js';
import { serve } from '../worker.js';
import type { SideAnswer, SideChoice, SideRequest } from './protocol.js';

/* The modules of the tree that are used. Every revision that can be compared has them. */
type Bench = Pick<typeof import('../experiments/index.js'), 'experiments'> &
  Pick<typeof import('../guest-lab.js'), 'openGuestLab' | 'prepareGuest'> &
  Pick<typeof import('../lab.js'), 'openHostLab'> &
  Pick<typeof import('../compile.js'), 'compilePrograms'> &
  Pick<typeof import('../../guest/index.js'), 'ensurePrivateNetwork' | 'inPrivateNetwork'>;

const paths = ['experiments/index', 'guest-lab', 'lab', 'compile', '../guest/index'];
const notice = (line: string) => console.error(line);
let bench: Bench;
let opened: { lab: Lab; prepared: Prepared } | undefined;

async function load(folder: string): Promise<Bench> {
  const files = paths.map((path) => join(folder, 'dist/bench', `${path}.js`));
  return Object.assign(
    {},
    ...(await Promise.all(files.map((file) => import(pathToFileURL(file).href)))),
  );
}

function experimentOf({ experiment: wanted }: SideChoice) {
  const found = bench.experiments.find(({ name }) => name === wanted);
  if (found === undefined) throw new RangeError(`it has no experiment ${wanted}`);
  return found;
}

async function openLab(request: SideChoice): Promise<Lab> {
  const { guest, files, profile } = experimentOf(request);
  if (bench.inPrivateNetwork()) await bench.ensurePrivateNetwork();
  if (!guest) return bench.openHostLab(await bench.compilePrograms());
  const choice = { ...request.choice, notice };
  const image = await bench.prepareGuest(choice, notice);
  return bench.openGuestLab(choice, image, { files: await files?.(), profile });
}

async function answer(request: SideRequest): Promise<SideAnswer> {
  if (request.task === 'fetch') {
    const { guest, files } = experimentOf(request);
    await bench.compilePrograms();
    if (guest) await bench.prepareGuest({ ...request.choice, notice }, notice);
    await files?.(notice);
    return {};
  }
  if (request.task === 'open') {
    const lab = await openLab(request);
    const prepared = await experimentOf(request).prepare(lab);
    opened = { lab, prepared };
    const guest = prepared.guest ?? lab.guest?.environment;
    const arms = prepared.arms.map(({ name }) => name);
    const { absent } = prepared;
    return { opened: { arms, absent, ...(guest === undefined ? {} : { guest }) } };
  }
  if (request.task === 'measure') {
    const arm = opened?.prepared.arms.find(({ name }) => name === request.arm);
    if (arm === undefined) throw new RangeError(`it has no arm ${request.arm}`);
    await arm.prepare?.();
    return { measured: await arm.measure(request.amount) };
  }
  const { prepared, lab } = opened ?? {};
  opened = undefined;
  await prepared?.[Symbol.asyncDispose]();
  await lab?.[Symbol.asyncDispose]();
  return {};
}

serve(async (request: SideRequest) => {
  bench ??= await load(process.argv[2] ?? '');
  return answer(request);
});
