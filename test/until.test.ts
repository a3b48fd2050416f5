import t from 'tap';
import { until } from './until.js';

t.test('waits until there is something, and returns it', async (t) => {
  let looks = 0;
  t.equal(await until('a third look', () => (++looks === 3 ? 'third' : undefined)), 'third');
  t.equal(looks, 3);
  t.equal(await until('a number', async () => 7), 7);
});

t.test('says what did not come, and what was seen last', async (t) => {
  const never = () => false;
  const how = { withinMs: 20 };
  await t.rejects(until('a miracle', never, how), {
    message: 'waited for 20 ms, and in vain, for a miracle',
  });
  let left = 0;
  await t.rejects(
    until(
      () => `the end of ${left}`,
      () => ++left < 0,
      how,
    ),
    { message: /^waited for 20 ms, and in vain, for the end of [1-9]/ },
  );
});

t.test('an error of who looks ends it at once', async (t) => {
  const broken = () => {
    throw new Error('broken');
  };
  await t.rejects(until('anything', broken), { message: 'broken' });
});
