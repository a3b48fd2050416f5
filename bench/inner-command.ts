/*
 * Runs a command in the inner guest, from the outer one: inner-command CID KEY COMMAND…
 */
import { EXEC_PORT, spawn } from '../guest/vm/exec.js';

const [cid, key = '', ...command] = process.argv.slice(2);
const child = await spawn({ address: `vsock:${cid}:${EXEC_PORT}`, key }, command, {
  env: { WAEP_NATIVE_DIR: '/usr/lib/waep' },
});
child.stdout.pipe(process.stdout);
child.stderr.pipe(process.stderr);
const { status } = await child.ended;
process.exitCode = status ?? 1;
