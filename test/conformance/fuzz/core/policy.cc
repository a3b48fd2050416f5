// SPDX-License-Identifier: MIT
//
// The oracle of policies. It fuzzes sequences of calls under rules, over a fake kernel that reads
// memory as the real kernel does. It compares what the kernel reads with the policy that
// test/conformance/fuzz/oracle.ts describes in words.
//
// An input is what a client sends once it has objects. The calls that make the objects are in the
// file of the rules, behind the rules. Every byte that the kernel reads must lie in the buffer that
// it was told of, because rules see no more: not behind an argument, and not before or beyond an
// array. Every descriptor must be in a word that a relocation names, and the policy must allow the
// use of its object. The policy must allow the helpers, types, names and places that the kernel
// reads. The kernel writes values, logs and infos in the order of a real one, before it reads on,
// and never outside a buffer.

#include <errno.h>
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
#include <utility>
#include <vector>

#include "executor/executor.h"
#include "expect.h"

namespace {

using waep::Executor;
using waep::Rules;
namespace cbor = waep::cbor;
namespace frame = waep::frame;
using Bytes = std::vector<uint8_t>;

// The policy in words. test/conformance/fuzz/oracle.ts has the same.
constexpr char kHooks[] = "sched_";
constexpr char kNoHooks[] = "_not";
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
constexpr unsigned kTokenCreate = 36;
constexpr unsigned kStreamRead = 37;
constexpr unsigned kAssocStructOps = 38;
constexpr unsigned kKprobeMulti = 42;
constexpr unsigned kUprobeMulti = 48;
constexpr uint32_t kCgroupStorage = 32;
constexpr uint64_t kPathFd = 1 << 14;
constexpr uint64_t kValueTypeFd = 1 << 15;
constexpr uint64_t kTokenFd = 1 << 16;
constexpr uint64_t kBefore = 1 << 3;
constexpr uint64_t kAfter = 1 << 4;
constexpr uint64_t kId = 1 << 5;

// The kernel works through at most this many of the records that a call claims to have.
constexpr uint64_t kMostRecords = 64;
constexpr size_t kPage = 4096;

enum class What { kMap, kProgram, kLink, kOther };
struct Object {
  What what = What::kOther;
  bool foreign = false;
  uint32_t type = 0;
  uint32_t key_size = 0;
  uint32_t value_size = 0;
  Bytes value = {};  // the value that was written last
};

std::map<int, Object> objects;  // by descriptor
// No real descriptors of this process are as large. These cost no system calls.
constexpr int kFirstDescriptor = 1000;
// A descriptor of somebody else in the executor's process, which no session may use. A log in
// memory can be mistaken for its number.
constexpr int kSecret = '0';

// The present request, as the client has sent it; of a chain, the present call.
const uint8_t* body;
size_t body_length;
// The calls of the present chain, and what those of them that are over have returned.
std::vector<cbor::Bytes> chain;
std::vector<std::vector<Bytes>> returned;

struct Range {
  uint64_t start;
  size_t size;
};
std::vector<Range> buffers;   // of the call, its arguments among them
std::vector<uint64_t> named;  // the addresses of words that relocations put a descriptor in
// What the client hears of when the call is over: memory, or bytes to which no pointer leads.
struct Output {
  const uint8_t* at;
  Bytes bytes;                                    // at the call
  std::vector<std::pair<size_t, size_t>> hidden;  // the offsets and widths of its relocations
};
std::vector<Output> outputs;

// Finds a call's buffers by the relocations that lead to them. The sizes are the client's.
void FindBuffers(void* const arguments[2], unsigned count) {
  buffers.clear();
  named.clear();
  outputs.clear();
  std::vector<size_t> sizes;
  std::vector<bool> out;
  std::vector<Bytes> bytes;
  cbor::Reader reader(body, body_length);
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
      out.push_back(true);
      continue;
    }
    if (!chain.empty() && reader.ReadArrayOf(2)) {
      uint64_t output = 0;
      if (!reader.ReadUint(&number) || !reader.ReadUint(&output)) return;
      bytes.push_back(returned.at(number).at(output));
      sizes.push_back(bytes.back().size());
      out.push_back(false);
      continue;
    }
    out.push_back(reader.ReadArrayOf(1));
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
  for (size_t i = 0; i + 3 < relocations.size(); i += 4) {
    const uint8_t* const start = at[relocations[i]];
    if (start == nullptr || relocations[i + 2] < 1 || relocations[i + 2] > 2) continue;
    named.push_back(reinterpret_cast<uintptr_t>(start) + relocations[i + 1]);
  }
  for (size_t i = 0; i < at.size(); ++i) {
    if (at[i] != nullptr) buffers.push_back({reinterpret_cast<uintptr_t>(at[i]), sizes[i]});
    if (!out[i] || chain.empty()) continue;
    Output output = {at[i], bytes[i], {}};
    if (at[i] != nullptr) output.bytes.assign(at[i], at[i] + sizes[i]);
    output.bytes.resize(sizes[i]);
    for (size_t r = 0; r + 3 < relocations.size(); r += 4) {
      if (relocations[r] != i) continue;
      const bool half = relocations[r + 2] == 1 || relocations[r + 2] == 3;
      output.hidden.emplace_back(relocations[r + 1], half ? 4 : 8);
    }
    outputs.push_back(std::move(output));
  }
}

