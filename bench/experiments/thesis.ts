import { join } from 'node:path';
import { thesisFigure } from '../chart/thesis.js';
import type { Client } from '../client/client.js';
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

const transports = ['tcp', 'vsock-mux', 'vsock-kernel', 'vsock-device'];

/** The thesis' experiment: its two commands, native and over each transport. */
export const thesis: Experiment = {
  name: 'thesis',
  title: 'The thesis’ experiment: PROG_LOAD and RAW_TRACEPOINT_OPEN',
  hypothesis:
    'Forwarding adds the same order of time as the thesis reports over TCP (396 µs and 100 µs), and less over vsock than over TCP.',
  parameters,
  placement: 'host processes and the vCPU unpinned',
  remarks: [
    'Each of the two commands is timed by itself. `native` makes the same calls, byte for byte, in the guest. `proof.json` records that the forwarded program ran: N execs in the guest left N lines in its trace log while it was attached, and none afterwards.',
    'After each iteration the kernel gets time to settle: a tracepoint that is enabled again within the grace period of its last disabling makes the caller wait for the rest of that period, which would hide everything else and which an application that is started once does not meet.',
    'These commands change kernel mappings. In an emulated guest each change makes the emulator flush its software TLB, and all the code that forwarding runs in the guest then refills it. The rtt experiment shows the same transports without that, software-overhead the same commands without emulation.',
  ],
  guest: true,
  full: { boots: 3, rounds: 8, samples: 32, warmup: 3 },
  quick: { boots: 1, rounds: 5, samples: 10, warmup: 2 },
  comparisons: transports.flatMap((arm) =>
    commandMetrics.map(
      (metric): Comparison => ({
        kind: 'difference',
        arm,
        against: 'native',
        metric,
        quantile: 'p50',
        thesis: thesisOverheadNs[metric],
      }),
    ),
  ),
  async prepare({ guest }) {
    if (guest === undefined) throw new TypeError('the thesis experiment needs a guest');
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
  figures: (summary, environment) => [thesisFigure(summary, environment)],
};

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
function forwardedArm(name: string, address: string, client: Client): Arm {
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
