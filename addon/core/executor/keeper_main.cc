// SPDX-License-Identifier: MIT
//
// waep-keeper EVENT_NICE EXECUTOR: starts the processes that serve an agent's sessions.
//
// waep-keeper reload COMMAND [ARGUMENT]…: executes the command whenever the agent asks for it, one
// at a time, with the same descriptors after standard error. So an agent without privileges can
// have its files read again and get another keeper, by a command line that is older than its first
// client.
//
// The agent receives data from everybody, and so has no privileges itself. It sends this process
// the rules of the sessions once, and asks it for an executor (executor_main.cc) for each session.
// The rules cannot be changed afterwards, so an attacker who controls the agent can do no more than
// a client.
//
// Standard input is a channel (control.h) to the agent, which carries the rules and the ends of
// executors. The descriptor after standard error is another one, by which the agent asks for
// executors and waits for each answer.

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <unordered_map>
#include <vector>

#include "confinement.h"
#include "control.h"
#include "session_groups.h"

namespace {

constexpr int kStarts = STDERR_FILENO + 1;
// Enough for the objects of any session. Some machines allow a process fewer.
constexpr rlim_t kDescriptors = 64 * 1024;

int Die(const char* what, int error) {
  fprintf(stderr, "waep-keeper: %s: %s\n", what, strerror(-error));
  return EXIT_FAILURE;
}

// The agent's settings, which it sends once.
struct Terms {
  waep::unique_fd rules;  // a file that nobody can change any more
  waep::Confinement confinement;
};

int ReceiveTerms(waep::control::Channel* channel, Terms* terms) {
  terms->rules.reset(::memfd_create("waep-rules", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!terms->rules.valid()) return -errno;
  waep::control::Message message;
  for (bool complete = false; !complete;) {
    const int got = channel->Receive(&message);
    if (got <= 0) return got == 0 ? -ECONNRESET : got;
    if (message.kind == waep::control::kRules) {
      const ssize_t written = ::write(terms->rules.get(), message.payload, message.length);
      if (written != static_cast<ssize_t>(message.length)) return written < 0 ? -errno : -ENOSPC;
    } else if (message.kind == waep::control::kConfinement) {
      waep::cbor::Reader reader(message.payload, message.length);
      if (!waep::Confinement::Decode(&reader, &terms->confinement) || !reader.AtEnd()) {
        return -EINVAL;
      }
      complete = true;
    } else {
      return -EPROTO;
    }
  }
  constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  return ::fcntl(terms->rules.get(), F_ADD_SEALS, kSeals) < 0 ? -errno : 0;
}

// Before Linux 5.11, bpf objects count against RLIMIT_MEMLOCK. The rules' own limits replace it.
void RaiseLimits() {
  const rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
  ::setrlimit(RLIMIT_MEMLOCK, &unlimited);
  rlimit descriptors;
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) == 0 && descriptors.rlim_max < kDescriptors) {
    descriptors = {kDescriptors, kDescriptors};
    ::setrlimit(RLIMIT_NOFILE, &descriptors);
  }
}

// The changes of files that executors may make: all that the mounts allow, if they read files of
// other processes, because Landlock always forbids that; making pins and cgroups; or none.
const char* ChangesOf(const waep::Confinement& confinement) {
  if (confinement.whole_root || (confinement.capabilities >> CAP_SYS_PTRACE & 1) != 0) return "any";
  return confinement.pins.empty() && confinement.cgroups.empty() ? "none" : "mounts";
}

class Keeper {
 public:
  Keeper(waep::control::Channel* channel, const Terms* terms, waep::SessionGroups* groups,
         const char* executor, int nice, const char* event_nice)
      : channel_(channel),
        starts_(kStarts),
        terms_(terms),
        groups_(groups),
        executor_(executor),
        parent_(std::to_string(::getpid())),
        nice_(std::to_string(nice)),
        event_nice_(event_nice),
        changes_(ChangesOf(terms->confinement)),
        base_(std::to_string(groups->base())) {}

