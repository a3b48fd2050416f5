import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** The user and the group that no file is to belong to. */
const NOBODY = 65534;

/** Why this machine has nobody who could be told apart from who runs the tests; or false. */
export const noSecondUser: string | false =
  process.getuid?.() === 0 ? false : 'it takes root to be another user';

/** A program and its arguments as another user of this machine, without any privilege. */
export function asSecondUser(program: string, ...args: string[]): [string, string[]] {
  const ids = ['--reuid', `${NOBODY}`, '--regid', `${NOBODY}`, '--clear-groups'];
  return ['setpriv', [...ids, '--no-new-privs', '--inh-caps=-all', program, ...args]];
}

/**
 * Runs JavaScript in CommonJS as another user of this machine.
 *
 * @returns what it printed
 */
export async function scriptAsSecondUser(script: string, ...args: string[]): Promise<string> {
  // Without the variables by which the runner of the tests follows every Node.
  const variables = ['-i', `PATH=${process.env.PATH}`];
  const command = asSecondUser('env', ...variables, process.execPath, '-e', script, ...args);
  const { stdout } = await promisify(execFile)(...command, { cwd: '/', timeout: 60_000 });
  return stdout;
}

/** Connects to a Unix socket or a TCP port, sends bytes, and prints what comes back or the error. */
const ATTEMPT = `
const [where, hex] = process.argv.slice(1);
const [, host, port] = /^tcp:(.*):(\\d+)$/.exec(where) ?? [];
const socket = require('node:net').connect(host === undefined ? where : { host, port });
let answer = Buffer.alloc(0);
let error = '';
socket.setTimeout(10_000, () => socket.destroy());
socket.on('connect', () => socket.write(Buffer.from(hex, 'hex')));
socket.on('data', (bytes) => {
  answer = Buffer.concat([answer, bytes]);
  socket.end();
});
socket.on('error', ({ code }) => { error = code; });
socket.on('close', () => console.log(JSON.stringify({ answer: answer.toString('latin1'), error })));
`;

/**
 * What another user of this machine gets who connects and sends something.
 *
 * @param where the path of a Unix socket, or `tcp:HOST:PORT`
 */
export async function attemptAsSecondUser(
  where: string,
  bytes: Uint8Array,
): Promise<{ answer: string; error: string }> {
  return JSON.parse(await scriptAsSecondUser(ATTEMPT, where, Buffer.from(bytes).toString('hex')));
}
