import type { Test } from 'tap';
import { compare } from './compare.js';
import { bpftool } from './rows/bpftool.js';
import { guestSide, play, type Side, type Stage } from './sides.js';

/** Rows of the matrix that need nothing but bpftool, and little time. */
const chosen = [
  /^bpftool prog show$/,
  /^bpftool map list$/,
  /create \/sys\/fs\/bpf\/x type (percpu_array|lpm_trie|ringbuf) /,
  /type queue /,
  /map freeze/,
  /map update pinned \/sys\/fs\/bpf\/(m|outer)/,
  /^bpftool -j btf list$/,
  /no_such_program/,
  /entries 0/,
];

const FEWEST_ROWS = 10;
/** The matrix is recorded on a quiet machine. These rows are played on any. */
const REST_WITHIN_MS = 60_000;

/** Plays the short rows in a guest and on sides, by their names, and asserts that they are alike. */
export async function playShortRows(
  t: Test,
  stage: Stage,
  sides: Readonly<Record<string, Side>>,
): Promise<void> {
  const patient = { ...stage, restWithinMs: REST_WITHIN_MS };
  const rows = bpftool.filter(({ command }) => chosen.some((pattern) => pattern.test(command)));
  t.ok(rows.length >= FEWEST_ROWS, `${rows.length} rows`);
  for (const row of rows) {
    const inGuest = await play(row, guestSide(stage.guest, {}), patient);
    for (const [name, side] of Object.entries(sides)) {
      const fromHost = await play(row, side, patient, inGuest.tookMs);
      t.same(fromHost.left, [], `${row.command} leaves nothing (${name})`);
      t.equal(
        compare(row, inGuest, fromHost).verdict,
        inGuest.ending === '0' ? 'same' : 'failing-alike',
        `${row.command} (${name})`,
      );
    }
  }
}
