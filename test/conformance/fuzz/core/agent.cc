// SPDX-License-Identifier: MIT
//
// Fuzzes what a client can reach in the guest: the frames of a session, and the rules that bound
// it.
//
// An input is a byte of options, rules if the options say so (a 16-bit length and the bytes), and
// then what the client sends. The kernel is a fake with its own knowledge of how a call must look
// in memory. It compares every byte that it gets, looks for the inaccessible page behind every
// buffer, and writes as much as fits. The harness compares the answers with that.

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "executor/call_loop.h"
#include "executor/call_memory.h"
#include "executor/executor.h"
#include "expect.h"

namespace {

using waep::CallMemory;
using waep::Executor;
using waep::Rules;
namespace cbor = waep::cbor;
namespace frame = waep::frame;

constexpr size_t kPage = 4096;
// Bounds of the fuzzed session: small, so that inputs reach them.
constexpr uint64_t kMaxCallBytes = 96 * 1024;
constexpr uint64_t kMaxOffered = uint64_t{1} << 30;
constexpr uint64_t kMaxFrameBytes = 64 * 1024;
constexpr uint64_t kMaxHandles = 8;
// The most bytes that the fake kernel writes for one input: the answers must fit into a socket.
constexpr size_t kMaxWrittenBytes = 1024 * 1024;
constexpr uint64_t kGuardsOnceIn = 16;
constexpr int kSocketBytes = 16 * 1024 * 1024;

// Values of the low four bits of an input's first byte; the other bits choose the size of pieces.
// The first two modes cost more than frames alone.
enum Mode : uint8_t { kOwnRules = 1, kStream = 2, kModeMask = 15, kChunkShift = 4 };

using Bytes = std::vector<uint8_t>;

enum Kind : uint64_t { kPointer = 0, kFd32 = 1, kFd64 = 2, kPid = 3 };

struct Buffer {
  Bytes bytes;
  bool in = false;
  bool out = false;
  const uint8_t* address = nullptr;
  Bytes after;  // the expected bytes in the answer
};

struct Relocation {
  uint64_t buffer, offset, kind, target;
  [[nodiscard]] size_t width() const { return kind == kFd32 || kind == kPid ? 4 : 8; }
};

// A call as this file decodes it.
struct Layout {
  uint64_t command = 0, args = 0, handle = 0;
  std::vector<Buffer> buffers;
  std::vector<Relocation> relocations;

  // Returns an output of this call, or null.
  [[nodiscard]] const Bytes* Output(uint64_t index) const {
    for (const Buffer& buffer : buffers) {
      if (buffer.out && index-- == 0) return &buffer.after;
    }
    return nullptr;
  }

