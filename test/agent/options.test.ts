import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const agent = fileURLToPath(new URL('../../guest/agent.cjs', import.meta.url));

t.test('numbers that make no sense are refused by name before anything is done', async (t) => {
  const wrong = {
    '--max-sessions': ['abc', '0', '', '-1', '1e9', '0x10', '70000'],
    '--hello-timeout-ms': ['5s', '0', 'NaN', '2147483648'],
    '--max-lease-ms': ['-1', '1.5'],
    '--silence-ms': ['never', 'Infinity'],
    '--event-nice': ['-21', '20', 'high'],
    '--audit-max-bytes': ['16MiB', '0'],
  };
  for (const [option, values] of Object.entries(wrong)) {
    for (const value of values) {
      const words = [agent, '--listen', 'unix:/nonexistent/agent.sock', `${option}=${value}`];
      const { status, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8' });
      t.equal(status, 1);
      t.match(
        stderr,
        `option '${option} <n>' argument '${value}' is invalid. Expected a whole number`,
      );
    }
  }
});

t.test('a file that cannot be read is named, with its option and the reason', async (t) => {
  const says = (words: readonly string[], expected: RegExp) => {
    const listen = ['--listen', 'unix:/nonexistent/agent.sock'];
    const { status, stderr } = spawnSync(process.execPath, [agent, ...listen, ...words], {
      encoding: 'utf8',
    });
    t.equal(status, 1);
    t.match(stderr, expected);
  };
  const tls = ['--tls-ca', '--tls-cert', '--tls-key'].flatMap((option) => [option, '/']);
  says(['--policy', '/'], /Invalid --policy: "\/"\. Expected a policy file; this is a folder\.\n/);
  says(['--policy', '/none'], /Invalid --policy: "\/none"\. .*; there is no such file\.\n/);
  says(tls, /Invalid --tls-ca: "\/"\. Expected a certificate in PEM .*; this is a folder\.\n/);
});

t.test('an address that cannot be listened on is named, with the reason', async (t) => {
  const says = (address: string, expected: string) => {
    const words = [agent, '--insecure-tcp', '--listen', address];
    const { status, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8' });
    t.equal(status, 1);
    t.match(
      stderr,
      `Invalid --listen: "${address}". Expected one that the agent can listen on (${expected}`,
    );
  };
  says('unix:/nonexistent/agent.sock', 'there is no folder /nonexistent)');
  says('tcp:192.0.2.1:1024', 'listen EADDRNOTAVAIL');
});
