// SPDX-License-Identifier: MIT
#pragma once

#include <sys/uio.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "../frame.h"
#include "../unique_fd.h"
#include "audit_trail.h"
#include "call_image.h"
#include "call_memory.h"
#include "cancellation.h"
#include "file_operations.h"
#include "handles.h"
#include "netlink.h"
#include "rule_checker.h"
#include "rules.h"
#include "shared_handles.h"

namespace waep {

// Executes a session's frames: checks a call in full, builds its memory, calls bpf(2) and forms the
// answer. It knows the frames of PROTOCOL.md. Commands, perf events and ioctls are numbers that
// only the rules distinguish, except for updates of task storage. There is one for each session.
// Not thread-safe.
class Executor {
 public:
  // The calls to the kernel, with the results of system calls. Tests, fuzzers and programs that
  // only judge calls replace them.
  struct Kernel {
    long (*bpf)(uint32_t command, void* const arguments[2], const uint32_t sizes[2],
                unsigned count);
    long (*perf_event_open)(void* attribute, int pid, int cpu, int group, unsigned long flags);
    long (*ioctl)(int fd, uint32_t request, uint64_t argument);
    // OpenReadable (readable_file.h).
    int (*open)(const char* path, bool names);
    // Leaves the calling thread those permitted capabilities that are not in `without`.
    int (*restrict)(uint64_t without);
    // Operate (file_operations.h).
    long (*file)(const FileRequest& request, uint8_t* out);
    // InterfaceName (interface_names.h).
    std::string (*interface_name)(uint32_t index);
    // ExchangeNetlink (netlink.h).
    NetlinkOutcome (*netlink)(const NetlinkRequest& request, std::vector<uint8_t>* answer);
  };
  static const Kernel kReal;
  // A kernel that has none of the calls: calls that the rules allow fail with ENOSYS.
  static const Kernel kNone;

  explicit Executor(Rules rules, const Kernel& kernel = kReal)
      : rules_(std::move(rules)), kernel_(kernel) {}

  // Reserves memory. Returns 0 or a negative errno. It must be called once, directly before the
  // first frame, because calls are kept from the addresses that are in use at this moment.
  int Prepare();

  // Returns whether every part of a header except its length is acceptable.
  [[nodiscard]] static bool AcceptsHeader(const frame::Header& header);

  // Executes one frame and returns the answer, header first, as parts for sendmsg(2). The parts are
  // valid until the next call.
  const std::vector<iovec>& Execute(uint8_t type, uint32_t id, const uint8_t* body, size_t length);

  // A detail of an error: its text, or its number if the text is empty.
  struct Detail {
    const char* key;
    uint64_t number;
    std::string text;
  };

  // Returns the answer that ends the session because of a frame that cannot be skipped.
  const std::vector<iovec>& Reject(uint32_t id, const char* code,
                                   const std::vector<Detail>& details);

  [[nodiscard]] size_t handles() const { return handles_.size(); }
  [[nodiscard]] uint64_t calls() const { return calls_; }
  [[nodiscard]] uint64_t refused() const { return refused_; }
  [[nodiscard]] const Rules& rules() const { return rules_; }
  // The session's handles, for other threads.
  [[nodiscard]] const SharedHandles& shared_handles() const { return shared_; }

  // Receives the refusals, and the calls that made something.
  [[nodiscard]] AuditTrail* audit() { return &audit_; }

  // Sets the object that cancels requests. It must outlive the executor.
  void set_cancellation(Cancellation* cancellation) { cancellation_ = cancellation; }

  // Sets the inode number of the cgroup that has the cgroups of the agent and its sessions. Clients
  // may not change those.
  void set_base_cgroup(uint64_t inode) { base_cgroup_ = inode; }

  // The session's descriptors have numbers in [first, last). The executor's own have numbers in
  // [last, end); some of them are copies of the session's.
  void set_session_fds(int first, int last, int end) {
    first_fd_ = first;
    last_fd_ = last;
    checker_.SetDescriptors(static_cast<uint32_t>(first), static_cast<uint32_t>(last),
                            static_cast<uint32_t>(end));
  }

