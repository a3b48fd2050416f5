// results/mutants.md: how many small changes of the code the tests notice, and which they do not.

const sum = (files, ...statuses) =>
  files.reduce(
    (all, file) => all + statuses.reduce((of, status) => of + (file[status] ?? 0), 0),
    0,
  );

/** The share of mutants that tests notice, in percent, of those that could be run. */
export function shareOf(files) {
  const noticed = sum(files, 'Killed', 'Timeout');
  return (100 * noticed) / (noticed + sum(files, 'Survived', 'NoCoverage'));
}

function row(name, files) {
  const cells = [
    name,
    `${shareOf(files).toFixed(1)} %`,
    sum(files, 'Killed'),
    sum(files, 'Timeout'),
    sum(files, 'Survived'),
    sum(files, 'NoCoverage'),
    sum(files, 'RuntimeError', 'CompileError'),
  ];
  return `| ${cells.join(' | ')} |`;
}

/** A piece of code in a cell of a table. */
const cell = (code) => {
  const line = code.replace(/\s+/g, ' ').replaceAll('|', '\\|');
  const short = line.length > 60 ? `${line.slice(0, 59)}…` : line;
  return short.includes('`') ? `\`\` ${short} \`\`` : `\`${short}\``;
};

/**
 * Renders the page.
 *
 * @param {object[]} results of groups of files, as scripts/mutants/main.mjs keeps them
 * @param {string[]} missing the files that have no result yet
 * @returns {string}
 */
export function render(results, missing = []) {
  const lines = [
    '# What the tests notice',
    '',
    'Written by `npm run mutants -- --record`, of [mutants.json](mutants.json); do not edit. A mutant is the',
    'code with one small change, such as another operator or an empty block. Tests that need no guest run',
    'with each of them. A mutant is noticed when a test fails or does not end. `git log --find-object TREE`',
    'finds the commits of a tree.',
    '',
    '| | noticed | by a failure | by no end | unnoticed | reached by no test | could not be run |',
    '|---|--:|--:|--:|--:|--:|--:|',
  ];
  for (const folder of new Set(results.map((result) => result.folder))) {
    const files = results
      .filter((result) => result.folder === folder)
      .flatMap(({ mutants }) => Object.entries(mutants));
    lines.push(
      row(
        `**src/${folder}**`,
        files.map(([, counts]) => counts),
      ),
    );
    for (const [file, counts] of files) lines.push(row(file, [counts]));
  }
  if (missing.length > 0) lines.push('', `These files have no result yet: ${missing.join(', ')}.`);
  for (const { folder, files, tree, machine, node, minutes, tests, unnoticed } of results) {
    lines.push('', `## src/${folder}: ${files.join(', ')}`, '');
    lines.push(
      `At tree ${tree} of src/${folder}, in ${minutes} minutes, on ${machine}, Node ${node}.`,
    );
    lines.push(`Tests: ${tests.map((path) => `\`${path}\``).join(', ')}.`);
    if (unnoticed.length === 0) continue;
    lines.push('', '| place | change | to |', '|---|---|---|');
    for (const { place, change, to, reached } of unnoticed) {
      lines.push(`| ${place} | ${change}${reached ? '' : ', reached by no test'} | ${cell(to)} |`);
    }
  }
  return `${lines.join('\n')}\n`;
}
