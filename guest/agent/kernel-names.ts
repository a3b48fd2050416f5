import { readFileSync } from 'node:fs';
import { BtfTypes } from '../../src/btf/index.js';
import type { KernelNames } from '../../src/policy/index.js';
import { kernelFacts } from './kernel-facts.js';

const TRACING = '/sys/kernel/tracing';
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

/** Names of this machine's kernel. Its types are only read when a policy asks for them. */
export function kernelNames(): KernelNames {
  let types: BtfTypes | undefined;
  const named = (prefix: string, kind: 'func' | 'typedef', matches: (name: string) => boolean) => {
    if (types === undefined) {
      const bytes = read(BTF);
      if (bytes === undefined) return [];
      types = new BtfTypes(bytes);
    }
    const ids: number[] = [];
    for (const type of types) {
      if (type.kind !== kind || !type.name.startsWith(prefix)) continue;
      if (matches(type.name.slice(prefix.length))) ids.push(type.id);
    }
    return ids;
  };
  return {
    possibleCpus: kernelFacts().possibleCpus,
    functions: (matches) => named('', 'func', matches),
    // A raw tracepoint that a tracing program is attached to is a type of its own.
    hooks: (matches) => [...named('', 'func', matches), ...named('btf_trace_', 'typedef', matches)],
    tracepoints: (matches) => tracepointIds(matches),
    perfType: (device) => numberIn('/sys/bus/event_source/devices', device, 'type'),
    interfaceIndex: (name) => numberIn('/sys/class/net', name, 'ifindex'),
  };
}
