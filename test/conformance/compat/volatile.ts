/*
 * Parts of outputs that differ between any two runs of a tool on one kernel, by name: their
 * patterns, and what is compared in their place. Rows name the parts that they need.
 */
interface Field {
  readonly pattern: RegExp;
  readonly shown: string;
  readonly why: string;
}

const fields = {
  id: {
    pattern:
      /^\d+(?=: )|(?<=\b(?:map_ids|prog|prog_id|btf_id|link_id|id|ids|map\[id:|map id)[ :"[]*)\d+(?:,\d+)*|(?<="(?:map_ids|ids)":\[)[\d,]*/gm,
    shown: '#',
    why: 'ids of kernel objects count upwards',
  },
  'inner map': {
    pattern: /(?<=value: )[0-9a-f]{2}(?= )/g,
    shown: '#',
    why: 'a map of maps has ids of maps, in hexadecimal',
  },
  'loaded at': {
    pattern: /(?<=load(?:ed_at|_time)[ ":]*)(?:\d{4}-\S+|\d+)/g,
    shown: '#',
    why: 'when a program was loaded',
  },
  address: {
    pattern: /\b(?:0x)?[0-9a-f]{16}\b|\b0x[0-9a-f]{5,16}\b/g,
    shown: '#',
    why: 'addresses of kernel memory',
  },
  memlock: { pattern: /(?<=memlock[ ":]*)\d+/g, shown: '#', why: 'pages that the kernel took' },
  pid: {
    pattern: /\b\d{2,7}\b/g,
    shown: '#',
    why: 'process ids, ports and the like count upwards',
  },
  screen: {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what it is made of
    pattern: /(?:\u001b\[\d*[A-Z])+/g,
    shown: '',
    why: 'how terminals are cleared, by a program of each side',
  },
  load: {
    pattern: /loadavg: .* 314\d{4}$/gm,
    shown: 'loadavg of the guest',
    why: 'the load of two moments; the newest process id in it, which the row chooses, tells whose it is',
  },
  time: { pattern: /\b\d{1,2}:\d\d:\d\d\b/g, shown: '#', why: 'the time of day' },
  number: {
    pattern: /\d+(?:\.\d+)?[KMG]?/g,
    shown: '#',
    why: 'durations, counts and sizes of what was going on',
  },
  name: { pattern: /\b[a-z_]+\d{3,}\b/g, shown: '#', why: 'names made of process ids' },
  spaces: { pattern: /[ \t]+/g, shown: ' ', why: 'columns are as wide as their contents' },
  bucket: {
    pattern: /^[[(]?\s*[\d.KMG]+.*\|[@* ]*\|$/gm,
    shown: 'bucket',
    why: 'which buckets of a histogram there are',
  },
  bar: { pattern: /\|[@* ]*\|/g, shown: '|', why: 'bars of histograms' },
} as const satisfies Record<string, Field>;

export type VolatileName = keyof typeof fields;

/** Why each field is volatile, by name. */
export const volatileReasons: ReadonlyMap<string, string> = new Map(
  Object.entries(fields).map(([name, { why }]) => [name, why]),
);

/** Replaces volatile parts of a text by what is compared in their place. */
export function withoutVolatile(text: string, names: readonly VolatileName[]): string {
  return names.reduce((rest, name) => {
    const { pattern, shown } = fields[name];
    return rest.replace(pattern, shown);
  }, text);
}