// Notes what the call has returned. A relocated word that the kernel left alone is hidden.
void Return() {
  returned.emplace_back();
  for (const Output& output : outputs) {
    Bytes bytes = output.bytes;
    if (output.at != nullptr) bytes.assign(output.at, output.at + output.bytes.size());
    for (const auto& [offset, width] : output.hidden) {
      uint8_t* const word = bytes.data() + offset;
      if (std::memcmp(word, output.bytes.data() + offset, width) == 0) {
        std::memset(word, 0xff, width);
      }
    }
    returned.back().push_back(std::move(bytes));
  }
}

// Returns the buffer that an address lies in, or null.
const Range* BufferAt(uint64_t address) {
  const auto found = std::find_if(buffers.begin(), buffers.end(), [&](const Range& one) {
    return address >= one.start && address - one.start <= one.size;
  });
  return found == buffers.end() ? nullptr : &*found;
}

bool Holds(const Range* buffer, uint64_t address, size_t size) {
  return buffer != nullptr && address >= buffer->start && address - buffer->start <= buffer->size &&
         size <= buffer->size - (address - buffer->start);
}

bool IsMapped(uint64_t address, size_t size) {
  Bytes bytes(size);
  const iovec local = {bytes.data(), size};
  const iovec remote = {reinterpret_cast<void*>(address), size};
  return ::process_vm_readv(::getpid(), &local, 1, &remote, 1, 0) == static_cast<ssize_t>(size);
}

// copy_from_user() of a part of the memory at `base`. Returns false if the process has no such
// memory. The rules have seen only the buffer that `base` leads to.
bool Take(uint64_t base, uint64_t offset, void* to, size_t size) {
  const uint64_t address = base + offset;
  if (size == 0) return true;
  if (Holds(BufferAt(base), address, size)) {
    std::memcpy(to, reinterpret_cast<const void*>(address), size);
    return true;
  }
  Expect(!IsMapped(address, size), "the kernel took bytes that no rule has seen");
  return false;
}

// copy_to_user(): writes what fits before it fails.
bool Give(uint64_t base, uint64_t offset, const void* from, size_t size) {
  const Range* const buffer = BufferAt(base);
  for (size_t i = 0; i < size; ++i) {
    const uint64_t address = base + offset + i;
    if (!Holds(buffer, address, 1)) {
      Expect(!IsMapped(address, 1), "the kernel wrote to what is no buffer of the call");
      return false;
    }
    *reinterpret_cast<uint8_t*>(address) = static_cast<const uint8_t*>(from)[i];
  }
  return true;
}

// strncpy_from_user(): reads at most `most` bytes, up to the NUL if there is one.
bool TakeText(uint64_t base, size_t most, std::string* text) {
  text->clear();
  for (size_t i = 0; i < most; ++i) {
    char character = 0;
    if (!Take(base, i, &character, 1)) return false;
    if (character == 0) return true;
    *text += character;
  }
  return true;
}

long Fail(int error) {
  errno = error;
  return -1;
}

// How the kernel uses an object. `kMayBeOther` is for words of which a rule cannot know whether
// they are descriptors. A number there may name an object of the session, or a descriptor of the
// executor that bpf(2) does not take.
enum class Use { kRead, kChange, kMayBeOther };

// Returns the object of a descriptor that the kernel has read at an address, or null if it is none
// of the session's.
Object* UseAt(uint64_t address, uint32_t number, Use use) {
  const int fd = static_cast<int>(number);
  const bool has_name = std::find(named.begin(), named.end(), address) != named.end();
  const auto found = objects.find(fd);
  if (found == objects.end()) {
    Expect(use == Use::kMayBeOther || fd != kSecret,
           "the kernel was given a descriptor without a handle");
    return nullptr;
  }
  Expect(has_name || use == Use::kMayBeOther, "the kernel was given a number for a descriptor");
  Expect(use == Use::kRead || !found->second.foreign,
         "an object of others was changed, run or attached");
  return &found->second;
}

// The same with the number that is at the address now.
bool TakeAndUse(uint64_t base, uint64_t offset, Use use) {
  uint32_t number = 0;
  if (!Take(base, offset, &number, sizeof number)) return false;
  UseAt(base + offset, number, use);
  return true;
}

long Make(Object object) {
  int fd = kFirstDescriptor;
  while (objects.count(fd) != 0) ++fd;
  objects[fd] = std::move(object);
  return fd;
}

void Hook(const std::string& name) {
  constexpr size_t kTail = sizeof kNoHooks - 1;
  const bool excluded =
      name.size() >= kTail && name.compare(name.size() - kTail, kTail, kNoHooks) == 0;
  Expect(name.compare(0, sizeof kHooks - 1, kHooks) == 0 && !excluded,
         "a hook outside of the globs");
}

void Probe(const std::string& path, uint64_t offset, uint64_t counter) {
  Expect(path == kProbed && offset == kPlace, "a probe where there may be none");
  Expect(counter == 0 || counter == kCounter, "a counter where there may be none");
}

template <typename T>
bool Has(const T& list, uint32_t value) {
  return std::find(std::begin(list), std::end(list), value) != std::end(list);
}