  // Reads a call by itself, or the next one of a chain after `earlier` ones.
  bool Read(cbor::Reader body, const std::vector<const Layout*>* earlier = nullptr) {
    const uint64_t most = earlier == nullptr ? kMaxCallBytes : frame::kMaxChainCallBytes;
    uint64_t count = 0;
    if (!body.ReadArrayOf(5) || !body.ReadUint(UINT32_MAX, &command) || !body.ReadUint(2, &args) ||
        !body.ReadUint(UINT32_MAX, &handle) || !body.ReadArray(&count)) {
      return false;
    }
    uint64_t total = 0;
    bool shortened = false;
    for (uint64_t i = 0; i < count; ++i) {
      Buffer buffer;
      cbor::Bytes bytes;
      uint64_t size = 0;
      if (earlier != nullptr && body.ReadArrayOf(2)) {
        uint64_t call = 0;
        uint64_t output = 0;
        if (!body.ReadUint(&call) || !body.ReadUint(&output) || call >= earlier->size()) {
          return false;
        }
        const Bytes* const copied = (*earlier)[call]->Output(output);
        if (copied == nullptr) return false;
        buffer.in = true;
        bytes = {copied->data(), copied->size()};
        size = bytes.size;
      } else if (body.ReadUint(&size)) {
        const uint64_t room = most - total;
        if (size > room) {
          // One buffer may offer more than the remaining room.
          if (earlier != nullptr || shortened || size > kMaxOffered || room < kMaxCallBytes / 2)
            return false;
          shortened = true;
          size = room;
        }
        buffer.out = true;
      } else {
        buffer.out = body.ReadArrayOf(1);
        buffer.in = true;
        if (!body.ReadBytes(&bytes)) return false;
        size = bytes.size;
      }
      total += size;
      if (total > most) return false;
      buffer.bytes.resize(size);
      if (bytes.size > 0) std::memcpy(buffer.bytes.data(), bytes.data, bytes.size);
      buffers.push_back(std::move(buffer));
    }
    if (args == 0 || args > buffers.size() || !body.ReadArray(&count) || count % 4 != 0) {
      return false;
    }
    for (uint64_t i = 0; i < count; i += 4) {
      Relocation one = {};
      for (uint64_t* word : {&one.buffer, &one.offset, &one.kind, &one.target}) {
        if (!body.ReadUint(UINT32_MAX, word)) return false;
      }
      if (one.kind > kPid || one.buffer >= buffers.size() ||
          one.offset + one.width() > buffers[one.buffer].bytes.size() ||
          (one.kind == kPointer && one.target >= buffers.size())) {
        return false;
      }
      relocations.push_back(one);
    }
    return body.AtEnd();
  }
};

// The call that is being executed, and the fake kernel's answer to it.
struct Current {
  Layout layout;
  bool readable = false;
  bool called = false;
  long result = 0;
  int error = 0;
};

Current current;
// The calls of a chain, and those of them that the kernel has executed before the current one.
std::vector<cbor::Bytes> chain;
std::vector<Current> executed;
size_t written_bytes;

// Goes on to the next call of a chain, if there is one. The executor ends a chain behind a call
// that does not reach the kernel.
void Advance() {
  if (!chain.empty() && current.called) executed.push_back(std::move(current));
  if (executed.size() >= chain.size()) return;
  std::vector<const Layout*> earlier;
  for (const Current& one : executed) earlier.push_back(&one.layout);
  const cbor::Bytes& call = chain[executed.size()];
  current = Current();
  current.readable = current.layout.Read({call.data, call.size}, &earlier);
}
std::vector<int> handed_out;
int null_fd = -1;
int probe[2];

uint64_t Word(const uint8_t* at, size_t width) {
  uint64_t word = 0;
  std::memcpy(&word, at, width);
  return word;
}

bool Accessible(const uint8_t* at) { return ::write(probe[1], at, 1) == 1; }

uint64_t Hash(const Layout& layout) {
  uint64_t hash = 14695981039346656037u ^ layout.command;
  for (const uint8_t byte : layout.buffers[0].bytes) hash = (hash ^ byte) * 1099511628211u;
  return hash ^ hash >> 29;
}

// Finds the call's buffers in memory by following its pointers from the arguments.
void Locate(Layout* layout) {
  for (bool found = true; found;) {
    found = false;
    for (const Relocation& one : layout->relocations) {
      const Buffer& where = layout->buffers[one.buffer];
      if (one.kind != kPointer || where.address == nullptr) continue;
      Buffer& target = layout->buffers[one.target];
      const uint64_t addend = Word(where.bytes.data() + one.offset, 8);
      Expect(addend <= target.bytes.size(), "an addend beyond its target reached the kernel");
      const auto* const address =
          reinterpret_cast<const uint8_t*>(Word(where.address + one.offset, 8) - addend);
      Expect(target.address == nullptr || target.address == address, "a buffer is in two places");
      found = found || target.address == nullptr;
      target.address = address;
    }
  }
}

void CheckRelocations(const Layout& layout) {
  for (const Relocation& one : layout.relocations) {
    const Buffer& where = layout.buffers[one.buffer];
    if (where.address == nullptr || one.kind == kPointer) continue;
    const uint64_t word = Word(where.address + one.offset, one.width());
    if (one.kind == kPid) {
      Expect(word == static_cast<uint64_t>(::getpid()), "a process id is another process's");
    } else {
      Expect(word > 2 && word <= INT32_MAX && ::fcntl(static_cast<int>(word), F_GETFD) >= 0,
             "a handle is no descriptor");
    }
  }
}

// Returns the expected contents of memory at the call: the client's bytes, with the relocated
// words.
Bytes Held(const Layout& layout, size_t index) {
  Bytes bytes = layout.buffers[index].bytes;
  for (const Relocation& one : layout.relocations) {
    if (one.buffer != index) continue;
    std::memcpy(bytes.data() + one.offset, layout.buffers[index].address + one.offset, one.width());
  }
  return bytes;
}

// Checks the bytes before a buffer: ones, which are no descriptor and no address, and then an
// inaccessible page.
void CheckBefore(const uint8_t* start) {
  constexpr size_t kFarthest = 64 * 1024;
  const uint8_t* at = start;
  while (reinterpret_cast<uintptr_t>(at) % kPage != 0 || Accessible(at - 1)) {
    Expect(*--at == 0xff, "a buffer is behind something else than ones");
    Expect(static_cast<size_t>(start - at) <= kFarthest, "too much is before a buffer");
  }
}

// A look behind a buffer costs a fault, so this is not done for every call.
void CheckMemory(const Layout& layout, bool with_guards) {
  for (size_t i = 0; i < layout.buffers.size(); ++i) {
    const Buffer& buffer = layout.buffers[i];
    if (buffer.address == nullptr) continue;
    const size_t size = buffer.bytes.size();
    Expect(size == 0 || std::memcmp(Held(layout, i).data(), buffer.address, size) == 0,
           "the kernel sees other bytes than the client sent");
    const uint8_t* end = buffer.address + size;
    if (i < layout.args) {
      const uint8_t* const least = buffer.address + CallMemory::kArgumentBytes;
      for (; end < least || reinterpret_cast<uintptr_t>(end) % kPage != 0; ++end) {
        Expect(*end == 0, "an argument is followed by something");
      }
    }
    Expect(!with_guards || !Accessible(end), "a buffer has no inaccessible page behind it");
    if (with_guards) CheckBefore(buffer.address);
  }
}

// Writes to memory as a kernel would, and notes what the answer must have.
void WriteMemory(Layout* layout, uint64_t hash) {
  for (size_t i = 0; i < layout->buffers.size(); ++i) {
    Buffer& buffer = layout->buffers[i];
    if (buffer.address == nullptr) {
      // Nothing points to this buffer, so it comes back unchanged, with its relocated words hidden.
      buffer.after = buffer.bytes;
    } else {
      const Bytes held = Held(*layout, i);
      auto* const memory = const_cast<uint8_t*>(buffer.address);
      const size_t size = buffer.bytes.size();
      const size_t share = hash >> (2 * (i % 16)) & 3;
      const size_t length = std::min(share == 3 ? size : share * size / 4,
                                     kMaxWrittenBytes - std::min(kMaxWrittenBytes, written_bytes));
      std::memset(memory, static_cast<int>(hash >> 8 & 0xff), length);
      written_bytes += length;
      buffer.after.assign(memory, memory + size);
      // A kernel with a longer attribute than the caller's writes beyond the caller's.
      if (i < layout->args && size < 200) std::memset(memory + size, 0xa5, 200 - size);
      for (const Relocation& one : layout->relocations) {
        if (one.buffer != i) continue;
        uint8_t* const word = buffer.after.data() + one.offset;
        if (std::memcmp(word, held.data() + one.offset, one.width()) == 0) {
          std::memset(word, 0xff, one.width());
        }
      }
      continue;
    }
    for (const Relocation& one : layout->relocations) {
      if (one.buffer == i) std::memset(buffer.after.data() + one.offset, 0xff, one.width());
    }
  }
}

long Succeed(const Layout& layout, uint64_t hash) {
  if (layout.handle == 0) return static_cast<long>(hash >> 33);
  if ((hash >> 20 & 7) == 0) return static_cast<long>(hash >> 23 & 3) % 3;
  if ((hash >> 25 & 7) == 0 && !handed_out.empty()) return handed_out.back();
  const int fd = ::fcntl(null_fd, F_DUPFD_CLOEXEC, 3);
  Expect(fd >= 0, "no descriptor is left");
  handed_out.push_back(fd);
  return fd;
}

// Answers the executor's question about an object before a call that depends on the object's type.
long TellObject(void* argument, unsigned count) {
  auto* const attribute = static_cast<bpf_attr*>(argument);
  Expect(count == 1, "the executor asks something of its own");
  Expect(attribute->info.info_len == sizeof(bpf_map_info), "its answer has another size");
  auto* const info = reinterpret_cast<bpf_map_info*>(attribute->info.info);
  info->type = attribute->info.bpf_fd % 2 == 0 ? BPF_MAP_TYPE_HASH : BPF_MAP_TYPE_TASK_STORAGE;
  info->key_size = info->value_size = 4;
  return 0;
}

long FakeBpf(uint32_t command, void* const arguments[2], const uint32_t sizes[2], unsigned count) {
  if (current.called) Advance();
  Layout& layout = current.layout;
  if (current.readable && !current.called && command != layout.command &&
      command == BPF_OBJ_GET_INFO_BY_FD) {
    return TellObject(arguments[0], count);
  }
  Expect(current.readable, "a call that cannot be read reached the kernel");
  Expect(!current.called, "a call reached the kernel twice");
  current.called = true;
  Expect(command == layout.command && count == layout.args, "the kernel is asked something else");
  for (unsigned i = 0; i < count; ++i) {
    Expect(sizes[i] == layout.buffers[i].bytes.size(), "an argument has another size");
    layout.buffers[i].address = static_cast<const uint8_t*>(arguments[i]);
  }
  Locate(&layout);
  CheckRelocations(layout);
  const uint64_t hash = Hash(layout);
  CheckMemory(layout, hash % kGuardsOnceIn == 0);
  WriteMemory(&layout, hash);
  if (hash >> 16 & 1) {
    current.result = -1;
    current.error = static_cast<int>(1 + (hash >> 40) % 4095);
    // If a call offers more than the memory holds, the executor turns EFAULT into an error of its
    // own.
    if (current.error == EFAULT) current.error = EPERM;
  } else {
    current.result = Succeed(layout, hash);
    current.error = 0;
  }
  errno = current.error;
  return current.result;
}

// Reads the CBOR of an answer. The executor wrote it, so any mistake in it is the executor's.
class Answer {
 public:
  explicit Answer(const Bytes& frame)
      : at_(frame.data() + frame::kHeaderBytes), end_(frame.data() + frame.size()) {}

