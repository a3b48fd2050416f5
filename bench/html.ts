import { Marked } from 'marked';

const STYLE = `
:root { color-scheme: light dark; --line: #d0d7de; --soft: #f6f8fa; --text: #1f2328; --page: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --line: #3d444d; --soft: #151b23; --text: #e6edf3; --page: #0d1117; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
main { max-width: 1100px; margin: 0 auto; padding: 16px; }
h1, h2 { line-height: 1.25; }
h2 { margin-top: 2.5em; border-top: 1px solid var(--line); padding-top: 0.7em; }
a { color: #0969da; }
@media (prefers-color-scheme: dark) { a { color: #4493f8; } }
code { font-size: 0.9em; background: var(--soft); padding: 0.1em 0.3em; border-radius: 4px; }
.wide { overflow-x: auto; margin: 1em 0; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { border: 1px solid var(--line); padding: 4px 8px; }
th { background: var(--soft); }
.chart { background: #fff; border: 1px solid var(--line); border-radius: 6px; padding: 8px; }
.chart img { display: block; min-width: 700px; max-width: 100%; height: auto; }
nav ul { columns: 22em; padding-left: 1.2em; }
@media print {
  :root { --line: #d0d7de; --soft: #f6f8fa; --text: #000; --page: #fff; }
  main { max-width: none; padding: 0; }
  .wide { overflow: visible; }
  .chart img { min-width: 0; }
  tr, .chart { break-inside: avoid; }
  table { font-size: 9px; }
}`;

/**
 * A page of results as one file of HTML, with its charts in it: for a phone, for print, light and
 * dark. Links lead to the files beside the page.
 *
 * @param charts the charts that the page shows, as SVG, by their paths
 */
export function htmlPage(markdown: string, charts: ReadonlyMap<string, string>): string {
  const contents: string[] = [];
  const marked = new Marked({
    renderer: {
      heading: (text, level) => {
        if (level !== 2) return `<h${level}>${text}</h${level}>\n`;
        const id = `part-${contents.length + 1}`;
        contents.push(`<li><a href="#${id}">${text}</a></li>`);
        return `<h2 id="${id}">${text}</h2>\n`;
      },
      table: (head, body) =>
        `<div class="wide"><table><thead>${head}</thead><tbody>${body}</tbody></table></div>\n`,
      image: (href, _, text) => {
        const svg = charts.get(href);
        const source =
          svg === undefined
            ? href
            : `data:image/svg+xml;base64,${Buffer.from(svg).toString('base64')}`;
        return `<div class="wide chart"><img src="${source}" alt="${text}"></div>`;
      },
    },
  });
  const body = marked.parse(markdown) as string;
  const [title = ''] = /(?<=^# ).+/m.exec(markdown) ?? [];
  // The contents belong between the introduction and the first part.
  const at = body.indexOf('<h2');
  const nav = `<nav><ul>${contents.join('')}</ul></nav>\n`;
  const parts = at < 0 ? [body] : [body.slice(0, at), nav, body.slice(at)];
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>waep: ${title}</title>
<style>${STYLE}
</style>
<main>
${parts.join('')}</main>
</html>
`;
}
