export type { Attached, Place } from './attached.js';
export { Btf } from './btf.js';
export { type ClockSample, GuestClock, type Placed } from './clock.js';
export {
  type BatchCallback,
  type EventBatch,
  EventStream,
  type StreamOptions,
  type StreamOrigin,
  type StreamStatistics,
} from './event-stream.js';
export type { Finding } from './finding.js';
export { readFile } from './guest-file.js';
export {
  type BpfOptions,
  type CallOptions,
  GuestKernel,
  type Outcome,
} from './guest-kernel.js';
export { GuestObject, PinnableObject } from './guest-object.js';
export type { HelperFinding } from './helper-survey.js';
export type { BtfInfo, LinkInfo, MapInfo, ProgramInfo } from './info.js';
export { KernelIterator } from './iterator.js';
export { Link } from './link.js';
export type { ProgramOptions, Records } from './load.js';
export { BpfMap } from './map.js';
export type { Batch, BatchOptions } from './map-batches.js';
export type { MapCodecs, MapOptions } from './map-options.js';
export type { FileKind, Where } from './objects.js';
export type { KprobeTarget, PerfAttachment, UprobeTarget } from './perf-attach.js';
export { PerfEvent, type PerfEventOptions, type PerfTarget } from './perf-event.js';
export { type Preflight, preflight } from './preflight.js';
export {
  type AttachOrder,
  type IteratorScope,
  type KprobeTargets,
  Program,
  type ProgramFacts,
  type UprobeTargets,
} from './program.js';
export { type RecordConsumer, type RecordOptions, RecordStream } from './record-stream.js';
export { eachPerfRecord, eachRingRecord, type RecordCallback } from './ring-records.js';
export { RingWriter } from './ring-writer.js';
export type { TlsOptions } from './secure.js';
export { Session, type SessionOptions, type SessionStatistics } from './session.js';
export type { TestRun, TestRunOptions } from './test-run.js';
