import t from 'tap';
import { boot } from '../../guest/index.js';
import { requireTool } from '../../guest/tools.js';
import { Session } from '../../src/index.js';
import { compare } from '../conformance/compat/compare.js';
import { filesOf } from '../conformance/compat/equipment.js';
import { joined } from '../conformance/compat/equipped-guest.js';
import { settledExecutors, unrest } from '../conformance/compat/rest.js';
import { bpftool } from '../conformance/compat/rows/bpftool.js';
import { guestSide, hostSide, play, type Stage, standbySide } from '../conformance/compat/sides.js';

t.setTimeout(180_000);

/** Rows of the matrix that need nothing but bpftool, and little time. */
const chosen = [
  /^bpftool prog show$/,
  /^bpftool map list$/,
  /create \/sys\/fs\/bpf\/x type (percpu_array|lpm_trie|ringbuf) /,
  /type queue /,
  /map freeze/,
  /map update pinned \/sys\/fs\/bpf\/(m|outer)/,
  /^bpftool -j btf list$/,
  /no_such_program/,
  /entries 0/,
];

const FEWEST_ROWS = 10;

t.test('bpftool does from the host what it does in the guest', async (t) => {
  const files = await filesOf([requireTool('bpftool')]);
  await using guest = await boot({
    exec: true,
    agent: { profile: 'full' },
    files,
    notice: () => {},
  });
  const own = joined(guest, '/');
  await using session = await Session.connect(own.agent);
  await using standby = await standbySide(own.agent, {});
  const executors = await settledExecutors(own);
  const stage: Stage = { guest: own, session, executors, env: {} };
  const rows = bpftool.filter(({ command }) => chosen.some((pattern) => pattern.test(command)));
  t.ok(rows.length >= FEWEST_ROWS, `${rows.length} rows`);
  for (const row of rows) {
    const inGuest = await play(row, guestSide(own, {}), stage);
    for (const side of [hostSide(own.agent, {}), standby]) {
      const fromHost = await play(row, side, stage, inGuest.tookMs);
      t.same(fromHost.left, [], `${row.command} leaves nothing (${side.name})`);
      t.match(
        compare(row, inGuest, fromHost),
        { verdict: 'same', why: '' },
        `${row.command} (${side.name})`,
      );
    }
  }

  // What goes on after a row is told.
  t.match(await unrest(own, session, 0), [/^\d executors where 0 are enough$/]);
  const spinning = {
    tool: 'sh',
    command: "setsid sh -c 'while :; do :; done' > /dev/null 2>&1 & echo $! > /tmp/spins",
    teardown: 'kill $(cat /tmp/spins)',
  };
  const { left } = await play(spinning, guestSide(own, {}), stage);
  t.match(left, [/^a processor at work for \d+ %$/]);
});
