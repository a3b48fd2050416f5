/* fuzz/host SECONDS SEED: feeds each part inputs that follow from SEED, SEED + 1 and so on. */
import { parts } from './parts.js';
import { Random } from './random.js';

const [seconds = 0, first = 1] = process.argv.slice(2).map(Number);
const REPORT_MS = 1000;
/** How many inputs there are between two looks at the clock. */
const STRETCH = 100;

const tallies = parts.map(({ name }) => ({ name, accepted: 0, refused: 0 }));
const startMs = performance.now();
let at = first;
let reportedMs = 0;

function report(): void {
  const coverage = tallies
    .map(({ name, accepted, refused }) => `${name} ${accepted} accepted, ${refused} refused`)
    .join('; ');
  console.log(JSON.stringify({ inputs: at - first, coverage, at }));
}

function feed(): void {
  const index = at % parts.length;
  const tally = tallies[index];
  if (tally === undefined) return;
  if (parts[index]?.feed(new Random(at)) === true) tally.accepted++;
  else tally.refused++;
  at++;
}

try {
  for (let nowMs = 0; nowMs < seconds * 1000; nowMs = performance.now() - startMs) {
    for (let left = STRETCH; left > 0; left--) feed();
    if (nowMs - reportedMs < REPORT_MS) continue;
    reportedMs = nowMs;
    report();
  }
} catch (error) {
  console.error(parts[at % parts.length]?.name, error);
  process.exitCode = 1;
}
report();
