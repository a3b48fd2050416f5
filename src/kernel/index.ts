export type { Attached, Place } from './attached.js';
export type { BpfOptions, Outcome } from './bpf-calls.js';
export { Btf } from './btf.js';
export type { Finding } from './finding.js';
export { readFile } from './guest-file.js';
export type { GuestKernel } from './guest-kernel.js';
export { type FileKind, GuestObject, PinnableObject } from './guest-object.js';
export type { HelperFinding } from './helper-survey.js';
export type { BtfInfo, LinkInfo, MapInfo, ProgramInfo } from './info.js';
export { KernelIterator } from './iterator.js';
export { Link } from './link.js';
export type { ProgramOptions, Records } from './load.js';
export { BpfMap } from './map.js';
export type { Batch, BatchOptions } from './map-batches.js';
export type { MapCodecs, MapOptions } from './map-options.js';
export type {
  ArenaMap,
  BloomFilter,
  KeyedMap,
  MapOf,
  PerfEventArray,
  QueueMap,
  RingBuffer,
  UserRingBuffer,
} from './maps.js';
export { findableKind, type Where } from './objects.js';
export type { KprobeTarget, PerfAttachment, UprobeTarget } from './perf-attach.js';
export { PerfEvent, type PerfEventOptions, type PerfTarget } from './perf-event.js';
export { type Preflight, preflight } from './preflight.js';
export {
  type AttachOrder,
  type IteratorScope,
  type KprobeTargets,
  Program,
  type ProgramSpec,
  type UprobeTargets,
} from './program.js';
export { type RecordConsumer, type RecordOptions, RecordStream } from './record-stream.js';
export { eachPerfRecord, eachRingRecord, type RecordCallback } from './ring-records.js';
export type { Symbolized } from './symbols.js';
export type { TestRun, TestRunOptions } from './test-run.js';
