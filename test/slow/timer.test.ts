import t from 'tap';
import { boot } from '../../guest/index.js';

t.setTimeout(1_800_000);

for (const machine of ['q35', 'microvm'] as const) {
  t.test(`${machine}: a timer that is being measured has not been given up`, async (t) => {
    const options = { accel: 'tcg', machine, vsock: 'none', agent: false, exec: false } as const;
    // The kernel measures for a tenth of a second, at a moment that depends on this machine.
    for (let deadlineMs = 200; deadlineMs <= 1400; deadlineMs += 80) {
      const told = await boot({ ...options, deadlineMs }).then(
        async (guest) => {
          await guest.stop();
          return 'booted';
        },
        (error: Error) => error.message,
      );
      t.match(told, /^The guest did not boot: in time|^booted$/, `after ${deadlineMs} ms`);
    }
  });
}
