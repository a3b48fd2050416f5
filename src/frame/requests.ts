import type { CallBuffer, IoctlCall, NetlinkRequest, PerfOpenCall } from '../call.js';

/* The bodies of requests that are too rare to need a writer of their own. */

function heap(call: { buffers: readonly CallBuffer[]; relocations: readonly number[] }) {
  const buffers = call.buffers.map((buffer) =>
    typeof buffer === 'number' || buffer instanceof Uint8Array ? buffer : [buffer.inout],
  );
  return [buffers, call.relocations] as const;
}

/** The body of a PERF_OPEN frame. */
export function perfOpenBody(call: PerfOpenCall): unknown {
  const { result, pid, cpu, group, flags } = call;
  return [result, typeof pid === 'number' ? pid : [pid.handle], cpu, group, flags, ...heap(call)];
}

/** The body of a NETLINK frame. */
export function netlinkBody(request: NetlinkRequest): unknown {
  const { protocol, options = 0, message, relocations = [] } = request;
  return [protocol, options, [message], relocations];
}

/** The body of an IOCTL frame. */
export function ioctlBody(call: IoctlCall): unknown {
  return [call.handle, call.request, ...heap(call)];
}