  uint64_t Head(cbor::Major major) {
    Expect(Is(major), "an answer has an item of another kind");
    const unsigned info = *at_++ & 0x1fu;
    if (info < 24) return info;
    Expect(info <= 27, "an answer has an item without a length");
    uint64_t value = 0;
    for (unsigned left = 1u << (info - 24); left > 0; --left) {
      Expect(at_ < end_, "an answer ends within an item");
      value = value << 8 | *at_++;
    }
    return value;
  }

  Bytes String(cbor::Major major) {
    const uint64_t size = Head(major);
    Expect(size <= static_cast<uint64_t>(end_ - at_), "an answer ends within a string");
    const Bytes bytes(at_, at_ + size);
    at_ += size;
    return bytes;
  }

  [[nodiscard]] bool Is(cbor::Major major) const { return at_ < end_ && *at_ >> 5 == major; }
  [[nodiscard]] bool IsArrayOf(uint8_t count) const {
    return at_ < end_ && *at_ == (cbor::kArray << 5 | count);
  }
  [[nodiscard]] bool AtEnd() const { return at_ == end_; }

 private:
  const uint8_t* at_;
  const uint8_t* end_;
};

// Follows a session from outside, and checks that the answers fit the requests.
class Client {
 public:
  void Asks(const frame::Header& header, const uint8_t* body) {
    asked_ = header;
    body_ = body;
    current = Current();
    if (header.type == frame::kCall) {
      current.readable = current.layout.Read(cbor::Reader(body, header.length));
    }
    chain.clear();
    executed.clear();
    if (header.type == frame::kChain) AsksChain(cbor::Reader(body, header.length));
  }

