/*
 * The rules about descriptors, derived from the table of commands. A relocation names each
 * descriptor. One column of the table says what a call does with an object, whatever names the
 * object.
 */
import {
  type Command,
  commands,
  type FdField,
  type Field,
  inKeys,
  inValues,
  OPERATION_MASK,
  references,
  rows,
  type Struct,
  type Use,
} from '../bpf/index.js';
import { perfIoctls } from './ioctls.js';
import { offsetIn } from './places.js';
import type { Policy } from './policy.js';
import type { Check, Objects, Presence, Range, When } from './rules.js';
import { IOCTLS, MAX_VALUE, rangesOf, subtract } from './rules.js';

/** Commands whose results may be objects of others. */
export const finding = rangesOf(
  commands.filter(({ finds }) => finds).map(({ command }) => command),
);

const words: Readonly<Record<Use, string>> = {
  read: 'to be looked at',
  change: 'to be changed',
  run: 'to be run',
  attach: 'to be attached',
};

/** Returns what the rules of a policy refuse for a use of an object. */
export const objectsFor =
  ({ foreign_objects }: Policy) =>
  (use: Use = 'read'): Objects => ({
    use: words[use],
    provenance: foreign_objects === 'use' || use === 'read' ? [] : finding,
  });

type ObjectsFor = ReturnType<typeof objectsFor>;
const ALWAYS: Presence = { kind: 'always' };
const WORD_BYTES = 8;

function presenceOf(row: Struct, { present }: FdField): Presence {
  if (typeof present === 'string') return { kind: present };
  const [kind, [field, mask]] =
    'flag' in present ? (['flag', present.flag] as const) : (['unless', present.unless] as const);
  return { kind, offset: offsetIn(row, field), mask };
}

/**
 * Returns the conditions of a shape that follow from a call and its objects. Any other condition
 * counts as true.
 */
function conditionsOf(row: Struct, when: Command['when']): readonly (readonly When[])[] {
  return [when ?? {}].flat().map(({ value, zero, mapType, progType, linkType }) => {
    const types = [mapType, progType, linkType].filter((one) => one !== undefined);
    return [
      ...(value === undefined
        ? []
        : [{ offset: offsetIn(row, value[0]), values: rangesOf(value[1]) }]),
      ...(zero === undefined ? [] : [{ offset: offsetIn(row, zero), values: rangesOf([0]) }]),
      ...types.map(([field, of]) => ({
        type: true,
        offset: offsetIn(row, field),
        values: rangesOf(of),
      })),
    ];
  });
}

/**
 * Returns the conditions under which no shape that is tried first applies because of the type of the
 * call's program. If such a shape applies, the words of the call have its meaning, not this row's.
 */
function comesLater(row: Command): readonly When[] {
  const earlier = commands.filter((one) => one.command === row.command && one.first === true);
  return row.first === true
    ? []
    : earlier.flatMap((one) =>
        [one.when ?? {}].flat().flatMap(({ progType }): readonly When[] => {
          if (progType === undefined) return [];
          const [field, types] = progType;
          const others = subtract([[0, MAX_VALUE]], rangesOf(types));
          return [{ type: true, offset: offsetIn(one, field), values: others }];
        }),
      );
}

/** A check, with the shape of the command to which it applies. */
interface Shaped {
  /** The conditions of the shape. */
  readonly shape: readonly When[];
  /** The result of {@link comesLater}: empty for shapes that are tried first, equal for all others. */
  readonly later: readonly When[];
  /** The check. It has conditions of its own if it applies only to some calls of the shape. */
  readonly check: Check;
}

/** Returns the checks of one shape of a command. */
function checksOf(row: Command, objects: ObjectsFor): Shaped[] {
  const checks = Object.values(row.fields).flatMap((field) => fieldChecks(row, field, objects));
  const later = comesLater(row);
  return conditionsOf(row, row.when).flatMap((shape) =>
    checks.map((check) => ({ shape, later, check })),
  );
}

function fieldChecks(row: Command, field: Field, objects: ObjectsFor): Check[] {
  const about = { rule: 'descriptors', command: row.command };
  const { offset } = field;
  switch (field.type) {
    case 'fd': {
      const presence = presenceOf(row, field);
      const check = { ...about, kind: 'descriptor', offset, presence } as const;
      if (field.usedWhen === undefined) return [{ ...check, objects: objects(field.use) }];
      return [
        { ...check, objects: objects() },
        ...conditionsOf(row, field.usedWhen).map((when) => ({
          ...check,
          when,
          objects: objects(field.use),
        })),
      ];
    }
    case 'fds': {
      const count = offsetIn(row, countOf(field.length));
      return [
        { ...about, kind: 'descriptors', pointer: offset, count, objects: objects(field.use) },
      ];
    }
    case 'struct':
      return behind(field.struct).map((inner) => ({
        ...about,
        kind: 'descriptor',
        pointer: offset,
        offset: inner.offset,
        // The program decides which structure is behind the pointer.
        presence: { kind: 'perhaps' },
        objects: objects(inner.use),
      }));
    case 'buffer':
      if (field.holds === 'instructions') {
        return instructionChecks(row, offset, countOf(field.length), objects);
      }
      return field.holds === undefined || !('map' in field.length)
        ? []
        : elementChecks(row, field.holds, offset, field.length, objects);
    default:
      return [];
  }
}

