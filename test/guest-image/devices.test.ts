import t from 'tap';
import {
  board,
  commandLine,
  type Device,
  kernel,
  processor,
  tapNetwork,
  userNetwork,
  vhostUserVsock,
} from '../../guest/vm/qemu/devices.js';

function argumentAfter(args: readonly string[], option: string): string[] {
  return args.flatMap((arg, index) => (arg === option ? [args[index + 1] ?? ''] : []));
}

t.test('the parts of a machine become one command line', async (t) => {
  const parts: Device[] = [
    board('pc', 1536),
    kernel('/vmlinuz', '/initramfs'),
    { name: 'extra', args: ['-device', 'x'], kernelArgs: ['x=1'] },
  ];
  const args = commandLine(parts, ['last']);
  t.same(argumentAfter(args, '-machine'), ['pc,usb=off,memory-backend=ram']);
  t.same(argumentAfter(args, '-kernel'), ['/vmlinuz']);
  const [append = ''] = argumentAfter(args, '-append');
  t.match(append, /^no_timer_check panic=-1 .* x=1 last$/);
});

t.test('devices sit on the bus that the machine has', async (t) => {
  t.match(vhostUserVsock('microvm', '/s').args, [
    /./,
    /path=\/s/,
    /./,
    /^vhost-user-vsock-device,/,
  ]);
  t.match(vhostUserVsock('q35', '/s').args, [/./, /./, /./, /^vhost-user-vsock-pci,/]);
  t.match(tapNetwork('pc', 'tap7', '52:54:00:00:00:01').args, [/./, /ifname=tap7/]);
});

t.test('the user-mode network forwards ports of this machine only', async (t) => {
  const { args } = userNetwork('pc', [1024]);
  t.match(args[1], /restrict=on,hostfwd=tcp:127\.0\.0\.1:0-:1024$/);
});

t.test('each accelerator has its processor', async (t) => {
  t.match(processor('kvm', 1), {
    args: ['-accel', 'kvm', '-cpu', 'host', '-smp', '1'],
    kernelArgs: undefined,
  });
  t.match(processor('tcg', 1), {
    args: ['-accel', /^tcg/, '-cpu', /^max/, '-smp', 'cpus=1,maxcpus=2'],
    kernelArgs: ['tsc=reliable', 'nr_cpus=1'],
  });
});

t.test('QEMU gets files by what it inherits', async (t) => {
  const parts = [kernel('/a/vmlinuz', '/b/initramfs'), vhostUserVsock('q35', '/c/vhost.sock')];
  const lent: string[] = [];
  const args = commandLine(parts, [], (path) => `/proc/self/fd/${lent.push(path)}`);
  t.same(lent, ['/a/vmlinuz', '/b/initramfs', '/c/vhost.sock']);
  t.same(argumentAfter(args, '-kernel'), ['/proc/self/fd/1']);
  t.same(argumentAfter(args, '-initrd'), ['/proc/self/fd/2']);
  t.match(argumentAfter(args, '-chardev')[0], /,path=\/proc\/self\/fd\/3$/);
});
