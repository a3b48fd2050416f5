/* Why tests that pass in the guest do not pass under `waep run`. */
interface Reason {
  /** The test, as `PACKAGE/TEST`. */
  readonly test: RegExp;
  /** What the test says under `waep run`. */
  readonly says: RegExp;
  readonly why: string;
}

const reasons: readonly Reason[] = [
  {
    test: /^link\/Test(KprobeCreatePMU|KprobePMUUnavailable|KprobeTraceFS|UprobeWithPID|UprobeProgramWrongPID)$/,
    says: /opening (tracepoint )?perf event: operation not supported/,
    why: 'The test sets a probe of its own process, which does not run in the guest, and waep refuses that by name.',
  },
  {
    test: /^link\/TestSkLookup$/,
    says: /can't create link: invalid argument/,
    why: "The test attaches to the network namespace of its own process, which is the host's, and waep refuses that by name; a namespace by a path of the guest, such as /proc/1/ns/net, is accepted.",
  },
  {
    test: /^link\/TestSocketFilterAttach$/,
    says: /operation not supported/,
    why: 'A socket of the test cannot run a program of the guest, and waep refuses that by name.',
  },
  {
    test: /^test_verifier\/\S.* calls: wrong src reg$/,
    says: /EXP: BPF_CALL uses reserved fields/,
    why: 'The instruction is a kind of call that no kernel has, and the agent refuses that by its rule descriptors before the verifier sees it.',
  },
  {
    test: /^test_maps\/.*(sockmap|reuseport_array|sk_storage_map)$/,
    says: /update sockmap|err:-95/,
    why: 'A socket of the test cannot be an element of a map of the guest, and waep refuses that by name.',
  },
  {
    test: /^test_progs\//,
    says: /mount cgroup2|mount\(2\) of|remount-private-sys/,
    why: 'The test mounts control groups for its own process, and waep refuses that by name.',
  },
  {
    test: /^test_progs\/cgroup_iter\//,
    says: /^$/,
    why: 'The test mounts control groups for its own process, and waep refuses that by name; its parts then do not begin.',
  },
  {
    test: /^test_progs\/(atomics|fentry_fexit|fentry_test|fexit_sleep|fexit_test|kfunc_call|ksyms_btf|map_ptr|ringbuf|trace_v?printk|verif_stats)(\/|$)/,
    says: /lskel|-95|skel_load/,
    why: 'The loader of a light skeleton makes its calls in the kernel, where descriptors of the host mean nothing, and waep refuses that by name.',
  },
  {
    test: /^test_progs\//,
    says: /SO_ATTACH_|holds sockets|update_elem\((src|sk_stg_map)\)|map_update(_elem|\(\w+\))? unexpected error: -95|map_update: (expected EINVAL: )?Operation not supported/,
    why: 'A socket of the test can neither run a program of the guest nor be an element of its maps, and waep refuses that by name.',
  },
  {
    test: /^test_progs\//,
    says: /writing to \/proc\/sys|open\(sysctl\)|setup_fastopen|open bpf_jit_harden|set_perf_event_paranoid/,
    why: "The test changes a setting of the kernel below /proc/sys, and waep refuses that by name; the guest's files can only be read.",
  },
  {
    test: /^test_progs\/(sk_lookup|sock_fields|xdp_(info|link|cpumap_attach|devmap_attach)|flow_dissector_reattach)/,
    says: /netlink|ip -6 addr|-95|errno=95|setns\(2\)/,
    why: 'The test acts on interfaces or the network namespace of its own process by netlink(7) or setns(2), and waep refuses that by name.',
  },
  {
    test: /^test_progs\/(attach_probe|bpf_iter\/(task_(tid|pid|pidfd|file|vma)|vma_offset)|find_vma|pe_preserve_elems|send_signal|task_pt_regs|uprobe_autoattach|usdt)/,
    says: /-95|-9\b|Operation not supported|perf_event_open|incorrect result/,
    why: 'The test names its own process, or probes it, which does not run in the guest, and waep refuses that by name.',
  },
  {
    test: /^test_progs\/bpf_iter\/overflow-e2big$/,
    says: /but get ret 0/,
    why: "An iterator's output comes through a pipe, which ends early at an error of the iterator; waep names the error on standard error.",
  },
  {
    test: /^test_maps\/preallocated\/hashmap_walk$/,
    says: /^$/,
    why: 'Forwarded to an emulated guest on a busy machine, the test of 40,000 calls does not end within its 300 s.',
  },
  {
    test: /^test_progs\/(bpf_iter|htab_update|map_lock|module_attach|verif_twfw)$/,
    says: /^no end within/,
    why: 'Forwarded to an emulated guest on a busy machine, the test does not end within its time.',
  },
  {
    test: /^test_progs\/(dummy_st_ops\/dummy_init_ptr_arg|syscall)$/,
    says: /error: -14|4294967282/,
    why: "The context of the test run has pointers to the test's memory, which the guest does not have.",
  },
  {
    test: /^test_progs\/(lookup_key|kfunc_dynptr_param\/dynptr_data_null|htab_update\/reenter_update)$/,
    says: /bpf_prog_get_next_id: actual 0|actual 0 != expected -74|no reentrancy: actual 0/,
    why: "The program acts on the bpf(2) calls of the test's process, and the agent makes them in a process of its own.",
  },
  {
    test: /^test_progs\/kfunc_call\/destructive$/,
    says: /Permission denied/,
    why: 'The kernel function needs CAP_SYS_BOOT, which the executors of the agent have given up.',
  },
  {
    test: /^test_progs\/(mmap|user_ringbuf\/test_user_ringbuf_mappings)$/,
    says: /FAIL:(mprotect_wr|(write|exec)_cons_pos_protect)/,
    why: 'What stands in for a mapped map is shared memory, which mprotect(2) can make writable.',
  },
  {
    test: /^test_progs\/test_bprm_opts$/,
    says: /run_set_secureexec/,
    why: 'The test names its own process by a pidfd, and waep refuses the descriptor of a process by name.',
  },
  {
    test: /^test_progs\/task_local_storage\/sys_enter_exit$/,
    says: /enter_cnt: actual 6 != expected 3/,
    why: 'The test counts its system calls in .bss, which waep keeps equal every 50 ms. With the waits of patient.c it counts those of waiting as well.',
  },
  {
    test: /^test_progs\/user_ringbuf\/test_user_ringbuf_blocking_reserve$/,
    says: /FAIL:pre_kick_timeout_token/,
    why: 'The ring of the program is not that of the guest, and waep moves samples from one to the other. So there is room for more of them than natively.',
  },
  {
    test: /^test_progs\/user_ringbuf\//,
    says: /FAIL:(err_after_bad_sample|num_samples_read(_after)?|max_entries|current_batched_entries|expected_kern|num_discarded|num_samples_read_properly_ignored) /,
    why: "The test makes getpgid(2) with the id that its register happens to hold, and waep refuses the id of any process but the test's own. So the program that waits for the call does not run.",
  },
  {
    test: /^test_progs\/usdt$/,
    says: /^/,
    why: 'The test does not end within its 60 s in the guest. Forwarded it ends, because waep refuses probes of its own process by name.',
  },
  {
    test: /^test_progs\/probe_user$/,
    says: /failed to create BPF link|wrong kprobe res/,
    why: 'The program writes into the arguments of every connect(2) of its kernel. Within the guest, those of waep are among them.',
  },
  {
    test: /^test_progs\/core_kern_overflow_lskel$/,
    says: /^/,
    why: 'waep refuses the loader of the light skeleton by name, and the test expects a failure.',
  },
];

/** The reason of a test that differs from the host alone, and meets no refusal there. */
export const ELSEWHERE =
  'The test passes forwarded within the guest. From the host its process, sockets and system calls are on the host, where the program in the guest does not see them.';

/** The reason of a test that differs within the guest, and does not if it waits around its calls. */
export const STALE =
  'The test expects what its program does at once, such as a change of .bss, and waep keeps copies of mapped maps equal every 50 ms. Within the guest the test ends as natively if it waits for 200 ms before and after calls that run its programs (patient.c).';

/** Returns why a test differs, or an empty text if nobody has named the reason. */
export function reasonOf(test: string, output: string): string {
  return reasons.find((reason) => reason.test.test(test) && reason.says.test(output))?.why ?? '';
}
