import { countsFigure } from '../chart/counts.js';
import type { Measurer } from '../client/client.js';
import { ratio } from '../comparisons.js';
import type { Experiment } from '../experiment.js';
import type { LabTransport } from '../lab.js';
import { countKinds, countMetric, type Load } from '../metrics.js';
import type { Arm, Batch } from '../types.js';

const MIB = 1024 * 1024;
const loads: readonly Load[] = [
  { name: 'echoes of 64 B', per: 'round trip', times: 1000, requestBytes: 64, replyBytes: 64 },
  { name: 'MiB to the guest', per: 'MiB', times: 16, requestBytes: 65_536, replyBytes: 1 },
  { name: 'MiB from the guest', per: 'MiB', times: 16, requestBytes: 1, replyBytes: 65_536 },
];
const [echoes] = loads;

/**
 * How often a guest's driver tells a device of buffers. Source: virtio_pci_common.c and
 * virtio_mmio.c in drivers/virtio; a kernel has some of these functions.
 */
const notifiers = ['vp_notify', 'vp_notify_with_data', 'vm_notify', 'vm_notify_with_data'];
const tracing = '/sys/kernel/tracing';

/** What messages cost beside time: what is left of it on a machine that emulates nothing. */
export const counts: Experiment = {
  name: 'counts',
  title: 'Kicks, interrupts and context switches of a message, by transport',
  hypothesis:
    'A round trip of 64 bytes by the in-process device takes at most 1.1 times the kicks, interrupts and context switches of one by TCP.',
  parameters: { loads, notifiers },
  placement: 'host processes and the vCPU unpinned',
  remarks: [
    'Times of an emulated guest do not carry over to a machine that emulates nothing. These counts do, as far as one message at a time is concerned: under KVM each kick is an exit, which wakes a thread of the host by an ioeventfd; each interrupt is injected by an irqfd; each switch of a thread costs the same. In a stream the counts depend on who is faster, too.',
    'Kicks: calls of the driver’s function that notifies a device, counted by a kprobe in the guest. Interrupts: those of the guest’s virtio devices, by /proc/interrupts. Switches in the guest: by /proc/stat. Switches of QEMU, of its threads that run the processor and of the others, and of the client (for vhost-device-vsock with that program): by /proc/PID/task/TID/status. The client is TypeScript, the other end plain C. What it costs to read the counters is read, too, and taken off.',
  ],
  guest: true,
  full: { boots: 1, rounds: 8, samples: 1, warmup: 0 },
  quick: { boots: 1, rounds: 2, samples: 1, warmup: 0 },
  comparisons:
    echoes === undefined
      ? []
      : countKinds.map((kind) => ratio('vsock-device', 'tcp', countMetric(kind, echoes), 1.1)),
  async prepare({ guest }) {
    if (guest === undefined) throw new TypeError('the counts experiment needs a guest');
    for (const { run } of guest.transports) await run(['/bin/sh', '-c', probeScript]);
    return {
      arms: guest.transports.map((transport) => countedArm(transport, guest.client)),
      absent: guest.absent,
      [Symbol.asyncDispose]: async () => {},
    };
  },
  figures: (summary, environment) => [countsFigure(summary, environment, loads)],
};

/** Counts calls of the notifiers. Transports to one guest find that it counts already. */
const probeScript = [
  `cd ${tracing}`,
  '[ -d events/waep ] && exit 0',
  `for f in ${notifiers.join(' ')}; do`,
  '  grep -q " $f\\b" /proc/kallsyms && echo "p:waep/$f $f" >> kprobe_events',
  'done',
  'echo 1 > events/waep/enable',
].join('\n');

type Counts = Readonly<Record<(typeof countKinds)[number], number>>;

/** Reads all counters, by a function that ends the counting. */
async function begin({ run, meters }: LabTransport): Promise<() => Promise<Counts>> {
  const look = async () => {
    const files = `${tracing}/kprobe_profile /proc/interrupts /proc/stat`;
    return run(['/bin/sh', '-c', `cat ${files}`]);
  };
  if (meters === undefined) throw new TypeError('the counts experiment needs meters');
  const switches = await meters.switches();
  const before = guestCounts(await look());
  return async () => {
    const after = guestCounts(await look());
    const used = await switches();
    return {
      kicks: after.kicks - before.kicks,
      interrupts: after.interrupts - before.interrupts,
      'switches in the guest': after.switches - before.switches,
      'switches of QEMU’s processor': used.processors,
      'switches of QEMU’s other threads': used.devices,
      'switches of the client': used.host,
    };
  };
}

function guestCounts(text: string) {
  const sum = (pattern: RegExp) =>
    [...text.matchAll(pattern)].reduce(
      (all, [, numbers = '']) =>
        all +
        numbers
          .trim()
          .split(/\s+/)
          .reduce((each, one) => each + Number(one), 0),
      0,
    );
  return {
    kicks: sum(/^\s+v[pm]_notify\w*\s+(\d+)\s+\d+$/gm),
    interrupts: sum(/^\s*\d+:((?:\s+\d+)+)\s.*virtio\d/gm),
    switches: sum(/^ctxt (\d+)$/gm),
  };
}

function countedArm(transport: LabTransport, client: Measurer): Arm {
  const { name, pingpong: address } = transport;
  const send = async ({ times, requestBytes, replyBytes }: Load) => {
    if (requestBytes === replyBytes) {
      const counts = { samples: times, warmup: 0 };
      await client.measure({ task: 'echo', address, payloadBytes: requestBytes, ...counts });
    } else {
      const messages = (times * MIB) / Math.max(requestBytes, replyBytes);
      const sizes = { requestBytes, replyBytes };
      await client.measure({ task: 'bulk', address, ...sizes, samples: 1, warmup: messages });
    }
  };
  return {
    name,
    prepare: () => transport.use(),
    measure: async () => {
      const nothing = await (await begin(transport))();
      const batches: Pick<Batch, 'metric' | 'unit' | 'values'>[] = [];
      for (const load of loads) {
        const end = await begin(transport);
        await send(load);
        const counted = await end();
        for (const kind of countKinds) {
          const values = [counted[kind] - nothing[kind]];
          batches.push({ metric: countMetric(kind, load), unit: 'count', values });
        }
      }
      return batches;
    },
  };
}
