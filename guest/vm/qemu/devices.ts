/** The machine types of QEMU that a guest can have. */
export type Machine = 'pc' | 'q35' | 'microvm';

/** How the guest's instructions are run. */
export type Accelerator = 'kvm' | 'tcg';

/**
 * One part of the machine: its QEMU arguments, and the kernel's arguments that belong to it.
 */
export interface Device {
  /** The name of the device in messages. */
  name: string;
  /** QEMU's arguments for the device. */
  args: string[];
  /** What the guest's kernel needs on its command line for the device. */
  kernelArgs?: string[];
  /** Files and sockets that QEMU opens by their absolute paths, which are in `args`. */
  files?: readonly string[];
  /** Device files that QEMU opens by itself. */
  deviceFiles?: readonly string[];
}

/**
 * The machine and its memory, which is shared, so that a vhost-user process can reach the rings in
 * it.
 *
 * A kernel measures the timer of its processor during its first second. If this machine is busy and
 * takes the processor from an emulated guest for 100 ms at that moment, the kernel measures nothing
 * and gives the timer up ("APIC frequency too slow"). pc and q35 have a second clock, by which the
 * kernel corrects its measurement, and a second timer. A microvm has neither, so its kernel stops
 * for ever; this happened in about one of a hundred boots. The kernel also tests whether the second
 * timer works, and on a busy machine that test can fail as well, so it is skipped: the timer always
 * works.
 */
export function board(machine: Machine, memoryMib: number): Device {
  const options: Record<Machine, string> = {
    pc: 'pc,usb=off',
    q35: 'q35,usb=off',
    // Without ACPI the guest would not find its virtio-mmio devices.
    microvm: 'microvm,acpi=on,rtc=on',
  };
  return {
    name: 'board',
    kernelArgs: machine === 'microvm' ? [] : ['no_timer_check'],
    args: [
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
      ...['-machine', `${options[machine]},memory-backend=ram`],
      ...['-object', `memory-backend-memfd,id=ram,size=${memoryMib}M,share=on`],
      ...['-m', `${memoryMib}M`],
    ],
  };
}

/**
 * The processors. Under emulation `rep movsb` takes one step for each byte. So its feature bit is
 * off, and the guest copies eight bytes at a time, which saves 1.3 s of its boot. A fifth level of
 * page tables would only make each miss of the emulated TLB slower. cmpxchg16b is off as well: QEMU
 * 7.2 corrupts the flags of an interrupted one, which ended every third boot of Linux 6.12 in a
 * double fault. On every processor, the emulated time stamp counter is the host's. The guest cannot
 * detect that, so it is told.
 *
 * If there can be only one processor, QEMU emulates no memory barriers. Then other processes that
 * share the guest's rings sometimes miss its requests for interrupts, and it misses their requests
 * to be notified of buffers. A second processor that is never plugged in keeps the barriers.
 *
 * @param cpu QEMU's model of processor, in place of the one that is described here
 */
export function processor(
  accelerator: Accelerator,
  cpus: number,
  cpu: string = models[accelerator],
): Device & { cpu: string } {
  const parts: Record<Accelerator, Omit<Device, 'name'>> = {
    kvm: {
      args: ['-accel', 'kvm', '-cpu', cpu, '-smp', `${cpus}`],
      deviceFiles: ['/dev/kvm'],
    },
    tcg: {
      args: [
        ...['-accel', 'tcg,thread=multi', '-cpu', cpu],
        ...['-smp', `cpus=${cpus},maxcpus=${Math.max(cpus, 2)}`],
      ],
      kernelArgs: ['tsc=reliable', `nr_cpus=${cpus}`],
    },
  };
  return { name: 'processor', cpu, ...parts[accelerator] };
}

const models: Readonly<Record<Accelerator, string>> = {
  kvm: 'host',
  tcg: 'max,-erms,-fsrm,-la57,-cx16',
};

/**
 * Tells the guest the frequency of the emulated time stamp counter, which is the host's. A guest
 * that measures it on a busy machine gets a wrong result, and a microvm cannot measure it at all.
 */
export function tscFrequency(khz: number): Device {
  return { name: 'tsc', args: [], kernelArgs: [`tsc_early_khz=${khz}`] };
}