  // Returns when the agent and its sessions are gone.
  int Serve() {
    const int error = ServeAgent();
    for (const auto& [pid, number] : executors_) ::kill(pid, SIGKILL);
    for (const auto& [pid, number] : executors_) {
      ::waitpid(pid, nullptr, 0);
      groups_->Remove(number);
    }
    return error;
  }

 private:
  int ServeAgent() {
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    if (::sigprocmask(SIG_BLOCK, &children, nullptr) < 0) return -errno;
    const waep::unique_fd ended(::signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!ended.valid()) return -errno;
    int error = channel_->Send(waep::control::kReady, 0, nullptr, 0);
    while (error == 0) {
      pollfd polled[] = {{STDIN_FILENO, POLLIN, 0}, {kStarts, POLLIN, 0}, {ended.get(), POLLIN, 0}};
      if (::poll(polled, 3, -1) < 0 && errno != EINTR) return -errno;
      if (polled[2].revents != 0) error = Reap(ended.get());
      if (error == 0 && polled[1].revents != 0) error = TakeStart();
      if (error == 0 && polled[0].revents != 0) error = TakeKill();
    }
    return error;
  }

  int TakeStart() {
    waep::control::Message message;
    const int got = starts_.Receive(&message);
    if (got <= 0) return got == 0 ? -ECONNRESET : got;
    if (message.kind != waep::control::kStart || !message.descriptor.valid()) return -EPROTO;
    return Start(message.number, message.descriptor.get());
  }

  int TakeKill() {
    waep::control::Message message;
    const int got = channel_->Receive(&message);
    if (got <= 0) return got == 0 ? -ECONNRESET : got;
    if (message.kind != waep::control::kKill) return -EPROTO;
    // While it is in this table it is a child of this process, so its id is not reused.
    for (const auto& [pid, number] : executors_) {
      if (number == message.number) ::kill(pid, SIGKILL);
    }
    return 0;
  }

  // The answer's number is a process id, or 0 and a payload of an errno.
  int Start(uint32_t number, int control) {
    int32_t error = -groups_->Make(number);
    const pid_t pid = error != 0 ? -1 : ::fork();
    if (pid == 0) Exec(number, control);
    if (pid < 0) {
      if (error == 0) error = errno;
      groups_->Remove(number);
      return starts_.Send(waep::control::kStarted, 0, reinterpret_cast<const uint8_t*>(&error),
                          sizeof error);
    }
    executors_[pid] = number;
    return starts_.Send(waep::control::kStarted, static_cast<uint32_t>(pid), nullptr, 0);
  }

  [[noreturn]] void Exec(uint32_t number, int control) {
    const int error = groups_->Enter(number);
    if (error != 0) ::_exit(Die("entering a session's cgroup", error));
    // The source descriptors never overlap with their targets here.
    ::dup2(control, STDIN_FILENO);
    ::dup2(terms_->rules.get(), kStarts);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    const char* const words[] = {"waep-executor", parent_.c_str(), nice_.c_str(), event_nice_,
                                 changes_,        base_.c_str(),   nullptr};
    const char* const variables[] = {nullptr};
    ::execve(executor_, const_cast<char**>(words), const_cast<char**>(variables));
    Die(executor_, -errno);
    ::_exit(127);
  }

  int Reap(int signals) {
    signalfd_siginfo one;
    while (::read(signals, &one, sizeof one) > 0) {
    }
    int status = 0;
    for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      const auto found = executors_.find(pid);
      if (found == executors_.end()) continue;
      const uint32_t number = found->second;
      executors_.erase(found);
      if (groups_->Remove(number)) {
        fprintf(stderr,
                "waep-keeper: the kernel ended an executor, process %d: with its session's objects "
                "it took more memory than the %llu bytes that its policy's map_bytes comes down "
                "to\n",
                pid, static_cast<unsigned long long>(terms_->confinement.memory_bytes));
      }
      const int32_t how = status;
      const int error = channel_->Send(waep::control::kEnded, number,
                                       reinterpret_cast<const uint8_t*>(&how), sizeof how);
      if (error != 0) return error;
    }
    return 0;
  }

  waep::control::Channel* channel_;
  waep::control::Channel starts_;
  const Terms* terms_;
  waep::SessionGroups* groups_;
  const char* executor_;
  std::string parent_;
  std::string nice_;
  const char* event_nice_;
  const char* changes_;
  std::string base_;
  std::unordered_map<pid_t, uint32_t> executors_;
};

}  // namespace

