// Writes test/package/api.txt: every export of the package's entry points with its members, one line
// each. A review sees there what changes for the package's users. With --check it only says whether
// the file is out of date. It fails where something has no docstring.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const FILE = 'test/package/api.txt';

const { exports: entries } = JSON.parse(readFileSync('package.json', 'utf8'));
const sources = Object.entries(entries)
  .filter(([, entry]) => typeof entry === 'object')
  .map(([name, { types }]) => [
    name.replace('.', 'waep'),
    types.replace('./dist/', '').replace('.d.ts', '.ts'),
  ]);

const { config } = ts.readConfigFile('tsconfig.json', ts.sys.readFile);
const { options } = ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, '.');
const program = ts.createProgram(
  sources.map(([, path]) => path),
  { ...options, incremental: false, tsBuildInfoFile: undefined, noEmit: true },
);
const checker = program.getTypeChecker();
const printer = ts.createPrinter({ removeComments: true });

const { NoTruncation, UseAliasDefinedOutsideCurrentScope, UseSingleQuotesForStringLiteralType } =
  ts.TypeFormatFlags;
const FORMAT =
  NoTruncation | UseAliasDefinedOutsideCurrentScope | UseSingleQuotesForStringLiteralType;

/** What an exported name stands for. */
const target = (symbol) =>
  symbol !== undefined && (symbol.flags & ts.SymbolFlags.Alias) !== 0
    ? checker.getAliasedSymbol(symbol)
    : symbol;
const exportsOf = (module) =>
  checker.getExportsOfModule(module).toSorted((a, b) => (a.name < b.name ? -1 : 1));

const oneLine = (text) => text.replace(/\s+/g, ' ').trim();
const printed = (node) =>
  oneLine(printer.printNode(ts.EmitHint.Unspecified, node, node.getSourceFile()));
const typeText = (type, node) => oneLine(checker.typeToString(type, node, FORMAT));

function signatures(symbol, node) {
  return checker
    .getTypeOfSymbolAtLocation(symbol, node)
    .getCallSignatures()
    .map((signature) => oneLine(checker.signatureToString(signature, node, FORMAT)));
}

/** `<T> extends A implements B` of a class or an interface. */
function heading({ typeParameters = [], heritageClauses = [] }) {
  const parameters = typeParameters.map(printed).join(', ');
  const bases = heritageClauses.map((clause) => ` ${printed(clause)}`).join('');
  return `${parameters === '' ? '' : `<${parameters}>`}${bases}`;
}

const hidden = ts.ModifierFlags.Private | ts.ModifierFlags.Protected;

function isShown(member) {
  if (ts.isClassStaticBlockDeclaration(member)) return false;
  if (member.name !== undefined && ts.isPrivateIdentifier(member.name)) return false;
  return (
    (ts.getCombinedModifierFlags(member) & hidden) === 0 || ts.isConstructorDeclaration(member)
  );
}

/** What a class or an interface is made of that is not exported itself. */
function basesOf(node) {
  return (node.heritageClauses ?? [])
    .filter(({ token }) => token === ts.SyntaxKind.ExtendsKeyword)
    .flatMap(({ types }) =>
      types.map(({ expression }) => target(checker.getSymbolAtLocation(expression))),
    )
    .filter((base) => base !== undefined && !exportedSymbols.has(base))
    .flatMap(({ declarations = [] }) => declarations)
    .filter(
      (base) =>
        !program.isSourceFileFromExternalLibrary(base.getSourceFile()) &&
        !program.isSourceFileDefaultLibrary(base.getSourceFile()) &&
        base.members !== undefined,
    );
}

const undocumented = [];

/**
 * Notes what has no docstring, neither its own nor one of what it implements. A constant says itself
 * what it is, a table has the kernel's names, and symbols have the meaning that the language gives
 * them.
 */
function noteUndocumented(symbol, node, path) {
  if (symbol.getDocumentationComment(checker).length > 0) return;
  const type = checker.getTypeOfSymbolAtLocation(symbol, node);
  if (ts.isSourceFile(node) || type.isLiteral() || isTable(type, node)) return;
  if (!path.includes('[Symbol.')) undocumented.push(path);
}