// The attribute as the kernel has copied it, and its address in the process.
class Attribute {
 public:
  Attribute(void* at, size_t size) : at_(reinterpret_cast<uintptr_t>(at)), size_(size) {
    std::memcpy(bytes_, at, size);
  }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] uint64_t Word(size_t offset) const { return Number(offset, 8); }
  [[nodiscard]] uint32_t Half(size_t offset) const {
    return static_cast<uint32_t>(Number(offset, 4));
  }
  Object* Used(size_t offset, Use use) const { return UseAt(at_ + offset, Half(offset), use); }
  // Writes to the process's copy. Most commands do so even if the attribute is short.
  void Put(size_t offset, uint32_t value) const {
    std::memcpy(reinterpret_cast<void*>(at_ + offset), &value, sizeof value);
  }

 private:
  [[nodiscard]] uint64_t Number(size_t offset, size_t width) const {
    uint64_t value = 0;
    std::memcpy(&value, bytes_ + offset, width);
    return value;
  }

  uint64_t at_;
  size_t size_;
  uint8_t bytes_[kPage] = {};
};

#define FIELD(name) offsetof(bpf_attr, name)

// The verifier writes its log while it reads on.
bool WriteLog(uint64_t log, uint32_t level, uint32_t size) {
  const uint8_t line[] = {'0', ':', ' ', ' ', static_cast<uint8_t>(kSecret), 0, 0, 0};
  const uint32_t most = std::min<uint32_t>(size, kMostRecords);
  for (uint32_t at = 0; level != 0 && at + sizeof line <= most; at += sizeof line) {
    if (!Give(log, at, line, sizeof line)) return false;
  }
  return true;
}

// Reads records of any kind, one after the other.
bool TakeRecords(uint64_t records, uint64_t count, uint32_t bytes) {
  Bytes record(std::min<uint32_t>(bytes, 256));
  for (uint64_t i = 0; i < std::min(count, kMostRecords); ++i) {
    if (!Take(records, i * record.size(), record.data(), record.size())) return false;
  }
  return true;
}

long Load(const Attribute& attr) {
  if ((attr.Half(FIELD(prog_flags)) & kTokenFd) != 0) attr.Used(144, Use::kRead);
  const uint32_t type = attr.Half(FIELD(prog_type));
  if (attr.Half(FIELD(attach_prog_fd)) != 0) {
    attr.Used(FIELD(attach_prog_fd), type == BPF_PROG_TYPE_EXT ? Use::kChange : Use::kRead);
  }
  const uint64_t instructions = attr.Word(FIELD(insns));
  const size_t count = std::min<size_t>(attr.Half(FIELD(insn_cnt)), 4096);
  std::vector<bpf_insn> code(count);
  std::string license;
  if (!Take(instructions, 0, code.data(), count * sizeof(bpf_insn))) return Fail(EFAULT);
  if (!TakeText(attr.Word(FIELD(license)), 127, &license)) return Fail(EFAULT);
  Expect(Has(kProgramTypes, type), "a program of a refused type");
  // If the log has no room, the kernel reads on, and fails at the end.
  const bool logged =
      WriteLog(attr.Word(FIELD(log_buf)), attr.Half(FIELD(log_level)), attr.Half(FIELD(log_size)));
  const uint64_t array = attr.Word(FIELD(fd_array));
  for (uint64_t i = 0; array != 0 && i < std::min<uint64_t>(attr.Half(148), kMostRecords); ++i) {
    if (!TakeAndUse(array, i * 4, Use::kChange)) return Fail(EFAULT);
  }
  if (attr.Half(FIELD(func_info_cnt)) != 0 || attr.Half(FIELD(line_info_cnt)) != 0) {
    attr.Used(FIELD(prog_btf_fd), Use::kRead);
    if (!TakeRecords(attr.Word(FIELD(func_info)), attr.Half(FIELD(func_info_cnt)),
                     attr.Half(FIELD(func_info_rec_size))) ||
        !TakeRecords(attr.Word(FIELD(line_info)), attr.Half(FIELD(line_info_cnt)),
                     attr.Half(FIELD(line_info_rec_size))) ||
        !TakeRecords(attr.Word(FIELD(core_relos)), attr.Half(FIELD(core_relo_cnt)),
                     attr.Half(FIELD(core_relo_rec_size)))) {
      return Fail(EFAULT);
    }
  }
  const uint64_t immediate = offsetof(bpf_insn, imm);
  for (size_t i = 0; i < count; ++i) {
    const bpf_insn& one = code[i];
    const uint64_t here = instructions + i * sizeof one + immediate;
    if (one.code == (BPF_JMP | BPF_CALL)) {
      Expect(one.src_reg != 0 || !Has(kRefusedHelpers, static_cast<uint32_t>(one.imm)),
             "a helper that is refused");
      Expect(one.src_reg != 2, "a function of the kernel");
    }
    if (one.code != (BPF_LD | BPF_IMM | BPF_DW)) continue;
    const auto number = static_cast<uint32_t>(one.imm);
    if (one.src_reg == 1 || one.src_reg == 2) UseAt(here, number, Use::kChange);
    if (one.src_reg == 3 && i + 1 < count && code[i + 1].imm != 0) {
      UseAt(here + sizeof one, static_cast<uint32_t>(code[i + 1].imm), Use::kRead);
    }
    if (one.src_reg != 5 && one.src_reg != 6) continue;
    if (array == 0) return Fail(EPROTO);
    // An int times a size_t, as in copy_from_bpfptr_offset().
    if (!TakeAndUse(array, static_cast<uint64_t>(int64_t{one.imm}) * 4, Use::kChange)) {
      return Fail(EFAULT);
    }
  }
  if (attr.size() >= 144) attr.Put(140, attr.Half(FIELD(log_size)));
  return logged ? Make({What::kProgram, false, type}) : Fail(EFAULT);
}

