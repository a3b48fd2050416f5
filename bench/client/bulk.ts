import { once } from 'node:events';
import { connect } from '../../src/transport/index.js';
import type { Counts } from './protocol.js';

/**
 * Times the sending of `warmup` requests without waiting and then the receiving of as many replies:
 * one of the sizes should be 1. The other end is the plain C server; see bench/c/pingpong.c. The
 * only sample is the whole time.
 */
export async function measureBulk(
  options: { address: string; requestBytes: number; replyBytes: number } & Counts,
): Promise<Record<string, number[]>> {
  const { address, requestBytes, replyBytes, warmup: messages } = options;
  const socket = await connect(address);
  try {
    socket.write(new Uint8Array(Uint32Array.of(requestBytes, replyBytes).buffer));
    const request = new Uint8Array(requestBytes).fill(0x5a);
    let missing = replyBytes * messages;
    const received = new Promise<void>((resolve, reject) => {
      socket.on('data', (chunk: Uint8Array) => {
        missing -= chunk.byteLength;
        if (missing === 0) resolve();
      });
      socket.on('error', reject);
      socket.on('close', () => reject(new Error('the server ended the connection')));
    });
    const start = performance.now();
    for (let message = 0; message < messages; message++) {
      if (!socket.write(request)) await once(socket, 'drain');
    }
    await received;
    return { bulk: [(performance.now() - start) * 1e6] };
  } finally {
    const closed = once(socket, 'close');
    socket.destroy();
    await closed;
  }
}
