import type { Measurer } from '../client/client.js';
import type { LabGuest, LabTransport } from '../lab.js';
import { message } from '../programs/figure2.js';

const executions = 20;

/** What the guest's trace log held after a number of execs, over one transport. */
export interface Proof {
  transport: string;
  executions: number;
  /** Lines with the program's message after that many execs while it was attached. */
  linesWhileAttached: number;
  /** The same after it was detached. */
  linesAfterDetach: number;
  /** A line of the log as the guest printed it. */
  example: string;
}

/**
 * Forwards the Figure 2 program over every transport and shows that it runs: as many lines in the
 * guest's trace log as there were execs while it was attached, and none afterwards.
 *
 * @throws Error when the numbers are others
 */
export async function proveExecution({ client, transports }: LabGuest): Promise<Proof[]> {
  const proofs: Proof[] = [];
  for (const transport of transports) proofs.push(await prove(transport, client));
  return proofs;
}

async function prove(transport: LabTransport, client: Measurer): Promise<Proof> {
  await transport.use();
  let attached: string[];
  try {
    await client.attach(transport.agent);
    attached = await traceOfExecutions(transport);
  } finally {
    await client.detach();
  }
  const detached = await traceOfExecutions(transport);
  const proof: Proof = {
    transport: transport.name,
    executions,
    linesWhileAttached: attached.length,
    linesAfterDetach: detached.length,
    example: attached[0]?.trim() ?? '',
  };
  if (proof.linesWhileAttached !== executions || proof.linesAfterDetach !== 0) {
    throw new Error(
      `${executions} execs in the guest must leave ${executions} lines in its trace log while the program is attached and none after; found ${JSON.stringify(proof)}`,
    );
  }
  return proof;
}

/**
 * Clears the guest's trace log, makes the execs, and returns the log's lines with the message. The
 * shell does all of it with built-ins, so that nothing else is executed in between.
 */
async function traceOfExecutions({ run }: LabTransport): Promise<string[]> {
  const script = [
    'cd /sys/kernel/tracing',
    'echo > trace',
    'i=0',
    `while [ $i -lt ${executions} ]; do /bin/busybox true; i=$((i + 1)); done`,
    'while read -r line; do echo "$line"; done < trace',
  ].join('\n');
  const log = await run(['/bin/busybox', 'sh', '-c', script]);
  return log.split('\n').filter((line) => line.endsWith(message));
}
