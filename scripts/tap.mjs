// Runs test files and prints what they find as TAP, version 14. The first argument says how many run
// at a time. Other than `tap run`, this loads nothing into the tests' processes, nor into those that
// the tests start: they are what a user starts, and each starts half a second of computing sooner.
import t from 'tap';

/** How long a file may take, if it says nothing else. */
const TIMEOUT_S = 300;

const [jobs, ...files] = process.argv.slice(2);
t.jobs = Number(jobs);
t.setTimeout(0);
t.plan(files.length);
for (const file of files) {
  // tap's spawn sets NODE_OPTIONS.
  const words = ['-u', 'NODE_OPTIONS', process.execPath, '--enable-source-maps', file];
  // With CI in the environment, colours would go into pipes.
  const env = { ...process.env, TAP_TIMEOUT: `${TIMEOUT_S}`, NO_COLOR: '1', FORCE_COLOR: '0' };
  const options = { buffered: t.jobs > 1, timeout: TIMEOUT_S * 1000, env };
  void t.spawn('env', words, options, file);
}
