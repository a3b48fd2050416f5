// SPDX-License-Identifier: MIT
//
// waep-executor KEEPER_PID NICE EVENT_NICE CHANGES BASE: serves one session. NICE is the priority
// of its calls, EVENT_NICE that of its events. CHANGES says which changes of files it may make:
// "none", "mounts", or "any" that its mounts allow. BASE is the inode number of the cgroup that has
// the cgroups of the agent and its sessions, or 0.
//
// The keeper (keeper_main.cc) starts one executor for each session. Standard input is its channel
// to the agent (control.h), which carries the session's connections. The descriptor after standard
// error is a file with the session's rules.
//
// Each session has a process of its own for three reasons. A forged descriptor number or address
// leads only to the session's own objects. The kernel drops these objects when the process ends,
// however it ends. A long verifier run delays no other session.
//
// The main thread serves calls and never uses the channel meanwhile. Another thread waits for the
// agent's messages.

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "call_loop.h"
#include "confinement.h"
#include "connection_slot.h"
#include "control.h"
#include "event_loop.h"
#include "interface_names.h"
#include "sandbox.h"

namespace {

// The keeper leaves the rules in this descriptor.
constexpr int kRules = STDERR_FILENO + 1;
// The number of descriptors of the executor's own. They are numbered above the session's objects.
constexpr int kOwnDescriptors = 64 + static_cast<int>(waep::EventConnection::kMaxDescriptors);

int Die(const char* what, int error) {
  fprintf(stderr, "waep-executor: %s: error %d\n", what, error);
  return EXIT_FAILURE;
}

// Makes the kernel's descriptor table as large as it can get. Otherwise the kernel would enlarge it
// in the middle of calls, and in a process with threads it then waits for an RCU grace period
// (expand_fdtable()).
int ReserveDescriptors(int first_own) {
  const rlim_t descriptors = static_cast<rlim_t>(first_own) + kOwnDescriptors;
  const rlimit limit = {descriptors, descriptors};
  if (::setrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
  const int last = ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, first_own + kOwnDescriptors - 1);
  if (last < 0) return -errno;
  ::close(last);
  return 0;
}

int ReadRules(int file, waep::Rules* rules) {
  std::vector<uint8_t> encoded;
  uint8_t piece[4096];
  ssize_t got;
  while ((got = ::pread(file, piece, sizeof piece, static_cast<off_t>(encoded.size()))) > 0) {
    encoded.insert(encoded.end(), piece, piece + got);
  }
  if (got < 0) return -errno;
  waep::cbor::Reader reader(encoded.data(), encoded.size());
  return waep::Rules::Decode(&reader, rules) && reader.AtEnd() ? 0 : -EINVAL;
}

class Handler final : public waep::control::Handler {
 public:
  Handler(waep::ConnectionSlot* slot, waep::Cancellation* cancellation, waep::EventLoop* events,
          int first_fd)
      : slot_(slot), cancellation_(cancellation), events_(events), first_fd_(first_fd) {}

  void Attach(waep::control::Purpose purpose, uint32_t lease_ms,
              waep::unique_fd connection) override {
    if (purpose == waep::control::kEvents) events_->Attach(std::move(connection));
    if (purpose != waep::control::kMain) return;
    // This is a copy, because the call loop closes its own descriptor at any time.
    watched_.reset(::fcntl(connection.get(), F_DUPFD_CLOEXEC, first_fd_));
    lease_ms_ = lease_ms;
    expiry_ms_ = kNever;
    slot_->Put(std::move(connection), lease_ms);
  }

  [[nodiscard]] int watched() const override { return watched_.get(); }

  // Requests that have arrived are still executed until the lease ends.
  void PeerEnded() override {
    watched_.reset();
    expiry_ms_ = NowMs() + lease_ms_;
  }

  [[nodiscard]] int wait_ms() const override {
    if (cancellation_->urging()) return kUrgeMs;
    if (expiry_ms_ == kNever) return -1;
    constexpr int64_t kMostMs = 1 << 30;
    return static_cast<int>(std::clamp(expiry_ms_ - NowMs(), int64_t{0}, kMostMs));
  }

  void Turn() override {
    if (expiry_ms_ != kNever && NowMs() >= expiry_ms_) {
      expiry_ms_ = kNever;
      cancellation_->CancelAll();
    }
    cancellation_->Urge();
  }

  void Cancel(uint32_t id) override { cancellation_->Cancel(id); }

  void End() override {
    slot_->End();
    cancellation_->CancelAll();
  }

 private:
  static constexpr int kUrgeMs = 20;
  static constexpr int64_t kNever = -1;

  static int64_t NowMs() {
    timespec now = {};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
  }

