// SPDX-License-Identifier: MIT
#include "executor.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <iterator>
#include <utility>

#include "interface_names.h"
#include "readable_file.h"

namespace waep {
namespace {

// Outputs up to this size are copied behind their heads, because one part is cheaper than three.
constexpr size_t kCopyBytes = 16 * 1024;
constexpr uint32_t kCommandMask = 0xffff;      // the bits above are flags (BPF_COMMON_ATTRS)
constexpr size_t kMaxNetlinkBytes = 16 << 20;  // of the answer to a message
constexpr size_t kNetlinkHeadBytes = NLMSG_HDRLEN + 4;  // the header, and the word of the family
constexpr size_t kMaxValueBytes = 4096;  // of a refused value, in the answer and in the audit log

// Cuts a text that a client has made too long, before a whole character of UTF-8.
void Shorten(std::string* text) {
  if (text->size() <= kMaxValueBytes) return;
  size_t end = kMaxValueBytes;
  while (end > 0 && (static_cast<uint8_t>((*text)[end]) & 0xc0) == 0x80) --end;
  text->resize(end);
  *text += "…";
}

std::string At(uint64_t buffer, uint64_t offset) {
  return "buffer " + std::to_string(buffer) + " offset " + std::to_string(offset);
}

uint64_t NowNs(clockid_t clock) {
  timespec now;
  ::clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

std::string_view WithoutSlashes(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return path;
}

// Returns the size without zeros at the end. The receiver knows the length that it asked for.
size_t TrimZeros(const uint8_t* data, size_t size) {
  while (size >= 8) {
    uint64_t word;
    std::memcpy(&word, data + size - 8, 8);
    if (word != 0) break;
    size -= 8;
  }
  while (size > 0 && data[size - 1] == 0) --size;
  return size;
}

}  // namespace

const Executor::Kernel Executor::kReal = {
    [](uint32_t command, void* const arguments[2], const uint32_t sizes[2], unsigned count) {
      // All five registers are set. A kernel that reads the last two must not find in them what an
      // earlier call has left there.
      const bool both = count == 2;
      return ::syscall(SYS_bpf, command, arguments[0], sizes[0], both ? arguments[1] : nullptr,
                       both ? sizes[1] : 0U);
    },
    [](void* attribute, int pid, int cpu, int group, unsigned long flags) {
      return ::syscall(SYS_perf_event_open, attribute, pid, cpu, group, flags);
    },
    [](int fd, uint32_t request, uint64_t argument) {
      return ::syscall(SYS_ioctl, fd, request, argument);
    },
    OpenReadable,
    [](uint64_t without) {
      __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
      __user_cap_data_struct data[2] = {};
      if (::syscall(SYS_capget, &header, data) < 0) return -1;
      data[0].effective = data[0].permitted & ~static_cast<uint32_t>(without);
      data[1].effective = data[1].permitted & ~static_cast<uint32_t>(without >> 32);
      return static_cast<int>(::syscall(SYS_capset, &header, data));
    },
    Operate,
    InterfaceName,
    ExchangeNetlink};

const Executor::Kernel Executor::kNone = {
    [](uint32_t, void* const[2], const uint32_t[2], unsigned) -> long {
      errno = ENOSYS;
      return -1;
    },
    [](void*, int, int, int, unsigned long) -> long {
      errno = ENOSYS;
      return -1;
    },
    [](int, uint32_t, uint64_t) -> long {
      errno = ENOSYS;
      return -1;
    },
    [](const char*, bool) { return -ENOSYS; }, [](uint64_t) { return 0; },
    [](const FileRequest&, uint8_t*) -> long { return -ENOSYS; },
    // Rules may ask for an interface's name. No interface has this one.
    [](uint32_t index) { return "/" + std::to_string(index); },
    [](const NetlinkRequest&, std::vector<uint8_t>*) {
      return NetlinkOutcome{ENOSYS, false};
    }};

int Executor::Prepare() {
  const Limits& limits = rules_.limits;
  const int first_fd = last_fd_ == INT32_MAX ? 0 : last_fd_;
  const int error = memory_.Reserve(limits.max_call_bytes, limits.max_buffers, first_fd);
  if (error != 0) return error;
  scratch_.reserve(64 * 1024);
  image_.buffers.reserve(16);
  image_.relocations.reserve(64);
  return guard_.Load();
}

bool Executor::AcceptsHeader(const frame::Header& header) {
  return (header.flags & ~frame::kAnswerMayWait) == 0 && header.reserved == 0 &&
         ((header.type >= frame::kCall && header.type <= frame::kRestrict) ||
          (header.type >= frame::kFile && header.type <= frame::kPing) ||
          header.type == frame::kNetlink);
}

const std::vector<iovec>& Executor::Execute(uint8_t type, uint32_t id, const uint8_t* body,
                                            size_t length) {
  Forget();
  stretches_.clear();
  scratch_.resize(frame::kHeaderBytes);
  error_ = 0;
  bool done = false;
  if (cancellation_ != nullptr && !cancellation_->Begin(id)) {
    Fail("ERR_CALL_CANCELLED", {});
  } else {
    done = Request(type, {body, length});
    const bool interrupted = cancellation_ != nullptr && cancellation_->End();
    if (interrupted && (error_ == EINTR || error_ == EAGAIN)) {
      done = Fail("ERR_CALL_CANCELLED", {});
    }
  }
  if (chained_ > 0) {
    // The answer has the error of a call, too.
    FinishChain();
    done = true;
  }
  FinishParts(done ? frame::kResult : frame::kError, id);
  return parts_;
}

// Forgets the memory of the call before.
void Executor::Forget() {
  memory_.Reset();
  image_.Clear();
  netlink_.clear();
  netlink_.shrink_to_fit();
  shortened_ = false;
}

bool Executor::Request(uint8_t type, cbor::Reader reader) {
  switch (type) {
    case frame::kCall:
      return Call(reader);
    case frame::kChain:
      return Chain(reader);
    case frame::kOpen:
      return Open(reader);
    case frame::kRead:
      return Read(reader);
    case frame::kClose:
      return Close(reader);
    case frame::kPerfOpen:
      return PerfOpen(reader);
    case frame::kIoctl:
      return Ioctl(reader);
    case frame::kClock:
      return Clock(reader);
    case frame::kRestrict:
      return Restrict(reader);
    case frame::kFile:
      return File(reader);
    case frame::kNetlink:
      return Netlink(reader);
    case frame::kPing:
      if (!reader.AtEnd()) return Malformed("PING has a body");
      Answer(0, 0);
      return true;
    default:
      return Malformed("frame type " + std::to_string(type) + " is not a request");
  }
}

const std::vector<iovec>& Executor::Reject(uint32_t id, const char* code,
                                           const std::vector<Detail>& details) {
  Fail(code, details);
  FinishParts(frame::kError, id);
  return parts_;
}

bool Executor::Call(cbor::Reader body) {
  uint64_t command = 0;
  uint64_t args = 0;
  uint64_t result_handle = 0;
  if (!body.ReadArrayOf(5)) return Malformed("the body is not an array of 5 items");
  if (!body.ReadUint(UINT32_MAX, &command)) return Malformed("the command is not a 32-bit number");
  if (!body.ReadUint(2, &args) || args == 0) return Malformed("args is neither 1 nor 2");
  if (!body.ReadUint(UINT32_MAX, &result_handle)) {
    return Malformed("the result handle is not a 32-bit number");
  }
  const auto number = static_cast<uint32_t>(command) & kCommandMask;
  if (!rules_.AllowsCommand(number)) {
    return Refuse("commands", rules_.OperationName(number), rules_.OperationName(number));
  }
  // Without a handle, later calls would not know that the descriptor is of a foreign object.
  if (result_handle == 0 && rules_.foreign.Contains(number)) {
    return Refuse("foreign_objects", "a result without a handle", rules_.OperationName(number));
  }
  if (!ReadHeap(&body, args)) return false;
  if (!body.AtEnd()) return Malformed("bytes follow the relocations");
  if (!CheckBindable(result_handle) || !Relocate(number, args) || !CheckRules(number)) return false;
  if (!CheckKnown(static_cast<uint32_t>(command) & ~kCommandMask, args, number)) return false;

  void* arguments[2] = {};
  uint32_t sizes[2] = {};
  for (size_t i = 0; i < args; ++i) {
    arguments[i] = image_.buffers[i].memory;
    sizes[i] = static_cast<uint32_t>(image_.buffers[i].size);
  }
  ++calls_;
  long result =
      kernel_.bpf(static_cast<uint32_t>(command), arguments, sizes, static_cast<unsigned>(args));
  const int error = result < 0 ? errno : 0;
  const bool binds = error == 0 && result_handle != 0;
  Handle* const bound = binds ? Bind(result_handle, number, &result) : nullptr;
  const bool leaves = bound == nullptr && IsLeftOpen(result);
  checker_.Commit(number, {error == 0, result_handle == 0, bound, nullptr, leaves}, image_);
  if (error == EFAULT && shortened_) {
    const uint64_t maximum = rules_.limits.max_call_bytes;
    return Limit("what the kernel wrote to its buffers in bytes", maximum + 1, maximum);
  }
  if (error == 0) {
    audit_.Made(rules_, number, image_, static_cast<uint32_t>(result_handle), bound);
  }
  // What the kernel has done is charged and recorded, also if its result is no descriptor.
  if (binds && bound == nullptr) return false;
  Unrelocate();
  Answer(result, error);
  return true;
}

// A chain is no more than its calls, one after the other: each is checked when its turn comes. What
// a call takes from the answer to another one has left the kernel's reach, and is checked with the
// rest of the call. So a client could have sent the same calls with the same bytes one by one.
bool Executor::Chain(cbor::Reader body) {
  uint64_t count = 0;
  if (!body.ReadArray(&count) || count == 0) return Malformed("CHAIN is not an array of calls");
  if (count > frame::kMaxChainCalls) {
    return Limit("the number of calls in a chain", count, frame::kMaxChainCalls);
  }
  chain_.resize(count);
  for (cbor::Bytes& call : chain_) {
    if (!body.ReadBytes(&call)) return Malformed("a call of a chain is not a byte string");
  }
  if (!body.AtEnd()) return Malformed("bytes follow the calls of a chain");
  outputs_.clear();
  first_outputs_.clear();
  const uint64_t end_ns = NowNs(CLOCK_MONOTONIC) + frame::kChainNs;
  for (bool goes_on = true; goes_on;) {
    if (chained_ > 0) {
      // If this process dies of a later call, the log has what the earlier ones have made.
      audit_.Flush();
      Forget();
    }
    const cbor::Bytes& call = chain_[chained_++];
    answer_start_ = scratch_.size();
    first_outputs_.push_back(outputs_.size());
    goes_on = Call({call.data, call.size}) && error_ == 0 && chained_ < count &&
              scratch_.size() < frame::kChainAnswerBytes && NowNs(CLOCK_MONOTONIC) < end_ns &&
              (cancellation_ == nullptr || !cancellation_->interrupted());
  }
  return true;
}

void Executor::FinishChain() {
  uint8_t head[cbor::kMaxHeadBytes];
  const size_t length = cbor::PutHead(head, cbor::kArray, chained_);
  scratch_.insert(scratch_.begin() + frame::kHeaderBytes, head, head + length);
  answer_start_ = frame::kHeaderBytes;
  chained_ = 0;
}

bool Executor::PerfOpen(cbor::Reader body) {
  uint64_t handle = 0;
  int32_t pid = 0;
  uint64_t cgroup = 0;
  int32_t cpu = 0;
  uint64_t group = 0;
  uint64_t flags = 0;
  if (!body.ReadArrayOf(7) || !body.ReadUint(UINT32_MAX, &handle) || handle == 0) {
    return Malformed("PERF_OPEN is not [handle, pid, cpu, group, flags, buffers, relocations]");
  }
  if (!rules_.perf_events) return Refuse("perf_types", "any", "perf_event_open");
  const bool of_cgroup = body.Peek() == cbor::kArray;
  if (of_cgroup ? !body.ReadArrayOf(1) || !body.ReadUint(UINT32_MAX, &cgroup)
                : !body.ReadInt(&pid)) {
    return Malformed("pid is neither a 32-bit number nor an array of a handle");
  }
  if (!body.ReadInt(&cpu)) return Malformed("cpu is not a 32-bit number");
  if (!body.ReadUint(UINT32_MAX, &group)) return Malformed("group is not a handle");
  if (!body.ReadUint(UINT32_MAX, &flags)) return Malformed("flags is not a 32-bit number");
  if (of_cgroup != ((flags & PERF_FLAG_PID_CGROUP) != 0)) {
    return Malformed("pid is a handle if, and only if, flags has PERF_FLAG_PID_CGROUP");
  }
  if (!ReadHeap(&body, 1)) return false;
  if (!body.AtEnd()) return Malformed("bytes follow the relocations");
  // The kernel takes as many bytes as the attribute states, and refuses fewer than the first
  // version had (perf_copy_attr()). Rules must not judge bytes that the kernel does not take.
  const uint32_t stated = image_.Word32(0, offsetof(perf_event_attr, size));
  const size_t taken = stated == 0 ? PERF_ATTR_SIZE_VER0 : stated;
  if (taken >= PERF_ATTR_SIZE_VER0 && image_.buffers[0].size > taken) {
    return Malformed("the attribute has " + std::to_string(image_.buffers[0].size) +
                     " bytes, and its size says " + std::to_string(taken));
  }
  int group_fd = -1;
  if ((of_cgroup && !FindHandle(cgroup, &pid)) || (group != 0 && !FindHandle(group, &group_fd)) ||
      !CheckBindable(handle) || !Relocate(Rules::kPerfOpen, 1) || !CheckRules(Rules::kPerfOpen)) {
    return false;
  }
  ++calls_;
  long result = kernel_.perf_event_open(image_.buffers[0].memory, pid, cpu, group_fd,
                                        flags | PERF_FLAG_FD_CLOEXEC);
  const int error = result < 0 ? errno : 0;
  if (result >= 0) {
    const Handle* const bound = Bind(handle, Handle::kNoCommand, &result);
    audit_.Made(rules_, Rules::kPerfOpen, image_, static_cast<uint32_t>(handle), bound);
    if (bound == nullptr) return false;
    events_.insert(static_cast<uint32_t>(handle));
  }
  Unrelocate();
  Answer(result, error);
  return true;
}

bool Executor::Clock(cbor::Reader body) {
  if (!body.ReadArrayOf(0) || !body.AtEnd()) return Malformed("CLOCK is not an empty array");
  // The clock in the middle is read closest to the middle of the round trip.
  static constexpr clockid_t kClocks[] = {CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_REALTIME};
  uint8_t* const memory = memory_.Allocate(std::size(kClocks) * sizeof(uint64_t));
  for (size_t i = 0; i < std::size(kClocks); ++i) {
    const uint64_t now_ns = NowNs(kClocks[i]);
    std::memcpy(memory + i * sizeof now_ns, &now_ns, sizeof now_ns);
  }
  image_.buffers.push_back({memory, std::size(kClocks) * sizeof(uint64_t), Direction::kOut});
  Answer(0, 0);
  return true;
}

bool Executor::Restrict(cbor::Reader body) {
  uint64_t without = 0;
  if (!body.ReadArrayOf(1) || !body.ReadUint(&without) || !body.AtEnd()) {
    return Malformed("RESTRICT is not [capabilities]");
  }
  const int result = kernel_.restrict(without);
  Answer(result, result < 0 ? errno : 0);
  return true;
}

bool Executor::Ioctl(cbor::Reader body) {
  uint64_t handle = 0;
  uint64_t request = 0;
  if (!body.ReadArrayOf(4) || !body.ReadUint(UINT32_MAX, &handle) ||
      !body.ReadUint(UINT32_MAX, &request)) {
    return Malformed("IOCTL is not [handle, request, buffers, relocations]");
  }
  const auto number = static_cast<uint32_t>(request);
  const IoctlRule* const rule = rules_.FindIoctl(number);
  if (rule == nullptr) return Refuse("ioctls", "request " + std::to_string(number), "ioctl");
  if (!ReadHeap(&body, 1)) return false;
  if (!body.AtEnd()) return Malformed("bytes follow the relocations");
  if (image_.buffers[0].size != sizeof(uint64_t) || image_.buffers[0].direction != Direction::kIn) {
    return Malformed("buffer 0 is not the 8 bytes of the request's argument");
  }
  // A plain number in the place of a descriptor or an address would name something of the executor.
  static constexpr const char* kExpected[] = {"a number", "a descriptor", "a pointer"};
  const auto argument = std::find_if(image_.relocations.begin(), image_.relocations.end(),
                                     [](const Relocation& at) { return at.buffer == 0; });
  const auto given = argument == image_.relocations.end()    ? IoctlArgument::kNumber
                     : argument->kind == CallImage::kPointer ? IoctlArgument::kBuffer
                                                             : IoctlArgument::kHandle;
  uint64_t value = 0;
  std::memcpy(&value, image_.buffers[0].memory, sizeof value);
  const bool none = rule->argument == IoctlArgument::kHandle && value == UINT64_MAX;
  if (!(given == rule->argument || (none && given == IoctlArgument::kNumber)) ||
      (given != IoctlArgument::kNumber && argument->width() != sizeof value)) {
    return Malformed("the argument of " + rule->name + " is not " +
                     kExpected[static_cast<size_t>(rule->argument)]);
  }
  int fd = -1;
  if (!FindHandle(handle, &fd) || !Relocate(Rules::kIoctls + number, 1) ||
      !CheckRules(Rules::kIoctls + number)) {
    return false;
  }
  std::memcpy(&value, image_.buffers[0].memory, sizeof value);
  ++calls_;
  const long result = kernel_.ioctl(fd, number, value);
  const int error = result < 0 ? errno : 0;
  Handle* const on = &handles_.find(static_cast<uint32_t>(handle))->second;
  checker_.Commit(Rules::kIoctls + number, {error == 0, false, nullptr, on, false}, image_);
  if (error == 0) {
    audit_.Made(rules_, Rules::kIoctls + number, image_, 0, nullptr);
  }
  Unrelocate();
  Answer(result, error);
  return true;
}

// A request has one message, whose length is that of its buffer. So the kernel finds in it what the
// rules have seen, and no second message.
bool Executor::Netlink(cbor::Reader body) {
  uint64_t protocol = 0;
  uint64_t options = 0;
  if (!body.ReadArrayOf(4) || !body.ReadUint(MAX_LINKS - 1, &protocol) ||
      !body.ReadUint(NetlinkRequest::kAllOptions, &options)) {
    return Malformed("NETLINK is not [protocol, options, buffers, relocations]");
  }
  if (!ReadHeap(&body, 1)) return false;
  if (!body.AtEnd()) return Malformed("bytes follow the relocations");
  const Buffer& message = image_.buffers[0];
  if (image_.buffers.size() != 1 || message.direction != Direction::kIn ||
      message.size < NLMSG_HDRLEN || image_.Word32(0, 0) != message.size) {
    return Malformed("the only buffer is not a message that is as long as its header says");
  }
  // A relocation must change neither the length of the message nor by what its rule is found.
  for (const Relocation& relocation : image_.relocations) {
    if (relocation.kind != CallImage::kFd32 || relocation.offset < kNetlinkHeadBytes) {
      return Malformed("the relocation at " + At(0, relocation.offset) +
                       " is no descriptor behind the head of the message");
    }
  }
  const auto type = static_cast<uint16_t>(image_.Word(offsetof(nlmsghdr, nlmsg_type), 2));
  const auto family = static_cast<uint8_t>(image_.Word(NLMSG_HDRLEN, 1));
  const NetlinkRule* const rule =
      rules_.FindNetlink(static_cast<uint32_t>(protocol), type, family,
                         protocol == NETLINK_GENERIC ? FamilyOf(type) : "");
  if (rule == nullptr || !rule->allowed) {
    const std::string number = std::to_string(type);
    return Refuse("netlink", rule == nullptr ? "the message " + number : rule->name,
                  "netlink protocol " + std::to_string(protocol));
  }
  const uint64_t operation = rules_.OperationOf(*rule);
  if (!Relocate(operation, 1) || !CheckRules(operation)) return false;
  // An error repeats the message, and with it the executor's descriptors, unless it is capped.
  const uint32_t capped = image_.relocations.empty() ? 0 : NetlinkRequest::kCappedAck;
  const size_t most = std::min<size_t>(kMaxNetlinkBytes, rules_.limits.max_call_bytes);
  ++calls_;
  const NetlinkOutcome outcome =
      kernel_.netlink({static_cast<uint32_t>(protocol), static_cast<uint32_t>(options) | capped,
                       message.memory, message.size, most},
                      &netlink_);
  // A change may be made although its answer cannot be received.
  const bool done = outcome.sent && NetlinkError(netlink_) == 0;
  checker_.Commit(operation, {done, false, nullptr, nullptr, false}, image_);
  if (done) audit_.Made(rules_, operation, image_, 0, nullptr);
  if (outcome.error == EFBIG) return Limit("the bytes of the kernel's answer", most + 1, most);
  if (outcome.error != 0) {
    Answer(-1, outcome.error);
    return true;
  }
  if (!netlink_.empty()) {
    image_.buffers.push_back({netlink_.data(), netlink_.size(), Direction::kInOut});
  }
  Answer(static_cast<long>(netlink_.size()), 0);
  return true;
}

// Each kernel numbers the families of NETLINK_GENERIC itself, but for the one that tells of them.
std::string Executor::FamilyOf(uint16_t type) {
  // The sandbox has the protocol only if a message of it is allowed.
  if (type == GENL_ID_CTRL || rules_.NetlinkProtocols().count(NETLINK_GENERIC) == 0) return "";
  const std::vector<uint8_t> question = FamilyQuestion(type);
  std::vector<uint8_t> answer;
  const NetlinkOutcome outcome = kernel_.netlink(
      {NETLINK_GENERIC, 0, question.data(), question.size(), kMaxNetlinkBytes}, &answer);
  return outcome.error == 0 ? FamilyName(answer) : "";
}

bool Executor::ReadHeap(cbor::Reader* body, uint64_t args) {
  return ReadBuffers(body, args) && ReadRelocations(body);
}

bool Executor::ReadBuffers(cbor::Reader* body, uint64_t args) {
  uint64_t count = 0;
  if (!body->ReadArray(&count)) return Malformed("the buffers are not an array");
  if (count > rules_.limits.max_buffers) {
    return Limit("the number of buffers", count, rules_.limits.max_buffers);
  }
  if (count < args) return Malformed("there are fewer buffers than arguments");
  uint64_t maximum = rules_.limits.max_call_bytes;
  if (chained_ > 0) maximum = std::min<uint64_t>(maximum, frame::kMaxChainCallBytes);
  uint64_t total = 0;
  for (uint64_t i = 0; i < count; ++i) {
    Direction direction = Direction::kIn;
    cbor::Bytes bytes;
    uint64_t size = 0;
    switch (body->Peek()) {
      case cbor::kBytes:
        if (!body->ReadBytes(&bytes)) return Malformed("a byte string reaches beyond the frame");
        size = bytes.size;
        break;
      case cbor::kUint:
        direction = Direction::kOut;
        if (!body->ReadUint(&size)) return Malformed("an out length is cut short");
        break;
      case cbor::kArray:
        if (chained_ > 0 && body->ReadArrayOf(2)) {
          if (!ReadCopy(body, &bytes, &size)) return false;
          break;
        }
        direction = Direction::kInOut;
        if (!body->ReadArrayOf(1) || !body->ReadBytes(&bytes)) {
          return Malformed("an inout buffer is not an array of one byte string");
        }
        size = bytes.size;
        break;
      default:
        return Malformed("buffer " + std::to_string(i) +
                         " is neither bytes, nor a length, nor an array of bytes");
    }
    const bool out = direction == Direction::kOut;
    const uint64_t room = maximum - total;
    // One buffer may offer more than the remaining room. It gets this room, if there is enough.
    const bool offers = out && !shortened_ && chained_ == 0 && size <= CallMemory::kMaxOffered &&
                        room >= maximum / 2;
    if (size > room && !offers) {
      const uint64_t sum = size > UINT64_MAX - total ? UINT64_MAX : total + size;
      return Limit("the sum of its buffers in bytes", sum, maximum);
    }
    if (i < args && out) return Malformed("argument " + std::to_string(i) + " is an out buffer");
    const auto here = static_cast<size_t>(std::min(size, room));
    shortened_ = shortened_ || here < size;
    total += here;
    uint8_t* const memory = i < args ? memory_.AllocateArgument(here)
                            : out    ? memory_.AllocateOut(here, static_cast<size_t>(size))
                                     : memory_.Allocate(here);
    if (memory == nullptr) {
      return Limit("the memory for its buffers in bytes", total, rules_.limits.max_call_bytes);
    }
    if (!out && bytes.size != 0) std::memcpy(memory, bytes.data, bytes.size);
    // A copied output has come without its trailing zeros.
    if (!out && bytes.size < here) std::memset(memory + bytes.size, 0, here - bytes.size);
    image_.buffers.push_back({memory, here, direction});
  }
  return true;
}

// Reads a buffer that has the bytes of an output of an earlier call of the chain, as its answer has
// them.
bool Executor::ReadCopy(cbor::Reader* body, cbor::Bytes* bytes, uint64_t* size) {
  uint64_t call = 0;
  uint64_t output = 0;
  if (!body->ReadUint(&call) || !body->ReadUint(&output)) {
    return Malformed("a copied buffer is not [call, output]");
  }
  if (call >= chained_ - 1) {
    return Malformed("call " + std::to_string(chained_ - 1) + " of a chain copies from call " +
                     std::to_string(call));
  }
  const size_t first = first_outputs_[call];
  const size_t count = first_outputs_[call + 1] - first;
  if (output >= count) {
    return Malformed("call " + std::to_string(call) + " of a chain has " + std::to_string(count) +
                     " outputs, and number " + std::to_string(output) + " is copied");
  }
  const Output& from = outputs_[first + output];
  *bytes = {scratch_.data() + from.start, from.sent};
  *size = from.size;
  return true;
}

bool Executor::ReadRelocations(cbor::Reader* body) {
  uint64_t count = 0;
  if (!body->ReadArray(&count)) return Malformed("the relocations are not an array");
  if (count % 4 != 0) return Malformed("the relocations are not four numbers each");
  count /= 4;
  if (count > rules_.limits.max_relocations) {
    return Limit("the number of relocations", count, rules_.limits.max_relocations);
  }
  bool sorted = true;
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t buffer = 0;
    uint64_t offset = 0;
    uint64_t kind = 0;
    uint64_t target = 0;
    if (!body->ReadUint(UINT32_MAX, &buffer) || !body->ReadUint(UINT32_MAX, &offset) ||
        !body->ReadUint(UINT32_MAX, &kind) || !body->ReadUint(UINT32_MAX, &target)) {
      return Malformed("relocation " + std::to_string(i) + " is not four 32-bit numbers");
    }
    if (kind > CallImage::kPid) {
      return Malformed("relocation " + std::to_string(i) + " has the unknown kind " +
                       std::to_string(kind));
    }
    const Relocation relocation = {static_cast<uint32_t>(buffer),
                                   static_cast<uint32_t>(offset),
                                   static_cast<uint8_t>(kind),
                                   static_cast<uint32_t>(target),
                                   0,
                                   nullptr};
    if (buffer >= image_.buffers.size()) {
      return Malformed("relocation " + std::to_string(i) + " is in buffer " +
                       std::to_string(buffer) + " of " + std::to_string(image_.buffers.size()));
    }
    const Buffer& where = image_.buffers[buffer];
    if (offset > where.size || relocation.width() > where.size - offset) {
      return Malformed("the relocation at " + At(buffer, offset) + " reaches beyond its " +
                       std::to_string(where.size) + " bytes");
    }
    if (kind == CallImage::kPointer && target >= image_.buffers.size()) {
      return Malformed("the relocation at " + At(buffer, offset) + " points to buffer " +
                       std::to_string(target) + " of " + std::to_string(image_.buffers.size()));
    }
    if (kind == CallImage::kPid && target != 0) {
      return Malformed("the relocation at " + At(buffer, offset) +
                       " asks for a process id and has the target " + std::to_string(target));
    }
    if (!image_.relocations.empty()) {
      const Relocation& last = image_.relocations.back();
      sorted = sorted && (last.buffer < buffer || (last.buffer == buffer && last.offset < offset));
    }
    image_.relocations.push_back(relocation);
  }
  if (!sorted) {
    std::sort(image_.relocations.begin(), image_.relocations.end(),
              [](const auto& a, const auto& b) {
                return a.buffer != b.buffer ? a.buffer < b.buffer : a.offset < b.offset;
              });
  }
  for (size_t i = 1; i < image_.relocations.size(); ++i) {
    const Relocation& last = image_.relocations[i - 1];
    const Relocation& next = image_.relocations[i];
    if (last.buffer == next.buffer && next.offset - last.offset < last.width()) {
      return Malformed("the relocations at " + At(last.buffer, last.offset) + " and " +
                       At(next.buffer, next.offset) + " overlap");
    }
  }
  return true;
}

ObjectInfo Executor::Ask(const void* executor, int fd) {
  bpf_map_info info = {};
  bpf_attr attribute = {};
  attribute.info.bpf_fd = static_cast<uint32_t>(fd);
  // The infos of programs and links begin with the type and the id, too.
  attribute.info.info_len = sizeof info;
  attribute.info.info = reinterpret_cast<uintptr_t>(&info);
  void* const arguments[2] = {&attribute, nullptr};
  const uint32_t sizes[2] = {sizeof attribute, 0};
  const long result = static_cast<const Executor*>(executor)->kernel_.bpf(BPF_OBJ_GET_INFO_BY_FD,
                                                                          arguments, sizes, 1);
  if (result < 0 && errno == EINVAL) return {ObjectInfo::kKnown, ObjectInfo::kNoObject, 0, 0, 0};
  if (result < 0) return {ObjectInfo::kUnknown, 0, 0, 0, 0};
  return {ObjectInfo::kKnown, info.type, info.key_size, info.value_size, info.id};
}

std::string Executor::AskName(const void* executor, uint32_t index) {
  return static_cast<const Executor*>(executor)->kernel_.interface_name(index);
}

// Returns whether the kernel may use words of the map's values as addresses. Values of task storage
// have such fields (map_check_btf() in kernel/bpf/syscall.c).
bool Executor::ValuesHaveAddresses() {
  const Relocation* const map = image_.RelocationAt(0, 0);
  if (map == nullptr || map->kind != CallImage::kFd32) return true;
  const auto handle = handles_.find(map->target);
  if (handle == handles_.end()) return true;
  const ObjectInfo& info = checker_.InfoOf(&handle->second);
  return info.state == ObjectInfo::kUnknown || info.type == BPF_MAP_TYPE_TASK_STORAGE;
}

// A buffer has only one pointer to it, and that pointer leads to its start. So the kernel does not
// read through one pointer what it writes through another. Texts that the kernel only reads are an
// exception: all pointers of one buffer may lead into the same input buffer.
bool Executor::CheckPointers(size_t arguments) {
  constexpr uint32_t kNone = UINT32_MAX;
  referrers_.assign(image_.buffers.size(), kNone);
  for (const Relocation& relocation : image_.relocations) {
    if (relocation.kind != CallImage::kPointer) continue;
    const Buffer& target = image_.buffers[relocation.target];
    const auto refuse = [&](const std::string& before, const std::string& after) {
      ++refused_;
      return Malformed("the relocation at " + At(relocation.buffer, relocation.offset) +
                       " points to " + before + "buffer " + std::to_string(relocation.target) +
                       after);
    };
    if (relocation.target < arguments) return refuse("", ", which is an argument");
    if (relocation.value > target.size) {
      return refuse("offset " + std::to_string(relocation.value) + " of ",
                    ", which has " + std::to_string(target.size) + " bytes");
    }
    uint32_t* const referrer = &referrers_[relocation.target];
    const bool again = *referrer != kNone;
    const bool may_share = relocation.buffer >= arguments && target.direction == Direction::kIn &&
                           (!again || *referrer == relocation.buffer);
    if (again && !may_share) return refuse("", ", to which another one points");
    if (relocation.value != 0 && !may_share) return refuse("the inside of ", "");
    *referrer = relocation.buffer;
  }
  return true;
}

bool Executor::Relocate(uint64_t operation, size_t arguments) {
  // The words that relocations fill are zeroed first. Any word that still looks like an address
  // then comes from the client. The relocations keep the addends meanwhile.
  for (Relocation& relocation : image_.relocations) {
    uint8_t* const memory = image_.buffers[relocation.buffer].memory;
    relocation.value = relocation.Load(memory);
    relocation.Store(memory, 0);
  }
  if (!CheckPointers(arguments)) return false;
  // A client's numbers sometimes look like addresses. So only the buffers that the kernel might
  // follow are searched.
  const size_t followed =
      rules_.no_pointer_scan.Contains(operation) ? arguments : image_.buffers.size();
  for (size_t i = 0; i < std::min(followed, image_.buffers.size()); ++i) {
    if (image_.buffers[i].direction == Direction::kOut) continue;
    const int64_t offset = guard_.Find(image_.buffers[i].memory, image_.buffers[i].size);
    if (offset >= 0) {
      if (operation == BPF_MAP_UPDATE_ELEM && i >= arguments && !ValuesHaveAddresses()) continue;
      ++refused_;
      return Malformed("the word at " + At(i, static_cast<uint64_t>(offset)) +
                       " is an address of the executor without a relocation");
    }
  }
  for (Relocation& relocation : image_.relocations) {
    uint64_t value = 0;
    if (relocation.kind == CallImage::kPointer) {
      value =
          reinterpret_cast<uintptr_t>(image_.buffers[relocation.target].memory) + relocation.value;
    } else if (relocation.kind == CallImage::kPid) {
      value = pid_;
    } else {
      relocation.handle = FindHandle(relocation.target);
      if (relocation.handle == nullptr) return false;
      value = static_cast<uint64_t>(relocation.handle->get());
    }
    relocation.Store(image_.buffers[relocation.buffer].memory, value);
    relocation.value = value;
  }
  return true;
}

void Executor::Unrelocate() {
  // The client must not learn addresses and descriptors of this process. A word that the kernel has
  // changed, for example to clear a pointer, belongs to the caller.
  for (const Relocation& relocation : image_.relocations) {
    const Buffer& buffer = image_.buffers[relocation.buffer];
    if (buffer.direction == Direction::kIn) continue;
    if (relocation.Load(buffer.memory) == relocation.value) {
      relocation.Store(buffer.memory, UINT64_MAX);
    }
  }
}

bool Executor::CheckRules(uint64_t operation) {
  // The rules are checked after relocation, because they are about the values that the kernel will
  // see.
  if (checker_.Allows(operation, image_, &handles_)) return true;
  const RuleChecker::Refusal& refusal = checker_.refusal();
  return Refuse(refusal.rule, refusal.value, rules_.OperationName(operation));
}

// A policy cannot have a rule about flags and bytes that are not known, and a later kernel may take
// one for a descriptor.
bool Executor::CheckKnown(uint32_t flags, uint64_t args, uint64_t operation) {
  const uint32_t unknown = flags & ~rules_.known_flags;
  if (unknown != 0) {
    return Refuse("commands", "the unknown flags " + std::to_string(unknown),
                  rules_.OperationName(operation));
  }
  if (args < 2) return true;
  const Buffer& second = image_.buffers[1];
  const size_t offset = second.FirstNonzero(rules_.second_bytes);
  if (offset == second.size) return true;
  return Refuse("commands",
                "byte " + std::to_string(offset) + " of the second argument, of which " +
                    std::to_string(rules_.second_bytes) + " are known here",
                rules_.OperationName(operation));
}

// Returns whether a call's result is a descriptor for which the client wanted no handle. A length
// that is mistaken for a descriptor does no harm.
bool Executor::IsLeftOpen(long result) const {
  struct stat about;
  return result >= first_fd_ && result < last_fd_ && ::fstat(static_cast<int>(result), &about) == 0;
}

Handle* Executor::FindHandle(uint64_t handle) {
  const auto found = handles_.find(static_cast<uint32_t>(handle));
  if (found != handles_.end()) return &found->second;
  Fail("ERR_HANDLE_UNKNOWN", {{"handle", handle, {}}});
  return nullptr;
}

bool Executor::FindHandle(uint64_t handle, int* fd) {
  const Handle* const found = FindHandle(handle);
  if (found != nullptr) *fd = found->get();
  return found != nullptr;
}

bool Executor::CheckBindable(uint64_t handle) {
  if (handle == 0) return true;
  if (handles_.count(static_cast<uint32_t>(handle)) != 0) {
    return Fail("ERR_HANDLE_IN_USE", {{"handle", handle, {}}});
  }
  if (handles_.size() >= rules_.limits.max_handles) {
    return Fail("ERR_HANDLE_LIMIT", {{"maximum", rules_.limits.max_handles, {}}});
  }
  return true;
}

Handle* Executor::Bind(uint64_t handle, uint32_t command, long* result) {
  const auto fd = static_cast<int>(*result);
  const bool known = std::any_of(handles_.begin(), handles_.end(),
                                 [fd](const auto& entry) { return entry.second.get() == fd; });
  if (fd < first_fd_ || fd >= last_fd_ || known) {
    Malformed("the call returned " + std::to_string(fd) +
              ", which is not a new descriptor, but asked to bind it");
    return nullptr;
  }
  shared_.Bound(static_cast<uint32_t>(handle), fd, rules_.foreign.Contains(command));
  *result = static_cast<long>(handle);
  return &handles_.emplace(static_cast<uint32_t>(handle), Handle(unique_fd(fd), command))
              .first->second;
}

bool Executor::Open(cbor::Reader body) {
  std::string_view path;
  uint64_t handle = 0;
  if (!body.ReadArrayOf(2) || !body.ReadText(&path) || !body.ReadUint(UINT32_MAX, &handle) ||
      handle == 0 || !body.AtEnd()) {
    return Malformed("OPEN is not [path, handle]");
  }
  if (!CheckBindable(handle)) return false;
  std::string name(path);
  constexpr std::string_view kInfo = "/proc/self/fdinfo/";
  if (path.substr(0, kInfo.size()) == kInfo) {
    // A client does not know descriptor numbers. The number in this path is one of its handles.
    const std::string_view number = path.substr(kInfo.size());
    uint32_t about = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), about);
    const auto found = handles_.find(about);
    if (error != std::errc() || end != number.data() + number.size() || found == handles_.end()) {
      Answer(-1, ENOENT);
      return true;
    }
    name = std::string(kInfo) + std::to_string(found->second.get());
  } else if (!rules_.AllowsPath(path)) {
    return Refuse("readable_paths", std::move(name), "open");
  }
  const int opened = kernel_.open(name.c_str(), rules_.NamesPath(name));
  if (opened == kNotReadable) return Refuse("readable_paths", std::move(name), "open");
  if (opened < 0) {
    Answer(-1, -opened);
    return true;
  }
  unique_fd fd(opened);
  shared_.Bound(static_cast<uint32_t>(handle), fd.get(), false);
  handles_.emplace(static_cast<uint32_t>(handle), Handle(std::move(fd)));
  Answer(static_cast<long>(handle), 0);
  return true;
}

