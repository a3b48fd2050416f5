// SPDX-License-Identifier: MIT
//
// executor RULES CALLS: what the agent's executor costs beside the kernel. Makes the calls of each
// kind so often, over a kernel that does nothing, and prints lines "KIND NANOSECONDS", of one call.
// With KIND as third argument, of this kind only. It is compiled against the addon/core of any
// revision: scripts/compare-executor.mjs does.

#include "executor.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using waep::Executor;
namespace cbor = waep::cbor;
namespace frame = waep::frame;
using Bytes = std::vector<uint8_t>;

int next_fd = -1;

long FakeBpf(uint32_t command, void* const[2], const uint32_t[2], unsigned) {
  // A map and a program are new descriptors.
  return command == 0 || command == 5 ? ::fcntl(next_fd, F_DUPFD_CLOEXEC, 3) : 0;
}

// Since a revision the kernel is taken as a whole.
template <typename E, typename = void>
struct Maker {
  static E* Make(waep::Rules rules) { return new E(std::move(rules), FakeBpf); }
};
template <typename E>
struct Maker<E, std::void_t<typename E::Kernel>> {
  static E* Make(waep::Rules rules) {
    typename E::Kernel kernel = E::kNone;
    kernel.bpf = FakeBpf;
    return new E(std::move(rules), kernel);
  }
};

struct Buffer {
  Bytes bytes;
  uint64_t out_bytes;
};

Bytes Body(uint32_t command, uint32_t result, const std::vector<Buffer>& buffers,
           const std::vector<uint32_t>& relocations) {
  Bytes body;
  cbor::Writer writer(&body);
  writer.Head(cbor::kArray, 5);
  writer.Head(cbor::kUint, command);
  writer.Head(cbor::kUint, 1);
  writer.Head(cbor::kUint, result);
  writer.Head(cbor::kArray, buffers.size());
  for (const Buffer& buffer : buffers) {
    if (buffer.out_bytes != 0) {
      writer.Head(cbor::kUint, buffer.out_bytes);
    } else {
      writer.Head(cbor::kBytes, buffer.bytes.size());
      writer.Raw(buffer.bytes.data(), buffer.bytes.size());
    }
  }
  writer.Head(cbor::kArray, relocations.size());
  for (const uint32_t number : relocations) writer.Head(cbor::kUint, number);
  return body;
}

Bytes Zeros(size_t size) { return Bytes(size); }

Bytes Words(size_t size, const std::vector<std::pair<size_t, uint32_t>>& words) {
  Bytes bytes(size);
  for (const auto& [offset, word] : words) memcpy(bytes.data() + offset, &word, sizeof word);
  return bytes;
}

// A program of so many instructions, which returns zero.
Bytes Program(size_t instructions) {
  Bytes code;
  for (size_t i = 1; i < instructions; ++i) code.insert(code.end(), {0xb7, 0, 0, 0, 0, 0, 0, 0});
  code.insert(code.end(), {0x95, 0, 0, 0, 0, 0, 0, 0});
  return code;
}

double Now() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  FILE* const file = fopen(argv[1], "re");
  if (file == nullptr) return 2;
  Bytes encoded(1 << 20);
  encoded.resize(fread(encoded.data(), 1, encoded.size(), file));
  cbor::Reader reader(encoded.data(), encoded.size());
  waep::Rules rules;
  if (!waep::Rules::Decode(&reader, &rules)) return 3;
  next_fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  Executor* const executor = Maker<Executor>::Make(std::move(rules));
  if (executor->Prepare() != 0) return 4;
  const auto run = [&](const Bytes& body) {
    executor->Execute(frame::kCall, 1, body.data(), body.size());
  };
  const Bytes map = Words(64, {{0, 1}, {4, 4}, {8, 8}, {12, 16}});
  run(Body(0, 1, {{map, 0}}, {}));
  if (executor->handles() != 1) return 5;

  const Bytes code = Program(64);
  const Bytes load = Words(128, {{0, 17}, {4, 64}});
  const Bytes batch = Words(56, {{32, 100}});
  const struct {
    const char* name;
    Bytes body;
  } kinds[] = {
      {"lookup",
       Body(1, 0, {{Zeros(32), 0}, {Zeros(4), 0}, {{}, 8}}, {0, 0, 1, 1, 0, 8, 0, 1, 0, 16, 0, 2})},
      {"update", Body(2, 0, {{Zeros(32), 0}, {Zeros(4), 0}, {Zeros(8), 0}},
                      {0, 0, 1, 1, 0, 8, 0, 1, 0, 16, 0, 2})},
      {"batch", Body(24, 0, {{batch, 0}, {{}, 4}, {{}, 400}, {{}, 800}},
                     {0, 8, 0, 1, 0, 16, 0, 2, 0, 24, 0, 3, 0, 36, 1, 1})},
      // The kernel has no more descriptors for it: nothing is left to be closed.
      {"load",
       Body(5, 0, {{load, 0}, {code, 0}, {Bytes{'G', 'P', 'L', 0}, 0}}, {0, 8, 0, 1, 0, 16, 0, 2})},
  };
  const long calls = atol(argv[2]);
  for (const auto& kind : kinds) {
    if (argc > 3 && strcmp(argv[3], kind.name) != 0) continue;
    const bool makes = strcmp(kind.name, "load") == 0;
    if (makes) next_fd = -1;
    const double start = Now();
    for (long i = 0; i < calls; ++i) run(kind.body);
    printf("%s %.1f\n", kind.name, (Now() - start) / static_cast<double>(calls));
  }
  return 0;
}
