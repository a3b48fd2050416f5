import { Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import type { Session } from '../../src/session.js';
import { readGuestPipe } from '../../src/view/index.js';

t.test(
  'what belongs to the contents of a pipe is there before them, and before the end',
  async (t) => {
    let got = '';
    const chunks = [Buffer.from('one'), undefined, Buffer.from('two'), Buffer.alloc(0)];
    const session = { read: async () => chunks.shift() } as unknown as Session;
    const held: (() => void)[] = [];
    const gone = new Promise<void>((resolve) => {
      const fd = readGuestPipe(session, 7, {
        arrived: () => new Promise((release) => held.push(release)),
        gone: async () => resolve(),
        failed: (error) => t.fail(error.message),
      });
      const reader = new Socket({ fd });
      const add = (bytes: Buffer | string) => {
        got += bytes;
      };
      reader.on('data', add).on('end', () => add('end'));
    });
    for (const [before, after] of [
      ['', 'one'],
      ['one', 'onetwo'],
      ['onetwo', 'onetwoend'],
    ] as const) {
      while (held.length === 0) await turn();
      // Bytes that were written would be read in the next turn of the event loop.
      for (let turns = 0; turns < 10; turns++) await turn();
      t.equal(held.length, 1, 'nothing more is read');
      t.equal(got, before);
      held.pop()?.();
      while (got.length < after.length) await turn();
      t.equal(got, after);
    }
    await gone;
    t.same(held, [], 'a read without bytes brings nothing');
  },
);