bool Executor::File(cbor::Reader body) {
  uint64_t number = 0;
  std::string_view path;
  std::string_view other;
  uint64_t operation = 0;
  if (!body.ReadArrayOf(4) || !body.ReadUint(kFileOperations - 1, &operation) ||
      !body.ReadText(&path) || !body.ReadUint(&number) || !body.ReadText(&other) || !body.AtEnd()) {
    return Malformed("FILE is not [operation, path, number, path]");
  }
  const bool changes = static_cast<FileOperation>(operation) >= FileOperation::kMakeFolder;
  if (changes) {
    // mkdir(2) and the others take "a/" for "a". The rules must judge the file that is changed.
    path = WithoutSlashes(path);
    other = WithoutSlashes(other);
  }
  const std::string names[2] = {std::string(path), std::string(other)};
  const FileRequest request = {static_cast<FileOperation>(operation),
                               names[0].c_str(),
                               number,
                               names[1].c_str(),
                               rules_.NamesPath(path),
                               base_cgroup_};
  const char* const name = NameOf(request.operation);
  const bool of_cgroup = IsOfCgroup(request.operation);
  const char* const rule = of_cgroup ? "cgroup_paths" : changes ? "pin_paths" : "readable_paths";
  if (!changes) {
    const bool allowed = request.operation == FileOperation::kList ? rules_.AllowsListing(path)
                                                                   : rules_.AllowsLook(path);
    if (!allowed) return Refuse(rule, names[0], name);
  } else {
    const bool allowed = of_cgroup ? rules_.AllowsCgroup(path) : rules_.AllowsPin(path);
    if (!allowed) return Refuse(rule, names[0], name);
    const bool of_two = request.operation == FileOperation::kRename ||
                        request.operation == FileOperation::kMakeLink;
    if (of_two && !rules_.AllowsPin(other)) {
      return Refuse(rule, names[1], name);
    }
  }
  const size_t size = OutputBytes(request.operation);
  uint8_t* const out = size == 0 ? nullptr : memory_.Allocate(size);
  if (size != 0 && out == nullptr) {
    return Limit("the bytes to write to", size, rules_.limits.max_call_bytes);
  }
  const long result = kernel_.file(request, out);
  if (result == kNotReadable) return Refuse(rule, names[0], name);
  if (result > 0) image_.buffers.push_back({out, static_cast<size_t>(result), Direction::kOut});
  if (result >= 0 && changes) audit_.Changed(name, path, other);
  Answer(result < 0 ? -1 : result, result < 0 ? static_cast<int>(-result) : 0);
  return true;
}

