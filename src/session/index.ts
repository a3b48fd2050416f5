export type { Attached, Place } from '../kernel/attached.js';
export { Btf } from '../kernel/btf.js';
export type { Finding } from '../kernel/finding.js';
export { readFile } from '../kernel/guest-file.js';
export {
  type BpfOptions,
  type CallOptions,
  GuestKernel,
  type Outcome,
} from '../kernel/guest-kernel.js';
export { GuestObject, PinnableObject } from '../kernel/guest-object.js';
export type { HelperFinding } from '../kernel/helper-survey.js';
export type { BtfInfo, LinkInfo, MapInfo, ProgramInfo } from '../kernel/info.js';
export { KernelIterator } from '../kernel/iterator.js';
export { Link } from '../kernel/link.js';
export type { ProgramOptions, Records } from '../kernel/load.js';
export { BpfMap } from '../kernel/map.js';
export type { Batch, BatchOptions } from '../kernel/map-batches.js';
export type { MapCodecs, MapOptions } from '../kernel/map-options.js';
export type { FileKind, Where } from '../kernel/objects.js';
export type { KprobeTarget, PerfAttachment, UprobeTarget } from '../kernel/perf-attach.js';
export { PerfEvent, type PerfEventOptions, type PerfTarget } from '../kernel/perf-event.js';
export { type Preflight, preflight } from '../kernel/preflight.js';
export {
  type AttachOrder,
  type IteratorScope,
  type KprobeTargets,
  Program,
  type ProgramFacts,
  type UprobeTargets,
} from '../kernel/program.js';
export { type RecordConsumer, type RecordOptions, RecordStream } from '../kernel/record-stream.js';
export { eachPerfRecord, eachRingRecord, type RecordCallback } from '../kernel/ring-records.js';
export type { TestRun, TestRunOptions } from '../kernel/test-run.js';
export { type ClockSample, GuestClock, type Placed } from './clock.js';
export {
  type BatchCallback,
  type EventBatch,
  EventStream,
  type StreamOptions,
  type StreamOrigin,
  type StreamStatistics,
} from './event-stream.js';
export { RingWriter } from './ring-writer.js';
export type { TlsOptions } from './secure.js';
export { Session, type SessionOptions, type SessionStatistics } from './session.js';