  void Hears(const Bytes& frame) {
    Expect(frame.size() >= frame::kHeaderBytes, "an answer is no frame");
    const frame::Header header = frame::Parse(frame.data());
    Expect(header.id == asked_.id, "an answer has another id");
    Expect(header.length == frame.size() - frame::kHeaderBytes, "an answer has another length");
    Expect(header.flags == 0 && header.reserved == 0, "an answer has flags");
    Expect(header.type == frame::kResult || header.type == frame::kError, "an answer is none");
    Answer answer(frame);
    if (header.type == frame::kError) {
      HearsError(&answer);
    } else if (asked_.type == frame::kChain) {
      HearsChain(&answer);
    } else {
      HearsResult(&answer, current);
    }
    Expect(answer.AtEnd(), "bytes follow an answer");
  }

  [[nodiscard]] const std::set<uint32_t>& bound() const { return bound_; }

 private:
  static void AsksChain(cbor::Reader body) {
    uint64_t count = 0;
    if (!body.ReadArray(&count) || count > frame::kMaxChainCalls) return;
    std::vector<cbor::Bytes> calls(count);
    for (cbor::Bytes& call : calls) {
      if (!body.ReadBytes(&call)) return;
    }
    if (!body.AtEnd()) return;
    chain = std::move(calls);
    Advance();
  }

