import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { filesOfLayer, wearing } from './newer-tools.js';

const skip = process.getuid?.() === 0 ? false : 'only root makes overlays';

t.test('a layer lies over /usr for its command, and over nothing else', { skip }, async (t) => {
  const names = ['upper:layer', 'lower'];
  const layerOf = (name: string) => ({
    usr: { share: { 'waep-layers': { [name]: '', both: name } } },
  });
  const folders = t.testdir(Object.fromEntries(names.map((name) => [name, layerOf(name)])));
  const layers = names.map((name) => ({ version: '1', folder: join(folders, name) }));
  const folder = '/usr/share/waep-layers';
  const [program = '', ...words] = [
    ...wearing(layers),
    'sh',
    '-c',
    `ls ${folder}; cat ${folder}/both`,
  ];
  const { status, stdout, stderr } = spawnSync(program, words, { encoding: 'utf8' });
  t.same(
    { status, stdout, stderr },
    {
      ...{ status: 0, stdout: 'both\nlower\nupper:layer\nupper:layer', stderr: '' },
    },
  );
  t.notOk(existsSync(folder));
  t.same(wearing([]), []);
});

t.test('a guest gets the files and links of a layer, without its documentation', async (t) => {
  const folder = t.testdir({
    usr: {
      bin: { tool: 'a program' },
      lib: { 'libx.so.1': t.fixture('symlink', 'libx.so.1.2'), 'libx.so.1.2': 'a library' },
      share: { doc: { tool: { copyright: '' } } },
    },
  });
  t.same(await filesOfLayer({ version: '1', folder }), {
    '/usr/bin/tool': { source: join(folder, 'usr/bin/tool'), mode: 0o755 },
    '/usr/lib/libx.so.1': { link: 'libx.so.1.2' },
    '/usr/lib/libx.so.1.2': { source: join(folder, 'usr/lib/libx.so.1.2'), mode: 0o755 },
  });
});
