/* The program's sockets of netlink(7), which netlink-calls.ts answers. */
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { systemError } from '../errors.js';
import { native } from '../native.js';

const { errno } = constants;

const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0x80000;
/** How many sockets are remembered before those are forgotten that have been closed. */
const FEW_SOCKETS = 64;

/** A socket of the program. */
export interface NetlinkSocket {
  readonly protocol: number;
  /** The datagrams of an answer for which the program's socket has no room yet. */
  waiting: Uint8Array[];
  /** The port of the program's socket, once it has sent. */
  port: number;
}

/** The sockets of netlink of one program. */
export class NetlinkSockets {
  /** By native.identify(). */
  readonly #sockets = new Map<number, NetlinkSocket>();
  #forgetAt = FEW_SOCKETS;
  /** The socket that sends the answers. */
  #sender: { readonly fd: number; readonly port: number } | undefined;

  /** Makes a socket that the program gets. Returns its descriptor in this process. */
  create(protocol: number, type: number): number {
    const fd = native.netlinkOpen(type);
    if (fd < 0) throw systemError('socket', fd);
    if (this.#sockets.size >= this.#forgetAt) this.#forget();
    this.#sockets.set(native.identify(process.pid, fd), { protocol, waiting: [], port: 0 });
    return fd;
  }

  /** Returns what a descriptor of a thread stands for, if it is such a socket. */
  find(thread: number, descriptor: number): NetlinkSocket | undefined {
    return this.#sockets.get(native.identify(thread, descriptor));
  }

  /** Returns the port of a program's socket, and its options as NetlinkOption bits. */
  tie(copy: number, thread: number): { port: number; options: number } {
    const found = new Uint32Array(2);
    const status = native.netlinkTie(copy, thread, this.#from.port, found);
    if (status < 0) throw systemError('bind', status);
    const [port = 0, options = 0] = found;
    return { port, options };
  }

  /**
   * Puts datagrams into the program's socket, behind those that wait for room.
   *
   * @throws the system error of a datagram that never fits; those behind it are lost, too
   */
  deliver(socket: NetlinkSocket, datagrams: readonly Uint8Array[] = []): void {
    const waiting = [...socket.waiting, ...datagrams];
    let sent = 0;
    for (const datagram of waiting) {
      const status = native.netlinkDeliver(this.#from.fd, socket.port, datagram);
      if (status === -errno.EAGAIN) break;
      if (status < 0) {
        socket.waiting = [];
        // Nobody can receive the rest if the program has closed its socket.
        if (status === -errno.ECONNREFUSED) return;
        throw systemError('sendto', status);
      }
      sent++;
    }
    socket.waiting = waiting.slice(sent);
  }

  close(): void {
    if (this.#sender !== undefined) native.close(this.#sender.fd);
    this.#sockets.clear();
  }

  get #from(): { readonly fd: number; readonly port: number } {
    if (this.#sender === undefined) {
      const fd = native.netlinkOpen(SOCK_RAW | SOCK_CLOEXEC);
      if (fd < 0) throw systemError('socket', fd);
      const port = native.netlinkPort(fd);
      if (port < 0) throw systemError('bind', port);
      this.#sender = { fd, port };
    }
    return this.#sender;
  }

  /** Forgets sockets of which no process has a descriptor. The kernel lists all others. */
  #forget(): void {
    const lines = readFileSync('/proc/net/netlink', 'latin1').trim().split('\n').slice(1);
    const open = new Set(lines.map((line) => Number(line.trim().split(/\s+/).at(-1))));
    for (const identity of this.#sockets.keys()) {
      if (!open.has(identity % 2 ** 32)) this.#sockets.delete(identity);
    }
    this.#forgetAt = Math.max(FEW_SOCKETS, 2 * this.#sockets.size);
  }
}
