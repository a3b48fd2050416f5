import { constants } from 'node:os';
import t from 'tap';
import { native } from '../../src/native.js';
import { Placeholders } from '../../src/run/placeholders.js';

t.test('an object for which the program gets no descriptor is gone', async (t) => {
  const gone: number[] = [];
  const placeholders = new Placeholders({ used() {}, gone: (handle) => gone.push(handle) });
  t.teardown(() => placeholders.close());
  placeholders.create(1, () => true);
  placeholders.create(2, () => false);
  t.same(gone, [2], 'the program no longer waits for it');
  t.intercept(native, 'deafPair', { value: () => -constants.errno.EMFILE });
  t.throws(() => placeholders.create(3, () => true), { code: 'EMFILE' });
  t.same(gone, [2, 3], 'there is no descriptor left here');
});