  // Each answer but the last is of a call that has succeeded.
  void HearsChain(Answer* answer) {
    if (current.called) executed.push_back(current);
    const uint64_t count = answer->Head(cbor::kArray);
    Expect(count > 0 && count <= chain.size(), "a chain has other answers than calls");
    for (uint64_t i = 0; i < count; ++i) {
      const bool last = i + 1 == count;
      if (last && answer->IsArrayOf(2)) {
        HearsError(answer);
        return;
      }
      Expect(i < executed.size(), "a call of a chain has a result that the kernel did not give");
      Expect(last || executed[i].result >= 0, "a chain goes on after a failure");
      HearsResult(answer, executed[i]);
    }
    Expect(count == executed.size(), "a call of a chain has no answer");
  }

  static void HearsError(Answer* answer) {
    Expect(answer->Head(cbor::kArray) == 2, "an error is no array of 2");
    const Bytes code = answer->String(cbor::kText);
    Expect(code.size() > 4 && std::memcmp(code.data(), "ERR_", 4) == 0, "an error has no code");
    for (uint64_t left = answer->Head(cbor::kMap); left > 0; --left) {
      answer->String(cbor::kText);
      if (answer->Is(cbor::kText)) {
        answer->String(cbor::kText);
      } else {
        answer->Head(cbor::kUint);
      }
    }
  }

  void HearsResult(Answer* answer, const Current& made) {
    Expect(answer->Head(cbor::kArray) == 3, "a result is no array of 3");
    const bool failed = answer->Is(cbor::kNegative);
    const uint64_t result = answer->Head(failed ? cbor::kNegative : cbor::kUint);
    Expect(!failed || result == 0, "a result is less than -1");
    const uint64_t error = answer->Head(cbor::kUint);
    // An error that ends the reading of a file early comes together with the bytes that were read.
    Expect(asked_.type == frame::kRead ? !failed || error != 0 : failed == (error != 0),
           "result and errno contradict each other");
    std::vector<Bytes> outputs(answer->Head(cbor::kArray));
    for (Bytes& output : outputs) output = answer->String(cbor::kBytes);
    if (asked_.type == frame::kCall || asked_.type == frame::kChain) {
      ComparesCall(made, failed, result, error, outputs);
    }
    if (asked_.type == frame::kOpen && !failed) Binds(static_cast<uint32_t>(result));
    if (asked_.type == frame::kClose) Closes();
  }

