import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { failure } from '../src/errors.js';
import { cached, locked } from './cache.js';
import { cacheFolder } from './paths.js';
import { type Progress, silent } from './progress.js';
import { runTool } from './tools.js';

/** A package of the Debian archive, unpacked in the cache; nothing is installed. */
export interface DebianPackage {
  name: string;
  version: string;
  /** The root of the unpacked tree. */
  folder: string;
}

/** Which suite to take a package from; without one, those that this machine is set up for. */
export interface FetchOptions {
  /** A suite such as `'unstable'`, `'bullseye'` or `'bookworm-backports'`. */
  suite?: string | undefined;
  progress?: Progress | undefined;
}

/**
 * Fetches a package and unpacks it into the cache. Once there it is used for ever and needs no
 * network; remove the cache folder to get a newer one. Needs no root and changes nothing of the
 * system's own package state.
 *
 * @throws ERR_PACKAGE_UNAVAILABLE when no source has it or it cannot be fetched
 */
export async function fetchPackage(
  name: string,
  options: FetchOptions = {},
): Promise<DebianPackage> {
  return remembered(name, options, (apt) => download(apt, name, options.progress ?? silent));
}

/**
 * Fetches the package that a metapackage depends on and whose name begins with `prefix`; with it
 * `linux-image-cloud-amd64` becomes the current kernel of a suite.
 *
 * @throws ERR_PACKAGE_UNAVAILABLE when no source has it or it cannot be fetched
 */
export async function fetchDependency(
  metapackage: string,
  prefix: string,
  options: FetchOptions = {},
): Promise<DebianPackage> {
  return remembered(metapackage, options, async (apt) => {
    const text = await runTool('apt-cache', [...apt, 'depends', '--no-recommends', metapackage]);
    const name = text
      .split('\n')
      .map((line) => line.match(/^\s*Depends: (\S+)/)?.[1])
      .find((dependency) => dependency?.startsWith(prefix));
    if (name === undefined) throw new Error(`${metapackage} depends on no ${prefix}*`);
    return download(apt, name, options.progress ?? silent);
  });
}

