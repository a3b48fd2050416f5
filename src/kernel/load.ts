import { type Arguments, enums, type Ref, rows } from '../bpf/index.js';
import type { BtfKind, BtfTypes } from '../btf/index.js';
import { failure } from '../errors.js';
import { type OptionNames, refuseUnknownOptions } from '../known-options.js';
import type { Patience } from '../session/caller.js';
import { patient } from './bpf-calls.js';
import { type Btf, kernelTypes } from './btf.js';
import type { GuestKernel } from './guest-kernel.js';
import { readProgramInfo } from './info.js';
import { checkName } from './object-name.js';
import { open, type Where } from './objects.js';
import { Program } from './program.js';
import { withLog } from './verifier-log.js';

/** Records of one size, as compilers put them beside a program. */
export interface Records {
  /** All records, one after the other. */
  readonly bytes: Uint8Array;
  /** The bytes of one. */
  readonly recordBytes: number;
}

/** Options of `loadProgram`. */
export interface ProgramOptions extends Patience {
  /** `BPF_PROG_TYPE_*`, such as `enums.ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT`. */
  type: number;
  /** The instructions, 8 bytes each; map references hold handles where local ones hold fds. */
  instructions: Uint8Array;
  /** Decides which helpers the program may call. */
  license: string;
  /** At most 15 letters, digits, `_` and `.`; shown by bpftool, and by errors. */
  name?: string;
  /** `BPF_*` attach type, for the program types that want it at load time. */
  expectedAttachType?: number;
  /** `BPF_F_*` of BPF_PROG_LOAD, such as `enums.ProgFlag.BPF_F_SLEEPABLE`. Default 0. */
  flags?: number;
  /**
   * The target of a TRACING, LSM or EXT program, by name: a function for FENTRY, FEXIT and
   * MODIFY_RETURN, a tracepoint for TRACE_RAW_TP, an iterator's target such as `task` for
   * TRACE_ITER, a hook such as `file_open` for LSM; or a function of `attachProgram`. It is looked
   * up in the types of the guest's kernel, which are fetched once for a session.
   */
  attachTo?: string;
  /** The same as a type's id, for who knows it. */
  attachBtfId?: number;
  /** The types of the module that `attachBtfId` is one of; by default the kernel's own. */
  attachBtf?: Btf;
  /** The program that an EXT program replaces a function of, or that FENTRY and FEXIT watch. */
  attachProgram?: Program;
  /** The types of the program itself, for `functions` and `lines`. */
  btf?: Ref<'btf'>;
  /** `struct bpf_func_info`s: which type each function has. */
  functions?: Records;
  /** `struct bpf_line_info`s: which source line each instruction comes from. */
  lines?: Records;
  /** `struct bpf_core_relo`s, for the kernel to apply. */
  coreRelocations?: Records;
  /** Objects that instructions name by an index instead of a handle. */
  objects?: readonly Ref<'map' | 'btf'>[];
  /** The network interface whose device is to run the program. */
  interfaceIndex?: number;
  /**
   * How much of the verifier's log to ask for: 1 explains refusals, 2 everything, 4 statistics
   * only, 0 nothing. Default 0, and when the program is refused a second attempt with 1.
   */
  logLevel?: number;
}

const optionNames: OptionNames<ProgramOptions> = {
  type: true,
  instructions: true,
  license: true,
  name: true,
  expectedAttachType: true,
  flags: true,
  attachTo: true,
  attachBtfId: true,
  attachBtf: true,
  attachProgram: true,
  btf: true,
  functions: true,
  lines: true,
  coreRelocations: true,
  objects: true,
  interfaceIndex: true,
  logLevel: true,
  timeoutMs: true,
  signal: true,
};