  void ComparesCall(const Current& made, bool failed, uint64_t result, uint64_t error,
                    const std::vector<Bytes>& outputs) {
    Expect(made.called, "a call has a result that the kernel did not give");
    Expect(failed == (made.result < 0), "a call failed on one side only");
    Expect(error == static_cast<uint64_t>(made.error), "an errno is another");
    if (!failed && made.layout.handle != 0) {
      Expect(result == made.layout.handle, "a descriptor has another handle");
      Binds(static_cast<uint32_t>(result));
    } else if (!failed) {
      Expect(result == static_cast<uint64_t>(made.result), "a result is another");
    }
    auto output = outputs.begin();
    for (const Buffer& buffer : made.layout.buffers) {
      if (!buffer.out) continue;
      Expect(output != outputs.end(), "an output is missing");
      Expect(output->size() <= buffer.after.size(), "an output is too long");
      Bytes whole = *output++;
      whole.resize(buffer.after.size());
      Expect(whole == buffer.after, "an output is not what the kernel wrote");
    }
    Expect(output == outputs.end(), "there are too many outputs");
  }

  void Binds(uint32_t handle) {
    Expect(handle != 0 && bound_.insert(handle).second, "a handle is bound twice");
  }

  void Closes() {
    if (asked_.length == 0) {
      bound_.clear();
      return;
    }
    cbor::Reader body(body_, asked_.length);
    uint64_t count = 0;
    Expect(body.ReadArray(&count), "CLOSE of no array succeeded");
    for (; count > 0; --count) {
      uint64_t handle = 0;
      Expect(body.ReadUint(&handle), "CLOSE of no handle succeeded");
      bound_.erase(static_cast<uint32_t>(handle));
    }
  }