// Updates a map. The key and the value are at these places of the call's memory.
long Update(Object* map, uint64_t keys, uint64_t values, uint64_t index) {
  Bytes key(map->key_size);
  Bytes value(map->value_size);
  if (!Take(keys, index * key.size(), key.data(), key.size())) return Fail(EFAULT);
  if (!Take(values, index * value.size(), value.data(), value.size())) return Fail(EFAULT);
  constexpr uint32_t kOfDescriptors[] = {BPF_MAP_TYPE_PROG_ARRAY, BPF_MAP_TYPE_PERF_EVENT_ARRAY,
                                         BPF_MAP_TYPE_CGROUP_ARRAY};
  if (Has(kOfDescriptors, map->type) && value.size() >= 4) {
    // The kernel looks at its own copy, and not at the later contents of the process's memory.
    uint32_t fd = 0;
    std::memcpy(&fd, value.data(), sizeof fd);
    const Use use = map->type == BPF_MAP_TYPE_PROG_ARRAY ? Use::kChange : Use::kRead;
    if (UseAt(values + index * value.size(), fd, use) == nullptr) return Fail(EBADF);
  }
  map->value = std::move(value);
  return 0;
}

// The key of a local storage is a descriptor.
bool UseKey(const Object& map, uint64_t keys, uint64_t index) {
  constexpr uint32_t kStorages[] = {BPF_MAP_TYPE_SK_STORAGE, BPF_MAP_TYPE_INODE_STORAGE,
                                    BPF_MAP_TYPE_TASK_STORAGE, kCgroupStorage};
  if (!Has(kStorages, map.type) || map.key_size < 4) return true;
  return map.type == BPF_MAP_TYPE_SK_STORAGE || TakeAndUse(keys, index * map.key_size, Use::kRead);
}

bool Lookup(Object* map, uint64_t values, uint64_t index) {
  map->value.resize(map->value_size);
  return Give(values, index * map->value.size(), map->value.data(), map->value.size());
}

long Element(uint32_t command, const Attribute& attr) {
  const bool reads = command == BPF_MAP_LOOKUP_ELEM || command == BPF_MAP_GET_NEXT_KEY;
  Object* const map = attr.Used(FIELD(map_fd), reads ? Use::kRead : Use::kChange);
  if (map == nullptr || map->what != What::kMap) return Fail(EBADF);
  const uint64_t keys = attr.Word(FIELD(key));
  const uint64_t values = attr.Word(FIELD(value));
  if (command == BPF_MAP_GET_NEXT_KEY && keys == 0) return Lookup(map, values, 0) ? 0 : -1;
  Bytes key(map->key_size);
  if (!Take(keys, 0, key.data(), key.size()) || !UseKey(*map, keys, 0)) return Fail(EFAULT);
  switch (command) {
    case BPF_MAP_DELETE_ELEM:
      return 0;
    case BPF_MAP_UPDATE_ELEM:
      return Update(map, keys, values, 0);
    case BPF_MAP_GET_NEXT_KEY:
      return Give(values, 0, key.data(), key.size()) ? 0 : Fail(EFAULT);
    default:
      return Lookup(map, values, 0) ? 0 : Fail(EFAULT);
  }
}

long Batch(uint32_t command, const Attribute& attr) {
  Object* const map =
      attr.Used(FIELD(batch.map_fd), command == BPF_MAP_LOOKUP_BATCH ? Use::kRead : Use::kChange);
  if (map == nullptr || map->what != What::kMap) return Fail(EBADF);
  const uint64_t keys = attr.Word(FIELD(batch.keys));
  const uint64_t values = attr.Word(FIELD(batch.values));
  const auto count = std::min<uint64_t>(attr.Half(FIELD(batch.count)), kMostRecords);
  const bool looks_up =
      command == BPF_MAP_LOOKUP_BATCH || command == BPF_MAP_LOOKUP_AND_DELETE_BATCH;
  Bytes key(map->key_size);
  const uint64_t begin = attr.Word(FIELD(batch.in_batch));
  if (looks_up && begin != 0 && !Take(begin, 0, key.data(), key.size())) return Fail(EFAULT);
  for (uint64_t i = 0; i < count; ++i) {
    if (looks_up) {
      if (!Give(keys, i * key.size(), key.data(), key.size()) || !Lookup(map, values, i)) {
        return Fail(EFAULT);
      }
      continue;
    }
    if (!Take(keys, i * key.size(), key.data(), key.size())) return Fail(EFAULT);
    if (command == BPF_MAP_UPDATE_BATCH && Update(map, keys, values, i) < 0) return -1;
  }
  if (looks_up && !Give(attr.Word(FIELD(batch.out_batch)), 0, key.data(), key.size())) {
    return Fail(EFAULT);
  }
  attr.Put(FIELD(batch.count), static_cast<uint32_t>(count));
  return 0;
}

