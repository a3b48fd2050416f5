import type { SystemError } from '../errors.js';
import type { GuestKernel } from './guest-kernel.js';

const READ_BYTES = 1024 * 1024;

/** Reads a whole file of the guest's kernel, down to what is there at the moment. */
export async function readFile(session: GuestKernel, path: string): Promise<Uint8Array> {
  const handle = await session.open(path);
  try {
    const chunks: Uint8Array[] = [];
    for (;;) {
      const chunk = await session.read(handle, READ_BYTES);
      if (chunk === undefined || chunk.length === 0) break;
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } finally {
    await session.release([handle]).catch((error: SystemError) => {
      if (!session.closed) throw error;
    });
  }
}

/** Reads a whole file of the guest's kernel as text. */
export async function readText(session: GuestKernel, path: string): Promise<string> {
  return Buffer.from(await readFile(session, path)).toString();
}
