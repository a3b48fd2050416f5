#!/usr/bin/env node
/*
 * What "waep" starts: the command itself, command.cjs beside this, from the code that V8 made of it
 * the last time. Compiling takes a third of the start of "waep run".
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';
import { cacheFolder } from '../src/paths.js';

const OTHERS_MAY_WRITE = 0o022;
const HASH_CHARACTERS = 40;

const path = fileURLToPath(new URL('command.cjs', import.meta.url));
const folder = codeFolder();
/** Subcommands have little code in common that others could use. */
const kept = join(folder, /^[a-z-]+$/.exec(process.argv[2] ?? '')?.[0] ?? 'waep');

/** Where code is kept. Without a place, the command says what is wrong when it needs one itself. */
function codeFolder(): string {
  try {
    return join(cacheFolder(), 'code');
  } catch {
    return '/nonexistent';
  }
}

/** What the code was made of, and by whom: V8 looks at the length of the source only. */
function identityOf(file: string): string {
  const { ctimeNs, size } = statSync(file, { bigint: true });
  return `${JSON.stringify([process.version, process.arch, file, `${ctimeNs}`, `${size}`])}\n`;
}

function isPrivate({ uid, mode }: { uid: number; mode: number }): boolean {
  return uid === process.getuid?.() && (mode & OTHERS_MAY_WRITE) === 0;
}

/** V8 ends the process at code that is damaged: it does not look at its own checksum. */
function hashOf(code: Uint8Array): string {
  return createHash('sha1').update(code).digest('hex');
}

/** The code that was kept, if there is any, whole, that nobody else can have written. */
function readCode(identity: string): Buffer | undefined {
  try {
    if (!isPrivate(statSync(folder))) return undefined;
    const fd = openSync(kept, 'r');
    try {
      const bytes = isPrivate(fstatSync(fd)) ? readFileSync(fd) : Buffer.alloc(0);
      const header = bytes.subarray(0, identity.length + HASH_CHARACTERS);
      const code = bytes.subarray(header.length);
      return header.toString('latin1') === identity + hashOf(code) ? code : undefined;
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined;
  }
}

/** Keeps code for the next time. Without a place to keep it in, the command starts as it did. */
function writeCode(identity: string, code: Buffer): void {
  const draft = `${kept}.${process.pid}`;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (!isPrivate(statSync(folder))) return;
    const header = Buffer.from(identity + hashOf(code), 'latin1');
    writeFileSync(draft, Buffer.concat([header, code]), { flag: 'wx', mode: 0o600 });
    renameSync(draft, kept);
  } catch {
    try {
      rmSync(draft, { force: true });
    } catch {
      // By now this process may be a user that cannot even look there.
    }
  }
}

const identity = identityOf(path);
const cachedData = readCode(identity);
const parameters = 'exports, require, module, __filename, __dirname';
// The bundle is ASCII, which is read and kept as one byte a character in this way.
const source = `(function (${parameters}) {${readFileSync(path, 'latin1')}\n})`;
const script = new Script(source, { filename: path, ...(cachedData && { cachedData }) });
if (cachedData === undefined || script.cachedDataRejected === true) {
  // With all that has been compiled by then.
  process.once('exit', () => writeCode(identity, script.createCachedData()));
}
const command = { exports: {} };
const here = fileURLToPath(new URL('.', import.meta.url));
script.runInThisContext()(command.exports, createRequire(path), command, path, here);