long CreateMap(const Attribute& attr) {
  const uint32_t type = attr.Half(FIELD(map_type));
  const uint32_t key_size = attr.Half(FIELD(key_size));
  const uint32_t value_size = attr.Half(FIELD(value_size));
  const uint32_t flags = attr.Half(FIELD(map_flags));
  if (key_size > kPage || value_size > kPage) return Fail(E2BIG);
  if ((flags & kTokenFd) != 0) attr.Used(76, Use::kRead);
  Expect(type != BPF_MAP_TYPE_ARRAY_OF_MAPS && type != BPF_MAP_TYPE_HASH_OF_MAPS,
         "a map of a refused type");
  if (attr.Half(FIELD(btf_key_type_id)) != 0 || attr.Half(FIELD(btf_value_type_id)) != 0) {
    attr.Used(FIELD(btf_fd), Use::kRead);
  }
  if ((flags & kValueTypeFd) != 0) attr.Used(72, Use::kRead);
  return Make({What::kMap, false, type, key_size, value_size});
}

// Handles programs that are attached before or after a given one.
void UseRelative(const Attribute& attr, size_t flags, size_t offset) {
  const uint64_t bits = attr.Half(flags);
  if ((bits & (kBefore | kAfter)) == 0 || (bits & kId) != 0) return;
  if (attr.Half(offset) != 0) attr.Used(offset, Use::kRead);
}

long Attach(uint32_t command, const Attribute& attr) {
  constexpr uint32_t kToMaps[] = {BPF_SK_SKB_STREAM_PARSER, BPF_SK_SKB_STREAM_VERDICT,
                                  BPF_SK_MSG_VERDICT, BPF_SK_SKB_VERDICT};
  const bool to_map = Has(kToMaps, attr.Half(FIELD(attach_type)));
  if (command == BPF_PROG_DETACH) {
    Expect(attr.Half(FIELD(attach_bpf_fd)) != 0, "whatever program there is was detached");
  }
  const Object* const program = attr.Used(FIELD(attach_bpf_fd), Use::kChange);
  if (to_map) attr.Used(FIELD(target_fd), Use::kChange);
  if ((attr.Half(FIELD(attach_flags)) & BPF_F_REPLACE) != 0) {
    attr.Used(FIELD(replace_bpf_fd), Use::kChange);
  }
  UseRelative(attr, FIELD(attach_flags), 20);
  return program == nullptr ? Fail(EBADF) : 0;
}

long Link(const Attribute& attr) {
  const uint32_t type = attr.Half(FIELD(link_create.attach_type));
  const Object* const program = attr.Used(FIELD(link_create.prog_fd), Use::kChange);
  if (program == nullptr) return Fail(EBADF);
  if (type == kKprobeMulti) {
    const uint64_t count = std::min<uint64_t>(attr.Half(20), kMostRecords);
    Expect(attr.Word(32) == 0, "functions by their addresses");
    if (!TakeRecords(attr.Word(40), attr.Word(40) == 0 ? 0 : count, 8)) return Fail(EFAULT);
    for (uint64_t i = 0; i < count; ++i) {
      uint64_t pointer = 0;
      std::string name;
      if (!Take(attr.Word(24), i * 8, &pointer, sizeof pointer)) return Fail(EFAULT);
      if (!TakeText(pointer, 512, &name)) return Fail(EFAULT);
      Hook(name);
    }
  }
  if (type == kUprobeMulti) {
    std::string path;
    Expect((attr.Half(52) & 2) == 0, "a probe in a file without a name");
    if (!TakeText(attr.Word(16), kPage, &path)) return Fail(EFAULT);
    const uint64_t count = std::min<uint64_t>(attr.Half(48), kMostRecords);
    for (uint64_t i = 0; i < count; ++i) {
      uint64_t offset = 0;
      uint64_t counter = 0;
      if (!Take(attr.Word(24), i * 8, &offset, sizeof offset)) return Fail(EFAULT);
      if (attr.Word(32) != 0 && !Take(attr.Word(32), i * 8, &counter, sizeof counter)) {
        return Fail(EFAULT);
      }
      Probe(path, offset, counter);
    }
  }
  if (type == BPF_TRACE_ITER && attr.Half(FIELD(link_create.iter_info_len)) != 0) {
    // The program's kind decides whether the object is a map, a cgroup or a process.
    const uint32_t bytes = std::min(attr.Half(FIELD(link_create.iter_info_len)), 12u);
    const uint64_t info = attr.Word(FIELD(link_create.iter_info));
    uint32_t words[3] = {};
    if (!Take(info, 0, words, bytes)) return Fail(EFAULT);
    for (uint64_t i = 0; i < 3; ++i) UseAt(info + i * 4, words[i], Use::kMayBeOther);
  }
  if (type == BPF_PERF_EVENT) attr.Used(FIELD(link_create.target_fd), Use::kRead);
  if (program->type == BPF_PROG_TYPE_EXT && attr.Half(FIELD(link_create.target_fd)) != 0) {
    attr.Used(FIELD(link_create.target_fd), Use::kChange);
  }
  return Make({What::kLink, false, 0});
}