/** Has a program verified and loaded; see {@link Session.loadProgram}. */
export async function loadProgram(session: GuestKernel, options: ProgramOptions): Promise<Program> {
  refuseUnknownOptions('loadProgram()', options, optionNames);
  const { type, name = '', expectedAttachType = 0 } = options;
  checkName(name);
  const subject = name === '' ? undefined : `program "${name}"`;
  const about = patient({ subject }, options);
  const values = await loadArguments(session, options);
  const { handle, log_buf: log = '' } = await withLog(options.logLevel ?? 0, (level, bytes) => {
    const room = bytes === 0 ? {} : { log_level: level, log_size: bytes };
    return session.bpf(rows.PROG_LOAD, { ...values, ...room }, about);
  });
  return new Program(session, handle, { type, expectedAttachType, name, log });
}

/** Opens a program that is there already; see {@link Session.program}. */
export async function openProgram(
  session: GuestKernel,
  where: Where,
  patience: Patience,
): Promise<Program> {
  const handle = await open(session, 'prog', where, { patience });
  const { type, name } = await readProgramInfo(session, { handle }, patient({}, patience));
  return new Program(session, handle, { type, name, expectedAttachType: 0, log: '' });
}

async function loadArguments(
  session: GuestKernel,
  options: ProgramOptions,
): Promise<Arguments<typeof rows.PROG_LOAD>> {
  const { functions, lines, coreRelocations, attachProgram, attachBtf } = options;
  const attachBtfId =
    options.attachTo === undefined ? options.attachBtfId : await target(session, options);
  return {
    prog_type: options.type,
    insns: options.instructions,
    license: options.license,
    prog_name: options.name ?? '',
    expected_attach_type: options.expectedAttachType ?? 0,
    prog_flags: options.flags ?? 0,
    ...(attachBtfId === undefined ? {} : { attach_btf_id: attachBtfId }),
    ...(attachProgram === undefined ? {} : { attach_prog_fd: attachProgram }),
    ...(attachBtf === undefined ? {} : { attach_btf_obj_fd: attachBtf }),
    ...(options.btf === undefined ? {} : { prog_btf_fd: options.btf }),
    ...(functions === undefined
      ? {}
      : { func_info: functions.bytes, func_info_rec_size: functions.recordBytes }),
    ...(lines === undefined
      ? {}
      : { line_info: lines.bytes, line_info_rec_size: lines.recordBytes }),
    ...(coreRelocations === undefined
      ? {}
      : { core_relos: coreRelocations.bytes, core_relo_rec_size: coreRelocations.recordBytes }),
    ...(options.objects === undefined ? {} : { fd_array: options.objects }),
    ...(options.interfaceIndex === undefined ? {} : { prog_ifindex: options.interfaceIndex }),
  };
}

const { AttachType } = enums;

/** How the kernel names what a program attaches to: check_attach_btf_id() in the verifier. */
const targets: { readonly [attachType: number]: readonly [kind: BtfKind, prefix: string] } = {
  [AttachType.BPF_TRACE_RAW_TP]: ['typedef', 'btf_trace_'],
  [AttachType.BPF_TRACE_ITER]: ['func', 'bpf_iter_'],
  [AttachType.BPF_LSM_MAC]: ['func', 'bpf_lsm_'],
  [AttachType.BPF_LSM_CGROUP]: ['func', 'bpf_lsm_'],
};

async function target(session: GuestKernel, options: ProgramOptions): Promise<number> {
  const { attachTo = '', attachProgram, attachBtf, expectedAttachType = 0 } = options;
  const inProgram = attachProgram !== undefined;
  const [kind, prefix] = (inProgram ? undefined : targets[expectedAttachType]) ?? ['func', ''];
  const types = await (inProgram ? attachProgram.types() : typesOf(session, attachBtf));
  const id = types.find(kind, `${prefix}${attachTo}`);
  if (id !== undefined) return id;
  throw failure('ERR_BTF_TYPE', {
    type: `${kind} ${prefix}${attachTo}`,
    why: `${inProgram ? String(attachProgram) : 'the guest’s kernel'} has no such thing`,
    cure: 'Choose another target, or give attachBtf for what is in a module.',
  });
}

async function typesOf(session: GuestKernel, module: Btf | undefined): Promise<BtfTypes> {
  const kernel = await kernelTypes(session);
  return module === undefined ? kernel : module.types(kernel);
}