const behind = (struct: Struct) => Object.values(struct.fields).filter((one) => one.type === 'fd');

function countOf(length: { readonly by: string }): string {
  if ('count' in length && typeof length.count === 'string') return length.count;
  if ('field' in length && typeof length.field === 'string') return length.field;
  throw new TypeError(`a length by ${length.by} has no count`);
}

function instructionChecks(
  row: Command,
  pointer: number,
  count: string,
  objects: ObjectsFor,
): Check[] {
  const about = { rule: 'descriptors', command: row.command };
  const array = offsetIn(row, 'fd_array');
  return references.map(({ operation, use, at, index, nonzero = false }): Check => {
    const records = {
      pointer,
      count: offsetIn(row, count),
      mask: OPERATION_MASK,
      pattern: operation,
    };
    if (index === undefined) {
      const presence = nonzero ? ({ kind: 'nonzero' } as const) : ALWAYS;
      return {
        ...about,
        kind: 'references',
        records,
        at: at ?? 0,
        presence,
        objects: objects(use),
      };
    }
    return {
      ...about,
      kind: 'indices',
      records,
      ...index,
      zeroIsNone: nonzero,
      array,
      objects: objects(use),
    };
  });
}

function elementChecks(
  row: Command,
  holds: 'mapKeys' | 'mapValues',
  pointer: number,
  { map, count }: { readonly map: string; readonly count?: string },
  objects: ObjectsFor,
): Check[] {
  const places = holds === 'mapKeys' ? inKeys : inValues;
  const types = new Map<string, number[]>();
  for (const [type, { offset, positive, nonzero, anywhere, use }] of Object.entries(places)) {
    const key = JSON.stringify([
      offset,
      anywhere ? WORD_BYTES : null,
      anywhere ? 'perhaps' : positive ? 'positive' : nonzero ? 'nonzero' : 'always',
      use,
    ]);
    types.set(key, [...(types.get(key) ?? []), Number(type)]);
  }
  return [...types].map(([key, numbers]) => {
    const [at, step, kind, use] = JSON.parse(key);
    return {
      rule: 'descriptors',
      command: row.command,
      kind: 'elements',
      map: offsetIn(row, map),
      types: rangesOf(numbers),
      pointer,
      ...(count === undefined ? {} : { count: offsetIn(row, count) }),
      keys: holds === 'mapKeys',
      at,
      ...(step === null ? {} : { step }),
      presence: { kind },
      objects: objects(use ?? undefined),
    };
  });
}

/** Merges equal checks. A check that every shape has applies to every call of the command. */
function merged(shapes: readonly (readonly Shaped[])[]): Check[] {
  const same = new Map<string, Shaped[]>();
  for (const one of shapes.flat()) {
    const key = JSON.stringify(one.check);
    same.set(key, [...(same.get(key) ?? []), one]);
  }
  return [...same.values()].flatMap((group) => {
    const check = group[0]?.check;
    if (check === undefined) return [];
    if (shapes.every((shape) => shape.some((one) => group.includes(one)))) return [check];
    const own = check.when ?? [];
    const isFirst = ({ later }: Shaped) => later.length === 0;
    const parts = [group.filter(isFirst), group.filter((one) => !isFirst(one))];
    return parts.flatMap((part) =>
      joined(part.map(({ shape }) => shape)).map((when) => ({
        ...check,
        when: [...when, ...(part[0]?.later ?? []), ...own],
      })),
    );
  });
}

/** Joins conditions on the same word to one condition with all of their values. */
function joined(shapes: readonly (readonly When[])[]): (readonly When[])[] {
  const words = new Map<number, Range[]>();
  const others: (readonly When[])[] = [];
  for (const shape of shapes) {
    const [only] = shape;
    if (only === undefined || shape.length > 1 || only.type === true) others.push(shape);
    else words.set(only.offset, merge([...(words.get(only.offset) ?? []), ...only.values]));
  }
  return [...others, ...[...words].map(([offset, values]) => [{ offset, values }])];
}

function merge(ranges: readonly Range[]): Range[] {
  return rangesOf(
    ranges.flatMap(([first, last]) =>
      Array.from({ length: last - first + 1 }, (_, i) => first + i),
    ),
  );
}

/** Returns the rules about descriptors in calls. */
export function descriptorChecks(policy: Policy): Check[] {
  const objects = objectsFor(policy);
  const shapes = new Map<number, Shaped[][]>();
  for (const row of commands) {
    if (row.stays !== undefined) continue;
    // TASK_FD_QUERY names a descriptor by the numbers of the process in question, not by a handle.
    if (row.command === rows.TASK_FD_QUERY.command) continue;
    shapes.set(row.command, [...(shapes.get(row.command) ?? []), checksOf(row, objects)]);
  }
  return [
    ...[...shapes.values()].flatMap(merged),
    ...perfIoctls
      .filter(({ argument }) => argument === 'handle')
      .map(
        ({ request, use }): Check => ({
          rule: 'descriptors',
          command: IOCTLS + request,
          kind: 'descriptor',
          offset: 0,
          presence: ALWAYS,
          objects: objects(use),
        }),
      ),
  ];
}
