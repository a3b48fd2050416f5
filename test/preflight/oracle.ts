/* What bpftool says of a kernel, in the guest itself, beside what preflight says from outside. */
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fetchPackage } from '../../guest/image/debian.js';
import { sharedLibraries } from '../../guest/image/libraries.js';
import type { Guest, GuestFile } from '../../guest/index.js';
import type { HelperFinding, Preflight } from '../../src/kernel/index.js';

/** A bpftool: what it consists of, how it is run in a guest and here, and the names in it. */
export interface Bpftool {
  readonly files: Readonly<Record<string, GuestFile>>;
  readonly command: readonly string[];
  readonly onHost: readonly string[];
  readonly program: Buffer;
}

const INSTALLED = '/usr/sbin/bpftool';

/** The one of this machine. */
export async function installedBpftool(): Promise<Bpftool> {
  const paths = [INSTALLED, ...(await sharedLibraries([INSTALLED]))];
  return {
    files: Object.fromEntries(paths.map((source) => [source, { source, mode: 0o755 }])),
    command: [INSTALLED],
    onHost: [INSTALLED],
    program: await readFile(INSTALLED),
  };
}

/** That of another suite, with the libraries of that suite, which are newer than this machine's. */
export async function bpftoolOf(suite: string): Promise<Bpftool> {
  const folder = '/usr/lib/bpftool';
  const [tool = '', loader = '', ...libraries] = await Promise.all(
    [
      ['bpftool', 'usr/sbin/bpftool'],
      ['libc6', 'usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2'],
      ['libc6', 'usr/lib/x86_64-linux-gnu/libc.so.6'],
      ['libelf1t64', 'usr/lib/x86_64-linux-gnu/libelf.so.1'],
      ['libssl3t64', 'usr/lib/x86_64-linux-gnu/libcrypto.so.3'],
      ['zlib1g', 'usr/lib/x86_64-linux-gnu/libz.so.1'],
      ['libzstd1', 'usr/lib/x86_64-linux-gnu/libzstd.so.1'],
      ['libcap2', 'usr/lib/x86_64-linux-gnu/libcap.so.2'],
    ].map(async ([name = '', path = '']) =>
      join((await fetchPackage(name, { suite })).folder, path),
    ),
  );
  const own = [tool, loader, ...libraries];
  const inGuest = (path: string) => `${folder}/${basename(path)}`;
  return {
    files: Object.fromEntries(own.map((source) => [inGuest(source), { source, mode: 0o755 }])),
    command: [`${folder}/ld-linux-x86-64.so.2`, '--library-path', folder, `${folder}/bpftool`],
    onHost: [loader, '--library-path', libraries.map((path) => dirname(path)).join(':'), tool],
    program: await readFile(tool),
  };
}

/** `bpftool -j feature probe full`, as far as it is compared. */
export interface Features {
  readonly program_types: Readonly<Record<string, boolean>>;
  readonly map_types: Readonly<Record<string, boolean>>;
  /** The helpers of each program type, or what is said in their place. */
  readonly helpers: Readonly<Record<string, readonly string[] | string>>;
}

export async function featuresOf(guest: Guest, { command }: Bpftool): Promise<Features> {
  const words = [...command, '-j', 'feature', 'probe', 'full'];
  const { stdout, stderr, status } = await guest.exec(words, { timeoutMs: 300_000 });
  if (status === 0) return JSON.parse(stdout) as Features;
  throw new Error(`bpftool ended with status ${status}: ${stderr}`);
}

/** What bpftool and preflight say of a kernel that is not the same. */
export interface Comparison {
  /** Lines such as `map type arena: bpftool no, preflight yes`. */
  readonly differences: readonly string[];
  /** What bpftool has no question for, such as `map type arena` or `helpers of lsm`. */
  readonly notAsked: readonly string[];
  /** How many questions both have answered alike. */
  readonly alike: number;
}

export function comparison(features: Features, found: Preflight, { program }: Bpftool): Comparison {
  const differences: string[] = [];
  const notAsked: string[] = [];
  let alike = 0;
  const compare = (what: string, theirs: boolean | undefined, ours: boolean | undefined) => {
    if (theirs === undefined) notAsked.push(what);
    else if (theirs === ours) alike++;
    else differences.push(`${what}: bpftool ${said(theirs)}, preflight ${said(ours)}`);
  };
  for (const { name, offered } of found.programTypes) {
    compare(`program type ${name}`, features.program_types[`have_${name}_prog_type`], offered);
  }
  for (const { name, offered } of found.mapTypes) {
    compare(`map type ${name}`, features.map_types[`have_${name}_map_type`], offered);
  }
  const knows = (helper: string) => program.includes(`\0${helper}\0`);
  const [known, unknown] = [true, false].map((is) =>
    found.helpers.filter(({ name }) => knows(name) === is),
  ) as [HelperFinding[], HelperFinding[]];
  notAsked.push(...unknown.map(({ name }) => `helper ${name}`));
  for (const { name: type, offered } of found.programTypes) {
    if (offered !== true) continue;
    const theirs = features.helpers[`${type}_available_helpers`];
    if (!Array.isArray(theirs) || theirs.length === 0) notAsked.push(`helpers of ${type}`);
    else {
      for (const { name, programTypes } of known) {
        const ours = found.helpersNotAskedOf[type] === undefined && programTypes.includes(type);
        compare(`helper ${name} of ${type}`, theirs.includes(name), ours);
      }
    }
  }
  return { differences, notAsked, alike };
}

function said(answer: boolean | undefined): string {
  return answer === undefined ? 'not known' : answer ? 'yes' : 'no';
}

/** What bpftool does not ask of kernels that have it, and why. */
export const unaskedByBpftool: readonly string[] = [
  // Programs of these types cannot be loaded without what they are for, and libbpf has nothing.
  ...['tracing', 'struct_ops', 'ext', 'lsm'].map((type) => `helpers of ${type}`),
  // That of Debian 12, 7.1, is of Linux 6.1: these are newer.
  'program type netfilter',
  ...['cgrp_storage', 'arena', 'insn_array', 'rhash'].map((type) => `map type ${type}`),
  ...['bpf_cgrp_storage_get', 'bpf_cgrp_storage_delete'].map((name) => `helper ${name}`),
  'helpers of netfilter',
];

/**
 * Where bpftool is wrong: it asks programs for BPF_CGROUP_GETSOCKOPT only, and since 5.15 those for
 * BPF_CGROUP_SETSOCKOPT may call two helpers more (cg_sockopt_func_proto() in kernel/bpf/cgroup.c).
 */
export const wrongOfBpftool: readonly string[] = ['bpf_setsockopt', 'bpf_getsockopt'].map(
  (name) => `helper ${name} of cgroup_sockopt: bpftool no, preflight yes`,
);

/**
 * Linux 7.2 needs the instruction cmpxchg16b to make an arena (kmalloc_nolock() in mm/slub.c), and
 * emulated guests lack it. The kernel answers ENOMEM, and bpftool takes that for a kernel without
 * arenas.
 */
export const arenaWithoutMemory = 'map type arena: bpftool no, preflight yes';
