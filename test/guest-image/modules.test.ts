import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { readModules } from '../../guest/image/modules.js';

function moduleText(depends: string): string {
  return `\x7fELF…\0license=GPL\0depends=${depends}\0vermagic=6.1\0`;
}

const tree = {
  'modules.builtin': 'kernel/lib/built-in.ko\n',
  kernel: {
    net: {
      'top.ko': moduleText('left,right-side,built_in'),
      'left.ko': moduleText('bottom'),
    },
    lib: {
      'right-side.ko': moduleText('bottom'),
      'bottom.ko': moduleText(''),
      'stray.ko': moduleText(''),
    },
  },
};

t.test('dependencies come first, once, and only those that are needed', async (t) => {
  const modules = await readModules(t.testdir(tree), ['top', 'bottom']);
  t.same(
    modules.map(({ name }) => name),
    ['bottom', 'left', 'right_side', 'top'],
  );
});

t.test('a compressed module is read like any other', async (t) => {
  const folder = t.testdir(tree);
  execFileSync('xz', [join(folder, 'kernel/lib/bottom.ko')]);
  const [bottom] = await readModules(folder, ['bottom']);
  t.equal(Buffer.from(bottom?.content ?? []).toString(), moduleText(''));
});

t.test('a module that is nowhere is named', async (t) => {
  const folder = t.testdir(tree);
  await t.rejects(readModules(folder, ['missing']), {
    code: 'ERR_KERNEL_MODULE',
    detail: { module: 'missing', folder },
  });
  t.same(await readModules(folder, ['built-in']), [], 'unless it is built into the kernel');
});
