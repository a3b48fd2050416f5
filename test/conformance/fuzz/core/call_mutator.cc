// SPDX-License-Identifier: MIT
//
// Mutates a client's input so that it stays valid: frames of the right length with bodies of the
// right shape, but with other numbers, bytes, buffers and relocations. Random bytes would mostly be
// refused before any rule sees them.

#include <linux/perf_event.h>
#include <stddef.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <system_error>
#include <utility>
#include <vector>

#include "executor/cbor.h"
#include "frame.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t most);

namespace {

namespace cbor = waep::cbor;
namespace frame = waep::frame;
using Bytes = std::vector<uint8_t>;
using Random = std::minstd_rand;

// Kinds of relocations.
constexpr uint64_t kPointer = 0;
constexpr uint64_t kDescriptor32 = 1;
constexpr uint64_t kDescriptor64 = 2;

struct Buffer {
  bool in = true;
  bool out = false;
  uint64_t size = 0;  // of an out buffer
  Bytes bytes;
  // In a chain, the buffer may be a copy of an output of an earlier call instead.
  bool copied = false;
  uint64_t call = 0;
  uint64_t output = 0;
};

struct Request {
  frame::Header header;
  // Whether this call is in one chain with the request before it.
  bool chained = false;
  // For a request with buffers. The body of any other request is all `head`.
  bool is_call = false;
  uint64_t items = 0;
  Bytes head;
  std::vector<Buffer> buffers;
  std::vector<uint64_t> relocations;
};

// Numbers at which some range begins or ends.
constexpr uint64_t kNumbers[] = {
    0,      1,       2,      3,    4,        5,          6,          7,          8,
    9,      16,      17,     32,   48,       64,         0x18,       0x1018,     0x2018,
    0x3018, 0x5018,  0x6018, 0x85, 0x2085,   512,        0x400,      0x800,      4096,
    0xffff, 0x10000, 0x4000, 0x24, 1u << 30, 0x7fffffff, 0x80000000, 0xffffffff, UINT64_MAX};

// The descriptors that the kernel of policy.cc gives: those of the objects that each session begins
// with, the next ones, and one that is the executor's own.
constexpr uint64_t kFirstDescriptor = 1000;
constexpr uint64_t kBeginningObjects = 7;
constexpr uint64_t kSecret = '0';
// Handles that sequences use.
constexpr uint64_t kHandles = 10;
// The most bytes of a text that the kernel reads, for different kinds of texts.
constexpr size_t kTextLimits[] = {127, 128, 511, 512};

// The first words of instructions with an index into the array of descriptors: LD_IMM64 of a map
// and of its value, and a call of a kernel function.
constexpr uint32_t kByIndex[] = {0x5018, 0x6018, 0x2085};
// Indices outside an array: before it, behind it, and in the memory of its neighbours.
constexpr uint32_t kIndices[] = {0,
                                 1,
                                 2,
                                 3,
                                 0x400,
                                 0x800,
                                 0x1000,
                                 0x7fffffff,
                                 0x80000000,
                                 static_cast<uint32_t>(-2),
                                 static_cast<uint32_t>(-1)};

bool ReadCall(const uint8_t* data, size_t size, Request* request) {
  cbor::Reader reader(data, size);
  uint64_t items = 0;
  uint64_t number = 0;
  if (!reader.ReadArray(&request->items) || request->items < 3) return false;
  const size_t start = size - reader.Left();
  for (uint64_t i = 2; i < request->items; ++i) {
    int32_t any = 0;
    if (reader.ReadUint(&number) || reader.ReadInt(&any)) continue;
    if (!reader.ReadArrayOf(1) || !reader.ReadUint(&number)) return false;
  }
  request->head.assign(data + start, data + (size - reader.Left()));
  if (!reader.ReadArray(&items)) return false;
  for (; items > 0; --items) {
    Buffer buffer;
    if (reader.ReadUint(&buffer.size)) {
      buffer.in = false;
      buffer.out = true;
    } else {
      cbor::Bytes bytes;
      buffer.copied = reader.ReadArrayOf(2);
      if (buffer.copied) {
        if (!reader.ReadUint(&buffer.call) || !reader.ReadUint(&buffer.output)) return false;
        request->buffers.push_back(std::move(buffer));
        continue;
      }
      buffer.out = reader.ReadArrayOf(1);
      if (!reader.ReadBytes(&bytes)) return false;
      buffer.bytes.assign(bytes.data, bytes.data + bytes.size);
    }
    request->buffers.push_back(std::move(buffer));
  }
  if (!reader.ReadArray(&items)) return false;
  for (; items > 0; --items) {
    if (!reader.ReadUint(&number)) return false;
    request->relocations.push_back(number);
  }
  return reader.AtEnd();
}

// Reads the calls of a chain. Returns false if it is none.
bool ReadChain(const uint8_t* data, size_t size, const frame::Header& header,
               std::vector<Request>* requests) {
  cbor::Reader reader(data, size);
  uint64_t count = 0;
  if (!reader.ReadArray(&count) || count == 0) return false;
  std::vector<Request> calls(count);
  for (Request& call : calls) {
    cbor::Bytes bytes;
    if (!reader.ReadBytes(&bytes)) return false;
    call.header = header;
    call.header.type = frame::kCall;
    call.chained = true;
    call.is_call = ReadCall(bytes.data, bytes.size, &call);
    if (!call.is_call) call.head.assign(bytes.data, bytes.data + bytes.size);
  }
  calls.front().chained = false;
  std::move(calls.begin(), calls.end(), std::back_inserter(*requests));
  return reader.AtEnd();
}

std::vector<Request> ReadAll(const uint8_t* data, size_t size) {
  std::vector<Request> requests;
  while (size >= frame::kHeaderBytes) {
    Request request;
    request.header = frame::Parse(data);
    data += frame::kHeaderBytes;
    size -= frame::kHeaderBytes;
    const size_t length = std::min<size_t>(request.header.length, size);
    const uint8_t type = request.header.type;
    if (type == frame::kChain && ReadChain(data, length, request.header, &requests)) {
      data += length;
      size -= length;
      continue;
    }
    request.is_call = (type == frame::kCall || type == frame::kPerfOpen || type == frame::kIoctl) &&
                      ReadCall(data, length, &request);
    if (!request.is_call) request.head.assign(data, data + length);
    requests.push_back(std::move(request));
    data += length;
    size -= length;
  }
  return requests;
}

Bytes BodyOf(const Request& request) {
  Bytes body;
  cbor::Writer writer(&body);
  if (request.is_call) writer.Head(cbor::kArray, request.items);
  body.insert(body.end(), request.head.begin(), request.head.end());
  if (request.is_call) {
    writer.Head(cbor::kArray, request.buffers.size());
    for (const Buffer& buffer : request.buffers) {
      if (buffer.copied) {
        writer.Head(cbor::kArray, 2);
        writer.Head(cbor::kUint, buffer.call);
        writer.Head(cbor::kUint, buffer.output);
        continue;
      }
      if (!buffer.in) {
        writer.Head(cbor::kUint, buffer.size);
        continue;
      }
      if (buffer.out) writer.Head(cbor::kArray, 1);
      writer.Head(cbor::kBytes, buffer.bytes.size());
      writer.Raw(buffer.bytes.data(), buffer.bytes.size());
    }
    writer.Head(cbor::kArray, request.relocations.size());
    for (const uint64_t number : request.relocations) writer.Head(cbor::kUint, number);
  }
  return body;
}

Bytes Written(const std::vector<Request>& requests) {
  Bytes all;
  for (size_t i = 0; i < requests.size();) {
    const frame::Header& first = requests[i].header;
    size_t end = i + 1;
    while (first.type == frame::kCall && end < requests.size() && requests[end].chained &&
           requests[end].header.type == frame::kCall) {
      ++end;
    }
    Bytes body = BodyOf(requests[i]);
    const bool is_chain = end - i > 1;
    if (is_chain) {
      body.clear();
      cbor::Writer writer(&body);
      writer.Head(cbor::kArray, end - i);
      for (size_t call = i; call < end; ++call) {
        const Bytes one = BodyOf(requests[call]);
        writer.Head(cbor::kBytes, one.size());
        writer.Raw(one.data(), one.size());
      }
    }
    uint8_t header[frame::kHeaderBytes];
    frame::Put(header, static_cast<uint32_t>(body.size()), is_chain ? frame::kChain : first.type,
               first.id);
    header[5] = first.flags;
    all.insert(all.end(), header, header + sizeof header);
    all.insert(all.end(), body.begin(), body.end());
    i = end;
  }
  return all;
}

template <typename T>
T& Any(std::vector<T>* of, Random* random) {
  return (*of)[(*random)() % of->size()];
}

// Returns the number of an existing object, or of one that is being made.
uint64_t AnyDescriptor(Random* random) {
  const uint64_t next = kFirstDescriptor + kBeginningObjects;
  switch ((*random)() % 4) {
    case 0:
      return kSecret;
    case 1:
      return next + (*random)() % 4;
    case 2:
      return next;
    default:
      return kFirstDescriptor + (*random)() % kBeginningObjects;
  }
}

size_t SizeOf(const Buffer& buffer) { return buffer.in ? buffer.bytes.size() : buffer.size; }

// Returns the size of one of the call's buffers, or a little less.
uint64_t AnySize(const Request& request, Random* random) {
  const size_t size = SizeOf(request.buffers[(*random)() % request.buffers.size()]);
  return size - std::min<size_t>(size, (*random)() % 8 * 8);
}

uint64_t AnyNumber(const Request& request, Random* random) {
  switch ((*random)() % 8) {
    case 0:
      return AnyDescriptor(random);
    case 1:
      return AnySize(request, random);
    default:
      return kNumbers[(*random)() % std::size(kNumbers)];
  }
}

void MutateBytes(Bytes* bytes, size_t most) {
  const size_t size = bytes->size();
  bytes->resize(std::max(size, most));
  bytes->resize(LLVMFuzzerMutate(bytes->data(), size, bytes->size()));
}

bool NamesObject(uint64_t kind) { return kind == kDescriptor32 || kind == kDescriptor64; }

// Puts a number in a buffer, if the buffer is long enough.
void Put(Request* request, size_t buffer, size_t offset, uint64_t number, size_t width) {
  if (buffer >= request->buffers.size()) return;
  Bytes* const bytes = &request->buffers[buffer].bytes;
  if (offset <= bytes->size() && width <= bytes->size() - offset) {
    std::memcpy(bytes->data() + offset, &number, width);
  }
}

// Makes an argument or another buffer longer or shorter, but keeps the bytes of its relocations.
void MutateLength(Request* request, Random* random) {
  const size_t at = (*random)() % 2 == 0 ? 0 : (*random)() % request->buffers.size();
  size_t least = 0;
  for (size_t i = 0; i + 3 < request->relocations.size(); i += 4) {
    if (request->relocations[i] != at) continue;
    const size_t width = request->relocations[i + 2] == kDescriptor32 ? 4 : 8;
    least = std::max<size_t>(least, request->relocations[i + 1] + width);
  }
  Bytes* const bytes = &request->buffers[at].bytes;
  least = (std::min<size_t>(least, 512) + 7) / 8;
  const size_t most = std::max(bytes->size() / 8, least) + 2;
  const size_t size = (least + (*random)() % (most - least)) * 8;
  // The attribute of a perf event contains its own length.
  if (request->header.type == frame::kPerfOpen && at == 0 && (*random)() % 2 == 0) {
    Put(request, 0, offsetof(perf_event_attr, size), size, 4);
  } else {
    bytes->resize(size);
  }
}

// Makes a text longer from inside, so that it reaches the length at which the kernel stops reading.
// It may go on behind that, with a NUL or without.
void MutateText(Bytes* text, Random* random) {
  while (!text->empty() && text->back() == 0) text->pop_back();
  const size_t size = kTextLimits[(*random)() % std::size(kTextLimits)];
  if (text->empty() || text->size() > size) return;
  const auto middle = text->begin() + static_cast<std::ptrdiff_t>((*random)() % text->size());
  text->insert(middle, size - text->size(), 'a');
  text->insert(text->end(), (*random)() % 4, 'a');
  if ((*random)() % 2 == 0) text->push_back(0);
}

void MutateBuffer(const Request& request, Buffer* buffer, Random* random) {
  Bytes* const bytes = &buffer->bytes;
  if (request.chained && (*random)() % 8 == 0) {
    buffer->copied = !buffer->copied;
    buffer->call = (*random)() % 4;
    buffer->output = (*random)() % 2;
    return;
  }
  switch ((*random)() % 8) {
    case 0:
      buffer->out = !buffer->out || !buffer->in;
      return;
    case 1:
    case 2:
      if (buffer->in) {
        MutateText(bytes, random);
      } else {
        buffer->size = AnyNumber(request, random) % 100'000;
      }
      return;
    case 3:
      MutateBytes(bytes, bytes->size() + 8);
      return;
    default: {
      const size_t width = (*random)() % 2 == 0 ? 4 : 8;
      if (bytes->size() < width) return;
      // Types and sizes come first.
      const size_t words = bytes->size() / width;
      const size_t at =
          (*random)() % ((*random)() % 2 == 0 ? words : std::min<size_t>(words, 4)) * width;
      const uint64_t number = AnyNumber(request, random);
      std::memcpy(bytes->data() + at, &number, width);
    }
  }
}

// Returns the place of a relocation for which `holds` is true, or the number of relocations if
// there is none.
template <typename Predicate>
size_t AnyRelocation(const Request& request, Random* random, Predicate holds) {
  std::vector<size_t> found;
  for (size_t i = 0; i + 3 < request.relocations.size(); i += 4) {
    if (holds(request.relocations[i + 2])) found.push_back(i);
  }
  return found.empty() ? request.relocations.size() : Any(&found, random);
}

// Names an object by its number in the place of a relocation.
void NameByNumber(Request* request, uint64_t number, Random* random) {
  const size_t at = AnyRelocation(*request, random, NamesObject);
  if (at == request->relocations.size()) return;
  const auto relocation = request->relocations.begin() + static_cast<std::ptrdiff_t>(at);
  const size_t width = relocation[2] == kDescriptor32 ? 4 : 8;
  Put(request, relocation[0], relocation[1], number, width);
  request->relocations.erase(relocation, relocation + 4);
}

// Makes a pointer lead to the end of a buffer, or close to it. Mostly a pointer of an argument.
void MutateAddend(Request* request, Random* random) {
  const size_t at = AnyRelocation(*request, random, [](uint64_t kind) { return kind == kPointer; });
  if (at == request->relocations.size()) return;
  uint64_t* const relocation = &request->relocations[at];
  if ((*random)() % 2 == 0) relocation[3] = 0;
  if (relocation[3] >= request->buffers.size()) return;
  const size_t size = SizeOf(request->buffers[relocation[3]]);
  constexpr size_t kLess[] = {0, 0, 1, 4, 8};
  const size_t less = kLess[(*random)() % std::size(kLess)];
  Put(request, relocation[0], relocation[1], size - std::min(size, less), 8);
}

void MutateRelocations(Request* request, Random* random) {
  std::vector<uint64_t>* const all = &request->relocations;
  const size_t count = all->size() / 4;
  const auto relocation = [&] {
    return all->begin() + static_cast<std::ptrdiff_t>((*random)() % count * 4);
  };
  const uint64_t choice = (*random)() % 8;
  if (choice == 7) {
    NameByNumber(request, AnyDescriptor(random), random);
  } else if (choice == 6) {
    MutateAddend(request, random);
  } else if (choice == 0 || count == 0) {
    const uint64_t added[] = {(*random)() % request->buffers.size(), (*random)() % 24 * 4,
                              (*random)() % 3, (*random)() % kHandles};
    all->insert(all->end(), std::begin(added), std::end(added));
  } else if (choice == 1) {
    const auto removed = relocation();
    all->erase(removed, removed + 4);
  } else if (choice == 2) {
    *(relocation() + 1) = (*random)() % 48 * 4;
  } else {
    // Another handle, or another buffer, which may already have a pointer to it.
    const auto changed = relocation();
    const auto other = relocation();
    const bool is_pointer = changed[2] == kPointer;
    const bool shares = is_pointer && other[2] == kPointer && (*random)() % 2 == 0;
    const size_t most = is_pointer ? request->buffers.size() : kHandles;
    changed[3] = shares ? other[3] : (*random)() % most;
  }
}

// Gives another index to an instruction that has one. If there is none, makes an instruction into
// one.
void MutateIndex(Request* request, Random* random) {
  std::vector<uint8_t*> records;
  std::vector<uint8_t*> with_index;
  for (Buffer& buffer : request->buffers) {
    for (size_t at = 0; at + 8 <= buffer.bytes.size(); at += 8) {
      uint8_t* const record = buffer.bytes.data() + at;
      uint32_t word;
      std::memcpy(&word, record, sizeof word);
      const bool has =
          std::find(std::begin(kByIndex), std::end(kByIndex), word & 0xf0ff) != std::end(kByIndex);
      (has ? with_index : records).push_back(record);
    }
  }
  if (with_index.empty() && records.empty()) return;
  const uint32_t index = kIndices[(*random)() % std::size(kIndices)];
  uint8_t* const record = Any(with_index.empty() ? &records : &with_index, random);
  if (with_index.empty()) {
    std::memcpy(record, &kByIndex[(*random)() % std::size(kByIndex)], sizeof *kByIndex);
  }
  // A call instruction has its index where others have an offset.
  if (record[0] == 0x85) {
    std::memcpy(record + 2, &index, 2);
  } else {
    std::memcpy(record + 4, &index, sizeof index);
  }
}

// Changes one request of a sequence.
void MutateRequest(Request* request, Random* random) {
  const uint64_t choice = (*random)() % 10;
  if (!request->is_call || request->buffers.empty() || choice == 0) {
    MutateBytes(&request->head, request->head.size() + 2);
  } else if (choice == 9 && request->header.type == frame::kCall) {
    // The result gets another handle, or none.
    request->head.back() = static_cast<uint8_t>((*random)() % kHandles);
  } else if (choice < 3 || choice == 6) {
    MutateRelocations(request, random);
  } else if (choice == 3) {
    request->buffers.push_back(Any(&request->buffers, random));
  } else if (choice == 4) {
    MutateIndex(request, random);
  } else if (choice == 5) {
    MutateLength(request, random);
  } else {
    MutateBuffer(*request, &Any(&request->buffers, random), random);
  }
}

// Makes a call use an object of an earlier call: by its handle, or by its number, with the handle
// or without.
void Connect(std::vector<Request>* requests, Random* random) {
  const size_t last = (*random)() % requests->size();
  const size_t first = (*random)() % (last + 1);
  Request* const user = &(*requests)[last];
  Request* const maker = &(*requests)[first];
  if (first == last || !user->is_call || maker->header.type != frame::kCall || !maker->is_call) {
    return;
  }
  uint8_t* const handle = &maker->head.back();
  const uint64_t way = (*random)() % 3;
  if (way > 0) {
    if (way == 2) *handle = 0;
    NameByNumber(user, kFirstDescriptor + kBeginningObjects + (*random)() % 2, random);
    return;
  }
  const size_t at = AnyRelocation(*user, random, NamesObject);
  if (at < user->relocations.size()) user->relocations[at + 3] = *handle;
}

void Mutate(std::vector<Request>* requests, Random* random) {
  const size_t at = (*random)() % requests->size();
  const auto here = requests->begin() + static_cast<std::ptrdiff_t>(at);
  switch ((*random)() % 13) {
    case 12:
      here->chained = !here->chained;
      return;
    case 0:
      requests->erase(here);
      return;
    case 1: {
      const Request copy = *here;
      requests->push_back(copy);
      return;
    }
    case 2:
      std::swap(*here, Any(requests, random));
      return;
    case 3:
    case 4:
      Connect(requests, random);
      return;
    default:
      MutateRequest(&*here, random);
  }
}

// The inputs that the run began with. A corpus grows by inputs that reach new lines, but most
// inputs that a rule must refuse reach no new line.
std::vector<Bytes> seeds;

}  // namespace

