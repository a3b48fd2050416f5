import { failure, WaepError } from '../errors.js';

/**
 * The layout of a value in memory, such as a key or value of a map or the bytes of an event.
 *
 * Codecs can be combined ({@link struct}, {@link array}, {@link perCpu}) and carry the types of
 * their values. All words are little-endian, like the guest's, unless a codec says otherwise.
 *
 * @typeParam T the type of decoded values
 * @typeParam In the type of values to encode, if it allows more than `T`
 */
export interface Codec<T, In = T> {
  /** The name of the codec in errors, such as `u32` or `struct event`. */
  readonly name: string;
  /** The size of a value in bytes. */
  readonly sizeBytes: number;
  /** The alignment of a value in a C structure, in bytes. */
  readonly alignBytes: number;
  /** Reads the value at a byte offset. */
  read(view: DataView, offset: number): T;
  /**
   * Writes a value at a byte offset. The bytes there are zero.
   *
   * @throws ERR_CODEC_VALUE when the value does not fit
   */
  write(view: DataView, offset: number, value: In): void;
  /**
   * Returns the codec for a guest with `possibleCpus` possible CPUs. Absent if the number makes no
   * difference.
   */
  forCpus?(possibleCpus: number): Codec<T, In>;
}

/** Any codec at all. */
export type AnyCodec = Codec<unknown, never>;

/** The type that a codec decodes: `Decoded<typeof u32>` is `number`. */
export type Decoded<C> = C extends { read(view: DataView, offset: number): infer T } ? T : never;

/** The type that a codec encodes: `Encodable<typeof u64>` is `number | bigint`. */
export type Encodable<C> = C extends {
  write(view: DataView, offset: number, value: infer In): void;
}
  ? In
  : never;

/** Returns a view of bytes, as codecs take it. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Returns the bytes of one value. */
export function encodeValue<In>(codec: Codec<unknown, In>, value: In): Uint8Array {
  const bytes = new Uint8Array(codec.sizeBytes);
  codec.write(viewOf(bytes), 0, value);
  return bytes;
}

/**
 * Decodes bytes to a value.
 *
 * @throws ERR_CODEC_VALUE when there are fewer bytes than the codec needs
 */
export function decodeValue<T>(codec: Codec<T, never>, bytes: Uint8Array): T {
  if (bytes.byteLength < codec.sizeBytes) {
    throw misfit(`${bytes.byteLength} bytes`, `the ${codec.sizeBytes} bytes of a ${codec.name}`);
  }
  return codec.read(viewOf(bytes), 0);
}

/** Returns the error of a value that does not fit. */
export function misfit(value: unknown, expected: string): WaepError<'ERR_CODEC_VALUE'> {
  const shown = value instanceof Uint8Array ? `${value.byteLength} bytes` : value;
  return failure('ERR_CODEC_VALUE', { where: '', value: shown, expected });
}

/** Returns the same error with the place of the value prepended to the place in the error. */
export function within(where: string, error: unknown): unknown {
  if (!(error instanceof WaepError) || error.code !== 'ERR_CODEC_VALUE') return error;
  const detail = (error as WaepError<'ERR_CODEC_VALUE'>).detail;
  return failure('ERR_CODEC_VALUE', { ...detail, where: `${where}${detail.where}` });
}
