// SPDX-License-Identifier: MIT
#include "seccomp_filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <initializer_list>
#include <iterator>
#include <vector>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

namespace waep::seccomp {
namespace {

constexpr uint32_t kX32 = 0x40000000;
constexpr uint32_t kSocketAttachBpf = 50;       // SO_ATTACH_BPF
constexpr uint32_t kReuseportAttachBpf = 52;    // SO_ATTACH_REUSEPORT_EBPF
constexpr uint32_t kPerfIoctlType = '$';        // _IO('$', …) of linux/perf_event.h
constexpr uint32_t kSocketIoctlType = 0x89;     // SOCK_IOC_TYPE of linux/sockios.h
constexpr uint32_t kNamespaceIoctlType = 0xb7;  // NSIO of linux/nsfs.h
constexpr uint32_t kWhole[] = {
    SYS_bpf, SYS_perf_event_open, SYS_uname, SYS_epoll_ctl, SYS_poll, SYS_ppoll, SYS_select,
    SYS_pselect6, SYS_fstat, SYS_pidfd_open, SYS_execveat, SYS_unshare, SYS_setns, SYS_clone3,
    SYS_syslog, SYS_sysinfo, SYS_kcmp, SYS_capget,
    // calls that change the kernel
    SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_kexec_file_load,
    SYS_reboot, SYS_swapon, SYS_swapoff, SYS_settimeofday, SYS_clock_settime, SYS_adjtimex,
    SYS_clock_adjtime, SYS_acct, SYS_sethostname, SYS_setdomainname,
    // calls that ask about a path
    SYS_open, SYS_openat, SYS_openat2, SYS_creat, SYS_access, SYS_faccessat, SYS_faccessat2,
    SYS_readlink, SYS_readlinkat, SYS_stat, SYS_lstat, SYS_newfstatat, SYS_statx, SYS_statfs,
    SYS_fstatfs, SYS_chdir, SYS_fchdir, SYS_getdents64, SYS_getxattr, SYS_lgetxattr, SYS_listxattr,
    SYS_llistxattr, SYS_inotify_add_watch, SYS_fanotify_mark, SYS_name_to_handle_at,
    // calls that change what is at a path
    SYS_mkdir, SYS_mkdirat, SYS_rmdir, SYS_unlink, SYS_unlinkat, SYS_rename, SYS_renameat,
    SYS_renameat2, SYS_truncate, SYS_chmod, SYS_fchmodat, SYS_chown, SYS_lchown, SYS_fchownat,
    SYS_utime, SYS_utimes, SYS_futimesat, SYS_utimensat, SYS_mknod, SYS_mknodat, SYS_link,
    SYS_linkat, SYS_symlink, SYS_symlinkat, SYS_setxattr, SYS_lsetxattr, SYS_removexattr,
    SYS_lremovexattr, SYS_mount, SYS_umount2};
// The counts of a perf event are read in fewer words than these, and an eventfd is written in one
// word. Hardly any other call has such sizes.
constexpr uint32_t kMostWords = 64;
// Descriptors that src/run/numbered.ts gives: the highest below the usual limit of 1024. Those of
// netlink are the lower half, and those of files that are written to the upper half.
constexpr uint32_t kFirstNumbered = 960;
constexpr uint32_t kNumberedCount = 64;
constexpr uint32_t kNetlinkCount = 32;
// Calls that use a socket of netlink, or make a copy of its descriptor.
constexpr uint32_t kOfNetlink[] = {SYS_sendto,  SYS_sendmsg,  SYS_sendmmsg, SYS_recvfrom,
                                   SYS_recvmsg, SYS_recvmmsg, SYS_bind,     SYS_connect,
                                   SYS_writev,  SYS_dup,      SYS_dup2,     SYS_dup3};
// System calls that are newer than the headers of a build may be.
constexpr uint32_t kMountSetattr = 442;  // Linux 5.12
constexpr uint32_t kFchmodat2 = 452;     // 6.6
constexpr uint32_t kStatmount = 457;     // 6.8
constexpr uint32_t kListmount = 458;
constexpr uint32_t kSetxattrat = 463;  // 6.13
constexpr uint32_t kGetxattrat = 464;
constexpr uint32_t kListxattrat = 465;
constexpr uint32_t kRemovexattrat = 466;
constexpr uint32_t kOpenTreeAttr = 467;  // 6.15
constexpr uint32_t kFileGetattr = 468;   // 6.17
constexpr uint32_t kFileSetattr = 469;
constexpr uint32_t kSucceed = SECCOMP_RET_ERRNO;  // with an errno of 0
constexpr uint32_t kI386Bpf = 357;
constexpr uint32_t kI386PerfEventOpen = 336;

// Calls about a process, and which argument has its id; 0 is the caller.
struct OfProcess {
  uint32_t number;
  unsigned argument;
};
constexpr OfProcess kOfProcess[] = {
    {SYS_kill, 0},
    {SYS_tkill, 0},
    {SYS_rt_sigqueueinfo, 0},
    {SYS_rt_tgsigqueueinfo, 0},
    {SYS_get_robust_list, 0},
    {SYS_process_vm_readv, 0},
    {SYS_process_vm_writev, 0},
    {SYS_getpgid, 0},
    {SYS_getsid, 0},
    {SYS_getpriority, 1},
    {SYS_setpriority, 1},
    {SYS_ioprio_get, 1},
    {SYS_ioprio_set, 1},
    {SYS_sched_getparam, 0},
    {SYS_sched_setparam, 0},
    {SYS_sched_getscheduler, 0},
    {SYS_sched_setscheduler, 0},
    {SYS_sched_rr_get_interval, 0},
    {SYS_sched_getaffinity, 0},
    {SYS_sched_setaffinity, 0},
    {SYS_sched_getattr, 0},
    {SYS_sched_setattr, 0},
    {SYS_migrate_pages, 0},
    {SYS_move_pages, 0},
};

// Calls about a clock, which their first argument names. Another process's clock has its id.
constexpr uint32_t kOfClock[] = {SYS_clock_gettime, SYS_clock_getres, SYS_clock_nanosleep,
                                 SYS_timer_create};
constexpr uint32_t kNegative = 1U << 31;
constexpr uint32_t kClockType = 3;
constexpr uint32_t kClockOfDevice = 3;  // the rest is a descriptor and no id
constexpr uint32_t kClockIdShift = 3;   // above it are the bits of the id, all inverted

// The low half of an argument; x86 is little-endian.
constexpr uint32_t Argument(unsigned index) {
  return offsetof(seccomp_data, args) + index * sizeof(uint64_t);
}

// What is done with one call. Each ends with a return.
class Program {
 public:
  explicit Program(size_t capacity = 0) { code_.reserve(capacity); }
  void Load(uint32_t offset) { Add(BPF_LD | BPF_W | BPF_ABS, offset); }
  void And(uint32_t mask) { Add(BPF_ALU | BPF_AND | BPF_K, mask); }
  void ShiftRight(uint32_t bits) { Add(BPF_ALU | BPF_RSH | BPF_K, bits); }
  void Return(uint32_t action) { Add(BPF_RET | BPF_K, action); }
  // Skips what is between Skip and the Land that gets its result.
  size_t Skip() {
    Add(BPF_JMP | BPF_JA, 0);
    return size();
  }
  void Land(size_t skip) { code_[skip - 1].k = static_cast<uint32_t>(size() - skip); }
  // Skips the next `skip` instructions unless the accumulator is `value`.
  void UnlessEqual(uint32_t value, uint8_t skip) { Jump(BPF_JEQ, value, 0, skip); }
  // Skips the next `skip` instructions if the accumulator is `value`.
  void IfEqual(uint32_t value, uint8_t skip) { Jump(BPF_JEQ, value, skip, 0); }
  // Skips the next `skip` instructions if a bit of `bits` is set.
  void IfAny(uint32_t bits, uint8_t skip) { Jump(BPF_JSET, bits, skip, 0); }
  // Skips the next `skip` instructions unless a bit of `bits` is set.
  void UnlessAny(uint32_t bits, uint8_t skip) { Jump(BPF_JSET, bits, 0, skip); }
  // Skips the next `skip` instructions if the accumulator is less than `value`.
  void IfLess(uint32_t value, uint8_t skip) { Jump(BPF_JGE, value, 0, skip); }
  void Append(const Program& other) {
    code_.insert(code_.end(), other.code_.begin(), other.code_.end());
  }
  [[nodiscard]] size_t size() const { return code_.size(); }
  [[nodiscard]] const std::vector<sock_filter>& code() const { return code_; }

