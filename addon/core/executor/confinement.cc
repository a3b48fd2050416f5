// SPDX-License-Identifier: MIT
#include "confinement.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <initializer_list>

#include "../architecture.h"

namespace waep {
namespace {

bool ReadTexts(cbor::Reader* reader, std::vector<std::string>* texts) {
  uint64_t count = 0;
  if (!reader->ReadArray(&count)) return false;
  texts->resize(count);
  for (std::string& text : *texts) {
    std::string_view value;
    if (!reader->ReadText(&value)) return false;
    text = value;
  }
  return true;
}

// System calls that neither Node, nor an executor, nor the keeper needs. Code that has taken one of
// these processes over could use them to attack the machine or the kernel.
constexpr unsigned kRefused[] = {
    // other processes
    SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_process_madvise, SYS_kcmp,
    SYS_pidfd_getfd,
    // other namespaces, roots and mounts
    SYS_setns, SYS_unshare, SYS_chroot, SYS_pivot_root, SYS_mount, SYS_umount2, SYS_open_tree,
    SYS_move_mount, SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_mount_setattr,
    SYS_open_by_handle_at, SYS_name_to_handle_at,
    // the kernel and the machine
    SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_kexec_file_load,
    SYS_reboot, SYS_swapon, SYS_swapoff, SYS_acct, SYS_quotactl, SYS_settimeofday,
    SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex, SYS_sethostname, SYS_setdomainname,
    SYS_syslog, SYS_lookup_dcookie, SYS_vhangup,
#ifdef __x86_64__
    // more of these, which other architectures do not have
    SYS_iopl, SYS_ioperm, SYS_modify_ldt,
#endif
    // large parts of the kernel that had vulnerabilities
    SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_userfaultfd, SYS_add_key,
    SYS_request_key, SYS_keyctl, SYS_fanotify_init, SYS_personality, SYS_vmsplice, SYS_mbind,
    SYS_migrate_pages, SYS_move_pages};

// Calls that other processes make for the agent.
constexpr unsigned kRefusedToCallers[] = {SYS_bpf, SYS_perf_event_open, SYS_execve, SYS_execveat};

int Seccomp(const std::vector<sock_filter>& filter) {
  const sock_fprog program = {static_cast<unsigned short>(filter.size()),
                              const_cast<sock_filter*>(filter.data())};
  constexpr unsigned long kFlags = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  const long result = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, kFlags, &program);
  // A positive result is the id of a thread that could not get the filter.
  return result < 0 ? -errno : result > 0 ? -ESRCH : 0;
}

// Async-signal-safe. It affects only the calling thread, and keeps errno.
int SetCapabilities(uint64_t capabilities, bool ambient) {
  const int before = errno;
  for (unsigned long one = 0; one < 64; ++one) {
    if ((capabilities >> one & 1) != 0) continue;
    if (::prctl(PR_CAPBSET_DROP, one, 0, 0, 0) < 0 && errno == EINVAL) break;
  }
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct held[2] = {};
  int error = ::syscall(SYS_capget, &header, held) < 0 ? -errno : 0;
  for (unsigned half = 0; half < 2; ++half) {
    const uint32_t kept = held[half].permitted & static_cast<uint32_t>(capabilities >> 32 * half);
    held[half] = {kept, kept, ambient ? kept : 0};
  }
  if (error == 0 && ::syscall(SYS_capset, &header, held) < 0) error = -errno;
  for (unsigned long one = 0; ambient && error == 0 && one < 64; ++one) {
    if ((held[one / 32].permitted >> one % 32 & 1) != 0) {
      ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, one, 0, 0);
    }
  }
  errno = before;
  return error;
}

// The signal by which the C library makes all threads change their user at once. Threads cannot
// block it by the library's functions, and nothing else uses it.
constexpr int kSetXid = 33;

// The kernel's structure of a signal's action. The library's own functions refuse that signal.
struct KernelAction {
  void (*handler)(int);
  unsigned long flags;
  void (*restorer)();
  uint64_t mask;
};

std::atomic<int> failed_drops{0};
std::atomic<pid_t> dropped{0};

void DropInHandler(int) {
  if (SetCapabilities(0, false) != 0) failed_drops = 1;
  dropped = static_cast<pid_t>(::syscall(SYS_gettid));
}

int RawAction(int signal, const KernelAction* action, KernelAction* before) {
  return ::syscall(SYS_rt_sigaction, signal, action, before, sizeof(uint64_t)) < 0 ? -errno : 0;
}

