import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import t, { type Test } from 'tap';
import { instructions, message, tracepoint } from '../../cli/hello-program.js';
import { boot, type Guest, type VsockChoice } from '../../guest/index.js';
import { enums, insn, rows, Session, type SystemError } from '../../src/index.js';
import { patient, until } from '../until.js';

const RAW_TRACEPOINT = enums.ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT;
const EXECUTIONS = 25;
const DEADLINE_MS = 3000;
/** Long before the deadline of a call that has the usual one, however busy the machine. */
const PROMPT_MS = 30_000;
/** Of a call that is cut off once the guest has begun with it. */
const CUT_MS = 8000;
const library = new URL('../../src/index.js', import.meta.url).href;

// Four guests, each of which does what takes an emulated one a minute when others want the processor.
t.setTimeout(600_000);

const start = (vsock: VsockChoice = 'auto') =>
  boot({ exec: true, network: 'user', vsock, agent: { tcp: 'anybody' }, notice: () => {} });

/** A load that keeps an emulated verifier busy for seconds. */
const endless = insn.program(
  insn.mov('r0', 0),
  insn.label('again'),
  insn.alu('add', 'r0', 1),
  insn.jumpIf('lt', 'r0', 1_000_000, 'again'),
  insn.exit(),
);
function loadEndless(session: Session, timeoutMs = 60_000): Promise<unknown> {
  const program = { prog_type: RAW_TRACEPOINT, insns: endless, license: 'GPL' };
  const load = session.bpf(rows.PROG_LOAD, program, { timeoutMs });
  // It may fail before anybody looks.
  load.catch(() => {});
  return load;
}

/** Waits until so many of the guest's executors are kept busy by the verifier. */
async function verifying(guest: Guest, count: number): Promise<void> {
  // The state of a process, and the time that its calls took, in ticks of 10 ms.
  const script = 'for pid in $(pidof waep-executor); do cut -d " " -f 3,15 /proc/$pid/stat; done';
  const busy = async () => {
    const lines = (await guest.sh(script)).split('\n').map((line) => line.split(' '));
    return lines.filter(([state, ticks]) => state === 'R' && Number(ticks) > 0).length >= count;
  };
  await until(`${count} executors in the verifier`, busy);
}

/** The ids of all programs, maps and links in the guest. */
async function objectIds(session: Session): Promise<string[]> {
  const ids: string[] = [];
  const kinds = {
    prog: rows.PROG_GET_NEXT_ID,
    map: rows.MAP_GET_NEXT_ID,
    link: rows.LINK_GET_NEXT_ID,
  };
  for (const [kind, row] of Object.entries(kinds)) {
    for (let id = 0; ; ) {
      try {
        id = (await session.bpf(row, { start_id: id })).next_id;
      } catch (error) {
        if ((error as SystemError).code === 'ENOENT') break;
        throw error;
      }
      ids.push(`${kind} ${id}`);
    }
  }
  return ids;
}

/** Expects a call that is under way to reject with one of the codes, and soon. */
async function rejects(t: Test, pending: Promise<unknown>, codes: string[], name: string) {
  const startMs = performance.now();
  const error = (await pending.then(
    () => new Error('it was answered'),
    (reason: unknown) => reason,
  )) as SystemError;
  t.ok(codes.includes(error.code), `${name}: ${error.code} ${error.message}`);
  const tookMs = performance.now() - startMs;
  t.ok(tookMs < PROMPT_MS, `${name}: after ${Math.round(tookMs)} ms`);
}

const script = (count: number) =>
  `i=0; while [ $i -lt ${count} ]; do /bin/busybox true; i=$((i + 1)); done`;

async function helloLines(guest: Guest): Promise<number> {
  const log = await guest.readFile('/sys/kernel/tracing/trace');
  return log.split('\n').filter((line) => line.includes(message)).length;
}

async function linesOf(guest: Guest, commands: string): Promise<number> {
  await guest.sh('echo > /sys/kernel/tracing/trace');
  await guest.sh(commands);
  return helloLines(guest);
}

