import t from 'tap';
import { overStandIn, overUnix } from './places.js';
import { programs } from './programs.js';

// Those whose servers are packages; the others take `npm run test:ecosystem`.
const only = programs.map(({ name }) => name).filter((name) => name !== 'pg' && name !== 'ssh');

for (const [name, run] of [
  ['over Unix sockets', overUnix],
  ['over a multiplexer of the test', overStandIn],
] as const) {
  t.test(`clients and servers of the ecosystem, ${name}`, async (t) => {
    const done: string[] = [];
    await run({
      only,
      report({ program, ok, why }) {
        done.push(program);
        t.ok(ok, program, { why });
      },
    });
    t.same(done, only);
  });
}