function* membersOf(node, seen = new Set()) {
  for (const member of node.members.filter(isShown)) {
    if (ts.isConstructorDeclaration(member)) {
      const isPublic = (ts.getCombinedModifierFlags(member) & hidden) === 0;
      const parameters = member.parameters.map((one) => printed(one)).join(', ');
      if (isPublic) yield `constructor(${parameters})`;
      continue;
    }
    if (member.name === undefined) {
      yield printed(member).replace(/;$/, '');
      continue;
    }
    const symbol = checker.getSymbolAtLocation(member.name);
    if (seen.has(symbol.name)) continue;
    seen.add(symbol.name);
    noteUndocumented(symbol, member, `${node.name.text}.${member.name.getText()}`);
    const flags = ts.getCombinedModifierFlags(member);
    const isReadonly =
      (flags & ts.ModifierFlags.Readonly) !== 0 ||
      (ts.isGetAccessor(member) && !symbol.declarations.some(ts.isSetAccessor));
    const words = [
      ...((flags & ts.ModifierFlags.Static) !== 0 ? ['static '] : []),
      ...(isReadonly ? ['readonly '] : []),
    ].join('');
    const optional = member.questionToken === undefined ? '' : '?';
    const name = `${words}${member.name.getText()}${optional}`;
    if (ts.isMethodDeclaration(member) || ts.isMethodSignature(member)) {
      for (const signature of signatures(symbol, member)) yield `${name}${signature}`;
    } else {
      const written = member.type === undefined ? undefined : printed(member.type);
      const type = written ?? typeText(checker.getTypeOfSymbolAtLocation(symbol, member), member);
      yield `${name}: ${type}`;
    }
  }
  for (const base of basesOf(node)) yield* membersOf(base, seen);
}

/** The names in a table of constants, whose values have tests of their own; of a row, its fields. */
function tableText(type, node) {
  const fields = type.getProperty('fields');
  if (fields !== undefined) return tableText(checker.getTypeOfSymbolAtLocation(fields, node), node);
  const names = type.getProperties().map(({ name }) => name);
  return `{ ${names.join(', ')} }`;
}

/** Whether it is an object without a type that somebody has written. */
function isTable(type, node) {
  const isObject = (type.flags & ts.TypeFlags.Object) !== 0;
  return isObject && type.getCallSignatures().length === 0 && node.type === undefined;
}

function* exported(symbol, indent = '') {
  const aliased = target(symbol);
  const { name } = symbol;
  noteUndocumented(aliased, aliased.declarations[0], name);
  for (const node of new Set(aliased.declarations)) {
    if (ts.isSourceFile(node)) {
      yield `${indent}namespace ${name}`;
      for (const one of exportsOf(aliased)) {
        yield* exported(one, `${indent}  `);
      }
    } else if (ts.isClassDeclaration(node) || ts.isInterfaceDeclaration(node)) {
      yield `${indent}${ts.isClassDeclaration(node) ? 'class' : 'interface'} ${name}${heading(node)}`;
      for (const member of membersOf(node)) yield `${indent}  ${member}`;
    } else if (ts.isTypeAliasDeclaration(node)) {
      yield `${indent}type ${name}${heading(node)} = ${printed(node.type)}`;
    } else if (ts.isFunctionDeclaration(node)) {
      if (node.body !== undefined && aliased.declarations.length > 1) continue;
      const signature = checker.getSignatureFromDeclaration(node);
      yield `${indent}function ${name}${oneLine(checker.signatureToString(signature, node, FORMAT))}`;
    } else {
      const type = checker.getTypeOfSymbolAtLocation(aliased, node);
      yield `${indent}const ${name}: ${isTable(type, node) ? tableText(type, node) : typeText(type, node)}`;
    }
  }
}

const modules = sources.map(([name, path]) => {
  const module = checker.getSymbolAtLocation(program.getSourceFile(path));
  return [name, exportsOf(module)];
});
const exportedSymbols = new Set(modules.flatMap(([, symbols]) => symbols.map(target)));
const lines = modules.flatMap(([name, symbols]) => [
  ...[`# ${name}`, ''],
  ...symbols.flatMap((symbol) => [...exported(symbol)]),
  '',
]);
const text = `${lines.join('\n').trimEnd()}\n`;

for (const path of new Set(undocumented)) {
  console.error(`${path} is public and has no docstring`);
  process.exitCode = 1;
}

if (!process.argv.includes('--check')) writeFileSync(FILE, text);
else if (text !== readFileSync(FILE, 'utf8')) {
  console.error(`${FILE}: the public API has changed; run "npm run api" and review the difference`);
  process.exitCode = 1;
}
