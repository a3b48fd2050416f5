import { failure } from '../../../src/errors.js';
import { runTool } from '../../tools.js';
import { inPrivateNetwork } from '../netns.js';
import { type Device, type Machine, tapNetwork, userNetwork } from './devices.js';
import type { Qmp } from './qmp.js';

/** A port of the host and the guest's that it leads to, as QEMU shows them. */
const FORWARDED = /HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+(\d+)/g;

/**
 * How the guest's network card reaches the host: a tap device in this process' private network
 * namespace, QEMU's user-mode TCP/IP stack (much slower, no privileges), or no card. `auto` is a
 * tap where `ensurePrivateNetwork()` has made a namespace for it.
 */
export type NetworkChoice = 'auto' | 'tap' | 'user' | 'none';

/** The host's end of a guest's network card. */
export interface Network {
  kind: 'tap' | 'user';
  device: Device;
  /** What guest/agent/init needs to know. */
  settings: Record<string, string>;
  /** Must be called once QEMU answers, before {@link Network.address}. */
  opened?(qmp: Qmp): Promise<void>;
  /** The address of a port of the guest. */
  address(port: number): string;
  /** Removes what was made on the host. */
  release(): Promise<void>;
}

/**
 * Makes the host's end of a guest's network card.
 *
 * @param ports the guest's ports that must be reachable; a tap reaches all of them
 * @param uid the user that may open a tap, besides root
 */
export async function startNetwork(
  choice: NetworkChoice,
  machine: Machine,
  ports: readonly number[],
  uid: number | undefined,
): Promise<Network | undefined> {
  if (choice === 'none') return undefined;
  if (choice === 'user' || (choice === 'auto' && !inPrivateNetwork())) {
    return startUserNetwork(machine, ports);
  }
  if (inPrivateNetwork()) return startTap(machine, uid);
  throw failure('ERR_OPTION_INVALID', {
    option: 'network',
    value: choice,
    expected: 'user, or that ensurePrivateNetwork() is called first, as root',
  });
}

async function startTap(machine: Machine, uid: number | undefined): Promise<Network> {
  // The namespace is this program's own, so a taken name is another guest of it.
  for (let index = 0; index < 250; index++) {
    const tap = `waep${index}`;
    const owner = uid === undefined ? [] : ['user', `${uid}`];
    const made = await runTool('ip', ['tuntap', 'add', tap, 'mode', 'tap', ...owner]).then(
      () => true,
      (error: Error) => {
        if (/busy|exists/i.test(error.message)) return false;
        throw error;
      },
    );
    if (!made) continue;
    const subnet = `10.87.${index}`;
    await runTool('ip', ['addr', 'add', `${subnet}.1/24`, 'dev', tap]);
    await runTool('ip', ['link', 'set', tap, 'up']);
    return {
      kind: 'tap',
      device: tapNetwork(machine, tap, `52:54:00:57:00:${index.toString(16).padStart(2, '0')}`),
      settings: { ADDRESS: `${subnet}.2` },
      address: (port) => `tcp:${subnet}.2:${port}`,
      release: async () => void (await runTool('ip', ['link', 'delete', tap])),
    };
  }
  throw failure('ERR_CALL_LIMIT', { what: 'the number of guests', value: 251, maximum: 250 });
}

function startUserNetwork(machine: Machine, ports: readonly number[]): Network {
  const hostPorts = new Map<number, number>();
  return {
    kind: 'user',
    device: userNetwork(machine, ports),
    // The addresses that QEMU's stack gives its guest and its gateway.
    settings: { ADDRESS: '10.0.2.15', GATEWAY: '10.0.2.2' },
    async opened(qmp) {
      const question = { 'command-line': 'info usernet' };
      const answer = String(await qmp.execute('human-monitor-command', question));
      for (const [, host, guest] of answer.matchAll(FORWARDED)) {
        hostPorts.set(Number(guest), Number(host));
      }
      const missing = ports.filter((port) => !hostPorts.has(port));
      if (missing.length === 0) return;
      throw failure('ERR_TOOL_FAILED', {
        tool: "QEMU's info usernet",
        why: `it does not show where these ports of the guest lead from: ${missing.join(', ')}`,
        log: answer,
      });
    },
    address(port) {
      const hostPort = hostPorts.get(port);
      if (hostPort !== undefined) return `tcp:127.0.0.1:${hostPort}`;
      throw failure('ERR_OPTION_INVALID', {
        option: 'port',
        value: port,
        expected: `one of the ports forwarded at boot (${ports.join(', ')}); add it to the ports option`,
      });
    },
    release: async () => {},
  };
}
