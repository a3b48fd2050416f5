// SPDX-License-Identifier: MIT
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <set>
#include <vector>

namespace waep {
namespace {

// System calls that are allowed with any arguments.
constexpr unsigned kAllowed[] = {
    // calls
    SYS_bpf, SYS_perf_event_open, SYS_openat2, SYS_capget, SYS_capset, SYS_read, SYS_pread64,
    SYS_close, SYS_fstat, SYS_newfstatat, SYS_fstatfs,
    // files: the executor checks a path first, and changes only bpf file systems
    SYS_statx, SYS_readlinkat, SYS_getdents64, SYS_lseek, SYS_mkdirat, SYS_unlinkat, SYS_renameat2,
    SYS_symlinkat,
    // connections
    SYS_poll, SYS_ppoll, SYS_recvfrom, SYS_recvmsg, SYS_sendto, SYS_sendmsg, SYS_shutdown,
    // memory, threads, time, and the end
    SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_brk, SYS_futex, SYS_write,
    SYS_clock_gettime, SYS_getpid, SYS_rt_sigreturn, SYS_restart_syscall, SYS_exit_group};

// The lower half of an argument of a system call, and its only value.
struct Argument {
  unsigned index;
  unsigned value;
};

// A system call that is allowed only with these arguments. Several may have one number.
struct Conditional {
  unsigned number;
  std::vector<Argument> arguments;
};

constexpr uint32_t ArgumentOffset(unsigned index) {
  return static_cast<uint32_t>(offsetof(seccomp_data, args) + index * sizeof(uint64_t));
}

}  // namespace

int EnterSandbox(const Rules& rules) {
  const sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  const sock_filter kill = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  const auto load = [](size_t offset) -> sock_filter {
    return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset));
  };
  const auto skip_unless = [](unsigned value, uint8_t count) -> sock_filter {
    return BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, count);
  };
  const sock_filter load_number = load(offsetof(seccomp_data, nr));
  std::vector<sock_filter> filter = {
      load(offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
      kill,
      load_number,
  };
  for (const unsigned number : kAllowed)
    filter.insert(filter.end(), {skip_unless(number, 1), allow});
  std::vector<Conditional> conditional = {
      {SYS_fcntl, {{1, F_DUPFD_CLOEXEC}}},
      {SYS_getsockopt, {{1, SOL_SOCKET}}},
      // The C library opens /proc/self/maps in this way.
      {SYS_openat, {{2, O_RDONLY | O_CLOEXEC}}},
      {SYS_tgkill, {{0, static_cast<unsigned>(::getpid())}}},
  };
  const std::set<uint32_t> protocols = rules.NetlinkProtocols();
  for (const uint32_t protocol : protocols)
    conditional.push_back({SYS_socket, {{0, AF_NETLINK}, {2, protocol}}});
  if (!protocols.empty()) conditional.push_back({SYS_setsockopt, {{1, SOL_NETLINK}}});
  for (const Conditional& call : conditional) {
    // Each jump leads behind the permission, where the number is loaded again.
    size_t left = 2 * call.arguments.size() + 1;
    filter.push_back(skip_unless(call.number, static_cast<uint8_t>(left)));
    for (const Argument& argument : call.arguments) {
      left -= 2;
      filter.insert(filter.end(), {load(ArgumentOffset(argument.index)),
                                   skip_unless(argument.value, static_cast<uint8_t>(left))});
    }
    filter.insert(filter.end(), {allow, load_number});
  }
  // ioctl(2) has thousands of requests. The kernel, too, uses only 32 bits of the request.
  filter.insert(filter.end(), {BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 1, 0), kill,
                               load(ArgumentOffset(1))});
  filter.insert(filter.end(), {skip_unless(SIOCGIFNAME, 1), allow});
  for (const IoctlRule& rule : rules.ioctls) {
    filter.insert(filter.end(), {skip_unless(rule.request, 1), allow});
  }
  filter.push_back(kill);
  const sock_fprog program = {static_cast<unsigned short>(filter.size()), filter.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -errno;
  constexpr unsigned long kFlags = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  const long result = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, kFlags, &program);
  // A positive result is the id of a thread that could not get the filter.
  return result < 0 ? -errno : result > 0 ? -ESRCH : 0;
}

}  // namespace waep
