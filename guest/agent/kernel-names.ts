import { readFileSync } from 'node:fs';
import { BtfTypes } from '../../src/btf/index.js';
import { globMatcher, type KernelNames } from '../../src/policy/index.js';
import { kernelInfo } from './kernel-info.js';
import { fileIdentity, probePlaces } from './probe-places.js';

const TRACING = '/sys/kernel/tracing';
/** What the types of raw tracepoints begin with. */
const RAW_TRACEPOINT = 'btf_trace_';
const BTF = '/sys/kernel/btf/vmlinux';

function read(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

/** The number in a file of a folder that is named from outside. */
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
 * Those of a policy's patterns of hooks that are the name of nothing in this kernel, which are
 * probably misspelt. Where the kernel does not show its names, there are none.
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

/** Ids in the kernel's own types, with the names that policies have for what they stand for. */
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

/** Names of this machine's kernel. Its types are only read when a policy asks for them. */
export function kernelNames(): KernelNames {
  let types: Named | undefined;
  const named = (kind: keyof Named, matches: (name: string) => boolean) => {
    types ??= readTypes();
    return types[kind].filter(([name]) => matches(name)).map(([, id]) => id);
  };
  return {
    possibleCpus: kernelInfo().possibleCpus,
    functions: (matches) => named('functions', matches),
    // A raw tracepoint that a tracing program is attached to is a type of its own.
    hooks: (matches) => [...named('functions', matches), ...named('tracepoints', matches)],
    probes: probePlaces,
    fileIdentity,
    tracepoints: (matches) => tracepointIds(matches),
    perfType: (device) => numberIn('/sys/bus/event_source/devices', device, 'type'),
  };
}