// The info of a program contains pointers of its own.
long Info(const Attribute& attr) {
  const Object* const object = attr.Used(FIELD(info.bpf_fd), Use::kRead);
  if (object == nullptr) return Fail(EBADF);
  const uint64_t info = attr.Word(FIELD(info.info));
  const uint32_t length =
      std::min<uint32_t>(attr.Half(FIELD(info.info_len)), sizeof(bpf_prog_info));
  if (object->what == What::kProgram) {
    bpf_prog_info about = {};
    if (!Take(info, 0, &about, length)) return Fail(EFAULT);
    const Bytes code(std::min(about.xlated_prog_len, 64u), 0x18);
    const Bytes ids(std::min(about.nr_map_ids, 16u) * 4, 1);
    if (!Give(about.xlated_prog_insns, 0, code.data(), code.size()) ||
        !Give(about.map_ids, 0, ids.data(), ids.size())) {
      return Fail(EFAULT);
    }
    about.type = object->type;
    if (!Give(info, 0, &about, length)) return Fail(EFAULT);
  } else {
    bpf_map_info about = {};
    about.type = object->type;
    about.key_size = object->key_size;
    about.value_size = object->value_size;
    if (!Give(info, 0, &about, std::min<uint32_t>(length, sizeof about))) return Fail(EFAULT);
  }
  attr.Put(FIELD(info.info_len), length);
  return 0;
}

long Path(uint32_t command, const Attribute& attr) {
  std::string text;
  if ((attr.Half(FIELD(file_flags)) & kPathFd) != 0) attr.Used(16, Use::kRead);
  if (!TakeText(attr.Word(FIELD(pathname)), kPage, &text)) return Fail(EFAULT);
  if (text.size() >= kPage) return Fail(ENAMETOOLONG);
  Expect(text.compare(0, sizeof kPins - 1, kPins) == 0 && text.find("/../") == std::string::npos,
         "a pin outside of the folders");
  if (command == BPF_OBJ_GET) return Make({What::kMap, true, 1, 4, 8});
  return attr.Used(FIELD(bpf_fd), Use::kChange) == nullptr ? Fail(EBADF) : 0;
}

long Call(uint32_t command, const Attribute& attr) {
  std::string text;
  // The attribute begins with a descriptor of an object that the command changes.
  const auto change = [&](size_t offset) {
    return attr.Used(offset, Use::kChange) == nullptr ? Fail(EBADF) : 0;
  };
  switch (command) {
    case BPF_MAP_CREATE:
      return CreateMap(attr);
    case BPF_MAP_LOOKUP_ELEM:
    case BPF_MAP_UPDATE_ELEM:
    case BPF_MAP_DELETE_ELEM:
    case BPF_MAP_GET_NEXT_KEY:
    case BPF_MAP_LOOKUP_AND_DELETE_ELEM:
      return Element(command, attr);
    case BPF_MAP_LOOKUP_BATCH:
    case BPF_MAP_LOOKUP_AND_DELETE_BATCH:
    case BPF_MAP_UPDATE_BATCH:
    case BPF_MAP_DELETE_BATCH:
      return Batch(command, attr);
    case BPF_PROG_LOAD:
      return Load(attr);
    case BPF_OBJ_PIN:
    case BPF_OBJ_GET:
      return Path(command, attr);
    case BPF_OBJ_GET_INFO_BY_FD:
      return Info(attr);
    case BPF_PROG_TEST_RUN: {
      Bytes data(std::min<uint32_t>(attr.Half(FIELD(test.data_size_in)), kPage));
      if (change(FIELD(test.prog_fd)) < 0) return -1;
      if (!Take(attr.Word(FIELD(test.data_in)), 0, data.data(), data.size())) return Fail(EFAULT);
      return Give(attr.Word(FIELD(test.data_out)), 0, data.data(), data.size()) ? 0 : Fail(EFAULT);
    }
    case BPF_MAP_FREEZE:
    case BPF_LINK_DETACH:
      return change(FIELD(map_fd));
    case BPF_ITER_CREATE:
      return change(FIELD(iter_create.link_fd)) < 0 ? -1 : Make({});
    case kProgBindMap:
      if (change(FIELD(prog_bind_map.prog_fd)) < 0) return -1;
      attr.Used(FIELD(prog_bind_map.map_fd), Use::kRead);
      return 0;
    case kTokenCreate:
      return attr.Used(4, Use::kRead) == nullptr ? Fail(EBADF) : Make({});
    case kStreamRead:
      return change(16);
    case kAssocStructOps:
      if (change(0) < 0) return -1;
      return change(4);
    case BPF_PROG_ATTACH:
    case BPF_PROG_DETACH:
      return Attach(command, attr);
    case BPF_LINK_UPDATE:
      if (change(FIELD(link_update.link_fd)) < 0) return -1;
      if ((attr.Half(FIELD(link_update.flags)) & BPF_F_REPLACE) != 0) {
        attr.Used(FIELD(link_update.old_prog_fd), Use::kRead);
      }
      return change(FIELD(link_update.new_prog_fd));
    case BPF_PROG_GET_FD_BY_ID:
      return Make({What::kProgram, true, 17});
    case BPF_MAP_GET_FD_BY_ID:
      Expect(attr.Half(FIELD(open_flags)) == BPF_F_RDONLY, "another's map, to be written to");
      return Make({What::kMap, true, 1, 4, 8});
    case BPF_LINK_GET_FD_BY_ID:
      return Make({What::kLink, true});
    case BPF_BTF_GET_FD_BY_ID:
    case BPF_ENABLE_STATS:
      return Make({});
    case BPF_BTF_LOAD: {
      Bytes types(std::min<uint32_t>(attr.Half(FIELD(btf_size)), kPage));
      if ((attr.Half(32) & kTokenFd) != 0) attr.Used(36, Use::kRead);
      if (!Take(attr.Word(FIELD(btf)), 0, types.data(), types.size())) return Fail(EFAULT);
      if (!WriteLog(attr.Word(FIELD(btf_log_buf)), attr.Half(FIELD(btf_log_level)),
                    attr.Half(FIELD(btf_log_size)))) {
        return Fail(EFAULT);
      }
      return Make({});
    }
    case BPF_RAW_TRACEPOINT_OPEN:
      if (attr.Word(FIELD(raw_tracepoint.name)) != 0) {
        if (!TakeText(attr.Word(FIELD(raw_tracepoint.name)), 127, &text)) return Fail(EFAULT);
        Hook(text);
      }
      return change(FIELD(raw_tracepoint.prog_fd)) < 0 ? -1 : Make({What::kLink, false});
    case BPF_LINK_CREATE:
      return Link(attr);
    default:
      return Fail(ENOSYS);
  }
}

