export type { Caller, CallOptions, Patience } from './caller.js';
export { type ClockSample, GuestClock, type Placed } from './clock.js';
export type { SessionOptions, SessionStatistics } from './conversation.js';
export {
  type BatchCallback,
  type EventBatch,
  EventStream,
  type StreamOptions,
  type StreamOrigin,
  type StreamStatistics,
} from './event-stream.js';
export { RingWriter } from './ring-writer.js';
export type { TlsOptions } from './start-tls.js';
