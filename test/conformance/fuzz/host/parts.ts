/* The parts of the host that read bytes or text from others, and the properties that must hold. */
import { addresses } from './addresses.js';
import { btf } from './btf.js';
import { codecs } from './codecs.js';
import { events, records } from './events.js';
import { frames } from './frames.js';
import { chainResults, messages, results } from './messages.js';
import { policies } from './policies.js';
import type { Random } from './random.js';

/** A part of the host. */
export interface Part {
  readonly name: string;
  /**
   * Makes an input and feeds it. Returns whether the input was accepted. Throws if a property does
   * not hold.
   */
  feed(random: Random): boolean;
}

export const parts: readonly Part[] = [
  { name: 'frames', feed: frames },
  { name: 'messages', feed: messages },
  { name: 'results', feed: results },
  { name: 'results of chains', feed: chainResults },
  { name: 'events', feed: events },
  { name: 'records', feed: records },
  { name: 'policies', feed: policies },
  { name: 'addresses', feed: addresses },
  { name: 'BTF', feed: btf },
  { name: 'codecs', feed: codecs },
];
