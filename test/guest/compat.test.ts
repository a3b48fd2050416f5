import t from 'tap';
import { boot } from '../../guest/index.js';
import { requireTool } from '../../guest/tools.js';
import { Session } from '../../src/index.js';
import { filesOf } from '../conformance/compat/equipment.js';
import { joined } from '../conformance/compat/equipped-guest.js';
import { settledExecutors, unrest } from '../conformance/compat/rest.js';
import { playShortRows } from '../conformance/compat/short-rows.js';
import { guestSide, hostSide, play, type Stage, standbySide } from '../conformance/compat/sides.js';
import { patient } from '../until.js';

t.test('bpftool does from the host what it does in the guest', async (t) => {
  const files = await filesOf([requireTool('bpftool')]);
  await using guest = await boot({
    exec: true,
    agent: { profile: 'full' },
    files,
    notice: () => {},
  });
  const own = joined(guest, '/');
  await using session = await Session.connect(own.agent, patient);
  await using standby = await standbySide(own.agent, {});
  const executors = await settledExecutors(own);
  const stage: Stage = { guest: own, session, executors, env: {} };
  await playShortRows(t, stage, { host: hostSide(own.agent, {}), standby });

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
