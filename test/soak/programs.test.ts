import { ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { Session } from '../../src/index.js';
import { native } from '../../src/native.js';
import { packageFolder } from '../../src/paths.js';
import { run, Standby } from '../../src/run/index.js';
import { MappedEvents } from '../../src/run/mapped-events.js';
import { MappedMaps } from '../../src/run/mapped-maps.js';
import { MappedUserRings } from '../../src/run/mapped-user-rings.js';
import { Objects } from '../../src/run/objects.js';
import { Placeholders } from '../../src/run/placeholders.js';
import { ProbeCache } from '../../src/run/probe-cache/index.js';
import { ProgramOutput } from '../../src/run/standby.js';
import { Supervision } from '../../src/run/supervisor.js';
import { EventStream } from '../../src/session/event-stream.js';
import { GuestFiles } from '../../src/view/index.js';
import { localAgent } from '../agent/local-agent.js';
import { openDescriptors } from '../descriptors.js';
import { noneStays } from '../lifetimes/alive.js';
import { application } from '../run/application.js';

// Each time is work for several processes, and a machine may be busy.
t.setTimeout(900_000);

/** What the answering of a program's calls is made of. */
const classes = {
  Supervision,
  Listener: native.Listener,
  VerdictCache: native.VerdictCache,
  Poller: native.Poller,
  Channel: native.Channel,
  ProbeCache,
  Placeholders,
  Objects,
  MappedEvents,
  MappedMaps,
  MappedUserRings,
  GuestFiles,
  EventStream,
  ChildProcess,
};

const { address, close } = await localAgent();
const program = application();
const cacheFolder = mkdtempSync(join(tmpdir(), 'waep-cache-'));
t.teardown(async () => {
  program.dispose();
  rmSync(cacheFolder, { recursive: true });
  await close();
});

t.test('programs of a session that goes on', async (t) => {
  await using session = await Session.connect(address);
  const words = ['/bin/sh', '-c', `${program.path} ring perf polled mapped copies >/dev/null`];
  let descriptors = 0;
  let runs = 0;
  await noneStays(t, classes, 30, async () => {
    const { status } = await run(session, words, { cacheFolder });
    if (status !== 0) throw new Error(`the program ended with ${status}`);
    if (++runs === 10) descriptors = openDescriptors();
  });
  t.ok(openDescriptors() <= descriptors, 'no descriptor stays');
});

t.test('programs of a process that stands by', async (t) => {
  const standby = await Standby.open(address, {
    connect: () => Session.connect(address),
    cacheFolder,
  });
  t.teardown(() => standby.close());
  const waep = join(packageFolder, 'bin/waep');
  await noneStays(t, { ...classes, ProgramOutput, Session }, 30, async () => {
    const words = ['run', '--vm', address, '--', program.path, 'ring', 'copies'];
    const child = spawn(waep, words, { stdio: ['ignore', 'ignore', 'inherit'] });
    const [status] = await once(child, 'close');
    if (status !== 0) throw new Error(`the program ended with ${status}`);
  });
});

t.test('processes that stand by', async (t) => {
  await noneStays(t, { Standby, Session, Poller: native.Poller }, 50, async () => {
    const connect = () => Session.connect(address);
    const standby = await Standby.open(address, { connect, cacheFolder });
    standby.close();
  });
});
