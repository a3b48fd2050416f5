import { execFile } from 'node:child_process';
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { type Answer, answers, type Finding, kvmRefused, kvmTried } from '../../cli/doctor.js';
import { locate, toolsFor } from '../../guest/tool-table.mjs';
import { manager, table } from '../../guest/tools.js';
import { remember } from '../../guest/vm/qemu/accelerator.js';

const cli = fileURLToPath(new URL('../../cli/waep.cjs', import.meta.url));

interface Diagnosis {
  status: number | string;
  purposes: Answer[];
  findings: Finding[];
}

/** Asks on a machine that has what this one has for guests, and nothing else that is on the PATH. */
async function diagnose(t: Test, without: readonly string[] = []): Promise<Diagnosis> {
  const folder = t.testdir({ bin: {}, cache: {} });
  const rows = table.tools.filter(({ for: purposes }) => purposes.includes('guest'));
  // A kernel is fetched by apt-get, where it is there.
  for (const tool of [...rows.map(({ tool }) => tool), 'apt-get']) {
    const path = without.includes(tool) ? undefined : locate({ tool });
    if (path !== undefined) symlinkSync(path, join(folder, 'bin', tool));
  }
  const { PATH, WAEP_CACHE_DIR } = process.env;
  const env = { PATH: join(folder, 'bin'), WAEP_CACHE_DIR: join(folder, 'cache') };
  try {
    // No guest need be booted to find that out.
    process.env.WAEP_CACHE_DIR = env.WAEP_CACHE_DIR;
    await remember({ accelerator: 'tcg', why: 'it was tried' });
  } finally {
    process.env.PATH = PATH;
    if (WAEP_CACHE_DIR === undefined) delete process.env.WAEP_CACHE_DIR;
    else process.env.WAEP_CACHE_DIR = WAEP_CACHE_DIR;
  }
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [cli, 'doctor', '--json'],
      { env: { ...process.env, NODE_OPTIONS: '', ...env } },
      (error, stdout) => resolve({ status: error?.code ?? 0, ...JSON.parse(stdout) }),
    );
  });
}

const answer = ({ purposes }: Pick<Diagnosis, 'purposes'>, wanted: string) =>
  purposes.find(({ purpose }) => purpose === wanted);

t.test('what only other purposes need does not keep a guest from being booted', async (t) => {
  const found = await diagnose(t);
  t.equal(found.status, 0);
  t.match(answer(found, 'guest'), { ready: true, lacking: [], command: 'npx waep vm' });
  t.match(answer(found, 'compat'), { ready: false, command: 'npm run compat' });
  const go = found.findings.find(({ check }) => check === 'go');
  t.match(go, { status: 'lacking', neededFor: ['compat'] });
  t.match(
    found.findings.find(({ check }) => check === 'gzip'),
    { status: 'lacking', neededFor: ['bench', 'test', 'compat'] },
  );
  for (const { purpose, lacking } of found.purposes) {
    const needed = toolsFor(table, purpose, manager).map(({ tool }) => tool);
    t.same(
      lacking.filter((check) => !needed.includes(check)),
      [],
      `${purpose} lacks what the table has for it`,
    );
  }
});

t.test('what a guest needs does, and ldd is part of that', async (t) => {
  const found = await diagnose(t, ['ldd']);
  t.equal(found.status, 1);
  t.match(answer(found, 'guest'), { ready: false, lacking: ['ldd'] });
  for (const purpose of ['bench', 'test', 'compat'])
    t.match(answer(found, purpose), { ready: false });
  t.ok(answer(found, 'test')?.lacking.includes('ldd'));
  t.match(
    found.findings.find(({ check }) => check === 'KVM'),
    { status: 'lesser', found: /not tried|cannot be opened|no \/dev\/kvm/ },
  );
});

t.test('an answer follows from the findings alone', async (t) => {
  t.ok(answers([]).every(({ ready }) => ready));
  const disk: Finding = { check: 'disk', status: 'lacking', found: '', neededFor: ['guest'] };
  const purposes = answers([disk]);
  t.match(answer({ purposes }, 'guest'), { ready: false, lacking: ['disk'], cure: undefined });
  t.match(answer({ purposes }, 'fuzz'), { ready: true });
});

t.test('KVM: each cause has its own cure', async (t) => {
  const closed = '/dev/kvm cannot be opened (EACCES)';
  t.match(kvmRefused(closed, 'kvm', 'someone'), {
    status: 'lesser',
    found: closed,
    cure: /usermod -aG kvm someone/,
  });
  t.match(kvmRefused(closed, null, 'someone'), { cure: /setfacl -m u:someone:rw \/dev\/kvm/ });
  t.match(kvmRefused(closed, 'kvm', 'root'), { cure: /--device \/dev\/kvm/ });
  t.match(kvmRefused('there is none', undefined, 'someone'), { cure: /nested virtualisation/ });
  const works = { accelerator: 'kvm', why: 'a guest boots on it', proven: true } as const;
  t.match(kvmTried(works, 'kvm'), { status: 'ok', found: 'a guest boots on it' });
  t.match(kvmTried(works, 'kvm-software'), { status: 'lesser', found: /KVM in software/ });
  const failed = { accelerator: 'tcg', why: 'a guest does not boot on it', proven: true } as const;
  t.match(kvmTried(failed, 'kvm'), {
    status: 'lesser',
    found: /does not boot.*TCG/,
    cure: undefined,
  });
});
