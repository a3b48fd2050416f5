import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { failure } from '../../src/errors.js';
import { cacheFolder, makeFolder } from '../../src/paths.js';
import { requireTool, runTool } from '../tools.js';
import { cached, contentKey, isUndamaged, locked, writeWhole } from './cache.js';
import { type Progress, silent } from './progress.js';

/** A package of the Debian archive, unpacked in the cache; nothing is installed. */
export interface DebianPackage {
  name: string;
  version: string;
  /** The root of the unpacked tree. */
  folder: string;
}

/** One package's paragraph in the archive's index: its fields, by their names in small letters. */
export type Stanza = ReadonlyMap<string, string>;

/** Which dependencies to fetch, from where, and how to tell that all is there. */
export interface FetchOptions {
  /**
   * A suite such as `'unstable'`, `'bullseye'` or `'bookworm-backports'`; without one, those that
   * this machine is set up for.
   */
  suite?: string | undefined;
  /**
   * Decides, by a dependency's paragraph in the index, whether the dependency and its own
   * dependencies are unpacked with the package. By default none is.
   */
  follow?: (dependency: Stanza) => boolean;
  /** Returns whether the unpacked tree is complete. By default it is when it has any file. */
  complete?: (folder: string) => Promise<boolean>;
  progress?: Progress | undefined;
  /** After how long apt-get is given up. Default 10 minutes. */
  deadlineMs?: number | undefined;
}

/** Long enough for the largest of the packages, a kernel, at 200 kB a second. */
const DEADLINE_MS = 600_000;

/**
 * Fetches a package and unpacks it into the cache, in one tree with the dependencies that
 * {@link FetchOptions.follow} accepts. A package in the cache is used without the network and never
 * renewed; remove the cache folder to get a newer one. It needs no root and does not change the
 * system's own package state.
 *
 * @throws ERR_PACKAGE_UNAVAILABLE when no source has it, it cannot be fetched, or it is not
 *   complete
 */
export function fetchPackage(name: string, options: FetchOptions = {}): Promise<DebianPackage> {
  return fetchPackages([name], options);
}

/**
 * Fetches several packages and unpacks them into one tree, as {@link fetchPackage} does with one.
 * The name and the version of the result are those of the first.
 */
export async function fetchPackages(
  names: readonly string[],
  options: FetchOptions = {},
): Promise<DebianPackage> {
  const { suite } = options;
  const name = names.join(',');
  const known = await knownPackage(name, options);
  if (known !== undefined) return known;
  return locked(`package-${suite ?? 'configured'}`, async () => {
    const fetchedMeanwhile = await knownPackage(name, options);
    if (fetchedMeanwhile !== undefined) return fetchedMeanwhile;
    const found = await fromSomeSource(names, options);
    await writeWhole(notePath(name, suite), `${JSON.stringify(found, null, 2)}\n`);
    return found;
  });
}

/**
 * Returns the package that was fetched by a name, if it is in the cache and complete. It needs no
 * network.
 */
