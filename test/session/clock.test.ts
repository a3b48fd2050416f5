import t from 'tap';
import { GuestClock } from '../../src/index.js';

const NS = 1e6;

t.test('a moment between two readings is bounded by both', async (t) => {
  const clock = new GuestClock();
  // The guest's clock is 1000 ms behind; each round trip takes 2 ms, the reading is in its middle.
  clock.add({ guestNs: 100 * NS, afterMs: 1099, beforeMs: 1101 });
  clock.add({ guestNs: 200 * NS, afterMs: 1199, beforeMs: 1201 });
  const { hostMs, errorMs } = clock.place(BigInt(150 * NS));
  t.ok(Math.abs(hostMs - 1150) <= errorMs);
  t.ok(errorMs < 1.2, `± ${errorMs} ms: half a round trip and what clocks may drift`);
  t.equal(clock.bestErrorMs, 1);
});

t.test(
  'a guest that stands still between readings widens the bound, and nothing else',
  async (t) => {
    const clock = new GuestClock();
    clock.add({ guestNs: 100 * NS, afterMs: 1099, beforeMs: 1101 });
    // It stood still for 10 s after 150.
    clock.add({ guestNs: 200 * NS, afterMs: 11199, beforeMs: 11201 });
    for (const [guestMs, hostMs] of [
      [150, 1150],
      [151, 11151],
    ] as const) {
      const placed = clock.place(guestMs * NS);
      t.ok(Math.abs(placed.hostMs - hostMs) <= placed.errorMs, `${guestMs} is at ${hostMs}`);
    }
    // Readings on both sides of the pause narrow it again.
    clock.add({ guestNs: 151 * NS, afterMs: 11150, beforeMs: 11152 });
    const after = clock.place(160 * NS);
    t.ok(Math.abs(after.hostMs - 11160) <= after.errorMs && after.errorMs < 2);
  },
);

t.test('what is after every reading is bounded by its arrival', async (t) => {
  const clock = new GuestClock();
  t.equal(clock.place(0).errorMs, Number.POSITIVE_INFINITY);
  clock.add({ guestNs: 100 * NS, afterMs: 1099, beforeMs: 1101 });
  t.equal(clock.place(110 * NS).errorMs, Number.POSITIVE_INFINITY);
  const { hostMs, errorMs } = clock.place(110 * NS, 1112);
  t.ok(Math.abs(hostMs - 1110) <= errorMs && errorMs < 2);
});

t.test('of many readings the precise ones are kept', async (t) => {
  const clock = new GuestClock();
  for (let i = 0; i < 1000; i++) {
    const widthMs = i === 500 ? 0.1 : 10;
    clock.add({
      guestNs: i * NS,
      afterMs: 1000 + i - widthMs / 2,
      beforeMs: 1000 + i + widthMs / 2,
    });
  }
  t.ok(Math.abs(clock.bestErrorMs - 0.05) < 1e-6);
  t.ok(clock.place(500 * NS).errorMs < 0.1);
});
