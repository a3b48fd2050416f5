import type { Handle } from '../src/call.js';
import type { Session } from '../src/session.js';
import { advised } from './advice.js';

const TRACE_PIPE = '/sys/kernel/tracing/trace_pipe';

/** Opens the trace log of a guest's kernel for reading. Lines that are read are gone from it. */
export async function openTraceLog(session: Session): Promise<Handle> {
  try {
    return await session.open(TRACE_PIPE);
  } catch (error) {
    throw advised(error);
  }
}
