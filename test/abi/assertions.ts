/*
 * Generates C that compiles only if the table agrees with a kernel header. What the header is too
 * old for is fenced off by the release that brought it, so that one file serves every header.
 */

import { fieldBytes } from '../../src/bpf/compile.js';
import * as enums from '../../src/bpf/enums.js';
import * as infos from '../../src/bpf/infos.js';
import { PERF_EVENT_ATTR } from '../../src/bpf/perf.js';
import type { Field, Release, Struct } from '../../src/bpf/rows.js';
import { commands } from '../../src/bpf/table.js';

/** The assertions, and how they are to be counted for one header. */
export interface Assertions {
  source: string;
  /** What the header is compared with. */
  checked: string[];
  /** Fields and constants that the header does not have, and from which size on they exist. */
  skipped: string[];
}

/** `KERNEL_VERSION(major, minor, 0)` of <linux/version.h>. */
function versionCode(release: Release): number {
  const [major = 0, minor = 0] = release.split('.').map(Number);
  return major * 65536 + minor * 256;
}

/** The field's path from its C type, or `undefined` where C cannot take its offset. */
function memberPath(row: Struct, name: string, field: Field): string | undefined {
  if (field.type === 'bit') return undefined;
  const path = field.member ?? name;
  return row.c[1] === '' ? path : `${row.c[1]}.${path}`;
}

function mentioned(name: string, text: string): boolean {
  // Helpers are listed in a macro that makes their names.
  const helper = /^BPF_FUNC_(\w+)$/.exec(name)?.[1];
  const pattern = helper === undefined ? name : `FN\\(${helper}\\b|${name}`;
  return new RegExp(`\\b(${pattern})\\b`).test(text);
}

/**
 * Writes the assertions.
 *
 * @param include the lines that include the headers
 * @param release the header's kernel release, by which the fences are opened
 * @param text the headers themselves: constants that it does not mention are fenced off
 */
export function assertions(include: string, release: Release, text: string): Assertions {
  // A dump of a kernel's types has its own size_t, so that <stddef.h> would be in its way.
  const lines: string[] = [
    include,
    '#define offsetof __builtin_offsetof',
    `#define HEADER_VERSION ${versionCode(release)} /* ${release} */`,
    '',
  ];
  const checked = new Set<string>();
  const skipped = new Set<string>();
  const rows: readonly Struct[] = [...commands, ...Object.values(infos), PERF_EVENT_ATTR];
  for (const row of rows) {
    for (const [name, field] of Object.entries(row.fields)) {
      const path = memberPath(row, name, field);
      if (path === undefined) continue;
      const member = `${row.c[0]}: ${path}`;
      const { since, offset } = field;
      if (checked.has(member) || skipped.has(member)) continue;
      const where = `"${row.name}.${name}`;
      const sizeBytes = fieldBytes(field);
      const pair = [
        `_Static_assert(offsetof(${row.c[0]}, ${path}) == ${offset}, ${where} offset");`,
        `_Static_assert(sizeof((*(${row.c[0]} *)0).${path}) == ${sizeBytes}, ${where} size");`,
      ];
      if (since === undefined) {
        checked.add(member);
        lines.push(...pair);
      } else {
        const reached = versionCode(since) <= versionCode(release);
        if (reached) checked.add(member);
        else skipped.add(`${member} (since ${since}, at ${offset + sizeBytes} bytes)`);
        lines.push(`#if HEADER_VERSION >= ${versionCode(since)}`, ...pair, '#endif');
      }
    }
  }
  for (const table of Object.values(enums)) {
    for (const [name, value] of Object.entries(table)) {
      if (mentioned(name, text)) {
        checked.add(name);
        lines.push(`_Static_assert(${name} == ${value}, "${name}");`);
      } else {
        skipped.add(name);
        lines.push(`/* not in this header: ${name} == ${value} */`);
      }
    }
  }
  lines.push(`/* ${checked.size} compared; ${skipped.size} not in this header, unproved */`);
  return { source: `${lines.join('\n')}\n`, checked: [...checked], skipped: [...skipped] };
}
