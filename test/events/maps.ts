import { enums, type PerfEventArray, type RingBuffer, type Session } from '../../src/index.js';

const { MapType } = enums;

/** A ring buffer of so many bytes. */
export function ringOf(session: Session, sizeBytes: number): Promise<RingBuffer> {
  return session.createMap({ type: MapType.BPF_MAP_TYPE_RINGBUF, maxEntries: sizeBytes });
}

/** An array with room for a perf event of each CPU. */
export function arrayOf(session: Session): Promise<PerfEventArray> {
  return session.createMap({
    type: MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY,
    keySize: 4,
    valueSize: 4,
    maxEntries: session.kernel.possibleCpus,
  });
}