// The executor asks its own questions with an attribute on its stack.
bool IsOwnQuestion(const void* attribute) {
  const uint8_t here = 0;
  const auto distance = reinterpret_cast<intptr_t>(attribute) - reinterpret_cast<intptr_t>(&here);
  return distance > 0 && distance < (1 << 20);
}

long FakeBpf(uint32_t command, void* const arguments[2], const uint32_t sizes[2], unsigned count) {
  if (sizes[0] > kPage) return Fail(E2BIG);
  const Attribute attr(arguments[0], sizes[0]);
  if (IsOwnQuestion(arguments[0])) {
    const auto found = objects.find(static_cast<int>(attr.Half(FIELD(info.bpf_fd))));
    if (found == objects.end()) return Fail(EBADF);
    auto* const info = reinterpret_cast<bpf_map_info*>(attr.Word(FIELD(info.info)));
    info->type = found->second.type;
    info->key_size = found->second.key_size;
    info->value_size = found->second.value_size;
    return 0;
  }
  if (!chain.empty()) {
    Expect(returned.size() < chain.size(), "a chain has more calls than it has");
    body = chain[returned.size()].data;
    body_length = chain[returned.size()].size;
  }
  FindBuffers(arguments, count);
  Expect((command & ~0x1ffffu) == 0, "an unknown flag of a command");
  constexpr size_t kCommonBytes = 20;  // of struct bpf_common_attr
  for (size_t i = kCommonBytes; count == 2 && i < sizes[1]; ++i) {
    Expect(static_cast<const uint8_t*>(arguments[1])[i] == 0, "unknown bytes of a second argument");
  }
  // If there is a second argument, its log is written first.
  if (count == 2 && sizes[1] >= 16 && sizes[1] <= kPage) {
    const Attribute common(arguments[1], sizes[1]);
    if (!WriteLog(common.Word(0), common.Half(12), common.Half(8))) return Fail(EFAULT);
  }
  const long result = Call(command & 0xffff, attr);
  // A chain ends with a failure.
  if (result >= 0 && !chain.empty()) Return();
  return result;
}

long FakePerfOpen(void* attribute, int, int, int, unsigned long) {
  void* const arguments[2] = {attribute, nullptr};
  FindBuffers(arguments, 1);
  // perf_copy_attr(): the kernel reads as many bytes as the attribute states, whatever the client
  // sent.
  uint32_t size = 0;
  std::memcpy(&size, static_cast<const uint8_t*>(attribute) + 4, sizeof size);
  if (size == 0) size = PERF_ATTR_SIZE_VER0;
  if (size < PERF_ATTR_SIZE_VER0 || size > kPage) return Fail(E2BIG);
  if (!IsMapped(reinterpret_cast<uintptr_t>(attribute), size)) return Fail(EFAULT);
  for (size_t i = buffers.front().size; i < size; ++i) {
    Expect(static_cast<const uint8_t*>(attribute)[i] == 0,
           "the kernel took bytes behind an argument");
  }
  perf_event_attr attr = {};
  std::memcpy(&attr, attribute, std::min<size_t>(size, sizeof attr));
  std::string name;
  Expect(attr.type != PERF_TYPE_BREAKPOINT, "a breakpoint has no name");
  Expect(attr.sigtrap == 0, "a signal by a perf event");
  if (attr.type == kKprobe) {
    Expect(attr.kprobe_func != 0, "a function by its address");
    if (!TakeText(attr.kprobe_func, 511, &name)) return Fail(EFAULT);
    Hook(name);
    Expect(attr.probe_offset == 0, "a probe beyond the start of a function");
  }
  if (attr.type == kUprobe) {
    if (!TakeText(attr.uprobe_path, kPage - 1, &name)) return Fail(EFAULT);
    Probe(name, attr.probe_offset, attr.config >> 32);
  }
  return Make({});
}