bool Executor::Read(cbor::Reader body) {
  uint64_t handle = 0;
  uint64_t length = 0;
  if (!body.ReadArrayOf(2) || !body.ReadUint(UINT32_MAX, &handle) || !body.ReadUint(&length) ||
      !body.AtEnd()) {
    return Malformed("READ is not [handle, length]");
  }
  if (length > rules_.limits.max_call_bytes) {
    return Limit("the length to read in bytes", length, rules_.limits.max_call_bytes);
  }
  int fd = -1;
  if (!FindHandle(handle, &fd)) return false;
  uint8_t* const memory = memory_.Allocate(length);
  if (memory == nullptr) {
    return Limit("the length to read in bytes", length, rules_.limits.max_call_bytes);
  }
  // A read of a kernel file returns a page or a line. One round trip for each would take longer
  // than the reading. If an error follows some bytes, the answer has both: the client keeps the
  // bytes and knows that they are not the end. A counter has no end, so it is read once.
  const bool once = events_.count(static_cast<uint32_t>(handle)) != 0;
  size_t have = 0;
  int error = 0;
  while (have < length) {
    const ssize_t got = ::read(fd, memory + have, length - have);
    if (got < 0) error = errno;
    if (got <= 0) break;
    have += static_cast<size_t>(got);
    if (once) break;
  }
  if (have > 0) image_.buffers.push_back({memory, have, Direction::kOut});
  Answer(have == 0 && error != 0 ? -1 : static_cast<long>(have), error);
  // A cancellation must not discard bytes that were read.
  if (have > 0) error_ = 0;
  return true;
}

