import { systemError } from '../../src/errors.js';
import { Session } from '../../src/session.js';
import { attachCall, loadCall } from '../programs/figure2.js';
import { patience } from './sessions.js';

let attached: { session: Session; handles: number[] } | undefined;

/** Loads the Figure 2 program by a session of its own and attaches it, until {@link detach}. */
export async function attach(address: string): Promise<void> {
  const session = await Session.connect(address, { client: 'waep bench', ...patience });
  attached = { session, handles: [] };
  const [program, link] = [session.newHandle(), session.newHandle()];
  for (const call of [loadCall(program), attachCall(program, link)]) {
    const { result, errno } = await session.call(call);
    if (result < 0) throw systemError('bpf', errno, { side: 'guest' });
    attached.handles.unshift(call.result);
  }
}

/** Closes what {@link attach} has made, and waits until it is closed. */
export async function detach(): Promise<void> {
  if (attached === undefined) return;
  const { session, handles } = attached;
  attached = undefined;
  try {
    await session.release(handles);
  } finally {
    session.close();
  }
}
