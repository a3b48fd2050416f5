import { AttachType, Cmd, Helper, MapType, PerfType, ProgType } from '../bpf/enums.js';

/** Kinds of things with a number in the kernel's interface and a name in a policy. */
export type VocabularyName =
  | 'commands'
  | 'map_types'
  | 'program_types'
  | 'attach_types'
  | 'helpers'
  | 'perf_types';

/** The names of one kind of things, as in the delegation options of bpffs. */
export interface Vocabulary {
  /** The word for one such thing in a sentence. */
  readonly one: string;
  /** The names by number. A hole is a number without a name. */
  readonly names: readonly (string | undefined)[];
  readonly numbers: ReadonlyMap<string, number>;
}

function vocabulary(
  one: string,
  table: Readonly<Record<string, number>>,
  name: (constant: string) => string,
): Vocabulary {
  const names: string[] = [];
  const numbers = new Map<string, number>();
  for (const [constant, number] of Object.entries(table)) {
    const text = name(constant);
    names[number] = text;
    numbers.set(text, number);
    // The kernel's own spelling is accepted, too.
    numbers.set(constant.toLowerCase(), number);
  }
  return { one, names, numbers };
}

const without = (prefix: string) => (constant: string) =>
  constant.slice(prefix.length).toLowerCase();

/** All vocabularies in the order of encoded rules. Commands come first. */
export const vocabularies: Readonly<Record<VocabularyName, Vocabulary>> = {
  commands: vocabulary('command', Cmd, without('BPF_')),
  map_types: vocabulary('map type', MapType, without('BPF_MAP_TYPE_')),
  program_types: vocabulary('program type', ProgType, without('BPF_PROG_TYPE_')),
  attach_types: vocabulary('attach type', AttachType, without('BPF_')),
  helpers: vocabulary('helper', Helper, (constant) => constant.replace('BPF_FUNC_', 'bpf_')),
  perf_types: vocabulary('perf event type', PerfType, without('PERF_TYPE_')),
};

/** Returns the number for a name, which may be the number itself. */
export function numberOf(kind: VocabularyName, name: string): number | undefined {
  if (/^\d{1,9}$/.test(name)) return Number(name);
  return vocabularies[kind].numbers.get(name.toLowerCase());
}

/** Returns the name of a number, or the number. */
export function nameOf(kind: VocabularyName, number: number): string {
  return vocabularies[kind].names[number] ?? String(number);
}
