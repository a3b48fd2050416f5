import { Parser } from 'tap-parser';

/**
 * What failed in the output of a run, each as lines of text: the path of the subtests that lead to
 * it, and what tap knows about it. A subtest that failed by its parts only is left out.
 *
 * @param {string} text TAP, version 14
 * @returns {string[]}
 */
export function failures(text) {
  const found = [];
  const watch = (parser) => {
    let before = 0;
    parser.on('child', (child) => {
      before = found.length;
      watch(child);
    });
    parser.on('assert', (result) => {
      const { ok, todo, skip, fullname, diag, closingTestPoint } = result;
      if (ok || todo || skip || (closingTestPoint && found.length > before)) return;
      const why = diag ? JSON.stringify(diag, null, 2).replaceAll('\\n', '\n') : '';
      found.push(`✘ ${fullname}\n${why}`.trimEnd());
    });
  };
  const parser = new Parser();
  watch(parser);
  parser.end(text);
  return found;
}
