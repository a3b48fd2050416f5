// SPDX-License-Identifier: MIT
//
// The oracle of policies: fuzzes sequences of calls under rules, over a kernel that reads memory as
// the real one does, and holds what it has taken against the policy that test/fuzz/oracle.ts has in
// words.
//
// An input is what a client sends. The session has objects before that: see Prepare. Everything
// that the kernel takes must lie in a buffer of the call, where rules can see it: not behind an
// argument, not before an array. And what it takes must be allowed: helpers, types, names, places,
// and what is done with objects of others. A descriptor that the session has no handle of must
// never be reached. What the kernel writes (values, logs) is written in the order in which a real
// one does, before it reads on.

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "executor.h"
#include "expect.h"

namespace {

using waep::Executor;
using waep::Rules;
namespace cbor = waep::cbor;
namespace frame = waep::frame;
using Bytes = std::vector<uint8_t>;

// The policy in words: the same as test/fuzz/oracle.ts.
constexpr char kHooks[] = "sched_";
constexpr char kPins[] = "/pins/";
constexpr char kProbed[] = "/probed";
constexpr uint64_t kPlace = 16;
constexpr uint64_t kCounter = 32;
constexpr uint32_t kKprobe = 6;
constexpr uint32_t kUprobe = 7;
constexpr uint32_t kRefusedHelpers[] = {36, 49, 58, 109, 117, 166, 168};
constexpr uint32_t kProgramTypes[] = {1, 2, 5, 7, 17, 26};

// From linux/bpf.h of later kernels.
constexpr unsigned kProgBindMap = 35;
constexpr unsigned kStreamRead = 37;
constexpr unsigned kKprobeMulti = 42;
constexpr unsigned kUprobeMulti = 48;

enum class What { kMap, kProgram, kLink, kOther };
struct Object {
  What what;
  bool foreign;
  uint32_t type;
  uint32_t key_size;
  uint32_t value_size;
  Bytes value;  // what was written to it last
};

std::map<int, Object> objects;  // by descriptor
int null_fd = -1;
// What somebody else has open in the executor's process: never a session's.
int secret = -1;

struct Range {
  uintptr_t start;
  size_t size;
};
std::vector<Range> buffers;  // of the call, its arguments among them

// A call's buffers by the relocations that lead to them; sizes are the client's.
void FindBuffers(const uint8_t* body, size_t length, void* const arguments[2], unsigned count) {
  buffers.clear();
  std::vector<size_t> sizes;
  std::vector<Bytes> bytes;
  cbor::Reader reader(body, length);
  uint64_t number = 0;
  uint64_t items = 0;
  if (!reader.ReadArray(&items)) return;
  // CALL has three numbers before its buffers, PERF_OPEN five and IOCTL two.
  const uint64_t before = items - 2;
  for (uint64_t i = 0; i < before; ++i) {
    int32_t any = 0;
    if (reader.ReadUint(&number) || reader.ReadInt(&any)) continue;
    if (!reader.ReadArrayOf(1) || !reader.ReadUint(&number)) return;
  }
  if (!reader.ReadArray(&items)) return;
  for (; items > 0; --items) {
    cbor::Bytes one;
    if (reader.ReadUint(&number)) {
      sizes.push_back(number);
      bytes.emplace_back();
      continue;
    }
    (void)reader.ReadArrayOf(1);
    if (!reader.ReadBytes(&one)) return;
    sizes.push_back(one.size);
    bytes.emplace_back(one.data, one.data + one.size);
  }
  std::vector<const uint8_t*> at(sizes.size());
  for (unsigned i = 0; i < count && i < at.size(); ++i) {
    at[i] = static_cast<const uint8_t*>(arguments[i]);
  }
  std::vector<uint64_t> relocations;
  if (!reader.ReadArray(&items)) return;
  for (; items > 0; --items) {
    if (!reader.ReadUint(&number)) return;
    relocations.push_back(number);
  }
  for (int round = 0; round < 4; ++round) {
    for (size_t i = 0; i + 3 < relocations.size(); i += 4) {
      const size_t buffer = relocations[i];
      const size_t offset = relocations[i + 1];
      if (relocations[i + 2] != 0 || at[buffer] == nullptr) continue;
      uint64_t addend = 0;
      if (!bytes[buffer].empty()) std::memcpy(&addend, bytes[buffer].data() + offset, 8);
      uint64_t word = 0;
      std::memcpy(&word, at[buffer] + offset, 8);
      at[relocations[i + 3]] = reinterpret_cast<const uint8_t*>(word - addend);
    }
  }
  for (size_t i = 0; i < at.size(); ++i) {
    if (at[i] != nullptr) buffers.push_back({reinterpret_cast<uintptr_t>(at[i]), sizes[i]});
  }
}

bool InBuffer(uint64_t address, size_t size) {
  return std::any_of(buffers.begin(), buffers.end(), [&](const Range& one) {
    return address >= one.start && address - one.start <= one.size &&
           size <= one.size - (address - one.start);
  });
}

// copy_from_user(): false where the process has nothing.
bool Take(uint64_t address, void* to, size_t size) {
  if (size == 0) return true;
  const iovec local = {to, size};
  const iovec remote = {reinterpret_cast<void*>(address), size};
  if (::process_vm_readv(::getpid(), &local, 1, &remote, 1, 0) != static_cast<ssize_t>(size)) {
    return false;
  }
  Expect(InBuffer(address, size), "the kernel took bytes that no rule has seen");
  return true;
}

bool Give(uint64_t address, const void* from, size_t size) {
  if (size == 0) return true;
  const iovec local = {const_cast<void*>(from), size};
  const iovec remote = {reinterpret_cast<void*>(address), size};
  return ::process_vm_writev(::getpid(), &local, 1, &remote, 1, 0) == static_cast<ssize_t>(size);
}

// strncpy_from_user(): at most `most` bytes, to the end where there is one.
bool TakeText(uint64_t address, size_t most, std::string* text) {
  text->clear();
  for (size_t i = 0; i < most; ++i) {
    char character = 0;
    if (!Take(address + i, &character, 1)) return false;
    if (character == 0) return true;
    *text += character;
  }
  return true;
}

long Fail(int error) {
  errno = error;
  return -1;
}

// What a descriptor is, and that it may be used so. Null where it is nothing of bpf(2)'s.
Object* Use(uint32_t number, bool changes) {
  const int fd = static_cast<int>(number);
  Expect(fd != secret, "the kernel was given a descriptor without a handle");
  const auto found = objects.find(fd);
  if (found == objects.end()) return nullptr;
  Expect(!changes || !found->second.foreign, "an object of others was changed, run or attached");
  return &found->second;
}

long Make(Object object) {
  const int fd = ::fcntl(null_fd, F_DUPFD_CLOEXEC, 3);
  Expect(fd >= 0, "no descriptor is left");
  objects[fd] = std::move(object);
  return fd;
}

void Hook(const std::string& name) {
  Expect(name.compare(0, sizeof kHooks - 1, kHooks) == 0, "a hook outside of the globs");
}

void Probe(const std::string& path, uint64_t offset, uint64_t counter) {
  Expect(path == kProbed && offset == kPlace, "a probe where there may be none");
  Expect(counter == 0 || counter == kCounter, "a counter where there may be none");
}

template <typename T>
bool Has(const T& list, uint32_t value) {
  return std::find(std::begin(list), std::end(list), value) != std::end(list);
}

long Load(const bpf_attr& attr) {
  const size_t count = std::min<size_t>(attr.insn_cnt, 4096);
  std::vector<bpf_insn> code(count);
  std::string license;
  if (!Take(attr.insns, code.data(), count * sizeof(bpf_insn))) return Fail(EFAULT);
  if (!TakeText(attr.license, 127, &license)) return Fail(EFAULT);
  Expect(Has(kProgramTypes, attr.prog_type), "a program of a refused type");
  // The log is written before descriptors are looked up.
  const uint8_t line[] = {'0', ':', ' ', ' ', static_cast<uint8_t>(secret), 0, 0, 0};
  for (uint32_t at = 0; attr.log_level != 0 && at + sizeof line <= std::min(attr.log_size, 64u);
       at += sizeof line) {
    if (!Give(attr.log_buf + at, line, sizeof line)) return Fail(EFAULT);
  }
  const auto indexed = [&](int64_t index, bool changes) {
    uint32_t fd = 0;
    if (!Take(attr.fd_array + static_cast<uint64_t>(index * 4), &fd, sizeof fd)) return false;
    Use(fd, changes);
    return true;
  };
  for (size_t i = 0; i < count; ++i) {
    const bpf_insn& one = code[i];
    if (one.code == (BPF_JMP | BPF_CALL)) {
      Expect(one.src_reg != 0 || !Has(kRefusedHelpers, static_cast<uint32_t>(one.imm)),
             "a helper that is refused");
      Expect(one.src_reg != 2, "a function of the kernel");
    }
    if (one.code != (BPF_LD | BPF_IMM | BPF_DW)) continue;
    if (one.src_reg == 1 || one.src_reg == 2) Use(static_cast<uint32_t>(one.imm), true);
    if (one.src_reg == 3 && i + 1 < count) Use(static_cast<uint32_t>(code[i + 1].imm), false);
    if ((one.src_reg == 5 || one.src_reg == 6) && !indexed(one.imm, true)) return Fail(EFAULT);
  }
  if (attr.prog_type == BPF_PROG_TYPE_EXT) Use(attr.attach_prog_fd, true);
  return Make({What::kProgram, false, attr.prog_type, 0, 0, {}});
}

long Element(uint32_t command, const bpf_attr& attr) {
  const bool updates = command == BPF_MAP_UPDATE_ELEM;
  Object* const map = Use(attr.map_fd, command != BPF_MAP_LOOKUP_ELEM);
  if (map == nullptr || map->what != What::kMap) return Fail(EBADF);
  Bytes key(map->key_size);
  Bytes value(map->value_size);
  if (!Take(attr.key, key.data(), key.size())) return Fail(EFAULT);
  if (command == BPF_MAP_DELETE_ELEM) return 0;
  if (!updates) {
    map->value.resize(map->value_size);
    return Give(attr.value, map->value.data(), map->value.size()) ? 0 : Fail(EFAULT);
  }
  if (!Take(attr.value, value.data(), value.size())) return Fail(EFAULT);
  if (map->type == BPF_MAP_TYPE_PROG_ARRAY) {
    uint32_t fd = 0;
    std::memcpy(&fd, value.data(), std::min<size_t>(4, value.size()));
    if (Use(fd, true) == nullptr) return Fail(EBADF);
  }
  map->value = std::move(value);
  return 0;
}

long Link(const bpf_attr& attr, const uint8_t* whole) {
  Use(attr.link_create.prog_fd, true);
  const auto word = [&](size_t offset, size_t width) {
    uint64_t value = 0;
    std::memcpy(&value, whole + offset, width);
    return value;
  };
  if (attr.link_create.attach_type == kKprobeMulti) {
    const uint64_t count = std::min<uint64_t>(word(20, 4), 64);
    Expect(word(32, 8) == 0, "functions by their addresses");
    for (uint64_t i = 0; i < count; ++i) {
      uint64_t pointer = 0;
      std::string name;
      if (!Take(word(24, 8) + i * 8, &pointer, sizeof pointer)) return Fail(EFAULT);
      if (!TakeText(pointer, 512, &name)) return Fail(EFAULT);
      Hook(name);
    }
  }
  if (attr.link_create.attach_type == kUprobeMulti) {
    std::string path;
    Expect((word(52, 4) & 2) == 0, "a probe in a file without a name");
    if (!TakeText(word(16, 8), 4096, &path)) return Fail(EFAULT);
    const uint64_t count = std::min<uint64_t>(word(48, 4), 64);
    for (uint64_t i = 0; i < count; ++i) {
      uint64_t offset = 0;
      uint64_t counter = 0;
      if (!Take(word(24, 8) + i * 8, &offset, sizeof offset)) return Fail(EFAULT);
      if (word(32, 8) != 0 && !Take(word(32, 8) + i * 8, &counter, sizeof counter)) {
        return Fail(EFAULT);
      }
      Probe(path, offset, counter);
    }
  }
  if (attr.link_create.attach_type == BPF_TRACE_ITER && attr.link_create.iter_info_len >= 4) {
    uint32_t fd = 0;
    if (!Take(attr.link_create.iter_info, &fd, sizeof fd)) return Fail(EFAULT);
    Use(fd, true);
  }
  return Make({What::kLink, false, 0, 0, 0, {}});
}

long Call(uint32_t command, const bpf_attr& attr, const uint8_t* whole) {
  std::string text;
  switch (command) {
    case BPF_MAP_CREATE:
      if (attr.key_size > 4096 || attr.value_size > 4096) return Fail(E2BIG);
      return Make({What::kMap, false, attr.map_type, attr.key_size, attr.value_size, {}});
    case BPF_MAP_LOOKUP_ELEM:
    case BPF_MAP_UPDATE_ELEM:
    case BPF_MAP_DELETE_ELEM:
      return Element(command, attr);
    case BPF_PROG_LOAD:
      return Load(attr);
    case BPF_OBJ_PIN:
    case BPF_OBJ_GET:
      if (!TakeText(attr.pathname, 4096, &text)) return Fail(EFAULT);
      Expect(
          text.compare(0, sizeof kPins - 1, kPins) == 0 && text.find("/../") == std::string::npos,
          "a pin outside of the folders");
      if (command == BPF_OBJ_GET) return Make({What::kMap, true, 1, 4, 8, {}});
      Use(attr.bpf_fd, true);
      return 0;
    case BPF_PROG_TEST_RUN:
    case BPF_MAP_FREEZE:
    case BPF_LINK_DETACH:
    case BPF_ITER_CREATE:
    case kProgBindMap:
      return Use(attr.map_fd, true) == nullptr ? Fail(EBADF) : 0;
    case kStreamRead: {
      uint32_t fd = 0;
      std::memcpy(&fd, whole + 16, sizeof fd);
      return Use(fd, true) == nullptr ? Fail(EBADF) : 0;
    }
    case BPF_PROG_ATTACH:
      return Use(attr.attach_bpf_fd, true) == nullptr ? Fail(EBADF) : 0;
    case BPF_LINK_UPDATE:
      if (Use(attr.link_update.link_fd, true) == nullptr) return Fail(EBADF);
      return Use(attr.link_update.new_prog_fd, true) == nullptr ? Fail(EBADF) : 0;
    case BPF_PROG_GET_FD_BY_ID:
      return Make({What::kProgram, true, 17, 0, 0, {}});
    case BPF_MAP_GET_FD_BY_ID:
      Expect(attr.open_flags == BPF_F_RDONLY, "another's map, to be written to");
      return Make({What::kMap, true, 1, 4, 8, {}});
    case BPF_LINK_GET_FD_BY_ID:
      return Make({What::kLink, true, 0, 0, 0, {}});
    case BPF_RAW_TRACEPOINT_OPEN:
      if (attr.raw_tracepoint.name != 0) {
        if (!TakeText(attr.raw_tracepoint.name, 127, &text)) return Fail(EFAULT);
        Hook(text);
      }
      if (Use(attr.raw_tracepoint.prog_fd, true) == nullptr) return Fail(EBADF);
      return Make({What::kLink, false, 0, 0, 0, {}});
    case BPF_LINK_CREATE:
      return Link(attr, whole);
    default:
      return Fail(ENOSYS);
  }
}

const uint8_t* body;
size_t body_length;

long FakeBpf(uint32_t command, void* const arguments[2], const uint32_t sizes[2], unsigned count) {
  uint8_t whole[4096] = {};
  if (sizes[0] > sizeof whole) return Fail(E2BIG);
  std::memcpy(whole, arguments[0], sizes[0]);
  bpf_attr attr = {};
  std::memcpy(&attr, whole, sizeof attr);
  if (command == BPF_OBJ_GET_INFO_BY_FD) {
    const Object* const object = Use(attr.info.bpf_fd, false);
    if (object == nullptr || attr.info.info_len < sizeof(bpf_map_info)) return Fail(EBADF);
    bpf_map_info info = {};
    info.type = object->type;
    info.key_size = object->key_size;
    info.value_size = object->value_size;
    return Give(attr.info.info, &info, sizeof info) ? 0 : Fail(EFAULT);
  }
  FindBuffers(body, body_length, arguments, count);
  return Call(command & 0xffff, attr, whole);
}

long FakePerfOpen(void* attribute, int, int, int, unsigned long) {
  void* const arguments[2] = {attribute, nullptr};
  FindBuffers(body, body_length, arguments, 1);
  const auto& attr = *static_cast<const perf_event_attr*>(attribute);
  std::string name;
  Expect(attr.type != PERF_TYPE_BREAKPOINT, "a breakpoint has no name");
  if (attr.type == kKprobe) {
    Expect(attr.kprobe_func != 0, "a function by its address");
    if (!TakeText(attr.kprobe_func, 511, &name)) return Fail(EFAULT);
    Hook(name);
    Expect(attr.probe_offset == 0, "a probe beyond the start of a function");
  }
  if (attr.type == kUprobe) {
    if (!TakeText(attr.uprobe_path, 4095, &name)) return Fail(EFAULT);
    Probe(name, attr.probe_offset, attr.config >> 32);
  }
  return Make({What::kOther, false, 0, 0, 0, {}});
}

long FakeIoctl(int, uint32_t request, uint64_t argument) {
  if (request == PERF_EVENT_IOC_SET_BPF) Use(static_cast<uint32_t>(argument), true);
  return 0;
}

int NoOpen(const char*) {
  errno = ENOENT;
  return -1;
}

void Run(Executor* executor, const frame::Header& header, const uint8_t* data, size_t size) {
  body = data;
  body_length = size;
  executor->Execute(header.type, header.id, data, size);
}

std::unique_ptr<Executor> Prepared() {
  const char* const path = ::getenv("WAEP_FUZZ_RULES");
  FILE* const file = path == nullptr ? nullptr : ::fopen(path, "re");
  Expect(file != nullptr, "there are no rules: WAEP_FUZZ_RULES names their file");
  Bytes encoded(1 << 20);
  encoded.resize(::fread(encoded.data(), 1, encoded.size(), file));
  ::fclose(file);
  cbor::Reader reader(encoded.data(), encoded.size());
  Rules rules;
  Expect(Rules::Decode(&reader, &rules), "the rules are none");
  rules.limits.max_call_bytes = 96 * 1024;
  rules.limits.max_handles = 32;
  auto executor = std::make_unique<Executor>(
      std::move(rules), Executor::Kernel{FakeBpf, FakePerfOpen, FakeIoctl, NoOpen});
  Expect(executor->Prepare() == 0, "memory cannot be reserved");
  return executor;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  null_fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  // What a log leaves in memory can be taken for its number.
  secret = ::fcntl(null_fd, F_DUPFD_CLOEXEC, '0');
  Expect(secret == '0', "there are too many descriptors");
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::unique_ptr<Executor> executor = Prepared();
  while (size >= frame::kHeaderBytes) {
    frame::Header header = frame::Parse(data);
    data += frame::kHeaderBytes;
    size -= frame::kHeaderBytes;
    if (!Executor::AcceptsHeader(header)) break;
    header.length = static_cast<uint32_t>(std::min<size_t>(header.length, size));
    const Bytes copy(data, data + header.length);
    Run(executor.get(), header, copy.data(), copy.size());
    for (auto one = objects.begin(); one != objects.end();) {
      one = ::fcntl(one->first, F_GETFD) < 0 ? objects.erase(one) : std::next(one);
    }
    data += header.length;
    size -= header.length;
  }
  Run(executor.get(), {0, frame::kClose, 0, 0, 0}, nullptr, 0);
  Expect(executor->handles() == 0, "a handle is left");
  for (const auto& [fd, object] : objects) ::close(fd);
  objects.clear();
  return 0;
}
