// SPDX-License-Identifier: MIT
#include "restraint.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vector>

#include "../architecture.h"

namespace waep {
namespace {

// System call numbers from here on belong to the x32 ABI.
constexpr uint32_t kX32 = 0x40000000;
// Newer than the headers that this is built with: see the kernel's syscall_64.tbl.
constexpr uint32_t kMountSetattr = 442;
constexpr uint32_t kProcessMrelease = 448;

constexpr uint32_t kDenied[] = {
    // programs and processes
    SYS_execve, SYS_execveat, SYS_kill, SYS_tkill, SYS_pidfd_open, SYS_pidfd_getfd,
    SYS_pidfd_send_signal, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev,
    SYS_process_madvise, kProcessMrelease, SYS_kcmp,
    // the user and the rights of a process
    SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setfsuid,
    SYS_setfsgid, SYS_setgroups, SYS_capset, SYS_personality,
    // the place of a process: its namespaces, root and mounts
    SYS_unshare, SYS_setns, SYS_chroot, SYS_pivot_root, SYS_mount, SYS_umount2, SYS_move_mount,
    SYS_open_tree, SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick, kMountSetattr,
    // access to files without a path, and their owners
    SYS_open_by_handle_at, SYS_name_to_handle_at, SYS_mknodat, SYS_fchown, SYS_fchownat,
    SYS_quotactl, SYS_fanotify_init,
#ifdef __x86_64__
    // more of these, which other architectures do not have
    SYS_fork, SYS_vfork, SYS_mknod, SYS_chown, SYS_lchown, SYS_iopl, SYS_ioperm,
#endif
    // the kernel
    SYS_bpf, SYS_perf_event_open, SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register,
    SYS_userfaultfd, SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load,
    SYS_kexec_file_load, SYS_reboot, SYS_swapon, SYS_swapoff, SYS_syslog, SYS_acct, SYS_add_key,
    SYS_request_key, SYS_keyctl, SYS_settimeofday, SYS_clock_settime, SYS_adjtimex,
    SYS_clock_adjtime, SYS_sethostname, SYS_setdomainname, SYS_vhangup};

constexpr uint32_t Offset(size_t offset) { return static_cast<uint32_t>(offset); }

// Installs a filter for this process and what it starts. Returns 0 or a negative errno.
int Install(const std::vector<sock_filter>& filter, unsigned long flags) {
  // Kernels before 5.16 slow a process with a filter down otherwise, and all that it starts.
  flags |= SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  const sock_fprog program = {static_cast<unsigned short>(filter.size()),
                              const_cast<sock_filter*>(filter.data())};
  const long result = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
  // A positive result is the id of a thread that could not get the filter.
  return result < 0 ? -errno : result > 0 ? -ESRCH : 0;
}

}  // namespace

int Restrain() {
  const sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  const sock_filter deny = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
  std::vector<sock_filter> filter = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, Offset(offsetof(seccomp_data, arch))),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0),
      deny,
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, Offset(offsetof(seccomp_data, nr))),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kX32, 0, 1),
      deny,
      // Its flags are behind a pointer, so a filter cannot see them. The C library then calls
      // clone.
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, Offset(offsetof(seccomp_data, args))),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1),
      allow,
      deny,
  };
  for (const uint32_t number : kDenied) {
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
    filter.push_back(deny);
  }
  filter.push_back(allow);
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -errno;
  return Install(filter, SECCOMP_FILTER_FLAG_TSYNC);
}

int RefuseRings() {
  // Without a place for the result the call cannot succeed.
  if (::syscall(SYS_io_uring_setup, 1, nullptr) < 0 && errno == ENOSYS) return 0;
  const std::vector<sock_filter> filter = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, Offset(offsetof(seccomp_data, nr))),
      // The number is the same for each architecture, and with another bit for x32.
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, ~kX32),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  int error = Install(filter, 0);
  // Without CAP_SYS_ADMIN there must be no new privileges.
  if (error == -EACCES && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) error = Install(filter, 0);
  return error < 0 ? error : 1;
}

int Execute(const char* file, char* const* arguments) {
  // Node closes them for all programs but those to which it gives others.
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::fcntl(fd, F_SETFD, 0);
  ::execve(file, arguments, environ);
  return -errno;
}

}  // namespace waep
