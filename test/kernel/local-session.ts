import t, { type Test } from 'tap';
import { Session } from '../../src/index.js';
import { localAgent } from '../agent/local-agent.js';
import { whyNoKernel } from '../bpf/kernel.js';

/** Whether this machine's kernel can play the guest's. */
export const skip = whyNoKernel();

/** A session with an agent for this machine's own kernel. Both end with the test. */
export async function session(test: Test = t): Promise<Session> {
  const local = await localAgent();
  test.teardown(() => local.close());
  const opened = await Session.connect(local.address);
  test.teardown(() => opened.close());
  return opened;
}