 private:
  using Direction = CallImage::Direction;
  using Buffer = CallImage::Buffer;
  using Relocation = CallImage::Relocation;

  bool Request(uint8_t type, cbor::Reader body);
  bool Call(cbor::Reader body);
  bool Chain(cbor::Reader body);
  bool Open(cbor::Reader body);
  bool Read(cbor::Reader body);
  bool Close(cbor::Reader body);
  bool Clock(cbor::Reader body);
  bool PerfOpen(cbor::Reader body);
  bool Ioctl(cbor::Reader body);
  bool Restrict(cbor::Reader body);
  bool File(cbor::Reader body);
  bool Netlink(cbor::Reader body);
  // Returns the name of the family of NETLINK_GENERIC that has the number, or an empty text.
  std::string FamilyOf(uint16_t type);

  // Reads a call's buffers and relocations. The first `args` buffers are its arguments.
  bool ReadHeap(cbor::Reader* body, uint64_t args);
  bool ReadBuffers(cbor::Reader* body, uint64_t args);
  bool ReadCopy(cbor::Reader* body, cbor::Bytes* bytes, uint64_t* size);
  bool ReadRelocations(cbor::Reader* body);
  static ObjectInfo Ask(const void* executor, int fd);
  static std::string AskName(const void* executor, uint32_t index);
  bool ValuesHaveAddresses();
  bool CheckPointers(size_t arguments);
  bool Relocate(uint64_t operation, size_t arguments);
  void Unrelocate();
  bool CheckRules(uint64_t operation);
  bool CheckKnown(uint32_t flags, uint64_t args, uint64_t operation);
  [[nodiscard]] bool IsLeftOpen(long result) const;
  // Returns null or false if the handle is unknown, and forms the answer that says so.
  Handle* FindHandle(uint64_t handle);
  bool FindHandle(uint64_t handle, int* fd);
  bool CheckBindable(uint64_t handle);
  Handle* Bind(uint64_t handle, uint32_t command, long* result);

  bool Refuse(std::string rule, std::string value, std::string command);
  bool Fail(const char* code, const std::vector<Detail>& details);
  bool Malformed(std::string why);
  bool Limit(const char* what, uint64_t value, uint64_t maximum);

  void Forget();
  void Answer(long result, int error);
  void FinishChain();
  void FinishParts(uint8_t type, uint32_t id);

  Rules rules_;
  Kernel kernel_;
  CallMemory memory_;
  AddressGuard guard_;
  RuleChecker checker_{rules_, Ask, AskName, this};
  AuditTrail audit_;
  HandleTable handles_;
  SharedHandles shared_;
  std::unordered_set<uint32_t> events_;  // the handles of perf events
  CallImage image_;
  std::vector<uint32_t> referrers_;  // for each buffer, the buffer with the pointers to it
  std::vector<uint8_t> scratch_;
  std::vector<uint8_t> netlink_;  // the kernel's answer to a message
  // A piece of the answer: a stretch of scratch_, and bytes elsewhere that are sent without a copy.
  struct Stretch {
    size_t scratch_end;
    const uint8_t* data;
    size_t size;
  };
  std::vector<Stretch> stretches_;
  size_t answer_start_ = frame::kHeaderBytes;  // of the present answer in scratch_
  // An output in the answer to a chain: a stretch of scratch_, and zeros up to the full size.
  struct Output {
    size_t start;
    size_t sent;
    size_t size;
  };
  std::vector<cbor::Bytes> chain_;     // the calls of the present chain
  size_t chained_ = 0;                 // of them, so many have begun; 0 for a call by itself
  std::vector<Output> outputs_;        // of the chain's calls, one call after the other
  std::vector<size_t> first_outputs_;  // for each call that has begun, its first output
  std::vector<iovec> parts_;
  const uint64_t pid_ = static_cast<uint64_t>(::getpid());
  Cancellation* cancellation_ = nullptr;
  int error_ = 0;           // the errno of the last answer
  bool shortened_ = false;  // whether a buffer has less memory than the call offers
  uint64_t base_cgroup_ = 0;
  int first_fd_ = 3;
  int last_fd_ = INT32_MAX;
  uint64_t calls_ = 0;
  uint64_t refused_ = 0;
};

}  // namespace waep