  frame::Header asked_;
  const uint8_t* body_ = nullptr;
  std::set<uint32_t> bound_;
};

Bytes Joined(const std::vector<iovec>& parts) {
  Bytes bytes;
  for (const iovec& part : parts) {
    const auto* const data = static_cast<const uint8_t*>(part.iov_base);
    bytes.insert(bytes.end(), data, data + part.iov_len);
  }
  return bytes;
}

std::unique_ptr<Executor> Prepared(Rules rules, decltype(Executor::Kernel::bpf) bpf,
                                   std::vector<std::string> readable_paths) {
  rules.readable_paths = std::move(readable_paths);
  rules.limits.max_call_bytes = kMaxCallBytes;
  rules.limits.max_frame_bytes = kMaxFrameBytes;
  rules.limits.max_handles = kMaxHandles;
  Executor::Kernel kernel = Executor::kReal;
  kernel.bpf = bpf;
  kernel.restrict = [](uint64_t) { return 0; };
  kernel.file = Executor::kNone.file;
  kernel.netlink = Executor::kNone.netlink;
  auto executor = std::make_unique<Executor>(std::move(rules), kernel);
  Expect(executor->Prepare() == 0, "memory cannot be reserved");
  return executor;
}

// Reading these files has no effect, and their contents are the same in every run.
std::vector<std::string> Files() { return {"/proc/sys/kernel/ostype", "/proc/version"}; }

Rules Permissive() {
  Rules rules;
  rules.commands = UINT64_MAX;
  rules.other_commands = true;
  return rules;
}

// Returns the executor under these rules, or null if the bytes are no rules. Making one is
// expensive, and inputs that come from each other often have the same rules.
Executor* Ruled(const Bytes& encoded) {
  constexpr size_t kKept = 64;
  static std::map<Bytes, std::unique_ptr<Executor>> kept;
  const auto found = kept.find(encoded);
  if (found != kept.end()) return found->second.get();
  cbor::Reader reader(encoded.data(), encoded.size());
  Rules rules;
  if (!Rules::Decode(&reader, &rules)) return nullptr;
  if (kept.size() == kKept) kept.clear();
  return kept.emplace(encoded, Prepared(std::move(rules), FakeBpf, Files())).first->second.get();
}

// Executes frames one by one, and compares each answer.
void PlayFrames(Executor* executor, Client* client, const uint8_t* data, size_t size) {
  while (size >= frame::kHeaderBytes) {
    frame::Header header = frame::Parse(data);
    data += frame::kHeaderBytes;
    size -= frame::kHeaderBytes;
    if (!Executor::AcceptsHeader(header)) return;
    header.length = static_cast<uint32_t>(std::min<size_t>(header.length, size));
    // A copy, so that AddressSanitizer detects reading beyond the body.
    const Bytes body(data, data + header.length);
    client->Asks(header, body.data());
    client->Hears(Joined(executor->Execute(header.type, header.id, body.data(), body.size())));
    Expect(executor->handles() == client->bound().size(), "the handles are others");
    data += header.length;
    size -= header.length;
  }
}

// Feeds frames through a socket, a message at a time, so that they arrive in pieces. A session's
// frames are cut into a few dozen pieces at most, because each costs a system call or two.
void PlayStream(Executor* executor, const uint8_t* data, size_t size, size_t chunk) {
  constexpr size_t kMostPieces = 32;
  chunk = std::max(chunk, size / kMostPieces + 1);
  int pair[2];
  Expect(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0, "there is no socket");
  for (const int fd : pair) {
    ::setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &kSocketBytes, sizeof kSocketBytes);
  }
  while (size > 0) {
    const size_t length = std::min(size, chunk);
    Expect(::send(pair[0], data, length, 0) == static_cast<ssize_t>(length), "nothing is sent");
    data += length;
    size -= length;
  }
  ::shutdown(pair[0], SHUT_WR);
  {
    waep::CallLoop loop(executor);
    Expect(loop.Reserve() == 0, "memory cannot be reserved");
    loop.Run(pair[1]);
  }
  ::close(pair[0]);
  ::close(pair[1]);
}

// This kernel knows nothing of the call, because with a stream the request is not known here.
long AnyBpf(uint32_t command, void* const[2], const uint32_t[2], unsigned) {
  errno = static_cast<int>(1 + command % 4095);
  return -1;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  null_fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  Expect(null_fd >= 0 && ::pipe2(probe, O_CLOEXEC | O_NONBLOCK) == 0, "there are no descriptors");
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const uint8_t mode = data[0] & kModeMask;
  const size_t chunk = 1u + (data[0] >> kChunkShift);
  ++data;
  --size;
  if (mode == kStream) {
    // This executor can bind no handle, so it is the same for every input.
    static const std::unique_ptr<Executor> streaming = Prepared(Permissive(), AnyBpf, {});
    PlayStream(streaming.get(), data, size, chunk);
    return 0;
  }
  static const std::unique_ptr<Executor> permissive = Prepared(Permissive(), FakeBpf, Files());
  Executor* executor = permissive.get();
  if (mode == kOwnRules) {
    const size_t length = std::min<size_t>(size - 2, data[0] | data[1] << 8);
    executor = Ruled(Bytes(data + 2, data + 2 + length));
    if (executor == nullptr) return 0;
    data += 2 + length;
    size -= 2 + length;
  }
  written_bytes = 0;
  handed_out.clear();
  Client client;
  PlayFrames(executor, &client, data, size);
  Bytes closing;
  cbor::Writer writer(&closing);
  writer.Head(cbor::kArray, client.bound().size());
  for (const uint32_t handle : client.bound()) writer.Head(cbor::kUint, handle);
  executor->Execute(frame::kClose, 0, closing.data(), closing.size());
  Expect(executor->handles() == 0, "a handle is left");
  for (const int fd : handed_out) Expect(::fcntl(fd, F_GETFD) < 0, "a descriptor is left");
  return 0;
}