  waep::ConnectionSlot* slot_;
  waep::Cancellation* cancellation_;
  waep::EventLoop* events_;
  int first_fd_;
  waep::unique_fd watched_;
  uint32_t lease_ms_ = 0;
  // The time at which the lease ends. After it, nobody can want the running request any more.
  int64_t expiry_ms_ = kNever;
};

// Serves the session's connections, one after the other. Returns how the last one ended.
int Serve(waep::control::Channel* channel, waep::ConnectionSlot* slot, waep::CallLoop* loop) {
  int end = 0;
  for (int fd = slot->Next(); fd >= 0; fd = slot->Next()) {
    end = loop->Run(fd);
    if (!waep::CallLoop::IsLoss(end) || slot->lease_ms() == 0) break;
    if (!slot->has_next()) {
      channel->Send(waep::control::kDetached, static_cast<uint32_t>(end), nullptr, 0);
    }
  }
  return end;
}

void Report(waep::control::Channel* channel, int end, const waep::CallLoop& loop,
            const waep::Executor& executor, const waep::EventLoop& events) {
  const waep::CallLoopStatistics& statistics = loop.statistics();
  const std::pair<const char*, uint64_t> facts[] = {
      {"framesIn", statistics.frames_in},
      {"framesOut", statistics.frames_out},
      {"bytesIn", statistics.bytes_in},
      {"bytesOut", statistics.bytes_out},
      {"calls", executor.calls()},
      {"refused", executor.refused()},
      {"handles", executor.handles()},
      {"eventsDropped", events.dropped()},
      {"recordsDropped", channel->dropped()},
  };
  std::vector<uint8_t> encoded;
  encoded.reserve(256);
  waep::cbor::Writer writer(&encoded);
  writer.Head(waep::cbor::kMap, 1 + std::size(facts));
  writer.Text("end");
  writer.Int(end);
  for (const auto& [name, value] : facts) {
    writer.Text(name);
    writer.Head(waep::cbor::kUint, value);
  }
  channel->Send(waep::control::kReport, 0, encoded.data(), encoded.size());
}

}  // namespace

int main(int argc, char** argv) {
  // The session ends with the keeper, and the keeper ends with the agent.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  // The process was executed by a descriptor, so the kernel would name it after the descriptor's
  // number.
  ::prctl(PR_SET_NAME, "waep-executor", 0, 0, 0);
  if (argc != 6 || ::getppid() != static_cast<pid_t>(strtol(argv[1], nullptr, 10))) {
    return Die(
        "not started by a keeper (usage: waep-executor KEEPER_PID NICE EVENT_NICE CHANGES BASE)",
        -EINVAL);
  }
  // Other processes of the same user, such as executors of other sessions, cannot inspect this one.
  // If the user is not root, this process could then not read its own /proc entry either.
  if (::geteuid() == 0) ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  // Large allocations come from the heap, too, and all threads share one heap. So every mapping
  // exists before the first call.
  ::mallopt(M_MMAP_THRESHOLD, 1 << 30);
  ::mallopt(M_ARENA_MAX, 1);

  waep::Rules rules;
  int error = ReadRules(kRules, &rules);
  if (error != 0) return Die("reading the rules", error);
  ::syscall(SYS_close_range, kRules, ~0u, 0);
  waep::control::Channel channel(STDIN_FILENO);
  // Room for the session's objects, one that is being received, and a file that is read for a
  // moment.
  const int first_own = STDERR_FILENO + 1 + static_cast<int>(rules.limits.max_handles) + 2;
  error = ReserveDescriptors(first_own);
  if (error != 0) return Die("reserving descriptors", error);
  channel.set_first_fd(first_own);
  error = waep::OpenInterfaceNames(first_own);
  if (error != 0) return Die("opening a socket", error);

  waep::ConnectionSlot slot;
  waep::Cancellation cancellation;
  waep::Executor executor(std::move(rules));
  waep::EventLoop events(&executor.shared_handles(), &executor.rules().limits, first_own);
  Handler handler(&slot, &cancellation, &events, first_own);
  waep::control::Thread thread(&channel, &handler);
  executor.set_cancellation(&cancellation);
  executor.set_session_fds(STDERR_FILENO + 1, first_own, first_own + kOwnDescriptors);
  executor.set_base_cgroup(strtoull(argv[5], nullptr, 10));
  executor.audit()->Open(
      [&channel](const uint8_t* record, size_t length) { channel.Audit(record, length); });
  events.set_on_dropped([&executor](uint64_t records) {
    executor.audit()->Refused("SUBSCRIBE", "quotas.events_per_second",
                              std::to_string(records) + " records");
  });
  waep::CallLoop loop(&executor);
  error = loop.Reserve();
  if (error == 0) error = cancellation.Prepare();
  const std::string_view changes = argv[4];
  if (error == 0 && changes != "any") error = waep::confine::RefuseFileChanges(changes == "mounts");
  if (error == 0) error = events.Start(static_cast<int>(strtol(argv[3], nullptr, 10)));
  // Until now this thread had the priority of the event thread, if that is the higher one.
  ::setpriority(PRIO_PROCESS, 0, static_cast<int>(strtol(argv[2], nullptr, 10)));
  if (error == 0) error = thread.Start();
  if (error == 0) error = waep::EnterSandbox(executor.rules());
  if (error == 0) error = executor.Prepare();
  if (error != 0) return Die("preparing the session", error);

  const int end = Serve(&channel, &slot, &loop);
  Report(&channel, end, loop, executor, events);
  // Destructors must not run, because the other threads still use these objects.
  ::_Exit(EXIT_SUCCESS);
}