// Sends the signal to a thread and waits until it has dropped. Returns 0 also if the thread has
// ended.
int DropOther(pid_t thread) {
  constexpr int kTries = 10'000;
  const timespec kPause = {0, 500'000};
  dropped = 0;
  if (::syscall(SYS_tgkill, ::getpid(), thread, kSetXid) < 0) return errno == ESRCH ? 0 : -errno;
  for (int tries = 0; dropped != thread; ++tries) {
    if (::syscall(SYS_tgkill, ::getpid(), thread, 0) < 0) return 0;
    if (tries == kTries) return -ETIMEDOUT;
    ::nanosleep(&kPause, nullptr);
  }
  return 0;
}

std::vector<pid_t> ThreadsOfThisProcess() {
  std::vector<pid_t> threads;
  DIR* const folder = ::opendir("/proc/self/task");
  if (folder == nullptr) return threads;
  while (const dirent* const entry = ::readdir(folder)) {
    const auto thread = static_cast<pid_t>(strtol(entry->d_name, nullptr, 10));
    if (thread > 0) threads.push_back(thread);
  }
  ::closedir(folder);
  return threads;
}

}  // namespace

bool Confinement::Decode(cbor::Reader* reader, Confinement* confinement) {
  return reader->ReadArrayOf(7) && reader->ReadUint(&confinement->capabilities) &&
         reader->ReadBool(&confinement->whole_root) && ReadTexts(reader, &confinement->readable) &&
         ReadTexts(reader, &confinement->probed) && ReadTexts(reader, &confinement->pins) &&
         ReadTexts(reader, &confinement->cgroups) && reader->ReadUint(&confinement->memory_bytes);
}

namespace confine {

int KeepCapabilities(uint64_t capabilities) {
  uint64_t known = 0;
  for (unsigned long one = 0; one < 64 && ::prctl(PR_CAPBSET_READ, one, 0, 0, 0) >= 0; ++one) {
    known |= uint64_t{1} << one;
  }
  if ((capabilities & ~known) != 0) capabilities |= uint64_t{1} << CAP_SYS_ADMIN;
  // A program that root executes gets the bounding set. Other users need ambient capabilities.
  return SetCapabilities(capabilities & known, ::geteuid() != 0);
}

int DropCapabilitiesOfAllThreads() {
  // The kernel returns from a handler through the library's restorer.
  struct sigaction usual = {};
  struct sigaction replaced = {};
  usual.sa_handler = DropInHandler;
  KernelAction action = {};
  if (::sigaction(SIGRTMAX, &usual, &replaced) < 0) return -errno;
  int error = RawAction(SIGRTMAX, nullptr, &action);
  ::sigaction(SIGRTMAX, &replaced, nullptr);
  action.handler = DropInHandler;
  action.flags |= SA_RESTART;
  KernelAction before = {};
  if (error == 0) error = RawAction(kSetXid, &action, &before);
  if (error != 0) return error;
  failed_drops = 0;
  error = SetCapabilities(0, false);
  // A thread that has not dropped yet may have started another.
  const auto self = static_cast<pid_t>(::syscall(SYS_gettid));
  std::vector<pid_t> done = {self};
  for (bool found = true; found && error == 0;) {
    found = false;
    const std::vector<pid_t> threads = ThreadsOfThisProcess();
    if (threads.empty()) error = -ENOENT;
    for (const pid_t thread : threads) {
      if (error != 0 || std::find(done.begin(), done.end(), thread) != done.end()) continue;
      found = true;
      error = DropOther(thread);
      done.push_back(thread);
    }
  }
  RawAction(kSetXid, &before, nullptr);
  return error != 0 ? error : failed_drops != 0 ? -EPERM : 0;
}

int RefuseSystemCalls(bool calls_kernel) {
  std::vector<sock_filter> filter = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      // The x32 ABI has the same calls under other numbers.
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
  };
  const auto refuse = [&filter](unsigned number) {
    filter.insert(filter.end(), {BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)});
  };
  for (const unsigned number : kRefused) refuse(number);
  if (!calls_kernel) {
    for (const unsigned number : kRefusedToCallers) refuse(number);
  }
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -errno;
  return Seccomp(filter);
}

int RefuseFileChanges(bool in_mounts) {
  // No access is allowed anywhere, so no rule is needed. Rights of later versions of Landlock are
  // included if the kernel has them.
  uint64_t handled = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
                     LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                     LANDLOCK_ACCESS_FS_MAKE_BLOCK;
  // Mounts allow these in bpf file systems and cgroups only (confined_root.cc).
  if (!in_mounts) {
    handled |= LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |
               LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REMOVE_DIR |
               LANDLOCK_ACCESS_FS_REMOVE_FILE;
  }
  const long version =
      ::syscall(SYS_landlock_create_ruleset, nullptr, size_t{0}, LANDLOCK_CREATE_RULESET_VERSION);
  if (version < 0) return 0;
  constexpr uint64_t kTruncate = uint64_t{1} << 14;
  if (version >= 2) handled |= LANDLOCK_ACCESS_FS_REFER;
  if (version >= 3) handled |= kTruncate;
  const landlock_ruleset_attr attribute = {handled};
  const long rules = ::syscall(SYS_landlock_create_ruleset, &attribute, sizeof attribute, 0);
  if (rules < 0) return -errno;
  const int error = ::syscall(SYS_landlock_restrict_self, rules, 0) < 0 ? -errno : 0;
  ::close(static_cast<int>(rules));
  return error;
}

}  // namespace confine
}  // namespace waep
