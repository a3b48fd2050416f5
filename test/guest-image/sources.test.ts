import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { deriveSource, fetchPackage } from '../../guest/image/debian.js';

t.test('a one-line source lends its archive and key', async (t) => {
  const text = [
    '# deb http://old.example/debian bookworm main',
    'deb http://security.example/debian-security bookworm-security main',
    'deb [arch=amd64 signed-by=/keys/debian.gpg] http://archive.example/debian bookworm main contrib',
  ].join('\n');
  t.equal(
    deriveSource([text], 'bookworm', 'unstable'),
    'deb [signed-by=/keys/debian.gpg] http://archive.example/debian unstable main\n',
  );
});

t.test('so does a deb822 stanza, among others', async (t) => {
  const text = `
Types: deb
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main

Types: deb deb-src
# a comment
URIs: http://archive.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /keys/debian.gpg
`;
  t.equal(
    deriveSource(['', text], 'bookworm', 'bullseye'),
    'deb [signed-by=/keys/debian.gpg] http://archive.example/debian bullseye main\n',
  );
});

t.test('without a source of this release there is nothing to derive from', async (t) => {
  t.throws(() => deriveSource(['deb http://a.example/x focal main'], 'bookworm', 'unstable'), {
    message: 'no configured package source has the suite bookworm',
  });
});

t.test('an apt-get that hangs is given up', async (t) => {
  const folder = t.testdir({
    bin: { 'apt-get': '#!/bin/sh\necho connecting\nexec sleep 600\n' },
    cache: {},
  });
  chmodSync(join(folder, 'bin/apt-get'), 0o755);
  const before = { ...process.env };
  t.teardown(() => {
    process.env = before;
  });
  process.env.PATH = `${join(folder, 'bin')}:${before.PATH}`;
  process.env.WAEP_CACHE_DIR = join(folder, 'cache');
  await t.rejects(fetchPackage('bpftool', { suite: 'unstable', deadlineMs: 1000 }), {
    code: 'ERR_PACKAGE_UNAVAILABLE',
    message: /apt-get .*it had not ended after 1 s\nconnecting/s,
  });
});
