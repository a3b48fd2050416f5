// results/steady.md: what was run how often, beside what, and what failed.

/** Groups rows by a text, in the order in which the texts come first. */
function grouped(rows, keyOf) {
  const groups = new Map();
  for (const row of rows) {
    const key = keyOf(row);
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return [...groups.values()];
}

const testsOf = ({ tests, only }) => {
  const paths = tests.map((test) => `\`${test}\``).join(' ');
  // A bar would end the cell.
  return only === undefined ? paths : `${paths}: ${only.replaceAll('|', ' or ')}`;
};
const beside = ({ busy }) => (busy === 0 ? 'nothing' : `${busy} loops`);
const mounted = ({ mounts }) => (mounts === 'all' ? 'everything' : 'nothing');
const range = (numbers) => {
  const [least, most] = [Math.min(...numbers), Math.max(...numbers)];
  return least === most ? `${least}` : `${least} to ${most}`;
};

/**
 * Renders the page.
 *
 * @param {object[]} runs as scripts/repeat.mjs keeps them
 * @returns {string}
 */
export function render(runs) {
  const kinds = grouped(runs, ({ tests, only, commit, node, mounts, busy }) =>
    [tests, only, commit, node, mounts, busy].join('\n'),
  );
  const table = kinds.map((of) => {
    const [first] = of;
    const failed = of.filter((run) => run.failed > 0).length;
    const cells = [
      testsOf(first),
      first.commit,
      first.node,
      mounted(first),
      beside(first),
      of.length,
      failed,
      range(of.map(({ passed }) => passed)),
      range(of.map(({ seconds }) => seconds)),
      range(of.map(({ load }) => load)),
    ];
    return `| ${cells.join(' | ')} |`;
  });
  const failures = runs.flatMap((run) => run.names.map((name) => ({ ...run, name })));
  const failed = grouped(failures, ({ name, commit }) => `${name}\n${commit}`).map((of) => {
    const where = [
      ...new Set(of.map((run) => `${run.node}, ${mounted(run)} mounted, beside ${beside(run)}`)),
    ];
    return `| ${of[0].name} | ${of[0].commit} | ${of.length} | ${where.join('; ')} |`;
  });
  const machines = [...new Set(runs.map(({ machine }) => machine))];
  return `${[
    '# How steady the tests are',
    '',
    'Written by `node scripts/repeat.mjs --record`, of all runs in [steady.jsonl](steady.jsonl); do not edit.',
    'Each run has a mount namespace of its own. "Nothing" is mounted below /sys/kernel and at /sys/fs/bpf',
    'in it, or "everything": tracefs, debugfs, bpffs and securityfs. Loops compute beside the tests all the',
    'time. The load is that of the last minute of a run, by all that the machine did.',
    '',
    `Machine: ${machines.join('; ')}.`,
    '',
    '| tests | at commit | Node | mounted | beside | runs | failed | assertions passed | seconds | load |',
    '|---|---|---|---|---|--:|--:|--:|--:|--:|',
    ...table,
    '',
    '## What failed',
    '',
    ...(failed.length === 0
      ? ['Nothing.']
      : ['| test | at commit | runs | where |', '|---|---|--:|---|', ...failed]),
  ].join('\n')}\n`;
}