int ServeReloads(char** command) {
  // Do not serve an agent that is gone.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  ::prctl(PR_SET_NAME, "waep-reload", 0, 0, 0);
  waep::control::Channel channel(STDIN_FILENO);
  waep::control::Message message;
  for (;;) {
    const int got = channel.Receive(&message);
    if (got <= 0) return got == 0 ? EXIT_SUCCESS : Die("hearing the agent", got);
    if (message.kind != waep::control::kReload) return Die("hearing the agent", -EPROTO);
    const pid_t child = ::fork();
    if (child == 0) {
      const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
      ::dup2(nothing, STDIN_FILENO);
      ::execv(command[0], command);
      Die(command[0], -errno);
      ::_exit(127);
    }
    int status = 127 << 8;
    if (child > 0) ::waitpid(child, &status, 0);
    const int error =
        channel.Send(waep::control::kReloaded, static_cast<uint32_t>(status), nullptr, 0);
    if (error != 0) return Die("answering the agent", error);
  }
}

int main(int argc, char** argv) {
  // A service manager or a terminal sends these to all processes of an agent. The agent alone
  // decides when sessions end, and this process and its executors end with the agent.
  for (const int one : {SIGHUP, SIGINT, SIGTERM}) ::signal(one, SIG_IGN);
  if (argc >= 3 && strcmp(argv[1], "reload") == 0) return ServeReloads(argv + 2);
  if (argc != 3) {
    return Die("not started by an agent (usage: waep-keeper EVENT_NICE EXECUTOR)", -EINVAL);
  }
  ::syscall(SYS_close_range, kStarts + 1, ~0u, 0);
  ::fcntl(kStarts, F_SETFD, FD_CLOEXEC);
  std::string executor = argv[2];
  waep::control::Channel channel(STDIN_FILENO);
  Terms terms;
  int error = ReceiveTerms(&channel, &terms);
  if (error != 0) return Die("receiving the rules", error);
  RaiseLimits();
  waep::SessionGroups groups;
  const std::string why = groups.Prepare(::getppid(), terms.confinement.memory_bytes);
  if (!why.empty()) {
    fprintf(stderr,
            "waep-keeper: sessions have no cgroups of their own, so that quotas are held to "
            "estimates only: %s\n",
            why.c_str());
  }
  error = waep::confine::EnterRoot(terms.confinement, &executor);
  if (error == -EPERM) {
    fprintf(stderr,
            "waep-keeper: sessions see this machine's mounts as they are: to give them a root of "
            "their own the agent needs CAP_SYS_ADMIN\n");
  } else if (error != 0) {
    return Die("making a root that holds what the policy lets sessions read", error);
  }
  // A process may lower its own priority, but not raise it. A failure does not matter.
  const int nice = ::getpriority(PRIO_PROCESS, 0);
  const int event_nice = static_cast<int>(strtol(argv[1], nullptr, 10));
  if (event_nice < nice) ::setpriority(PRIO_PROCESS, 0, event_nice);
  error = waep::confine::KeepCapabilities(terms.confinement.capabilities);
  if (error != 0) return Die("giving up capabilities", error);
  error = waep::confine::RefuseSystemCalls(true);
  if (error != 0) return Die("giving up system calls (seccomp)", error);
  error = Keeper(&channel, &terms, &groups, executor.c_str(), nice, argv[1]).Serve();
  return error == -ECONNRESET ? EXIT_SUCCESS : Die("serving the agent", error);
}
