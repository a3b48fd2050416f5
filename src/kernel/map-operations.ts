/*
 * The operations of each type of map. The compiler offers only these (maps.ts), and at run time the
 * others are errors.
 */
import { enums, type MapSpec, mapKind } from '../bpf/index.js';
import { failure } from '../errors.js';
import { type AnyOptionNames, type OptionNames, refuseUnknownOptions } from '../known-options.js';
import { patienceNames } from '../session/caller.js';
import type { BatchOptions } from './map-batches.js';

const { MapType } = enums;

const entries = [
  ...(['lookup', 'lookupMany', 'update', 'updateMany', 'delete', 'deleteMany'] as const),
  ...(['lookupAndDelete', 'nextKey', 'keys', 'entries', 'batches', 'drain'] as const),
] as const;

const operations = {
  entries,
  'perf events': [...entries, 'records'],
  queue: ['push', 'peek', 'pop'],
  filter: ['push', 'mayHave'],
  ring: ['records'],
  'user ring': ['submit'],
  memory: [],
} as const;

/** The families of the types of map that have more than entries, or none. */
const families = {
  [MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY]: 'perf events',
  [MapType.BPF_MAP_TYPE_QUEUE]: 'queue',
  [MapType.BPF_MAP_TYPE_STACK]: 'queue',
  [MapType.BPF_MAP_TYPE_BLOOM_FILTER]: 'filter',
  [MapType.BPF_MAP_TYPE_RINGBUF]: 'ring',
  [MapType.BPF_MAP_TYPE_USER_RINGBUF]: 'user ring',
  [MapType.BPF_MAP_TYPE_ARENA]: 'memory',
} as const;

type Operations = typeof operations;

/** The family of a type of map, by the constant's value. */
export type FamilyOf<Type extends number> = Type extends keyof typeof families
  ? (typeof families)[Type]
  : 'entries';

/** The names of the operations that the maps of a family have. */
export type OperationOf<Family extends keyof Operations> = Operations[Family][number];

const batchNames: OptionNames<BatchOptions> = { batchEntries: true, ...patienceNames };

/** The names of options, for operations that have more than a {@link Patience}. */
const optionNames: { readonly [operation in Operation]?: AnyOptionNames } = {
  updateMany: { flags: true, ...batchNames },
  deleteMany: batchNames,
  keys: batchNames,
  entries: batchNames,
  batches: batchNames,
  drain: batchNames,
};

type Operation = OperationOf<keyof Operations>;

/**
 * Checks that a map's type has an operation, and the operation these options.
 *
 * @throws ERR_MAP_OPERATION, ERR_OPTION_UNKNOWN
 */
export function checkOperation(
  map: { readonly spec: MapSpec },
  operation: Operation,
  options?: object,
): void {
  checkType(map, operation);
  if (options === undefined) return;
  refuseUnknownOptions(`${operation}()`, options, optionNames[operation] ?? patienceNames);
}

function checkType(map: { readonly spec: MapSpec }, operation: Operation): void {
  const { type } = map.spec;
  const family = (families as { readonly [type: number]: keyof Operations })[type] ?? 'entries';
  const has: readonly string[] = operations[family];
  if (has.includes(operation)) return;
  const name = mapKind(type)?.name ?? `${type}`;
  const cure = has.length === 0 ? 'Only programs use it.' : `It has ${has.join('(), ')}().`;
  throw failure('ERR_MAP_OPERATION', { map: `${map}`, type: name, operation, cure });
}
