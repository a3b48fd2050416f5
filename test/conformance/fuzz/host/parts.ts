/* What of the host reads bytes or text of others, and what has to be true of it. */
import { addresses } from './addresses.js';
import { btf } from './btf.js';
import { codecs } from './codecs.js';
import { events, records } from './events.js';
import { frames } from './frames.js';
import { messages, results } from './messages.js';
import { policies } from './policies.js';
import type { Random } from './random.js';

/** A part of the host. */
export interface Part {
  readonly name: string;
  /**
   * Makes an input and feeds it. Returns whether it was taken; throws where something happened
   * that must not.
   */
  feed(random: Random): boolean;
}

export const parts: readonly Part[] = [
  { name: 'frames', feed: frames },
  { name: 'messages', feed: messages },
  { name: 'results', feed: results },
  { name: 'events', feed: events },
  { name: 'records', feed: records },
  { name: 'policies', feed: policies },
  { name: 'addresses', feed: addresses },
  { name: 'BTF', feed: btf },
  { name: 'codecs', feed: codecs },
];
