/*
 * Inputs of core/device.cc that reach far: programs whose steps are valid for a guest and a host.
 */

/** The first of the steps of each kind in `kSteps`. */
const Step = {
  PACKET: 0,
  BUFFERS: 1,
  HOST: 2,
  INDIRECT: 7,
  MEMORY: 9,
  RESTART: 10,
  TIME: 11,
  HANG_UP: 15,
} as const;

/** The operations of `UseHost`. */
const Host = {
  CONNECT: 0,
  LISTEN: 1,
  ACCEPT: 2,
  CONFIRM: 3,
  SEND: 4,
  RECEIVE: 5,
  SHUTDOWN: 6,
  WATCH: 7,
  ADVANCE: 8,
  CLOSE: 9,
} as const;

/** Operations of vsock packets. */
const Op = { REQUEST: 1, RESPONSE: 2, RESET: 3, SHUTDOWN: 4, DATA: 5, CREDIT: 6, ASK: 7 } as const;

const word = (value: number) => [value & 0xff, value >> 8];

/** The ports of a connection as they are in a packet of the guest. */
interface Ports {
  readonly guest: number;
  /**
   * The bytes that choose the host's port: that of the host's latest connection, or a small number.
   */
  readonly host: readonly number[];
}

function packet({ guest, host }: Ports, op: number, { length = 0, flags = 0, split = 0 } = {}) {
  const taken = [0, 0, 0, 0];
  const head = op * 2;
  return [
    ...[Step.PACKET, 0, guest, ...host, ...word(length)],
    ...[op, flags, ...taken, head, split],
  ];
}

const host = (action: number, id = 0, ...operands: number[]) => [
  Step.HOST,
  action,
  id,
  ...operands,
];
const buffers = [Step.BUFFERS, 15, ...Array(16).fill(1)];
const pass = (quarters: number) => [Step.TIME, quarters];

/** The host connects to port 1000 of the guest. */
const dialled: Ports = { guest: 0, host: [0] };
const dial = [
  ...buffers,
  ...host(Host.CONNECT, 0, 0, 0),
  ...packet(dialled, Op.RESPONSE),
  ...host(Host.WATCH, 0, 3),
];

/** The guest connects to port 1 of the host, to which nothing else is connected. */
const asking: Ports = { guest: 1, host: [1] };
/** The same connection after it was accepted. */
const accepted: Ports = { guest: 1, host: [0] };
const answer = [
  ...buffers,
  ...host(Host.LISTEN, 0, 1, 1, 2),
  ...packet(asking, Op.REQUEST),
  ...host(Host.ACCEPT, 0),
  ...host(Host.CONFIRM, 1),
];

const conversations: readonly (readonly number[])[] = [
  [
    ...dial,
    ...host(Host.SEND, 0, 200, ...word(299)),
    ...packet(dialled, Op.DATA, { length: 300 }),
    ...packet(dialled, Op.DATA, { length: 100, split: 1 }),
    ...host(Host.RECEIVE, 0, ...word(250)),
    ...packet(dialled, Op.CREDIT),
    ...packet(dialled, Op.ASK),
    ...host(Host.SHUTDOWN, 0, 1),
    ...packet(dialled, Op.SHUTDOWN, { flags: 2 }),
    ...host(Host.CLOSE, 0),
    ...packet(dialled, Op.RESET),
  ],
  [
    ...answer,
    ...host(Host.SEND, 1, 10, ...word(20)),
    ...packet(accepted, Op.DATA, { length: 500 }),
    ...host(Host.RECEIVE, 1, ...word(299)),
    ...packet(accepted, Op.SHUTDOWN, { flags: 3 }),
    ...host(Host.CLOSE, 1),
  ],
  // Nobody answers the shutdown.
  [...dial, ...host(Host.CLOSE, 0), ...pass(40), ...buffers, ...pass(8)],
  // At first no buffers are left for the sent bytes. Later there are some.
  [
    ...dial,
    ...Array(12)
      .fill(host(Host.SEND, 0, 255, ...word(299)))
      .flat(),
    ...buffers,
    ...pass(8),
    ...packet(dialled, Op.CREDIT),
  ],
  [...dial, Step.RESTART, 0, 0, ...dial, Step.RESTART, 1, 1, ...host(Host.RECEIVE, 0, 9, 0)],
  [...dial, Step.HANG_UP, 0x77, ...host(Host.SEND, 0, 9, 9, 0), ...host(Host.CLOSE, 0)],
  [...dial, Step.MEMORY, 0, 0, 0, 0x00, 0xf0, 1, 1, 0, ...host(Host.ADVANCE, 0)],
  [...answer, ...host(Host.CLOSE, 0), ...packet(asking, Op.REQUEST)],
];

/** The ways in which the VMM begins; see `SetUp`. */
const setUps = [0, 6, 16, 8 | 16 | 32, 64];

export function deviceSeeds(): Uint8Array[] {
  return setUps.flatMap((how) =>
    conversations.map((conversation) => Uint8Array.of(how, ...conversation)),
  );
}
