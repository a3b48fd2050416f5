#!/usr/bin/env node
/*
 * The start of "waep". It runs the command itself, run.cjs or command.cjs in the same folder, from
 * the code that V8 compiled the last time. Compiling would take a third of the start of "waep run".
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  fstatSync,
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
import { makeFolder, optionalCache } from '../src/paths.js';

const OTHERS_MAY_WRITE = 0o022;
const HASH_CHARACTERS = 40;

const file = process.argv[2] === 'run' ? 'run.cjs' : 'command.cjs';
const path = fileURLToPath(new URL(file, import.meta.url));
/** If there is none, the command itself reports the problem when it needs a folder. */
const folder = optionalCache('code');
/** Each subcommand has its own file of compiled code, because subcommands share little code. */
const kept = join(folder ?? '', /^[a-z-]+$/.exec(process.argv[2] ?? '')?.[0] ?? 'waep');

/**
 * Returns the identity of the source and of Node. V8 itself checks only the length of the source.
 */
function identityOf(file: string): string {
  const { ctimeNs, size } = statSync(file, { bigint: true });
  return `${JSON.stringify([process.version, process.arch, file, `${ctimeNs}`, `${size}`])}\n`;
}

function isPrivate({ uid, mode }: { uid: number; mode: number }): boolean {
  return uid === process.getuid?.() && (mode & OTHERS_MAY_WRITE) === 0;
}

/**
 * Returns a hash of compiled code. V8 does not check its own checksum, and damaged code would crash
 * the process.
 */
function hashOf(code: Uint8Array): string {
  return createHash('sha1').update(code).digest('hex');
}

/** Returns the kept code, if it is complete and nobody else can have written it. */
function readCode(identity: string): Buffer | undefined {
  if (folder === undefined) return undefined;
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

/**
 * Keeps compiled code for the next start. If there is no place for it, the next start compiles
 * again.
 */
function writeCode(identity: string, code: Buffer): void {
  if (folder === undefined) return;
  const draft = `${kept}.${process.pid}`;
  try {
    makeFolder(folder, { mode: 0o700 });
    if (!isPrivate(statSync(folder))) return;
    const header = Buffer.from(identity + hashOf(code), 'latin1');
    writeFileSync(draft, Buffer.concat([header, code]), { flag: 'wx', mode: 0o600 });
    renameSync(draft, kept);
  } catch {
    try {
      rmSync(draft, { force: true });
    } catch {
      // This process may have become a user that cannot even read the folder.
    }
  }
}

const identity = identityOf(path);
const cachedData = readCode(identity);
const parameters = 'exports, require, module, __filename, __dirname';
// The bundle is ASCII. Read as latin1, it takes one byte per character in V8.
const source = `(function (${parameters}) {${readFileSync(path, 'latin1')}\n})`;
const script = new Script(source, { filename: path, ...(cachedData && { cachedData }) });
if (cachedData === undefined || script.cachedDataRejected === true) {
  // At the exit, the code includes everything that was compiled until then.
  process.once('exit', () => writeCode(identity, script.createCachedData()));
}
const command = { exports: {} };
const here = fileURLToPath(new URL('.', import.meta.url));
script.runInThisContext()(command.exports, createRequire(path), command, path, here);
