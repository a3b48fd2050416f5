import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { jsonRows } from '../../../bench/json-rows.js';
import { packageFolder } from '../../../src/paths.js';
import { exceptions, isGuestPath, isKernelDevice } from '../../../src/view/index.js';

/** A path, and the tools and system calls that named it. */
export interface Seen {
  readonly path: string;
  readonly calls: readonly string[];
  readonly tools: readonly string[];
}

/** A recording. */
export interface Recording {
  readonly commands: number;
  /** Tools that were not on the machine. */
  readonly missing: readonly string[];
  readonly paths: readonly Seen[];
}

export const recordingFile = join(packageFolder, 'results/paths.json');
export const pageFile = join(packageFolder, 'results/paths.md');

export function readRecording(): Recording {
  return JSON.parse(readFileSync(recordingFile, 'utf8'));
}

/** Returns the text of a recording's file, with a line for each path. */
export function encodeRecording({ paths, ...others }: Recording): string {
  return `${JSON.stringify(others).slice(0, -1)},"paths":${jsonRows(paths)}}\n`;
}

/** Returns whose a path is under `waep run`, and the reason if it is not the guest's. */
export function ownerOf(path: string): {
  owner: 'guest' | 'program' | 'host' | 'refused';
  why: string;
} {
  if (/^\/proc\/(self|thread-self)\/(mounts|mountinfo)$/.test(path)) {
    return { owner: 'guest', why: "with the host's lines for other mounts" };
  }
  if (/^\/proc\/(self|thread-self)\/net(\/|$)/.test(path)) return { owner: 'guest', why: '' };
  const exception = exceptions.find(({ pattern }) => pattern.test(path));
  if (exception !== undefined) return { owner: 'program', why: exception.why };
  if (isGuestPath(path)) return { owner: 'guest', why: '' };
  if (isKernelDevice(path))
    return { owner: 'refused', why: 'It describes the kernel of the host.' };
  return {
    owner: 'host',
    why: 'Programs use devices; they do not learn about the kernel from them.',
  };
}

/** The kinds of calls on a path, in the order of the page. */
const kinds: readonly (readonly [what: string, calls: RegExp])[] = [
  ['open', /^(open|creat)/],
  ['look', /^(stat|lstat|newfstatat|statx|access|faccessat|statfs|getxattr|lgetxattr|fstatat)/],
  ['link', /^readlink/],
  ['enter', /^chdir/],
  ['change', /./],
];

function kindsOf(calls: readonly string[]): string {
  const found = calls.map((call) => kinds.find(([, pattern]) => pattern.test(call))?.[0] ?? '');
  return kinds
    .map(([what]) => what)
    .filter((what) => found.includes(what))
    .join(', ');
}

const MOST_TOOLS = 4;

/** Returns the page that says whose each path of a recording is. */
export function pageOf({ commands, missing, paths }: Recording): string {
  const rows = paths.map(({ path, calls, tools }) => {
    const { owner, why } = ownerOf(path);
    const more = tools.length > MOST_TOOLS ? ` and ${tools.length - MOST_TOOLS} more` : '';
    const by = `${tools.slice(0, MOST_TOOLS).join(', ')}${more}`;
    return `| \`${path.replaceAll('|', '\\|')}\` | ${kindsOf(calls)} | ${by} | ${owner} | ${why} |`;
  });
  const count = (owner: string) => paths.filter(({ path }) => ownerOf(path).owner === owner).length;
  return `# Whose files tools look at under \`waep run\`

Written by \`npm run paths -- --record\`; do not edit. ${commands} commands ran under strace, on the
host and under \`waep run\`. They named ${paths.length} paths below \`/proc\`, \`/sys\`, \`/dev\`, \`/boot\` and
\`/lib/modules\`: ${count('guest')} are the guest's, ${count('program')} describe the program itself, ${count('host')} are devices of the host, ${count('refused')} are refused.
\`ID\`, \`N\` and \`RELEASE\` stand for numbers and names that differ from run to run.${missing.length === 0 ? '' : ` Not on the\nmachine were: ${missing.join(', ')}.`}

| path | what | by | whose | why |
|---|---|---|---|---|
${rows.join('\n')}
`;
}
