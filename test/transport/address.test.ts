import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { packageFolder } from '../../src/paths.js';
import {
  type Address,
  connect,
  createServer,
  describeAddress,
  formatAddress,
  parseAddress,
  toAddress,
  transportNames,
} from '../../src/transport/index.js';

const good: Array<{ text: string; address: Address; canonical?: string; human: string }> = [
  {
    text: 'vsock:3:1024',
    address: { transport: 'vsock', cid: 3, port: 1024 },
    human: 'vm(3):1024',
  },
  {
    text: 'vsock://3:1024',
    address: { transport: 'vsock', cid: 3, port: 1024 },
    canonical: 'vsock:3:1024',
    human: 'vm(3):1024',
  },
  {
    text: 'vsock:host:22',
    address: { transport: 'vsock', cid: 2, port: 22 },
    canonical: 'vsock:2:22',
    human: 'host(2):22',
  },
  {
    text: 'vsock:local:7',
    address: { transport: 'vsock', cid: 1, port: 7 },
    canonical: 'vsock:1:7',
    human: 'local(1):7',
  },
  {
    text: 'vsock:0:7',
    address: { transport: 'vsock', cid: 0, port: 7 },
    human: 'hypervisor(0):7',
  },
  {
    text: 'vsock:-1:1024',
    address: { transport: 'vsock', cid: 0xffffffff, port: 1024 },
    canonical: 'vsock:any:1024',
    human: 'any:1024',
  },
  {
    text: 'vsock:any:any',
    address: { transport: 'vsock', cid: 0xffffffff, port: 0xffffffff },
    human: 'any:any',
  },
  {
    text: 'vsock:4294967294:4294967294',
    address: { transport: 'vsock', cid: 4294967294, port: 4294967294 },
    human: 'vm(4294967294):4294967294',
  },
  {
    text: 'vsock-mux:/run/vm.sock:1024',
    address: { transport: 'vsock-mux', path: '/run/vm.sock', port: 1024 },
    human: 'vm(/run/vm.sock):1024',
  },
  {
    text: 'hvsock:///run/vm.sock:1024',
    address: { transport: 'vsock-mux', path: '/run/vm.sock', port: 1024 },
    canonical: 'vsock-mux:/run/vm.sock:1024',
    human: 'vm(/run/vm.sock):1024',
  },
  {
    text: 'vsock-mux:/run/a:b:1',
    address: { transport: 'vsock-mux', path: '/run/a:b', port: 1 },
    human: 'vm(/run/a:b):1',
  },
  {
    text: 'tcp:127.0.0.1:80',
    address: { transport: 'tcp', host: '127.0.0.1', port: 80 },
    human: '127.0.0.1:80',
  },
  {
    text: 'tcp://guest.example:0',
    address: { transport: 'tcp', host: 'guest.example', port: 0 },
    canonical: 'tcp:guest.example:0',
    human: 'guest.example:0',
  },
  {
    text: 'tcp:[fe80::1%eth0]:80',
    address: { transport: 'tcp', host: 'fe80::1%eth0', port: 80 },
    human: '[fe80::1%eth0]:80',
  },
  {
    text: 'unix:/run/a.sock',
    address: { transport: 'unix', path: '/run/a.sock' },
    human: '/run/a.sock',
  },
  {
    text: 'unix:///run/a:1.sock',
    address: { transport: 'unix', path: '/run/a:1.sock' },
    canonical: 'unix:/run/a:1.sock',
    human: '/run/a:1.sock',
  },
  {
    text: 'unix:////run/a.sock',
    address: { transport: 'unix', path: '//run/a.sock' },
    human: '//run/a.sock',
  },
];

for (const { text, address, canonical = text, human } of good) {
  t.test(text, (t) => {
    t.same(parseAddress(text), address);
    t.equal(formatAddress(address), canonical);
    t.same(parseAddress(canonical), address, 'the canonical form reads back');
    t.equal(describeAddress(address), human);
    t.end();
  });
}

