/* The vsock devices of a bench's guest. The guest's driver serves one at a time. */
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { execa } from 'execa';
import { AGENT_PORT, type Device, type Machine } from '../guest/index.js';
import { kernelVsock, vhostUserVsock } from '../guest/vm/qemu/devices.js';
import { kernelVsockProblem } from '../guest/vm/qemu/vsock.js';
import { makeRunFolder } from '../guest/vm/rundir.js';
import { failure } from '../src/errors.js';
import type { Client } from './client/client.js';
import { Disposables } from './disposables.js';
import type { LabTransport } from './lab.js';
import { type Exchange, limitSamples } from './limit.js';
import { leashed } from './process.js';

/** The context identifiers, by which the devices can be told apart in the guest. */
const Cids = { device: 4, deviceOfC: 5 } as const;

/** Runs a command in the guest and returns its standard output. */
export type Run = (command: readonly string[]) => Promise<string>;

/** A vsock transport, once the guest is up. */
export type VsockTransport = Pick<LabTransport, 'name' | 'agent' | 'pingpong'> & {
  cid: number;
  /** The plain C client, if it has a device of its own. */
  client?: DeviceClient;
};

/** The back ends of all vsock devices. They wait for QEMU. */
export interface VsockTransports extends AsyncDisposable {
  devices(machine: Machine): Device[];
  transports: readonly VsockTransport[];
  absent: ReadonlyArray<{ arm: string; why: string }>;
  /** The processes that do. */
  pids: readonly number[];
}

/**
 * Starts everything that serves a vsock device.
 *
 * @param inNode the client in whose process one of the devices is
 */
export async function openVsockTransports(
  inNode: Client,
  deviceProgram: string,
  pingpongPort: number,
): Promise<VsockTransports> {
  await using resources = new Disposables();
  const folder = makeRunFolder();
  resources.use({ [Symbol.asyncDispose]: async () => folder.remove() });

  const device = { socket: join(folder.path, 'own.sock'), path: join(folder.path, 'own') };
  await inNode.openDevice({ ...device, guestCid: Cids.device });
  const clientSocket = join(folder.path, 'c.sock');
  const client = resources.use(
    await DeviceClient.start(deviceProgram, clientSocket, Cids.deviceOfC),
  );
  const problem = kernelVsockProblem();
  const kernelCid = 1024 + Math.floor(Math.random() * 0x7fff0000);

  const at = (name: string, cid: number, address: (port: number) => string): VsockTransport => ({
    name,
    cid,
    agent: address(AGENT_PORT),
    pingpong: address(pingpongPort),
  });
  const kernel = at('vsock-kernel', kernelCid, (port) => `vsock:${kernelCid}:${port}`);
  const owned = resources.move();
  return {
    devices: (machine) => [
      vhostUserVsock(machine, device.socket),
      vhostUserVsock(machine, clientSocket),
      ...(problem === undefined ? [kernelVsock(machine, kernelCid)] : []),
    ],
    transports: [
      {
        ...at('vsock-device', Cids.device, (port) => `vsock-device:${device.path}:${port}`),
        client,
      },
      ...(problem === undefined ? [kernel] : []),
    ],
    absent:
      problem === undefined
        ? []
        : [{ arm: 'vsock-kernel', why: `${problem} (try: modprobe vhost_vsock)` }],
    pids: [client.pid],
    [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
  };
}

const DRIVER = '/sys/bus/virtio/drivers/vmw_vsock_virtio_transport';
const VSOCK_DEVICE_ID = '0x0013';

/** Binds the guest's one vsock driver to one device after another. */
export class DriverSwitch {
  readonly #run: Run;
  readonly #names: ReadonlyMap<number, string>;
  #bound: number | undefined;

  private constructor(run: Run, names: ReadonlyMap<number, string>) {
    this.#run = run;
    this.#names = names;
  }

  /**
   * Finds out which device is which.
   *
   * @param cidProgram prints the guest's own context identifier
   */
  static async find(run: Run, cidProgram: readonly string[]): Promise<DriverSwitch> {
    const found = await run([
      '/bin/sh',
      '-c',
      `grep -l ${VSOCK_DEVICE_ID} /sys/bus/virtio/devices/*/device`,
    ]);
    const names = new Map<number, string>();
    for (const path of found.trim().split('\n')) {
      const name = path.split('/').at(-2) ?? '';
      await run(['/bin/sh', '-c', bindScript(name)]);
      names.set(Number(await run(cidProgram)), name);
    }
    return new DriverSwitch(run, names);
  }

  /** Binds the device with this context identifier, unless it is bound. */
  async bind(cid: number): Promise<void> {
    if (this.#bound === cid) return;
    const name = this.#names.get(cid);
    if (name === undefined) {
      const command = `find the vsock device ${cid}`;
      const output = `there are ${[...this.#names.keys()].join(', ')}`;
      throw failure('ERR_GUEST_COMMAND', { command, status: 'none', output });
    }
    await this.#run(['/bin/sh', '-c', bindScript(name)]);
    this.#bound = cid;
  }
}

function bindScript(name: string): string {
  return `for d in ${DRIVER}/virtio*; do [ -e $d ] && echo \${d##*/} > ${DRIVER}/unbind; done; echo ${name} > ${DRIVER}/bind`;
}

/** A process of bench/c/device.cc: a plain client that serves its guest's device itself. */
class DeviceClient implements AsyncDisposable {
  /** The context identifier of its device. */
  readonly cid: number;
  readonly #child;
  readonly #lines: AsyncIterator<string>;

  private constructor(command: readonly string[], cid: number) {
    this.cid = cid;
    const [program = '', ...args] = command;
    this.#child = execa(program, args, { reject: false, buffer: false, stderr: 'inherit' });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** Starts it and resolves when QEMU can connect. */
  static async start(program: string, socket: string, cid: number): Promise<DeviceClient> {
    const client = new DeviceClient(
      leashed(undefined, [program, socket, '--cid', String(cid)]),
      cid,
    );
    await client.#answer('start');
    return client;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async roundTrips(
    port: number,
    { requestBytes, replyBytes, pauseNs = 0 }: Exchange,
    { samples, warmup }: { samples: number; warmup: number },
  ): Promise<readonly number[]> {
    return this.#ask(
      `client ${port} ${requestBytes} ${replyBytes} ${warmup} ${samples} ${pauseNs}`,
    );
  }

  async bulk(
    port: number,
    { requestBytes, replyBytes }: Exchange,
    messages: number,
  ): Promise<number> {
    return (await this.#ask(`bulk ${port} ${requestBytes} ${replyBytes} ${messages}`))[0] ?? 0;
  }

  async #ask(command: string): Promise<readonly number[]> {
    this.#child.stdin.write(`${command}\n`);
    return limitSamples(await this.#answer(command));
  }

  async #answer(command: string): Promise<string> {
    const lines: string[] = [];
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done === true) {
        const why = 'it ended';
        throw failure('ERR_TOOL_FAILED', {
          tool: `device (${command})`,
          why,
          log: lines.join('\n'),
        });
      }
      if (value === '') return lines.join('\n');
      lines.push(value);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#child;
  }
}