bool Executor::Close(cbor::Reader body) {
  uint64_t count = 0;
  std::vector<uint32_t> closing;
  if (body.AtEnd()) {
    for (const auto& [handle, object] : handles_) closing.push_back(handle);
  } else if (!body.ReadArray(&count)) {
    return Malformed("CLOSE is not an array of handles");
  }
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t handle = 0;
    if (!body.ReadUint(UINT32_MAX, &handle)) return Malformed("CLOSE is not an array of handles");
    if (handles_.count(static_cast<uint32_t>(handle)) == 0) {
      return Fail("ERR_HANDLE_UNKNOWN", {{"handle", handle, {}}});
    }
    closing.push_back(static_cast<uint32_t>(handle));
  }
  if (!body.AtEnd()) return Malformed("bytes follow the handles");
  for (const uint32_t handle : closing) {
    const auto found = handles_.find(handle);
    if (found == handles_.end()) continue;  // the client named it twice
    checker_.Closed(found->second, shared_.Closing(handle));
    handles_.erase(found);
    events_.erase(handle);
  }
  Answer(0, 0);
  return true;
}

bool Executor::Refuse(std::string rule, std::string value, std::string command) {
  ++refused_;
  if (value.empty()) value = "\"\"";
  Shorten(&value);
  // In a chain, calls before this one may have records that wait for the answer.
  audit_.Flush();
  audit_.Refused(command, rule, value);
  return Fail("ERR_POLICY_REFUSED", {{"rule", 0, std::move(rule)},
                                     {"value", 0, std::move(value)},
                                     {"command", 0, std::move(command)}});
}

