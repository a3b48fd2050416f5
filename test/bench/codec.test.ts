import t from 'tap';
import { encodeGenerically, measureCodec } from '../../bench/client/codec.js';
import { lookupCall, lookupExchange } from '../../bench/client/lookup.js';
import { compilePrograms } from '../../bench/compile.js';
import { codec } from '../../bench/experiments/codec.js';
import { openHostLab } from '../../bench/lab.js';
import { loadCall } from '../../bench/programs/figure2.js';
import { callFrameBound, putCallFrame } from '../../src/frame/index.js';
import { tinyRun } from './tiny-run.js';

t.test('both codecs write the same bytes', async (t) => {
  for (const call of [lookupCall(), loadCall(1)]) {
    const target = new Uint8Array(callFrameBound(call));
    const frame = target.subarray(0, putCallFrame(target, 1, call));
    t.same(Buffer.from(encodeGenerically(call)), Buffer.from(frame));
  }
});

t.test('each codec yields as many samples as asked for, of the same metrics', async (t) => {
  const metrics = (['fixed-shape', 'cbor-x'] as const).map((codec) => {
    const samples = measureCodec({ codec, samples: 2 });
    for (const [metric, values] of Object.entries(samples)) {
      t.equal(values.length, 2, `${codec}: ${metric}`);
      t.ok(values.every((perSecond) => perSecond > 1 && perSecond < 1e9));
    }
    return Object.keys(samples);
  });
  t.same(metrics[0], metrics[1]);
});

t.test('the codec experiment compares both by each metric', async (t) => {
  const programs = await compilePrograms();
  const amount = { boots: 1, rounds: 1, samples: 2, warmup: 0 };
  const { environment, summary } = await tinyRun(codec, amount, async () => openHostLab(programs));
  t.equal(summary.comparisons.length, codec.comparisons.length);
  t.same(
    summary.rows.map(({ arm, metric, n, unit }) => [arm, metric, n, unit]),
    ['fixed-shape', 'cbor-x'].flatMap((arm) =>
      codec.comparisons.map(({ metric }) => [arm, metric, 2, 'ops/s']),
    ),
  );
  t.equal(codec.figures(summary, environment).length, 1);
});

t.test('a look-up is a call of about 300 bytes and an answer of about 150', async (t) => {
  const { requestBytes, replyBytes } = lookupExchange();
  t.ok(Math.abs(requestBytes - 290) < 20, `${requestBytes}`);
  t.ok(Math.abs(replyBytes - 145) < 10, `${replyBytes}`);
});
