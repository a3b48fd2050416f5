/* Generates C that compiles only if the table agrees with a kernel header. */
import * as enums from '../../src/bpf/enums.js';
import * as infos from '../../src/bpf/infos.js';
import { fieldBytes } from '../../src/bpf/plan.js';
import type { Field, Release, Struct } from '../../src/bpf/rows.js';
import { commands } from '../../src/bpf/table.js';

/** What a header was checked for, and what it is too old for. */
export interface Assertions {
  source: string;
  checked: string[];
  /** Fields and constants that the header does not have yet. */
  skipped: string[];
}

/** Whether `release` is not newer than `header`. */
function reached(release: Release, header: Release): boolean {
  const [major = 0, minor = 0] = release.split('.').map(Number);
  const [headerMajor = 0, headerMinor = 0] = header.split('.').map(Number);
  return major < headerMajor || (major === headerMajor && minor <= headerMinor);
}

/** The field's path from its C type, or `undefined` where C cannot take its offset. */
function memberPath(row: Struct, name: string, field: Field): string | undefined {
  if (field.type === 'bit') return undefined;
  const path = field.member ?? name;
  return row.c[1] === '' ? path : `${row.c[1]}.${path}`;
}

/**
 * Writes the assertions for a header.
 *
 * @param include the line that includes it
 * @param release the kernel release of the header: fields with a later `since` are skipped
 * @param text the header itself: constants that it does not mention are skipped
 */
export function assertions(include: string, release: Release, text: string): Assertions {
  // A dump of a kernel's types has its own size_t, so that <stddef.h> would be in its way.
  const lines: string[] = [include, '#define offsetof __builtin_offsetof', ''];
  const checked = new Set<string>();
  const skipped = new Set<string>();
  const rows: readonly Struct[] = [...commands, ...Object.values(infos)];
  for (const row of rows) {
    for (const [name, field] of Object.entries(row.fields)) {
      const path = memberPath(row, name, field);
      if (path === undefined) continue;
      const member = `${row.c[0]}: ${path}`;
      if (field.since !== undefined && !reached(field.since, release)) {
        skipped.add(`${member} (since ${field.since})`);
        continue;
      }
      if (checked.has(member)) continue;
      checked.add(member);
      const where = `"${row.name}.${name}`;
      lines.push(
        `_Static_assert(offsetof(${row.c[0]}, ${path}) == ${field.offset}, ${where} offset");`,
        `_Static_assert(sizeof((*(${row.c[0]} *)0).${path}) == ${fieldBytes(field)}, ${where} size");`,
      );
    }
  }
  const words = new Set(text.match(/\bBPF_\w+/g));
  for (const table of Object.values(enums)) {
    for (const [name, value] of Object.entries(table)) {
      if (words.has(name)) {
        checked.add(name);
        lines.push(`_Static_assert(${name} == ${value}, "${name}");`);
      } else {
        skipped.add(name);
      }
    }
  }
  return { source: `${lines.join('\n')}\n`, checked: [...checked], skipped: [...skipped] };
}