t.test('a guest that lives', async (t) => {
  const guest = await start();
  t.teardown(() => guest.stop());
  const transports = { vsock: guest.vsock(), tcp: guest.tcp() };

  for (const [transport, address] of Object.entries(transports)) {
    await t.test(
      `a line in the guest's log for each of its executions, over ${transport}`,
      async (t) => {
        const session = await Session.connect(address, patient);
        t.teardown(() => session.close());
        t.equal(session.kernel.release, guest.info.kernel);
        const program = await session.loadProgram({
          type: RAW_TRACEPOINT,
          instructions,
          license: 'GPL',
        });
        const link = await program.attachRawTracepoint(tracepoint);
        // What the shell and the reading execute themselves is in the log, too, each time alike.
        const overhead = await linesOf(guest, script(0));
        const lines = await linesOf(guest, script(EXECUTIONS));
        t.equal(lines - overhead, EXECUTIONS, 'as many lines as executions');
        await link.close();
        const after = await helloLines(guest);
        await guest.sh(script(EXECUTIONS));
        t.equal(await helloLines(guest), after, 'none after it has been detached');
      },
    );

    await t.test(`maps, refusals and the kernel's files, over ${transport}`, async (t) => {
      const session = await Session.connect(address, patient);
      t.teardown(() => session.close());
      const map = await session.createMap({ type: 1, keySize: 4, valueSize: 300, maxEntries: 9 });
      const key = Buffer.from([1, 2, 3, 4]);
      await map.update(key, Buffer.alloc(300, 5));
      t.same(await map.lookup(key), Uint8Array.from(Buffer.alloc(300, 5)));
      await t.rejects(
        session.loadProgram({
          type: RAW_TRACEPOINT,
          instructions: insn.program(insn.exit()),
          license: 'GPL',
        }),
        { code: 'EACCES', side: 'guest', log: /R0 !read_ok/ },
      );
      await t.rejects(
        session.loadProgram({
          type: enums.ProgType.BPF_PROG_TYPE_XDP,
          instructions: insn.program(insn.mov('r0', 2), insn.exit()),
          license: 'GPL',
        }),
        { code: 'ERR_POLICY_REFUSED', message: /rule program_types does not allow xdp \(6\)/ },
      );
      await t.rejects(session.bpf(rows.OBJ_PIN, { pathname: '/sys/fs/bpf/x', bpf_fd: map }), {
        code: 'ERR_POLICY_REFUSED',
        message: /rule pin_paths does not allow \/sys\/fs\/bpf\/x/,
      });
      const version = await session.open('/proc/version');
      const bytes = await session.read(version, 4096);
      t.match(Buffer.from(bytes ?? []).toString(), session.kernel.release);
      await t.rejects(session.open('/etc/shadow'), { code: 'ERR_POLICY_REFUSED' });
    });
  }

  await t.test('a policy file, in an agent that asks for privileged ports', async (t) => {
    const port = 1100;
    await guest.writeFile(
      '/tmp/policy.yaml',
      'profile: observe\nname: ours\nhooks: ["sys_*", "vfs_*"]\nhelpers: { deny: [bpf_trace_printk] }\n',
    );
    const agent = await guest.spawn(
      ['node', '/usr/lib/waep/agent.cjs', '--listen', `vsock:any:${port}`].concat([
        '--policy',
        '/tmp/policy.yaml',
        '--audit',
        '/tmp/audit.log',
      ]),
      { env: { WAEP_NATIVE_DIR: '/usr/lib/waep' } },
    );
    t.teardown(() => agent.destroy());
    agent.ended.catch(() => {});
    t.match(String((await once(agent.stdout, 'data'))[0]), /listening on vsock:any:1100/);
    // Whoever is not privileged on the host has no port below 1024.
    const from = (localPort: number | 'privileged') =>
      Session.connect(guest.vsock(port), { ...patient, localPort });
    await t.rejects(from(5000), {
      code: 'ERR_PEER_REFUSED',
      message: /rule accept\.source_ports allows ports below 1024 only/,
    });
    const session = await from('privileged');
    t.teardown(() => session.close());
    t.equal(session.profile, 'ours');
    const load = (code: Uint8Array) =>
      session.loadProgram({ type: RAW_TRACEPOINT, instructions: code, license: 'GPL' });
    await t.rejects(load(instructions), { message: /does not allow bpf_trace_printk \(6\)/ });
    const program = await load(insn.program(insn.mov('r0', 0), insn.exit()));
    await t.rejects(program.attachRawTracepoint('sched_switch'), { message: /rule hooks/ });
    await program.attachRawTracepoint('sys_enter');
    const watch = (attachTo: string) =>
      session.loadProgram({
        type: enums.ProgType.BPF_PROG_TYPE_TRACING,
        expectedAttachType: enums.AttachType.BPF_TRACE_FENTRY,
        attachTo,
        instructions: insn.program(insn.mov('r0', 0), insn.exit()),
        license: 'GPL',
      });
    await t.rejects(watch('commit_creds'), { message: /rule hooks/ });
    await t.resolves(watch('vfs_read'));
    // No call waits for the log.
    for (const line of [
      /"event":"refused".*"peer":"host\(2\):5000"/,
      /"event":"refused","session":1,.*"rule":"helpers","value":"bpf_trace_printk \(6\)"/,
      /"event":"attach".*"hook":"sys_enter"/,
    ]) {
      await until(`${line} in the audit log`, async () =>
        line.test(await guest.readFile('/tmp/audit.log')),
      );
    }
  });

  // The end of each session's executor is a signal to the agent, which must not cost it a listener.
  await t.test('sessions that come and go', async (t) => {
    for (let i = 0; i < 20; i++) {
      const sessions = await Promise.all(
        Object.values(transports).map((transport) => Session.connect(transport, patient)),
      );
      for (const session of sessions) session.close();
    }
    t.pass('every one was served');
  });

  await t.test('a client that is killed leaves nothing in the kernel', async (t) => {
    const session = await Session.connect(transports.vsock, patient);
    t.teardown(() => session.close());
    const gone = async () => (await objectIds(session)).length === 0;
    await until('the end of what others have made', gone, { everyMs: 100 });
    for (const address of Object.values(transports)) {
      const client = spawn(
        process.execPath,
        [
          '--input-type=module',
          '-e',
          `import { Session } from ${JSON.stringify(library)};
           import { instructions } from ${JSON.stringify(new URL('../../cli/hello-program.js', import.meta.url).href)};
           const session = await Session.connect(${JSON.stringify(address)}, ${JSON.stringify(patient)});
           await session.createMap({ type: 2, keySize: 4, valueSize: 8, maxEntries: 1 });
           const program = await session.loadProgram({ type: 17, instructions, license: 'GPL' });
           await program.attachRawTracepoint('sys_enter');
           console.log('attached');
           setInterval(() => {}, 1000);`,
        ],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      await once(createInterface(client.stdout), 'line');
      t.equal((await objectIds(session)).length, 3, 'a map, a program and a link');
      client.kill('SIGKILL');
      await until(`the end of what came by ${address}`, gone, { everyMs: 100 });
    }
  });

  await t.test('a guest that is silent', async (t) => {
    const sessions = await Promise.all(
      Object.values(transports).map((transport) => Session.connect(transport, patient)),
    );
    guest.pause();
    try {
      await Promise.all(
        sessions.map((session) =>
          rejects(t, objectIdsWithin(session), ['ERR_CALL_TIMEOUT'], session.address),
        ),
      );
      await t.rejects(Session.connect(transports.tcp, { handshakeTimeoutMs: 500 }), {
        code: 'ERR_HANDSHAKE_TIMEOUT',
      });
    } finally {
      guest.resume();
    }
    for (const session of sessions) {
      await t.resolves(objectIds(session), 'goes on when the guest does');
      session.close();
    }
  });

  await t.test('a link that is cut in the middle of a call', async (t) => {
    const session = await Session.connect(transports.tcp, patient);
    const pending = loadEndless(session, CUT_MS);
    await verifying(guest, 1);
    await guest.setLink(false);
    await rejects(t, pending, ['ERR_CALL_TIMEOUT', 'ERR_SESSION_CLOSED'], 'tcp');
    session.close();
    await guest.setLink(true);
    const next = await Session.connect(transports.vsock, patient);
    await t.resolves(objectIds(next), 'the guest serves others');
    next.close();
  });

  await t.test('an agent that is killed', async (t) => {
    // The program of the link that was cut is verified for as long as the agent waits for its client.
    const sessions = await Promise.all(
      Object.values(transports).map((transport) => Session.connect(transport, patient)),
    );
    const pending = sessions.map((session) => loadEndless(session));
    await verifying(guest, sessions.length);
    const outcome = pending.map((call, i) =>
      rejects(t, call, ['ERR_SESSION_CLOSED', 'ERR_CALL_TIMEOUT'], sessions[i]?.address ?? ''),
    );
    await guest.sh('kill -9 $(pidof node)').catch(() => {});
    await Promise.all(outcome);
    for (const session of sessions) session.close();
  });
});

const objectIdsWithin = (session: Session) =>
  session.bpf(rows.PROG_GET_NEXT_ID, { start_id: 0 }, { timeoutMs: DEADLINE_MS });

const deaths: Record<string, (guest: Guest) => Promise<unknown> | unknown> = {
  'a guest that powers itself off': (guest) => guest.sh('poweroff -f').catch(() => {}),
  'a QEMU that is killed': (guest) => process.kill(guest.processes.qemu, 'SIGKILL'),
};

for (const [name, kill] of Object.entries(deaths)) {
  t.test(name, async (t) => {
    const guest = await start();
    t.teardown(() => guest.stop());
    const sessions = await Promise.all(
      [guest.vsock(), guest.tcp()].map((transport) => Session.connect(transport, patient)),
    );
    const pending = sessions.map((session) => loadEndless(session));
    await verifying(guest, sessions.length);
    const outcome = pending.map((call, i) =>
      rejects(t, call, ['ERR_SESSION_CLOSED', 'ERR_CALL_TIMEOUT'], sessions[i]?.address ?? ''),
    );
    await Promise.all([kill(guest), ...outcome]);
    for (const session of sessions) session.close();
  });
}

t.test('a multiplexer that is killed', async (t) => {
  const guest = await start('mux');
  t.teardown(() => guest.stop());
  const session = await Session.connect(guest.vsock(), patient);
  const pending = loadEndless(session);
  await verifying(guest, 1);
  const outcome = rejects(t, pending, ['ERR_SESSION_CLOSED'], 'vsock-mux');
  process.kill(Number(guest.processes.vsock), 'SIGKILL');
  await outcome;
  const other = await Session.connect(guest.tcp(), patient);
  await t.resolves(objectIds(other), 'the guest serves others');
  other.close();
});
