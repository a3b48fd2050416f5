/* What README.md shows of a policy is what the command line says of it. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { packageFolder } from '../../src/paths.js';

const readme = readFileSync(join(packageFolder, 'README.md'), 'utf8');

/** The code block of that language which begins so. */
function block(language: string, begin: string): string {
  const fence = `\`\`\`${language}\n`;
  const found = readme.split(fence).find((text) => text.startsWith(begin));
  if (found === undefined)
    throw new Error(`README.md has no ${language} that begins with ${begin}`);
  return found.slice(0, found.indexOf('```'));
}

t.test('the example of a policy', async (t) => {
  const policy = block('yaml', 'profile: observe\nname: web servers');
  const shown = block('console', '# npx waep policy check web.yaml');
  const folder = t.testdir({ 'web.yaml': policy });
  const waep = (line: string) => {
    const [, , ...args] = line.split(' ');
    const cli = join(packageFolder, 'dist/cli/waep.cjs');
    const { status, stdout, stderr } = spawnSync(process.execPath, [cli, ...args], {
      cwd: folder,
      encoding: 'utf8',
      env: { ...process.env, NO_COLOR: '1' },
    });
    return { status, output: stdout + stderr };
  };
  const commands = shown.split(/^# /m).slice(1);
  const output = new Map(
    commands.map((text) => {
      const [line = '', ...rest] = text.split('\n');
      return [line, rest.join('\n')] as const;
    }),
  );
  const explain = [...output.keys()].find((line) => line.includes('explain web.yaml --helper'));
  t.equal(waep(explain ?? '').output, output.get(explain ?? ''));
  const valid = waep('npx waep policy check web.yaml');
  t.equal(valid.status, 0, 'the example is valid');
  t.match(valid.output, /program_types.*web\.yaml:3/, 'and says what comes from where');
  writeFileSync(join(folder, 'web.yaml'), policy.replace('allow: [xdp]', 'allow: [xpd]'));
  const slip = waep('npx waep policy check web.yaml');
  t.equal(slip.status, 1);
  const told = output.get('npx waep policy check web.yaml')?.trim();
  t.match(told, /xpd/, 'README.md shows a slip of the pen');
  t.equal(slip.output.trim(), told, 'which is pointed at so');
});