/** The package that a name meant when it was fetched, if it is in the cache. Needs no network. */
export async function knownPackage(
  name: string,
  suite?: string,
): Promise<DebianPackage | undefined> {
  const text = await readFile(notePath(name, suite), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const found: DebianPackage = JSON.parse(text);
  return existsSync(found.folder) ? found : undefined;
}

function notePath(name: string, suite: string | undefined): string {
  return join(cacheFolder(), 'packages', `${suite ?? 'configured'}-${name}.json`);
}

/** Fetches once: what a name meant the first time is written down beside the packages. */
async function remembered(
  name: string,
  { suite, progress = silent }: FetchOptions,
  fetch: (apt: string[]) => Promise<DebianPackage>,
): Promise<DebianPackage> {
  const known = await knownPackage(name, suite);
  if (known !== undefined) return known;
  return locked(`package-${suite ?? 'configured'}`, async () => {
    const fetchedMeanwhile = await knownPackage(name, suite);
    if (fetchedMeanwhile !== undefined) return fetchedMeanwhile;
    const found = await fromSomeSource(name, suite, progress, fetch);
    const note = notePath(name, suite);
    await mkdir(dirname(note), { recursive: true });
    await writeFile(note, `${JSON.stringify(found, null, 2)}\n`);
    return found;
  });
}

async function fromSomeSource(
  name: string,
  suite: string | undefined,
  progress: Progress,
  fetch: (apt: string[]) => Promise<DebianPackage>,
): Promise<DebianPackage> {
  try {
    if (suite === undefined) {
      // The system's own package lists do, unless they are missing or out of date.
      const found = await fetch([]).catch(() => undefined);
      if (found !== undefined) return found;
    }
    const apt = await privateState(suite);
    progress(`reading the package lists of ${suite ?? 'the configured suites'}`);
    await runTool('apt-get', [...apt, 'update']);
    // Which succeeds without a network, too.
    const lists = await readdir(listsFolder(suite));
    if (!lists.some((name) => name.includes('_Packages'))) {
      throw new Error('none of their package lists can be fetched; is there a network?');
    }
    return await fetch(apt);
  } catch (error) {
    throw failure(
      'ERR_PACKAGE_UNAVAILABLE',
      {
        name,
        suite: suite ?? 'the configured suites',
        why: error instanceof Error ? error.message : String(error),
      },
      error,
    );
  }
}

async function download(apt: string[], name: string, progress: Progress): Promise<DebianPackage> {
  const folder = join(cacheFolder(), 'packages');
  await mkdir(folder, { recursive: true });
  const draft = await mkdtemp(join(folder, '.download-'));
  try {
    progress(`fetching ${name}`);
    const sandbox = ['-o', 'APT::Sandbox::User=root'];
    await runTool('apt-get', [...apt, ...sandbox, 'download', name], { cwd: draft });
    const file = (await readdir(draft)).find((entry) => entry.endsWith('.deb'));
    if (file === undefined) throw new Error(`apt-get download ${name} left no .deb file`);
    const version = decodeURIComponent(basename(file).split('_')[1] ?? '');
    const unpacked = await cached('packages', `${name}_${version}`, async (target) => {
      progress(`unpacking ${name}`);
      await runTool('dpkg-deb', ['-x', join(draft, file), target]);
    });
    return { name, version, folder: unpacked };
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

function stateFolder(suite: string | undefined): string {
  return join(cacheFolder(), 'apt', suite ?? 'configured');
}

function listsFolder(suite: string | undefined): string {
  return join(stateFolder(suite), 'lists');
}

/**
 * Options that give apt lists and a cache of its own, and for a foreign suite a source of its own
 * that is the configured one with another suite in it.
 */
async function privateState(suite: string | undefined): Promise<string[]> {
  const folder = stateFolder(suite);
  await mkdir(join(listsFolder(suite), 'partial'), { recursive: true });
  await mkdir(join(folder, 'archives/partial'), { recursive: true });
  await writeFile(join(folder, 'status'), '');
  const settings: Record<string, string> = {
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
    'Dir::Cache': folder,
    'Dir::State': folder,
    'Dir::State::Lists': listsFolder(suite),
    'Dir::State::status': join(folder, 'status'),
  };
  if (suite !== undefined) {
    const list = join(folder, 'sources.list');
    await writeFile(list, deriveSource(await configuredSources(), await codename(), suite));
    settings['Dir::Etc::SourceList'] = list;
    settings['Dir::Etc::SourceParts'] = '-';
  }
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

async function codename(): Promise<string> {
  const text = await readFile('/etc/os-release', 'utf8');
  return text.match(/^VERSION_CODENAME="?([^"\n]+)/m)?.[1] ?? 'stable';
}

async function configuredSources(): Promise<string[]> {
  const parts = '/etc/apt/sources.list.d';
  const names = (await readdir(parts).catch(() => [])).filter((name) =>
    /\.(list|sources)$/.test(name),
  );
  const paths = ['/etc/apt/sources.list', ...names.sort().map((name) => join(parts, name))];
  return Promise.all(paths.map((path) => readFile(path, 'utf8').catch(() => '')));
}

/** One source as both of apt's formats describe it. */
interface Source {
  uri: string;
  suites: string[];
  signedBy: string | undefined;
}

/**
 * Makes the source of `suite` in the archive that serves `codename`.
 *
 * @param texts the contents of apt's source files, in one-line or deb822 style
 * @returns a one-line source
 */
export function deriveSource(texts: readonly string[], codename: string, suite: string): string {
  const sources = texts.flatMap((text) => [...oneLineSources(text), ...deb822Sources(text)]);
  const source = sources.find(({ suites }) => suites.includes(codename));
  if (source === undefined)
    throw new Error(`no configured package source has the suite ${codename}`);
  const options = source.signedBy === undefined ? '' : ` [signed-by=${source.signedBy}]`;
  return `deb${options} ${source.uri} ${suite} main\n`;
}

function oneLineSources(text: string): Source[] {
  return [...text.matchAll(/^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)/gm)].map(
    ([, options = '', uri = '', suite = '']) => ({
      uri,
      suites: [suite],
      signedBy: options.match(/signed-by=(\S+)/i)?.[1],
    }),
  );
}

function deb822Sources(text: string): Source[] {
  return text.split(/\n\s*\n/).flatMap((stanza) => {
    const fields = new Map(
      [...stanza.matchAll(/^([A-Za-z-]+):[ \t]*(.*)$/gm)].map(([, name = '', value = '']) => [
        name.toLowerCase(),
        value.trim(),
      ]),
    );
    const [uri] = (fields.get('uris') ?? '').split(/\s+/);
    if (uri === undefined || uri === '' || !/\bdeb\b/.test(fields.get('types') ?? '')) return [];
    return [
      { uri, suites: (fields.get('suites') ?? '').split(/\s+/), signedBy: fields.get('signed-by') },
    ];
  });
}
