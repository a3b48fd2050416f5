// Count and pass the packets of a guest's network interface with XDP for three seconds:
// node examples/xdp-on-a-veth.mjs ADDRESS INTERFACE
import { setTimeout as sleep } from 'node:timers/promises';
import { count, enums, insn, Session, u32 } from 'waep';

const { MapType, ProgType } = enums;
const XDP_PASS = 2;

const [address, name] = process.argv.slice(2);
const session = await Session.connect(address);
const file = await session.open(`/sys/class/net/${name}/ifindex`);
const index = Number(Buffer.from((await session.read(file, 64)) ?? []).toString());
const packets = await session.createMap({
  type: MapType.BPF_MAP_TYPE_ARRAY,
  key: u32,
  value: count,
  maxEntries: 1,
  name: 'packets',
});
const program = await session.loadProgram({
  type: ProgType.BPF_PROG_TYPE_XDP,
  instructions: insn.program(
    insn.loadMapValue('r1', packets),
    insn.mov('r2', 1),
    insn.atomic('add', 8, 'r1', 0, 'r2'),
    insn.mov('r0', XDP_PASS),
    insn.exit(),
  ),
  license: 'GPL',
  name: 'count_packets',
});
const link = await program.attachXdp(index);
console.log(`attached to ${name}, interface ${index}`);
await sleep(3000);
console.log(`${await packets.lookup(0)} packets`);
await link.close();
await session.close();