bool Executor::Fail(const char* code, const std::vector<Detail>& details) {
  stretches_.clear();
  scratch_.resize(answer_start_);
  cbor::Writer writer(&scratch_);
  writer.Head(cbor::kArray, 2);
  writer.Text(code);
  writer.Head(cbor::kMap, details.size());
  for (const Detail& detail : details) {
    writer.Text(detail.key);
    if (detail.text.empty()) {
      writer.Head(cbor::kUint, detail.number);
    } else {
      writer.Text(detail.text);
    }
  }
  return false;
}

bool Executor::Malformed(std::string why) {
  return Fail("ERR_CALL_MALFORMED", {{"why", 0, std::move(why)}});
}

bool Executor::Limit(const char* what, uint64_t value, uint64_t maximum) {
  return Fail("ERR_CALL_LIMIT",
              {{"what", 0, what}, {"value", value, {}}, {"maximum", maximum, {}}});
}

void Executor::Answer(long result, int error) {
  error_ = error;
  cbor::Writer writer(&scratch_);
  writer.Head(cbor::kArray, 3);
  writer.Int(result < 0 ? -1 : result);
  writer.Head(cbor::kUint, static_cast<uint64_t>(error));
  const auto outputs = static_cast<uint64_t>(
      std::count_if(image_.buffers.begin(), image_.buffers.end(),
                    [](const Buffer& buffer) { return buffer.direction != Direction::kIn; }));
  writer.Head(cbor::kArray, outputs);
  for (const Buffer& buffer : image_.buffers) {
    if (buffer.direction == Direction::kIn) continue;
    const size_t written = buffer.direction == Direction::kOut
                               ? memory_.Written(buffer.memory, buffer.size)
                               : buffer.size;
    const size_t size = TrimZeros(buffer.memory, written);
    writer.Head(cbor::kBytes, size);
    if (chained_ > 0) outputs_.push_back({scratch_.size(), size, buffer.size});
    // The next call of a chain gets the same memory.
    if (size <= kCopyBytes || chained_ > 0) {
      writer.Raw(buffer.memory, size);
    } else {
      stretches_.push_back({scratch_.size(), buffer.memory, size});
    }
  }
}

void Executor::FinishParts(uint8_t type, uint32_t id) {
  size_t length = scratch_.size() - frame::kHeaderBytes;
  parts_.clear();
  size_t start = 0;
  for (const Stretch& stretch : stretches_) {
    parts_.push_back({scratch_.data() + start, stretch.scratch_end - start});
    parts_.push_back({const_cast<uint8_t*>(stretch.data), stretch.size});
    start = stretch.scratch_end;
    length += stretch.size;
  }
  if (start < scratch_.size()) parts_.push_back({scratch_.data() + start, scratch_.size() - start});
  frame::Put(scratch_.data(), static_cast<uint32_t>(length), type, id);
}

}  // namespace waep
