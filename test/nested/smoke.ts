/*
 * The thesis' experiment in small, run in the outer guest against the inner one: a host with
 * AF_VSOCK of its own. Prints one JSON object per check.
 */
import assert from 'node:assert/strict';
import { instructions, message, tracepoint } from '../../cli/hello-program.js';
import { EXEC_PORT, exec } from '../../guest/vm/exec.js';
import { enums, rows, Session } from '../../src/index.js';
import { report } from './checks.js';

const [cid, port, key = ''] = process.argv.slice(2);
const EXECUTIONS = 5;
// A processor emulated on an emulated processor takes its time.
const PATIENCE_MS = 300_000;
const patience = {
  timeoutMs: PATIENCE_MS,
  handshakeTimeoutMs: PATIENCE_MS,
  callTimeoutMs: PATIENCE_MS,
};

const sh = async (script: string): Promise<string> => {
  const daemon = { address: `vsock:${cid}:${EXEC_PORT}`, key };
  return (await exec(daemon, ['/bin/sh', '-c', script], { timeoutMs: PATIENCE_MS })).stdout;
};

async function helloLines(commands: string): Promise<number> {
  await sh('echo > /sys/kernel/tracing/trace');
  await sh(commands);
  const log = await sh('cat /sys/kernel/tracing/trace');
  return log.split('\n').filter((line) => line.includes(message)).length;
}

const script = (count: number) =>
  `i=0; while [ $i -lt ${count} ]; do /bin/busybox true; i=$((i + 1)); done`;

const session = await Session.connect(`vsock:${cid}:${port}`, patience);

const checks: Readonly<Record<string, () => Promise<void>>> = {
  'a map keeps what is put in': async () => {
    const map = await session.createMap({ type: 1, keySize: 4, valueSize: 8, maxEntries: 4 });
    const key = Buffer.from([1, 2, 3, 4]);
    await map.update(key, Buffer.alloc(8, 7));
    assert.deepEqual(Buffer.from((await map.lookup(key)) ?? []), Buffer.alloc(8, 7));
    await map.close();
  },
  'a line in the log for each execution, none after it': async () => {
    const program = await session.loadProgram({
      type: enums.ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
      instructions,
      license: 'GPL',
    });
    const link = await program.attachRawTracepoint(tracepoint);
    const overhead = await helloLines(script(0));
    assert.equal((await helloLines(script(EXECUTIONS))) - overhead, EXECUTIONS);
    await link.close();
    assert.equal(await helloLines(script(EXECUTIONS)), 0);
  },
  'a call that waits is not lost among others': async () => {
    const calls = Array.from({ length: 32 }, () =>
      session.tryBpf(rows.PROG_GET_NEXT_ID, { start_id: 0 }),
    );
    await Promise.all(calls);
    assert.equal(session.statistics.pendingCalls, 0);
  },
};

await report(checks);
session.close();
