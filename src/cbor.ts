/*
 * The part of cbor-x that is used: in JavaScript alone, without its native helper.
 * scripts/bundle.mjs puts the library itself into the compiled file, so that the package has no
 * dependencies of its own.
 */
export { Decoder, Encoder } from 'cbor-x/decode';
