// SPDX-License-Identifier: MIT
//
// waep-executor PARENT_PID: serves one session.
//
// The agent starts one of these for each connection, with the connected socket as descriptor 3 and
// the session's rules, in CBOR (rules.h), on standard input. A process of its own means: descriptor
// numbers and addresses that a client might forge lead to nothing but the session's own objects,
// the kernel drops all of these the moment the process ends, however it ends, and a long verifier
// run keeps nobody else waiting. At the end a line of JSON goes to standard output.

#include <errno.h>
#include <inttypes.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vector>

#include "call_loop.h"
#include "sockets.h"

namespace {

constexpr int kConnection = 3;

int Die(const char* what, int error) {
  fprintf(stderr, "waep-executor: %s: error %d\n", what, error);
  return EXIT_FAILURE;
}

bool ReadAll(int fd, std::vector<uint8_t>* out) {
  uint8_t chunk[4096];
  for (;;) {
    const ssize_t got = ::read(fd, chunk, sizeof chunk);
    if (got == 0) return true;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return false;
    out->insert(out->end(), chunk, chunk + got);
  }
}

// Leaves this process the system calls it lives on. Whatever a client might make of it, it can
// neither start a program, nor open a socket, nor touch another process.
int EnterSandbox(const waep::Rules& rules) {
  static const unsigned allowed[] = {
      SYS_bpf,          SYS_recvfrom,        SYS_sendmsg,         SYS_read,
      SYS_write,        SYS_openat,          SYS_close,           SYS_mmap,
      SYS_munmap,       SYS_mprotect,        SYS_madvise,         SYS_brk,
      SYS_mremap,       SYS_futex,           SYS_fstat,           SYS_exit_group,
      SYS_rt_sigreturn, SYS_newfstatat,      SYS_restart_syscall, SYS_poll,
      SYS_sendto,       SYS_perf_event_open,
  };
  std::vector<sock_filter> filter;
  filter.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)));
  filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
  filter.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
  for (const unsigned number : allowed) {
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  }
  // ioctl(2) is a thousand calls in one; the kernel looks at 32 bits of the request, too.
  filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 1, 0));
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
  filter.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[1])));
  for (const waep::IoctlRule& rule : rules.ioctls) {
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, rule.request, 0, 1));
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  }
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
  const sock_fprog program = {static_cast<unsigned short>(filter.size()), filter.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -errno;
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) < 0)
    return -errno;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  // The agent's death is the session's.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (argc != 2 || ::getppid() != static_cast<pid_t>(strtol(argv[1], nullptr, 10))) {
    return Die("not started by an agent (usage: waep-executor PARENT_PID)", -EINVAL);
  }
  // Large allocations come from the heap too: every mapping exists before the first call.
  ::mallopt(M_MMAP_THRESHOLD, 1 << 30);

  waep::Rules rules;
  {
    std::vector<uint8_t> encoded;
    if (!ReadAll(STDIN_FILENO, &encoded)) return Die("reading the rules", -errno);
    waep::cbor::Reader reader(encoded.data(), encoded.size());
    if (!waep::Rules::Decode(&reader, &rules) || !reader.AtEnd()) {
      return Die("decoding the rules", -EINVAL);
    }
  }
  ::syscall(SYS_close_range, kConnection + 1, ~0u, 0);
  const rlim_t descriptors = rules.limits.max_handles + kConnection + 2;
  const rlimit limit = {descriptors, descriptors};
  ::setrlimit(RLIMIT_NOFILE, &limit);
  // Before 5.11 bpf objects are charged to RLIMIT_MEMLOCK; the rules' own limits take its place.
  const rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
  ::setrlimit(RLIMIT_MEMLOCK, &unlimited);

  waep::sockets::SetNonBlocking(kConnection, false);
  waep::sockets::SetNoDelay(kConnection);
  waep::Executor executor(std::move(rules));
  executor.set_first_free_fd(kConnection + 1);
  waep::CallLoop loop(kConnection, &executor);
  int error = loop.Reserve();
  if (error == 0) error = EnterSandbox(executor.rules());
  if (error == 0) error = executor.Prepare();
  if (error != 0) return Die("preparing the session", error);

  const int end = loop.Run();
  const waep::CallLoopStatistics& statistics = loop.statistics();
  printf("{\"end\":%d,\"framesIn\":%" PRIu64 ",\"framesOut\":%" PRIu64 ",\"bytesIn\":%" PRIu64
         ",\"bytesOut\":%" PRIu64 ",\"calls\":%" PRIu64 ",\"refused\":%" PRIu64
         ",\"handles\":%zu}\n",
         end, statistics.frames_in, statistics.frames_out, statistics.bytes_in,
         statistics.bytes_out, executor.calls(), executor.refused(), executor.handles());
  fflush(stdout);
  return EXIT_SUCCESS;
}
