/*
 * Loaded into an agent's process before the agent: at each SIGUSR2 one more of its listeners
 * reports a failure, as it may at any time.
 */
import { Server } from 'node:net';

process.on('SIGUSR2', () => {
  const { _getActiveHandles: handles } = process as unknown as { _getActiveHandles(): unknown[] };
  const next = handles().find((handle): handle is Server => handle instanceof Server);
  next?.emit('error', new Error('accept EINVAL'));
});