 private:
  void Add(uint16_t code, uint32_t value) { code_.push_back(BPF_STMT(code, value)); }
  void Jump(uint16_t test, uint32_t value, uint8_t if_true, uint8_t if_false) {
    code_.push_back(BPF_JUMP(BPF_JMP | test | BPF_K, value, if_true, if_false));
  }

  std::vector<sock_filter> code_;
};

// A call that is not simply allowed.
struct Case {
  uint32_t number;
  const Program* answer;
};

// Appends code that finds the number in the accumulator among sorted cases, by halves. The kernel
// runs the filter for every number there is when it is installed.
constexpr size_t kFewCases = 8;
void Find(const Case* begin, const Case* end, Program* out) {
  const auto count = static_cast<size_t>(end - begin);
  if (count > kFewCases) {
    const Case* const middle = begin + count / 2;
    out->IfLess(middle->number, 1);
    const size_t skip = out->Skip();
    Find(begin, middle, out);
    out->Land(skip);
    Find(middle, end, out);
    return;
  }
  // First the comparisons, then the return of calls that match none, then each different answer.
  const Program* answers[kFewCases];
  size_t places[kFewCases];
  size_t different = 0;
  size_t place = 0;
  for (const Case* one = begin; one != end; ++one) {
    size_t i = 0;
    while (i < different && answers[i] != one->answer) ++i;
    if (i == different) {
      answers[different] = one->answer;
      places[different++] = place;
      place += one->answer->size();
    }
    out->IfEqual(one->number, static_cast<uint8_t>(static_cast<size_t>(end - one) + places[i]));
  }
  out->Return(SECCOMP_RET_ALLOW);
  for (size_t i = 0; i < different; ++i) out->Append(*answers[i]);
}

constexpr uint8_t kOfNetlinkLength = 4;
// Notifies of a call whose first argument is a descriptor that may be a socket of netlink.
void NotifyOfNetlink(Program* program) {
  program->Load(Argument(0));
  program->And(~(kNetlinkCount - 1));
  program->UnlessEqual(kFirstNumbered, 1);
  program->Return(SECCOMP_RET_USER_NOTIF);
}

constexpr uint8_t kWordsLength = 8;
// Notifies of a call whose third argument is the size of a few words, and allows all others.
void NotifyOfWords(Program* program) {
  program->Load(Argument(2));
  program->IfEqual(0, 5);
  program->IfAny(7, 4);
  program->ShiftRight(3);
  program->And(~(kMostWords - 1));
  program->UnlessEqual(0, 1);
  program->Return(SECCOMP_RET_USER_NOTIF);
  program->Return(SECCOMP_RET_ALLOW);
}

// `self` is the process that becomes the program, by an execve(2) with `own_arguments`.
Program Build(uint32_t self, const void* own_arguments) {
  constexpr uint32_t kNumber = offsetof(seccomp_data, nr);
  std::vector<Case> cases;
  cases.reserve(std::size(kWhole) + std::size(kOfProcess) + 32);
  std::deque<Program> answers;
  const auto answer = [&](std::initializer_list<uint32_t> numbers) -> Program& {
    Program& added = answers.emplace_back();
    for (const uint32_t number : numbers) cases.push_back({number, &added});
    return added;
  };
  Program& notify = answer({kX32 | SYS_bpf, kX32 | SYS_perf_event_open});
  notify.Return(SECCOMP_RET_USER_NOTIF);
  for (const uint32_t number : kWhole) cases.push_back({number, &notify});

  // The filter does not see the requests of an io_uring. Programs without the calls about mounts
  // read the files that list mounts, and mount by mount(2), which waep answers. For the others,
  // too, there are older calls that waep answers, and that C libraries use instead.
  Program& missing =
      answer({SYS_io_uring_setup, SYS_io_uring_setup | kX32, SYS_getdents, SYS_fsopen, SYS_fspick,
              SYS_open_tree, SYS_move_mount, kMountSetattr, kFchmodat2, kStatmount, kListmount,
              kOpenTreeAttr, kSetxattrat, kGetxattrat, kListxattrat, kRemovexattrat, kFileGetattr,
              kFileSetattr});
  missing.Return(SECCOMP_RET_ERRNO | ENOSYS);

  // execve: all but that of the launcher, which may try it in each folder of PATH.
  {
    Program& program = answer({SYS_execve});
    const auto address = reinterpret_cast<uint64_t>(own_arguments);
    program.Load(Argument(1));
    program.UnlessEqual(static_cast<uint32_t>(address), 3);
    program.Load(Argument(1) + sizeof(uint32_t));
    program.UnlessEqual(static_cast<uint32_t>(address >> 32), 1);
    program.Return(SECCOMP_RET_ALLOW);
    program.Return(SECCOMP_RET_USER_NOTIF);
  }

  // socket: only packets of the host's interfaces, and netlink, which shows and changes the host's
  // kernel. Logins need NETLINK_AUDIT.
  {
    Program& program = answer({SYS_socket});
    program.Load(Argument(0));
    program.IfEqual(AF_PACKET, 6);
    program.IfEqual(AF_XDP, 5);
    program.UnlessEqual(AF_NETLINK, 5);
    program.Load(Argument(2));
    program.IfEqual(NETLINK_AUDIT, 3);
    program.IfEqual(NETLINK_SELINUX, 2);
    program.IfEqual(NETLINK_USERSOCK, 1);
    program.Return(SECCOMP_RET_USER_NOTIF);
    program.Return(SECCOMP_RET_ALLOW);
  }

  // mmap: only mappings of a descriptor, without those of a program's libraries.
  {
    Program& program = answer({SYS_mmap});
    program.Load(Argument(3));
    program.IfAny(MAP_DENYWRITE, 3);
    program.Load(Argument(4));
    program.IfEqual(UINT32_MAX, 1);
    program.Return(SECCOMP_RET_USER_NOTIF);
    program.Return(SECCOMP_RET_ALLOW);
  }

  // read: only sizes of a few words.
  {
    Program& program = answer({SYS_read});
    NotifyOfWords(&program);
  }

  // lseek: only to the beginning, which restarts the listing of a folder.
  {
    Program& program = answer({SYS_lseek});
    program.Load(Argument(1));
    program.UnlessEqual(0, 3);
    program.Load(Argument(2));
    program.UnlessEqual(SEEK_SET, 1);
    program.Return(SECCOMP_RET_USER_NOTIF);
    program.Return(SECCOMP_RET_ALLOW);
  }

  for (const auto& [number, argument] : kOfProcess) {
    Program& program = answer({number});
    program.Load(Argument(argument));
    program.IfEqual(0, 1);
    program.Return(SECCOMP_RET_USER_NOTIF);
    program.Return(SECCOMP_RET_ALLOW);
  }

  // tgkill: only to other processes than the program itself. The runtime of Go signals its own
  // threads many times a second.
  {
    Program& program = answer({SYS_tgkill});
    program.Load(Argument(0));
    program.IfEqual(self, 1);
    program.Return(SECCOMP_RET_USER_NOTIF);
    program.Return(SECCOMP_RET_ALLOW);
  }

  for (const uint32_t number : kOfClock) {
    Program& program = answer({number});
    program.Load(Argument(0));
    program.UnlessAny(kNegative, 6);
    program.And(kClockType);
    program.IfEqual(kClockOfDevice, 4);
    program.Load(Argument(0));
    program.ShiftRight(kClockIdShift);
    program.IfEqual(UINT32_MAX >> kClockIdShift, 1);  // the id 0, which is the caller
    program.Return(SECCOMP_RET_USER_NOTIF);
    program.Return(SECCOMP_RET_ALLOW);
  }

  // ptrace: only the requests that begin to trace another process.
  {
    Program& program = answer({SYS_ptrace});
    program.Load(Argument(0));
    program.IfEqual(PTRACE_ATTACH, 1);
    program.UnlessEqual(PTRACE_SEIZE, 1);
    program.Return(SECCOMP_RET_USER_NOTIF);
    program.Return(SECCOMP_RET_ALLOW);
  }

  // seccomp: only filters with a listener, because a process can have only one listener.
  {
    Program& program = answer({SYS_seccomp});
    program.Load(Argument(1));
    program.IfAny(SECCOMP_FILTER_FLAG_NEW_LISTENER, 1);
    program.Return(SECCOMP_RET_ALLOW);
    program.Return(SECCOMP_RET_USER_NOTIF);
  }

  // clone: only into a user namespace.
  {
    Program& program = answer({SYS_clone});
    program.Load(Argument(0));
    program.IfAny(CLONE_NEWUSER, 1);
    program.Return(SECCOMP_RET_ALLOW);
    program.Return(SECCOMP_RET_USER_NOTIF);
  }

  {
    Program& program = answer({});
    for (const uint32_t number : kOfNetlink) cases.push_back({number, &program});
    NotifyOfNetlink(&program);
    program.Return(SECCOMP_RET_ALLOW);
  }

  // fcntl: only F_GETFL, which tells how a descriptor was opened, and copies of a socket of
  // netlink.
  {
    Program& program = answer({SYS_fcntl});
    program.Load(Argument(1));
    program.UnlessEqual(F_GETFL, 1);
    program.Return(SECCOMP_RET_USER_NOTIF);
    program.IfEqual(F_DUPFD, 2);
    program.IfEqual(F_DUPFD_CLOEXEC, 1);
    program.Return(SECCOMP_RET_ALLOW);
    NotifyOfNetlink(&program);
    program.Return(SECCOMP_RET_ALLOW);
  }

  // ioctl: only the requests of perf events and namespaces, FIONREAD, which sockets answer and
  // objects do not, and the requests about network interfaces.
  {
    Program& program = answer({SYS_ioctl});
    program.Load(Argument(1));
    program.UnlessEqual(FIONREAD, 1);
    program.Return(SECCOMP_RET_USER_NOTIF);
    program.ShiftRight(8);
    program.And(0xff);
    for (const uint32_t type : {kPerfIoctlType, kSocketIoctlType, kNamespaceIoctlType}) {
      program.UnlessEqual(type, 1);
      program.Return(SECCOMP_RET_USER_NOTIF);
    }
    program.Return(SECCOMP_RET_ALLOW);
  }

  // Objects of the guest need no locked memory here. Programs raise the limit before they make
  // objects. That needs a privilege which they should not need here, so the call does nothing and
  // succeeds. The launcher has removed the limit if it could (launch.cc).
  {
    Program& program = answer({SYS_prlimit64});
    program.Load(Argument(0));
    program.IfEqual(0, 1);
    program.Return(SECCOMP_RET_USER_NOTIF);
    program.Load(Argument(1));
    program.UnlessEqual(RLIMIT_MEMLOCK, 5);
    program.Load(Argument(2));
    program.IfEqual(0, 3);
    program.Load(Argument(3));
    program.UnlessEqual(0, 1);
    program.Return(kSucceed);
    program.Return(SECCOMP_RET_ALLOW);
  }
  {
    Program& program = answer({SYS_setrlimit});
    program.Load(Argument(0));
    program.UnlessEqual(RLIMIT_MEMLOCK, 1);
    program.Return(kSucceed);
    program.Return(SECCOMP_RET_ALLOW);
  }

  // write: only to the descriptor numbers that waep gives, and writes of a few words to any
  // descriptor that is no standard stream.
  {
    Program& program = answer({SYS_write});
    program.Load(Argument(0));
    program.And(~(kNumberedCount - 1));
    program.UnlessEqual(kFirstNumbered, 1);
    program.Return(SECCOMP_RET_USER_NOTIF);
    program.Load(Argument(0));
    program.IfLess(STDERR_FILENO + 1, kWordsLength - 1);
    NotifyOfWords(&program);
  }

  // setsockopt: only the options that take a program, and joining a group of netlink.
  {
    Program& program = answer({SYS_setsockopt});
    program.Load(Argument(1));
    program.UnlessEqual(SOL_NETLINK, kOfNetlinkLength + 4);
    program.Load(Argument(2));
    program.IfEqual(NETLINK_ADD_MEMBERSHIP, 1);
    program.Return(SECCOMP_RET_ALLOW);
    NotifyOfNetlink(&program);
    program.Return(SECCOMP_RET_ALLOW);
    program.UnlessEqual(SOL_SOCKET, 5);
    program.Load(Argument(2));
    program.UnlessEqual(kSocketAttachBpf, 1);
    program.Return(SECCOMP_RET_USER_NOTIF);
    program.UnlessEqual(kReuseportAttachBpf, 1);
    program.Return(SECCOMP_RET_USER_NOTIF);
    program.Return(SECCOMP_RET_ALLOW);
    program.Return(SECCOMP_RET_ALLOW);
  }

  std::sort(cases.begin(), cases.end(),
            [](const Case& one, const Case& other) { return one.number < other.number; });
  // A 32-bit program: its calls have other numbers, and the supervisor refuses them.
  const Case of_i386[] = {
      {kI386PerfEventOpen, &notify},
      {kI386Bpf, &notify},
      {SYS_io_uring_setup, &missing},  // newer calls have one number everywhere
  };
  constexpr size_t kLength = 512;
  Program program(kLength);
  program.Load(offsetof(seccomp_data, arch));
  program.UnlessEqual(AUDIT_ARCH_X86_64, 1);
  const size_t skip = program.Skip();
  program.Load(kNumber);
  Find(std::begin(of_i386), std::end(of_i386), &program);
  program.Land(skip);
  program.Load(kNumber);
  Find(cases.data(), cases.data() + cases.size(), &program);
  return program;
}

}  // namespace

int Install(const void* own_arguments) {
  const Program program = Build(static_cast<uint32_t>(::getpid()), own_arguments);
  const sock_fprog filter = {static_cast<unsigned short>(program.code().size()),
                             const_cast<sock_filter*>(program.code().data())};
  constexpr unsigned long kFlags =
      SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
  long listener = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, kFlags, &filter);
  if (listener < 0 && errno == EACCES) {
    // Without CAP_SYS_ADMIN, only a process that can gain no privileges may install a filter.
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -errno;
    listener = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, kFlags, &filter);
  }
  return listener < 0 ? -errno : static_cast<int>(listener);
}

}  // namespace waep::seccomp
