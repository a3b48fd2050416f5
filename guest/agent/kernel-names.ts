import { readFileSync } from 'node:fs';
import { BtfTypes } from '../../src/btf/index.js';
import { globMatcher, type KernelNames } from '../../src/policy/index.js';
import { kernelInfo } from './kernel-info.js';
import { fileIdentity, probePlaces } from './probe-places.js';

const TRACING = '/sys/kernel/tracing';
/** The names of raw tracepoints' types begin with this prefix. */
const RAW_TRACEPOINT = 'btf_trace_';
const BTF = '/sys/kernel/btf/vmlinux';

function read(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

/** Returns the number in a file of a folder. The folder's name comes from outside. */
function numberIn(folder: string, name: string, file: string): number | undefined {
  if (name.includes('/')) return undefined;
  const text = read(`${folder}/${name}/${file}`);
  return text === undefined ? undefined : Number(text.toString('latin1'));
}

function tracepointIds(matches: (name: string) => boolean): number[] {
  const list = read(`${TRACING}/available_events`)?.toString('latin1') ?? '';
  return list.split('\n').flatMap((line) => {
    const [system, name = ''] = line.split(':');
    if (name === '' || !matches(name)) return [];
    return numberIn(`${TRACING}/events/${system}`, name, 'id') ?? [];
  });
}

/**
 * Returns the patterns of a policy that match no hook of this kernel. They are probably misspelt.
 * If the kernel does not show its names, the result is empty.
 */
export function patternsWithoutHooks(patterns: readonly string[]): string[] {
  const events = read(`${TRACING}/available_events`)?.toString('latin1');
  const symbols = read('/proc/kallsyms')?.toString('latin1');
  if (events === undefined || symbols === undefined) return [];
  const names = new Set<string>();
  for (const [, name = ''] of events.matchAll(/:(.+)$/gm)) names.add(name);
  for (const [, name = ''] of symbols.matchAll(/^\S+ [tTwW] (\S+)/gm)) names.add(name);
  const all = [...names];
  return patterns.filter((pattern) => !all.some(globMatcher([pattern.replace(/^!/, '')])));
}

/** Ids of types in the kernel's BTF, with the names that policies use for them. */
interface Named {
  functions: [name: string, id: number][];
  tracepoints: [name: string, id: number][];
}

function readTypes(): Named {
  const named: Named = { functions: [], tracepoints: [] };
  const bytes = read(BTF);
  if (bytes === undefined) return named;
  for (const { id, kind, name } of new BtfTypes(bytes)) {
    if (kind === 'func') named.functions.push([name, id]);
    else if (kind === 'typedef' && name.startsWith(RAW_TRACEPOINT)) {
      named.tracepoints.push([name.slice(RAW_TRACEPOINT.length), id]);
    }
  }
  return named;
}

/** Returns the names of this machine's kernel. It reads the BTF only when a policy needs it. */
export function kernelNames(): KernelNames {
  let types: Named | undefined;
  const named = (kind: keyof Named, matches: (name: string) => boolean) => {
    types ??= readTypes();
    return types[kind].filter(([name]) => matches(name)).map(([, id]) => id);
  };
  return {
    possibleCpus: kernelInfo().possibleCpus,
    functions: (matches) => named('functions', matches),
    // A tracing program on a raw tracepoint attaches to a BTF type of the tracepoint's own.
    hooks: (matches) => [...named('functions', matches), ...named('tracepoints', matches)],
    probes: probePlaces,
    fileIdentity,
    tracepoints: (matches) => tracepointIds(matches),
    perfType: (device) => numberIn('/sys/bus/event_source/devices', device, 'type'),
  };
}