export async function knownPackage(
  name: string,
  { suite, complete }: FetchOptions = {},
): Promise<DebianPackage | undefined> {
  const text = await readFile(notePath(name, suite), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  let found: DebianPackage;
  try {
    found = JSON.parse(text);
  } catch {
    console.error(`waep: ${notePath(name, suite)} is damaged, and made again`);
    return undefined;
  }
  const there = complete === undefined ? existsSync(found.folder) : await complete(found.folder);
  return there && (await isUndamaged(found.folder)) ? found : undefined;
}

/** What a name meant the first time is written down beside the packages. */
function notePath(name: string, suite: string | undefined): string {
  return join(cacheFolder(), 'packages', `${suite ?? 'configured'}-${name}.json`);
}

async function fromSomeSource(
  names: readonly string[],
  options: FetchOptions,
): Promise<DebianPackage> {
  const { suite, progress = silent, deadlineMs = DEADLINE_MS } = options;
  try {
    if (suite === undefined) {
      // The system's own package lists do, unless they are missing or out of date.
      const found = await download([], names, options).catch(() => undefined);
      if (found !== undefined) return found;
    }
    const apt = await privateState(suite);
    progress(`reading the package lists of ${suite ?? 'the configured suites'}`);
    await runTool('apt-get', [...apt, 'update'], { deadlineMs });
    // This succeeds without a network as well.
    const lists = await readdir(listsFolder(suite));
    if (!lists.some((name) => name.includes('_Packages'))) {
      throw new Error('none of their package lists can be fetched; is there a network?');
    }
    return await download(apt, names, options);
  } catch (error) {
    throw failure(
      'ERR_PACKAGE_UNAVAILABLE',
      {
        name: names.join(', '),
        suite: suite ?? 'the configured suites',
        why: error instanceof Error ? error.message : String(error),
      },
      error,
    );
  }
}

async function download(
  apt: readonly string[],
  wanted: readonly string[],
  { follow, complete, progress = silent, deadlineMs = DEADLINE_MS }: FetchOptions,
): Promise<DebianPackage> {
  const packages = await withDependencies(wanted, follow ?? (() => false), (names) =>
    readStanzas(apt, names),
  );
  const names = packages.map((stanza) => stanza.get('package') ?? '');
  const versions = packages.map((stanza) => stanza.get('version') ?? '');
  const [name = ''] = names;
  const [version = ''] = versions;
  const others = packages.length === 1 ? '' : `_${contentKey(...names, ...versions)}`;
  const fill = async (target: string): Promise<void> => {
    const folder = join(cacheFolder(), 'packages');
    const draft = await mkdtemp(join(folder, '.download-'));
    try {
      progress(`fetching ${names.join(', ')}`);
      const sandbox = ['-o', 'APT::Sandbox::User=root'];
      const fetching = [...apt, ...sandbox, 'download', ...names];
      await runTool('apt-get', fetching, { cwd: draft, deadlineMs });
      const files = (await readdir(draft)).filter((entry) => entry.endsWith('.deb'));
      for (const file of files) {
        progress(`unpacking ${file}`);
        await runTool('dpkg-deb', ['-x', join(draft, file), target]);
      }
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  };
  const folder = await cached('packages', `${name}_${version}${others}`, fill, complete);
  return { name, version, folder };
}

/**
 * Returns the packages' paragraphs, and once each the paragraphs of all direct and indirect
 * dependencies that `follow` accepts. Of alternatives it takes the first that is accepted. It
 * leaves out packages that the index lacks, such as virtual ones.
 *
 * @param read gives the paragraphs of those of the names that the index has
 * @throws an error when the index does not have one of the packages themselves
 */
export async function withDependencies(
  wanted: readonly string[],
  follow: (dependency: Stanza) => boolean,
  read: (names: readonly string[]) => Promise<readonly Stanza[]>,
): Promise<Stanza[]> {
  const seen = new Map<string, Stanza | undefined>();
  const look = async (names: readonly string[]): Promise<void> => {
    const fresh = [...new Set(names)].filter((name) => !seen.has(name));
    for (const name of fresh) seen.set(name, undefined);
    if (fresh.length === 0) return;
    for (const stanza of await read(fresh)) seen.set(stanza.get('package') ?? '', stanza);
  };
  await look(wanted);
  const found = new Set<Stanza>();
  for (const name of wanted) {
    const stanza = seen.get(name);
    if (stanza === undefined) throw new Error(`there is no package ${name}`);
    found.add(stanza);
  }
  for (const stanza of found) {
    const clauses = dependencies(stanza);
    await look(clauses.flat());
    for (const alternatives of clauses) {
      const chosen = alternatives
        .map((alternative) => seen.get(alternative))
        .find((candidate) => candidate !== undefined && follow(candidate));
      if (chosen !== undefined) found.add(chosen);
    }
  }
  return [...found];
}

/** The names that a package depends on: clauses, each of one or more alternatives. */
function dependencies(stanza: Stanza): string[][] {
  return ['pre-depends', 'depends']
    .flatMap((field) => (stanza.get(field) ?? '').split(','))
    .map((clause) =>
      clause.split('|').flatMap((alternative) => alternative.match(/[a-z0-9][a-z0-9+.-]+/) ?? []),
    );
}

async function readStanzas(apt: readonly string[], names: readonly string[]): Promise<Stanza[]> {
  // It fails when it does not know one of the names, and shows the others all the same.
  const args = [...apt, 'show', '--no-all-versions', ...names];
  const { stdout } = await execa(requireTool('apt-cache'), args, { reject: false });
  return parseStanzas(stdout);
}

/** Parses the paragraphs of an archive's index. It leaves out continuation lines. */
export function parseStanzas(text: string): Stanza[] {
  return text
    .split(/\n\s*\n/)
    .map(
      (paragraph) =>
        new Map(
          [...paragraph.matchAll(/^([A-Za-z0-9-]+):[ \t]*(.*)$/gm)].map(
            ([, name = '', value = '']) => [name.toLowerCase(), value.trim()],
          ),
        ),
    )
    .filter((stanza) => stanza.size > 0);
}

function stateFolder(suite: string | undefined): string {
  return join(cacheFolder(), 'apt', suite ?? 'configured');
}

function listsFolder(suite: string | undefined): string {
  return join(stateFolder(suite), 'lists');
}

/**
 * Returns options that give apt its own lists and cache, and for another suite its own source: the
 * configured source with that suite's name.
 */
async function privateState(suite: string | undefined): Promise<string[]> {
  const folder = stateFolder(suite);
  makeFolder(join(listsFolder(suite), 'partial'));
  makeFolder(join(folder, 'archives/partial'));
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
  return parseStanzas(text).flatMap((stanza) => {
    const [uri] = (stanza.get('uris') ?? '').split(/\s+/);
    if (uri === undefined || uri === '' || !/\bdeb\b/.test(stanza.get('types') ?? '')) return [];
    return [
      { uri, suites: (stanza.get('suites') ?? '').split(/\s+/), signedBy: stanza.get('signed-by') },
    ];
  });
}