// Reads the seeds: the files in the last folder on the command line.
extern "C" int LLVMFuzzerInitialize(const int* count, char** const* arguments) {
  std::error_code error;
  const char* const folder = (*arguments)[*count - 1];
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end;
       at.increment(error)) {
    std::ifstream file(at->path(), std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  // The same seed must lead to the same inputs, whatever the folder's order is.
  std::sort(seeds.begin(), seeds.end());
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed) {
  Random random(seed);
  std::vector<Request> requests = ReadAll(data, size);
  if (!seeds.empty() && random() % 3 == 0) {
    const Bytes& one = Any(&seeds, &random);
    requests = ReadAll(one.data(), one.size());
  }
  // Now and then the bytes themselves are mutated, so that nothing is out of reach.
  if (requests.empty() || random() % 32 == 0) return LLVMFuzzerMutate(data, size, most);
  // The fuzzer itself makes several steps, and tries the result of each.
  for (uint64_t i = random() % 3 == 0 ? 3 : 1; i > 0 && !requests.empty(); --i) {
    Mutate(&requests, &random);
  }
  const Bytes all = Written(requests);
  if (all.empty() || all.size() > most) return LLVMFuzzerMutate(data, size, most);
  std::memcpy(data, all.data(), all.size());
  return all.size();
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* data, size_t size, const uint8_t* other,
                                            size_t other_size, uint8_t* out, size_t most,
                                            unsigned seed) {
  Random random(seed);
  std::vector<Request> requests = ReadAll(data, size);
  std::vector<Request> others = ReadAll(other, other_size);
  if (others.empty()) return 0;
  // The first call makes the objects that the others use.
  requests.push_back(Any(&others, &random));
  const Bytes all = Written(requests);
  if (all.size() > most) return 0;
  std::memcpy(out, all.data(), all.size());
  return all.size();
}
