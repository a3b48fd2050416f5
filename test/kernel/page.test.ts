import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import ts from 'typescript';
import * as waep from '../../src/index.js';
import * as transport from '../../src/transport/index.js';
import { localAgent } from '../agent/local-agent.js';
import { skip } from './local-session.js';

const root = new URL('../../../', import.meta.url);
const page = readFileSync(new URL('docs/library.md', root), 'utf8');
const blocksOf = (text: string) =>
  [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code ?? '');
/** The examples of the docstrings, by the file and the number in it. */
function* documented(): Generator<[where: string, code: string]> {
  const sources = readdirSync(new URL('src', root), { recursive: true, encoding: 'utf8' });
  for (const name of [...sources.map((path) => `src/${path}`), 'guest/library.ts']) {
    if (!name.endsWith('.ts')) continue;
    const text = readFileSync(new URL(name, root), 'utf8');
    const examples = text.matchAll(/^ *\* @example\n *\* ```ts\n(.*?)^ *\* ```$/gms);
    for (const [at, [, block = '']] of [...examples].entries()) {
      yield [`${name}, example ${at + 1}`, block.replace(/^ *\* ?/gm, '')];
    }
  }
}

/** What an example may use without saying where it comes from. */
const given = {
  session: "import('waep').Session",
  map: "import('waep').BpfMap<number, bigint>",
  stacks: "import('waep').BpfMap<number, bigint[]>",
  program: "import('waep').Program",
  link: "import('waep').Link",
  id: 'number',
  ktime: 'bigint',
};

/** An example as a module, with all that it uses imported or declared. */
function moduleOf(code: string): string {
  const [imports, body] = [/^import .*\n/gm, /^(?!import ).*\n/gm].map((lines) =>
    (code.match(lines) ?? []).join(''),
  );
  const uses = (name: string) =>
    new RegExp(`(?<![.\\w])${name}\\b`).test(body ?? '') &&
    !new RegExp(`\\b${name}\\b`).test(imports ?? '');
  const from = (module: string, names: object) =>
    `import { ${Object.keys(names).filter(uses).join(', ')} } from '${module}';`;
  return [
    ...[imports, from('waep', waep), from('waep/transport', transport)],
    ...Object.entries(given).map(([name, type]) => `declare const ${name}: ${type};`),
    `export async function example() {\n${body}}`,
  ].join('\n');
}

/** Each of the others stands for itself, and needs a guest. */
const bootsGuest = (code: string) => code.includes(" from 'waep/vm'");
const examples = blocksOf(page).filter((code) => !bootsGuest(code));
const alone = [
  ...blocksOf(readFileSync(new URL('docs/transport.md', root), 'utf8')),
  ...blocksOf(page).filter(bootsGuest),
];

// Within the package, so that `waep` is this package, as its users have it.
const folder = new URL('page/', import.meta.url);
const source = fileURLToPath(new URL('examples.mts', folder));

t.test('the examples of docs/library.md, and of docstrings', async (t) => {
  t.equal(examples.length, 6);
  mkdirSync(folder, { recursive: true });
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const local = skip === false ? await localAgent() : undefined;
  t.teardown(() => local?.close());
  const code = examples.join('\n').replace('vsock:3:1024', local?.address ?? 'unix:/nowhere');
  writeFileSync(source, code);
  const others = alone.map((code, index) => {
    const path = fileURLToPath(new URL(`alone-${index}.mts`, folder));
    writeFileSync(path, code);
    return path;
  });
  t.equal(others.length, 3);
  const ofDocstrings = [...documented()].map(([where, code], index) => {
    const path = fileURLToPath(new URL(`docstring-${index}.mts`, folder));
    writeFileSync(path, `// ${where}\n${moduleOf(code)}`);
    return path;
  });
  t.ok(ofDocstrings.length >= 25, `${ofDocstrings.length} docstrings have examples`);

  t.test('are right by their types', async (t) => {
    const options: ts.CompilerOptions = {
      target: ts.ScriptTarget.ES2022,
      lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      strict: true,
      skipLibCheck: true,
      types: ['node'],
    };
    const program = ts.createProgram([source, ...others, ...ofDocstrings], options);
    const errors = ts.getPreEmitDiagnostics(program).map(({ messageText, start, file }) => {
      const line = file === undefined ? 0 : ts.getLineAndCharacterOfPosition(file, start ?? 0).line;
      const where = file?.text.match(/^\/\/ (.*)/)?.[1] ?? '';
      return `${where} ${line + 1}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
    });
    t.same(errors, []);
    program.emit();
  });

  t.test('do what they say', { skip }, async (t) => {
    const compiled = source.replace(/mts$/, 'mjs');
    const { stdout } = await promisify(execFile)(process.execPath, [compiled]);
    const [calls = '', ...lines] = stdout.trimEnd().split('\n');
    t.ok(Number(calls.match(/^(\d+) system calls in \d+\.\d+/)?.[1]) > 0, calls);
    t.same(lines.slice(0, 3).sort(), ['1 init 5n', '2 kthreadd 1n', '3 rcu_gp 2n']);
    t.match(lines[3], /^\[ 0n(, 0n)* \]$/);
    const said = [...page.matchAll(/^ {2}\/\/ (.*)$/gm)].map(([, comment]) => comment);
    t.same(lines.slice(4, 7), said, 'errors are those in the comments');
    t.ok(lines.some((line) => /^\d+ count_calls [0-9a-f]{16}$/.test(line)));
    t.ok(lines.includes('0 records, 0 lost, 0 bytes waiting'));
    t.ok(lines.includes('struct new_utsname has 390 bytes there'));
    t.match(lines.at(-1), /^count_calls has run \d+ times in \d+ ns$/);
  });
});
