/* A host that makes calls by hand, under the profile `observe`: what it does to others of the guest. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { boot } from '../../guest/index.js';
import { rows } from '../../src/bpf/index.js';
import { Session } from '../../src/session.js';

const victim = `
#include <stdio.h>
#include <unistd.h>
volatile unsigned number __attribute__((section(".data"))) = 0;
unsigned level(void);
__asm__(".text\\n.globl level\\nlevel:\\n.byte 0xb8,0x00,0x33,0x22,0x11\\nret\\n");
int main(void) {
  setvbuf(stdout, 0, _IONBF, 0);
  for (;; usleep(100000)) printf("%u %x\\n", number, level());
}
`;

t.test('a hostile host changes nothing of others', async (t) => {
  const folder = t.testdir({ 'victim.c': victim });
  const source = join(folder, 'victim');
  execFileSync('gcc', ['-static', '-O1', '-o', source, join(folder, 'victim.c')]);
  const guest = await boot({
    lab: true,
    agent: { profile: 'observe' },
    files: { '/victim': { source, mode: 0o755 } },
  });
  t.teardown(() => guest.stop());
  const shell = async (script: string) =>
    (await guest.exec(['/bin/sh', '-c', script])).stdout.trim();
  await shell('/victim > /victim.log 2>&1 &');
  const symbols = execFileSync('nm', [source], { encoding: 'latin1' });
  const address = (name: string) =>
    Number.parseInt(new RegExp(`^(\\w+) \\w ${name}$`, 'm').exec(symbols)?.[1] ?? '0', 16);
  const owner = await Session.connect(guest.vsock());
  t.teardown(() => owner.close());
  const host = await Session.connect(guest.vsock());
  t.teardown(() => host.close());

  const type = Number(await shell('cat /sys/bus/event_source/devices/uprobe/type'));
  const place = address('level') - 0x400000;
  const event = { type, config1: '/victim', pid: -1, cpu: 0 };
  const byRule = (rule: string) => ({ code: 'ERR_POLICY_REFUSED', message: `rule ${rule} ` });
  const inside = host.openPerfEvent({ ...event, config2: place + 1 });
  await t.rejects(inside, byRule('uprobes'), 'a breakpoint inside of an instruction');
  const counter = BigInt(address('number') - 0x400000) << 32n;
  const counted = host.openPerfEvent({ ...event, config: counter, config2: place });
  await t.rejects(counted, byRule('uprobes'), 'a counter in its data');

  const map = await owner.createMap({ type: 2, keySize: 4, valueSize: 8, maxEntries: 1 });
  const { id } = await map.info();
  const found = await host.bpf(rows.MAP_GET_FD_BY_ID, { map_id: id, open_flags: 8 });
  const code = Buffer.from('1861000000000000', 'hex');
  code.writeInt32LE(-1, 4);
  const attribute = Buffer.alloc(128);
  attribute.writeUInt32LE(17, 0);
  attribute.writeUInt32LE(1, 4);
  const before = host.call({
    command: 5,
    args: 1,
    result: host.newHandle(),
    buffers: [attribute, code, Buffer.from('GPL\0'), Buffer.alloc(8)],
    relocations: [0, 8, 0, 1, 0, 16, 0, 2, 0, 120, 0, 3, 3, 0, 1, found.handle],
  });
  await t.rejects(before, byRule('descriptors'), 'an index before the array');

  t.equal(await shell('tail -1 /victim.log'), '0 11223300', 'the process is as it was');
  t.same(await map.lookup(Buffer.alloc(4)), Buffer.alloc(8), 'and so is the map');
});
