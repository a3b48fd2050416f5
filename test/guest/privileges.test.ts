/* What the users of a guest, and its agent's own processes, may do there. */
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { boot, compileStatic } from '../../guest/index.js';
import {
  decodeBody,
  FrameType,
  HEADER_BYTES,
  messageFrame,
  parseHeader,
} from '../../src/frame/index.js';

const NOBODY = 65_534;
const AGENT_PORT = 1024;

t.setTimeout(240_000);

t.test('the processes of a guest', async (t) => {
  const source = await compileStatic(
    fileURLToPath(new URL('../../../test/guest/local-peer.c', import.meta.url)),
  );
  const guest = await boot({
    lab: true,
    network: 'none',
    notice: () => {},
    agent: { profile: 'full', args: ['--any-source-port'] },
    files: { '/local-peer': { source, mode: 0o755 } },
  });
  t.teardown(() => guest.stop());

  await t.test('an unprivileged user of the guest gets no session', async (t) => {
    const hello = messageFrame(FrameType.HELLO, 1, { protocol: 1, client: 'local', leaseMs: 0 });
    const greet = async (user: number, cid: number | 'own', from = 0) => {
      const words = [
        '/local-peer',
        user,
        cid,
        AGENT_PORT,
        from,
        Buffer.from(hello).toString('hex'),
      ];
      const { stdout } = await guest.exec(words.map(String));
      const bytes = Buffer.from(stdout, 'hex');
      if (bytes.length < HEADER_BYTES) return stdout.trim();
      const { type } = parseHeader(bytes);
      if (type === FrameType.WELCOME) return 'welcome';
      const [code, detail] = decodeBody(bytes.subarray(HEADER_BYTES)) as [string, { why: string }];
      return `${code}: ${detail.why}`;
    };
    const refused =
      /^ERR_PEER_REFUSED: rule accept\.source_ports .* only to peers of the agent's own machine/;
    t.match(await greet(NOBODY, 1), refused, 'by the loopback');
    t.match(await greet(NOBODY, 'own'), refused, "by the guest's own CID");
    t.equal(await greet(NOBODY, 1, 1000), 'bind: Permission denied', 'a port below 1024');
    t.match(await greet(0, 1), refused, 'root without a privileged port');
    t.equal(await greet(0, 1, 1000), 'welcome', 'root');
  });
});