const bad: Array<{ text: string; why: RegExp }> = [
  { text: '', why: /^Invalid address "": it is empty\. Expected vsock:CID:PORT, / },
  { text: '127.0.0.1', why: /no scheme; put one/ },
  { text: 'http://a:80', why: /scheme "http" is not one of vsock, vsock-mux/ },
  { text: 'VSOCK:3:1', why: /scheme "VSOCK"/ },
  { text: 'vsok:3:1', why: /scheme "vsok" is not one of .* \(did you mean vsock\?\)/ },
  { text: 'vsock:', why: /0 colons/ },
  { text: 'vsock:3', why: /0 colons .* CID:PORT has one/ },
  { text: 'vsock:3:1:2', why: /2 colons/ },
  { text: 'vsock::1', why: /CID "" is not host, local, any, -1/ },
  { text: 'vsock:guest:1', why: /CID "guest"/ },
  { text: 'vsock:-2:1', why: /CID "-2"/ },
  { text: 'vsock:0x3:1', why: /CID "0x3"/ },
  { text: 'vsock:4294967296:1', why: /CID "4294967296"/ },
  { text: 'vsock:3:', why: /port ""/ },
  { text: 'vsock:3:0', why: /port 0 is no wildcard on vsock; write "any"/ },
  { text: 'vsock:3:99999999999', why: /port "99999999999"/ },
  { text: 'vsock:3: 1', why: /port " 1"/ },
  { text: 'vsock:toString:1', why: /CID "toString"/ },
  { text: 'vsock-mux:/run/a', why: /port is missing; append/ },
  { text: 'vsock-mux:run/a:1', why: /not absolute/ },
  { text: 'vsock-mux:/run/a:x', why: /port "x"/ },
  { text: 'vsock-mux:/run/a:any', why: /cannot choose a port/ },
  { text: `vsock-mux:/${'a'.repeat(107)}:1`, why: /108 bytes .* 107; use a shorter folder/ },
  { text: 'tcp:localhost', why: /port is missing/ },
  { text: 'tcp:localhost:65536', why: /port "65536" is not a number from 0 to 65535/ },
  { text: 'tcp:localhost:http', why: /port "http"/ },
  { text: 'tcp::80', why: /host is missing/ },
  { text: 'tcp:::1:80', why: /write tcp:\[::1\]:80/ },
  { text: 'tcp:[localhost]:80', why: /not an IPv6 address/ },
  { text: 'tcp:a b:80', why: /no host name has/ },
  { text: 'unix:', why: /not absolute/ },
  { text: 'unix:relative', why: /not absolute/ },
  { text: 'unix:/a\0b', why: /zero byte/ },
  { text: `unix:/${'ä'.repeat(54)}`, why: /109 bytes/ },
];

for (const { text, why } of bad) {
  t.test(`refuses ${JSON.stringify(text)}`, (t) => {
    t.throws(() => parseAddress(text), { code: 'ERR_ADDRESS_INVALID', message: why });
    t.end();
  });
}

t.test('objects are checked like text', (t) => {
  t.same(toAddress({ transport: 'vsock', cid: 3, port: 1 }), {
    transport: 'vsock',
    cid: 3,
    port: 1,
  });
  const wrong = [
    { transport: 'vsock', cid: -5, port: 1 },
    { transport: 'vsock', cid: 3, port: Number.NaN },
    { transport: 'tcp', host: '', port: 1 },
    { transport: 'tcp', port: 1 },
    { transport: 'unix', path: 'x' },
    { transport: 'unix' },
  ];
  for (const address of wrong) {
    t.throws(() => toAddress(address as Address), { code: 'ERR_ADDRESS_INVALID' });
  }
  t.end();
});

t.test('what is no address is refused with its value and what was expected', async (t) => {
  const { Session } = await import('../../src/index.js');
  const forms =
    'Expected vsock:CID:PORT, vsock-mux:/path:PORT, vsock-device:/path:PORT, tcp:HOST:PORT or unix:/path.';
  const names = 'vsock, vsock-mux, vsock-device, tcp, unix';
  const neither = 'it is neither text nor an object with a transport';
  const wrong: [value: unknown, shown: string, why: string][] = [
    [undefined, 'undefined', neither],
    [null, 'null', neither],
    [7, '7', neither],
    [7n, '7n', neither],
    [{}, '{}', `its transport, undefined, is not one of ${names}`],
    [
      { transport: 'pigeon' },
      '{"transport":"pigeon"}',
      `its transport, "pigeon", is not one of ${names}`,
    ],
  ];
  for (const [value, shown, why] of wrong) {
    const refused = {
      code: 'ERR_ADDRESS_INVALID',
      message: `Invalid address ${shown}: ${why}. ${forms}`,
    };
    await t.rejects(connect(value as string), refused);
    t.throws(() => createServer().listen(value as string), refused);
    await t.rejects(Session.connect(value as string), {
      code: 'ERR_ADDRESS_INVALID',
      message: `Invalid address ${shown}: it is neither text nor a connected stream. ${forms}`,
    });
  }
});

t.test('the transports are those of docs/transport.md, in its order', (t) => {
  const page = readFileSync(join(packageFolder, 'docs/transport.md'), 'utf8');
  const [, table = ''] = /^## Addresses\n([^#]+)/m.exec(page) ?? [];
  const schemes = [...table.matchAll(/^\| `([\w-]+):(?:[^|]*also `(\w+):)?/gm)].map((row) =>
    row.slice(1),
  );
  t.same(
    schemes.map(([scheme]) => scheme),
    transportNames(),
  );
  for (const [scheme, also] of schemes) {
    if (also === undefined) continue;
    t.equal(parseAddress(`${also}:/run/vm.sock:1`).transport, scheme);
  }
  t.end();
});
