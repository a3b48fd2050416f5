import { join } from 'node:path';
import { thesisFigure } from '../chart/thesis.js';
import type { Measurer } from '../client/client.js';
import { ratio } from '../comparisons.js';
import type { Experiment } from '../experiment.js';
import type { LabGuest } from '../lab.js';
import { nativeCommand, nativeSamples } from '../limit.js';
import { commandMetrics, thesisOverheadNs } from '../metrics.js';
import { encodeCallFile, type NamedCall } from '../programs/call-file.js';
import { attachCall, loadCall } from '../programs/figure2.js';
import { expectSamples } from '../samples.js';
import type { Amount, Arm, Comparison } from '../types.js';
import { proveExecution } from './proof.js';

const parameters = {
  program: 'raw_tracepoint/sys_enter, prints "Hello World!" at every execve',
  settleMs: 30,
  settleReason:
    'enabling a tracepoint within the grace period of its last disabling waits for the rest of it; an application that is started once does not meet that',
} as const;

/** The two commands of the thesis, native and over each transport. */
function commandsOver(
  experiment: Omit<Experiment, 'parameters' | 'guest' | 'prepare' | 'figures'>,
): Experiment {
  const { name } = experiment;
  return {
    ...experiment,
    parameters,
    guest: true,
    async prepare({ guest }) {
      if (guest === undefined) throw new TypeError(`the ${name} experiment needs a guest`);
      const proof = await proveExecution(guest);
      return {
        arms: [
          await nativeArm(guest),
          ...guest.transports.map((transport) => ({
            ...forwardedArm(transport.name, transport.agent, guest.client),
            prepare: () => transport.use(),
          })),
        ],
        absent: guest.absent,
        records: { proof },
        [Symbol.asyncDispose]: async () => {},
      };
    },
    figures: (summary, environment) => [thesisFigure(summary, environment, name)],
  };
}

/** What forwarding adds to the commands. */
function added(transports: readonly string[], thesis: typeof thesisOverheadNs | undefined) {
  return transports.flatMap((arm) =>
    commandMetrics.map(
      (metric): Comparison => ({
        kind: 'difference',
        arm,
        against: 'native',
        metric,
        quantile: 'p50',
        ...(thesis === undefined ? {} : { thesis: thesis[metric] }),
      }),
    ),
  );
}

/** The thesis' experiment. */
export const thesis = commandsOver({
  name: 'thesis',
  title: 'The thesis’ experiment: PROG_LOAD and RAW_TRACEPOINT_OPEN',
  hypothesis:
    'Forwarding adds the same order of time as the thesis reports over TCP (396 µs and 100 µs), and less over vsock than over TCP.',
  placement: 'host processes and the vCPU unpinned',
  remarks: [
    'Each of the two commands is timed by itself. `native` makes the same calls, byte for byte, in the guest. `proof.json` records that the forwarded program ran: N execs in the guest left N lines in its trace log while it was attached, and none afterwards.',
    'After each iteration the kernel gets time to settle: a tracepoint that is enabled again within the grace period of its last disabling makes the caller wait for the rest of that period, which would hide everything else and which an application that is started once does not meet.',
    'These commands change kernel mappings. In an emulated guest each change makes the emulator flush its software TLB, and all the code that forwarding runs in the guest then refills it. The rtt experiment shows the same transports without that, software-overhead the same commands without emulation.',
  ],
  full: { boots: 3, rounds: 8, samples: 32, warmup: 3 },
  quick: { boots: 1, rounds: 5, samples: 10, warmup: 2 },
  comparisons: added(['tcp', 'vsock-mux', 'vsock-kernel', 'vsock-device'], thesisOverheadNs),
});

/** The same from a guest to the guest in it: by the kernels' own vsock. */
export const nestedThesis = commandsOver({
  name: 'nested-thesis',
  title: 'The thesis’ commands from a guest to a guest in it, by the kernels’ own vsock',
  hypothesis:
    'With the vsock of both kernels (vhost_vsock on the host’s side) a forwarded command takes at most as long as with TCP.',
  placement: 'the guest that is the host has two vCPUs, the one in it has one; all unpinned',
  remarks: [
    '`native` makes the same calls in the inner guest. `proof.json` records that the forwarded program ran there. The experiment nested-rtt describes both guests.',
  ],
  nested: true,
  full: { boots: 1, rounds: 8, samples: 6, warmup: 2 },
  quick: { boots: 1, rounds: 2, samples: 3, warmup: 1 },
  comparisons: [
    ...added(['tcp', 'vsock-kernel'], undefined),
    ...commandMetrics.map((metric) => ratio('vsock-kernel', 'tcp', metric, 1)),
  ],
});

/** The same calls, byte for byte, made in the guest itself. */
async function nativeArm(guest: LabGuest): Promise<Arm> {
  const callFile = join('/tmp', 'figure2.calls');
  await guest.write(callFile, encodeCallFile(figure2Calls));
  return {
    name: 'native',
    measure: async (amount) => {
      const command = nativeCommand(guest.programs.native, callFile, parameters.settleMs, amount);
      return commandBatches(nativeSamples(await guest.run(command)), amount);
    },
  };
}

/** The Figure 2 program's two calls, as bench/c/native.c takes them. */
export const figure2Calls: readonly NamedCall[] = [
  { name: 'PROG_LOAD', call: loadCall(1) },
  { name: 'RAW_TRACEPOINT_OPEN', call: attachCall(1, 2) },
];

/** The commands through a session, measured by a client. */
function forwardedArm(name: string, address: string, client: Measurer): Arm {
  return {
    name,
    measure: async (amount) => {
      const { samples, warmup } = amount;
      const { settleMs } = parameters;
      return commandBatches(
        await client.measure({ task: 'commands', address, settleMs, samples, warmup }),
        amount,
      );
    },
  };
}

/** The batches of both commands, complete. */
export function commandBatches(samples: ReadonlyMap<string, readonly number[]>, amount: Amount) {
  return commandMetrics.map((metric) => {
    const values = samples.get(metric) ?? [];
    expectSamples(metric, values.length, amount.samples);
    return { metric, unit: 'ns' as const, values };
  });
}
