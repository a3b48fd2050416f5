// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

namespace waep {

// What a client asks of files by their paths, by its number in PROTOCOL.md. Those from kMakeFolder
// on change something.
enum class FileOperation : uint8_t {
  kStat,
  kStatFs,
  kReadLink,
  kList,
  kMakeFolder,
  kRemoveFolder,
  kRemove,
  kRename,
};
constexpr uint8_t kFileOperations = 8;

struct FileRequest {
  FileOperation operation;
  const char* path;
  // kStat: 1 for a link itself; kList: where to begin, 0 or what the last entry says; kMakeFolder:
  // the mode.
  uint64_t number;
  const char* other;  // kRename: the new path
  bool names;         // whether the policy names the path itself
};

// The name of an operation, as its system call has it.
[[nodiscard]] const char* NameOf(FileOperation operation);

// The most that an operation writes, in bytes.
[[nodiscard]] size_t OutputBytes(FileOperation operation);

// Looks at files as readable_file.h says, and changes only bpf file systems, whose folders no link
// leads to. Returns the bytes written to `out`, a negative errno, or kNotReadable.
[[nodiscard]] long Operate(const FileRequest& request, uint8_t* out);

}  // namespace waep
