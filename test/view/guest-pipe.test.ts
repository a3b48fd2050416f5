import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import t from 'tap';
import type { Session } from '../../src/session.js';
import { readGuestPipe } from '../../src/view/index.js';

t.test(
  'what belongs to the contents of a pipe is there before them, and before the end',
  async (t) => {
    const order: string[] = [];
    const chunks = [Buffer.from('one'), undefined, Buffer.from('two'), Buffer.alloc(0)];
    const session = { read: async () => chunks.shift() } as unknown as Session;
    let fd = -1;
    const gone = new Promise<void>((resolve) => {
      fd = readGuestPipe(session, 7, {
        arrived: async () => {
          await new Promise(setImmediate);
          order.push('arrived');
        },
        gone: async () => resolve(),
        failed: (error) => t.fail(error.message),
      });
    });
    const stream = createReadStream('', { fd });
    stream.on('data', (bytes) => order.push(String(bytes)));
    await once(stream, 'end');
    stream.destroy();
    await gone;
    t.equal(order.filter((one) => one !== 'arrived').join(''), 'onetwo');
    t.equal(order[0], 'arrived');
    t.equal(order.filter((one) => one === 'arrived').length, 4);
  },
);