long FakeIoctl(int, uint32_t request, uint64_t argument) {
  void* const arguments[2] = {&argument, nullptr};
  FindBuffers(arguments, 1);
  const uint64_t here = reinterpret_cast<uintptr_t>(&argument);
  std::string filter;
  uint32_t length = 0;
  uint64_t period = 0;
  switch (request) {
    case PERF_EVENT_IOC_SET_BPF:
    case PERF_EVENT_IOC_SET_OUTPUT:
      UseAt(here, static_cast<uint32_t>(argument),
            request == PERF_EVENT_IOC_SET_BPF ? Use::kChange : Use::kRead);
      return 0;
    case PERF_EVENT_IOC_SET_FILTER:
      return TakeText(argument, kPage, &filter) ? 0 : Fail(EFAULT);
    case PERF_EVENT_IOC_QUERY_BPF:
      if (!Take(argument, 0, &length, sizeof length)) return Fail(EFAULT);
      return Give(argument, 4, &length, sizeof length) ? 0 : Fail(EFAULT);
    case PERF_EVENT_IOC_PERIOD:
      return Take(argument, 0, &period, sizeof period) ? 0 : Fail(EFAULT);
    case PERF_EVENT_IOC_ID:
      return Give(argument, 0, &argument, sizeof argument) ? 0 : Fail(EFAULT);
    default:
      return 0;
  }
}

int FakeOpen(const char*, bool) { return static_cast<int>(Make({})); }

void ReadChain(cbor::Reader reader) {
  uint64_t count = 0;
  if (!reader.ReadArray(&count)) return;
  for (cbor::Bytes call; count > 0 && reader.ReadBytes(&call); --count) chain.push_back(call);
}

void Run(Executor* executor, const frame::Header& header, const uint8_t* data, size_t size) {
  body = data;
  body_length = size;
  chain.clear();
  returned.clear();
  if (header.type == frame::kChain) ReadChain(cbor::Reader(data, size));
  executor->Execute(header.type, header.id, data, size);
}

// Executes frames, one after the other.
void RunAll(Executor* executor, const uint8_t* data, size_t size) {
  while (size >= frame::kHeaderBytes) {
    frame::Header header = frame::Parse(data);
    data += frame::kHeaderBytes;
    size -= frame::kHeaderBytes;
    if (!Executor::AcceptsHeader(header)) break;
    header.length = static_cast<uint32_t>(std::min<size_t>(header.length, size));
    const Bytes copy(data, data + header.length);
    Run(executor, header, copy.data(), copy.size());
    data += header.length;
    size -= header.length;
  }
}

Bytes beginning;  // of every session: the calls that make its first objects
constexpr size_t kBeginningObjects = 7;

/// Reads the file that WAEP_FUZZ_RULES names: the rules, and behind them the calls that make a
/// session's objects. It is read once, because another process may write the file anew meanwhile.
Bytes ReadRules() {
  const char* const path = ::getenv("WAEP_FUZZ_RULES");
  FILE* const file = path == nullptr ? nullptr : ::fopen(path, "re");
  Expect(file != nullptr, "there are no rules: WAEP_FUZZ_RULES names their file");
  Bytes encoded(1 << 20);
  encoded.resize(::fread(encoded.data(), 1, encoded.size(), file));
  ::fclose(file);
  return encoded;
}

std::unique_ptr<Executor> Prepared() {
  static const Bytes encoded = ReadRules();
  cbor::Reader reader(encoded.data(), encoded.size());
  Rules rules;
  Expect(Rules::Decode(&reader, &rules), "the rules are none");
  beginning.assign(encoded.end() - static_cast<std::ptrdiff_t>(reader.Left()), encoded.end());
  rules.limits.max_call_bytes = 96 * 1024;
  rules.limits.max_handles = 32;
  auto executor = std::make_unique<Executor>(
      std::move(rules), Executor::Kernel{FakeBpf, FakePerfOpen, FakeIoctl, FakeOpen,
                                         Executor::kNone.restrict, Executor::kNone.file,
                                         Executor::kNone.interface_name, Executor::kNone.netlink});
  Expect(executor->Prepare() == 0, "memory cannot be reserved");
  return executor;
}

}  // namespace

extern "C" int __real_close(int fd);

extern "C" int __wrap_close(int fd) {
  if (fd < kFirstDescriptor) return __real_close(fd);
  Expect(objects.erase(fd) == 1, "what is closed is not open");
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static std::unique_ptr<Executor> executor = Prepared();
  RunAll(executor.get(), beginning.data(), beginning.size());
  if (objects.size() < kBeginningObjects) {
    // The quota amounts of objects without handles stay in use until the session ends.
    executor = Prepared();
    objects.clear();
    RunAll(executor.get(), beginning.data(), beginning.size());
    Expect(objects.size() == kBeginningObjects, "a session does not begin as it is to");
  }
  RunAll(executor.get(), data, size);
  Run(executor.get(), {0, frame::kClose, 0, 0, 0}, nullptr, 0);
  Expect(executor->handles() == 0, "a handle is left");
  // Objects without handles would last until the session ends.
  objects.clear();
  return 0;
}
