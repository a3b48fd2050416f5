// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

namespace waep {

// The operations on files by path, with their numbers in PROTOCOL.md. Those from kMakeFolder on
// change something.
enum class FileOperation : uint8_t {
  kStat,
  kStatFs,
  kReadLink,
  kList,
  kMakeFolder,
  kRemoveFolder,
  kRemove,
  kRename,
  kMakeCgroup,
  kRemoveCgroup,
  kMakeLink,
};
constexpr uint8_t kFileOperations = 11;

struct FileRequest {
  FileOperation operation;
  const char* path;
  // kStat: 1 for a link itself. kList: where to begin: 0, or the position in the last entry.
  // kMakeFolder, kMakeCgroup: the mode. kRename: the flags of renameat2(2).
  uint64_t number;
  const char* other;  // kRename: the new path. kMakeLink: the path to which the link leads
  bool names;         // whether the policy names the path itself
  uint64_t base;      // the inode number of the cgroup that has the agent's own, or 0
};

// Returns whether an operation makes or removes a cgroup.
[[nodiscard]] constexpr bool IsOfCgroup(FileOperation operation) {
  return operation == FileOperation::kMakeCgroup || operation == FileOperation::kRemoveCgroup;
}

// Returns the name of an operation: that of its system call, with a suffix for cgroups.
[[nodiscard]] const char* NameOf(FileOperation operation);

// Returns the largest output of an operation, in bytes.
[[nodiscard]] size_t OutputBytes(FileOperation operation);

// Executes an operation. It reads files by the rules of readable_file.h. It changes only bpf file
// systems and version 2 of cgroups, follows no link to their folders, and keeps away from the
// agent's own cgroups. Returns the number of
// bytes in `out`, a negative errno, or kNotReadable.
[[nodiscard]] long Operate(const FileRequest& request, uint8_t* out);

}  // namespace waep
