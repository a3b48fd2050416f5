import { once } from 'node:events';
import { connect, type Socket } from '../../src/transport/index.js';
import { echoMetric } from '../metrics.js';
import type { Counts } from './protocol.js';

/**
 * Times echoes over a transport socket, without frames: what a stream in JavaScript costs on a
 * transport. The other end is the plain C server; see bench/c/pingpong.c.
 */
export async function measureEcho(
  options: { address: string; payloadBytes: number } & Counts,
): Promise<Record<string, number[]>> {
  const { address, payloadBytes, warmup, samples: count } = options;
  const socket = await connect(address);
  try {
    socket.write(new Uint8Array(Uint32Array.of(payloadBytes, payloadBytes).buffer));
    const payload = new Uint8Array(payloadBytes).fill(0x5a);
    const samples: number[] = [];
    for (let operation = 0; operation < warmup + count; operation++) {
      const start = performance.now();
      await exchange(socket, payload);
      const elapsedNs = (performance.now() - start) * 1e6;
      if (operation >= warmup) samples.push(elapsedNs);
    }
    return { [echoMetric(payloadBytes)]: samples };
  } finally {
    const closed = once(socket, 'close');
    socket.destroy();
    await closed;
  }
}

function exchange(socket: Socket, payload: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    let missing = payload.byteLength;
    const finish = (settle: () => void) => {
      socket.off('data', take);
      socket.off('error', reject);
      socket.off('close', ended);
      settle();
    };
    const take = (chunk: Uint8Array) => {
      missing -= chunk.byteLength;
      if (missing === 0) finish(resolve);
    };
    const ended = () => finish(() => reject(new Error('the echo server ended the connection')));
    socket.on('data', take);
    socket.on('error', reject);
    socket.on('close', ended);
    socket.write(payload);
  });
}