/** The kernel and its first root file system. */
export function kernel(image: string, initramfs: string): Device {
  return {
    name: 'kernel',
    args: ['-kernel', image, '-initrd', initramfs],
    files: [image, initramfs],
    // The self-tests of the crypto library take 0.9 s under emulation and protect nobody here.
    kernelArgs: [
      'panic=-1',
      'reboot=t',
      'quiet',
      'loglevel=4',
      'net.ifnames=0',
      'cryptomgr.notests',
    ],
  };
}

/** The serial console, written to a file. */
export function serialLog(path: string): Device {
  return {
    name: 'serial',
    args: ['-chardev', `file,id=serial,path=${path}`, '-serial', 'chardev:serial'],
    files: [path],
    kernelArgs: ['console=ttyS0'],
  };
}

/**
 * QEMU's control connection, on a socket that QEMU inherits. The processors wait for the command
 * `cont`, so that no event about them is missed.
 */
export function control(descriptor: number): Device {
  return {
    name: 'control',
    args: [
      ...['-chardev', `socket,id=control,fd=${descriptor}`],
      ...['-mon', 'chardev=control,mode=control', '-S'],
    ],
  };
}

/**
 * Makes QEMU refuse system calls to itself: those that are obsolete, that give privileges, that
 * start other programs, and that change how processes are scheduled.
 */
export function sandbox(): Device {
  const denied = ['obsolete', 'elevateprivileges', 'spawn', 'resourcecontrol'];
  return { name: 'sandbox', args: ['-sandbox', ['on', ...denied.map((n) => `${n}=deny`)].join()] };
}

/** A network card on a tap device that already exists, and that QEMU's user may open. */
export function tapNetwork(machine: Machine, tap: string, macAddress: string): Device {
  return {
    name: 'network',
    deviceFiles: ['/dev/net/tun'],
    args: [
      ...['-netdev', `tap,id=net,ifname=${tap},script=no,downscript=no`],
      ...['-device', `${virtio('virtio-net', machine)},id=card,netdev=net,mac=${macAddress}`],
    ],
  };
}

/**
 * A network card on QEMU's own TCP/IP stack. Free ports of 127.0.0.1 lead to these ports of the
 * guest.
 */
export function userNetwork(machine: Machine, ports: readonly number[]): Device {
  const forwards = ports.map((port) => `,hostfwd=tcp:127.0.0.1:0-:${port}`);
  return {
    name: 'network',
    args: [
      ...['-netdev', `user,id=net,restrict=on${forwards.join('')}`],
      ...['-device', `${virtio('virtio-net', machine)},id=card,netdev=net`],
    ],
  };
}

/** A vsock device that is served over a vhost-user socket. */
export function vhostUserVsock(machine: Machine, socket: string): Device {
  // A guest may have several, of which its driver takes one at a time.
  const id = `vsock${socket.replace(/\W+/g, '-')}`;
  return {
    name: 'vsock',
    files: [socket],
    args: [
      ...['-chardev', `socket,id=${id},path=${socket}`],
      ...['-device', `${virtio('vhost-user-vsock', machine)},chardev=${id}`],
    ],
  };
}

/** A vsock device that the host's kernel serves. */
export function kernelVsock(machine: Machine, cid: number): Device {
  return {
    name: 'vsock',
    deviceFiles: ['/dev/vhost-vsock'],
    args: ['-device', `${virtio('vhost-vsock', machine)},guest-cid=${cid}`],
  };
}

function virtio(name: string, machine: Machine): string {
  return `${name}-${machine === 'microvm' ? 'device' : 'pci'}`;
}

/**
 * QEMU's argument list for a machine made of these parts.
 *
 * @param lend returns the path by which QEMU opens a file; by default its own
 */
export function commandLine(
  devices: readonly Device[],
  extra: readonly string[],
  lend: (path: string) => string = (path) => path,
): string[] {
  const lent = devices.flatMap(({ args, files = [] }) => {
    const paths = files.map((path) => [path, lend(path)] as const);
    return args.map((arg) => paths.reduce((all, [path, by]) => all.replaceAll(path, by), arg));
  });
  return [...lent, '-append', kernelCommandLine(devices, extra)];
}

/** The kernel's command line for a machine made of these parts. */
export function kernelCommandLine(devices: readonly Device[], extra: readonly string[]): string {
  return [...devices.flatMap(({ kernelArgs }) => kernelArgs ?? []), ...extra].join(' ');
}
