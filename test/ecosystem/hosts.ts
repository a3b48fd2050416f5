/* Servers that are no libraries: PostgreSQL and OpenSSH, each in a folder of the test. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { connect } from '../../src/transport/index.js';

/** A server at work. */
export interface HostServer extends AsyncDisposable {
  /** Where it listens. */
  readonly address: string;
}

async function stop(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill(signal);
  await ended;
}

/** A TCP port of 127.0.0.1 that nobody has. */
export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** The folder of PostgreSQL's programs, which Debian keeps out of PATH. */
function postgresFolder(): string {
  const root = '/usr/lib/postgresql';
  const version = existsSync(root) ? readdirSync(root).sort().at(-1) : undefined;
  if (version === undefined) throw new Error('PostgreSQL is missing: apt-get install postgresql');
  return join(root, version, 'bin');
}

/** Starts PostgreSQL with a superuser `waep` who needs no password, on a Unix socket in `folder`. */
export async function startPostgres(folder: string): Promise<HostServer> {
  const programs = postgresFolder();
  const data = join(folder, 'pg');
  mkdirSync(data, { mode: 0o700 });
  // It refuses to run as root.
  const account: { uid?: number; gid?: number } = {};
  if (process.geteuid?.() === 0) {
    const id = (flag: string) =>
      Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
    Object.assign(account, { uid: id('-u'), gid: id('-g') });
    chownSync(data, account.uid ?? 0, account.gid ?? 0);
    chmodSync(folder, 0o755);
  }
  const cluster = join(data, 'cluster');
  const init = ['-D', cluster, '-U', 'waep', '-A', 'trust', '--no-sync', '-E', 'UTF8'];
  execFileSync(join(programs, 'initdb'), init, { ...account, cwd: data, stdio: 'ignore' });
  const settings = ['listen_addresses=', `unix_socket_directories=${data}`, 'fsync=off'];
  const args = ['-D', cluster, ...settings.flatMap((setting) => ['-c', setting])];
  const child = spawn(join(programs, 'postgres'), args, { ...account, cwd: data, stdio: 'ignore' });
  const address = `unix:${join(data, '.s.PGSQL.5432')}`;
  const probe = await connect(address, { retryDelayMs: 50, timeoutMs: 60_000 });
  probe.destroy();
  return { address, [Symbol.asyncDispose]: () => stop(child, 'SIGINT') };
}

/** An OpenSSH server and how its clients are run. */
export interface SshServer extends HostServer {
  /** What `ssh` takes to log in, but for a ProxyCommand. */
  readonly arguments: readonly string[];
  /** The client's key and the server's, as files. */
  readonly files: readonly string[];
}

/** Starts sshd with keys of its own, which lets in the user of this process by its client's key. */
export async function startSshd(folder: string): Promise<SshServer> {
  const home = join(folder, 'ssh');
  mkdirSync(home, { mode: 0o700 });
  const [hostKey, clientKey, known] = ['host', 'client', 'known'].map((name) => join(home, name));
  if (hostKey === undefined || clientKey === undefined || known === undefined) throw new Error();
  for (const key of [hostKey, clientKey]) {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
  }
  const publicKey = execFileSync('ssh-keygen', ['-y', '-f', hostKey], { encoding: 'utf8' });
  writeFileSync(known, `guest ${publicKey}`);
  const port = await freePort();
  const config = join(home, 'sshd_config');
  writeFileSync(
    config,
    [
      'ListenAddress 127.0.0.1',
      `Port ${port}`,
      `HostKey ${hostKey}`,
      `AuthorizedKeysFile ${clientKey}.pub`,
      'StrictModes no',
      'UsePAM no',
      'PasswordAuthentication no',
      'PermitRootLogin prohibit-password',
      'PidFile none',
      '',
    ].join('\n'),
  );
  // sshd wants this folder where it drops its privileges.
  if (process.geteuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
  const child = spawn('/usr/sbin/sshd', ['-D', '-e', '-f', config], { stdio: 'ignore' });
  const address = `tcp:127.0.0.1:${port}`;
  const probe = await connect(address, { retryDelayMs: 50, timeoutMs: 20_000 });
  probe.destroy();
  return {
    address,
    files: [clientKey, known],
    arguments: [
      ...['-F', 'none', '-i', clientKey, '-o', `UserKnownHostsFile=${known}`],
      ...['-o', 'StrictHostKeyChecking=yes', '-o', 'BatchMode=yes', '-o', 'IdentitiesOnly=yes'],
      `${userInfo().username}@guest`,
    ],
    [Symbol.asyncDispose]: () => stop(child, 'SIGTERM'),
  };
}
