// SPDX-License-Identifier: MIT
#include "file_operations.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "../unique_fd.h"
#include "readable_file.h"

namespace waep {
namespace {

constexpr size_t kListBytes = 64 * 1024;
constexpr size_t kStatxBytes = 256;

// A client gets both structures byte by byte.
static_assert(sizeof(struct statx) == kStatxBytes);
static_assert(sizeof(struct statfs) == 120);

long Result(long result) { return result < 0 ? -errno : result; }

long Look(const FileRequest& request, uint8_t* out) {
  const bool follow = request.operation == FileOperation::kStatFs ||
                      (request.operation == FileOperation::kStat && request.number == 0);
  unique_fd found;
  const int result = FindReadable(request.path, request.names, follow, &found);
  if (result != 0) return result;
  switch (request.operation) {
    case FileOperation::kStat: {
      constexpr unsigned kWanted = STATX_BASIC_STATS | STATX_BTIME;
      const long error = ::syscall(SYS_statx, found.get(), "", AT_EMPTY_PATH, kWanted, out);
      return error < 0 ? -errno : static_cast<long>(kStatxBytes);
    }
    case FileOperation::kStatFs:
      if (::fstatfs(found.get(), reinterpret_cast<struct statfs*>(out)) < 0) return -errno;
      return sizeof(struct statfs);
    default: {
      const long length = ::readlinkat(found.get(), "", reinterpret_cast<char*>(out),
                                       OutputBytes(request.operation));
      // If the path is not a link, the kernel gives ENOENT here. readlink(2) would give EINVAL.
      return length < 0 ? (errno == ENOENT ? -EINVAL : -errno) : length;
    }
  }
}

long List(const FileRequest& request, uint8_t* out) {
  const unique_fd folder(OpenFolder(request.path, request.names));
  if (!folder.valid()) return folder.get();
  if (request.number != 0 &&
      ::lseek(folder.get(), static_cast<off_t>(request.number), SEEK_SET) < 0)
    return -errno;
  return Result(::syscall(SYS_getdents64, folder.get(), out, kListBytes));
}

// Splits a path into a folder of a file system of a type and a name.
struct Place {
  unique_fd folder;
  std::string name;
};

int OpenPlace(const char* path, unique_fd* opened) {
  open_how how = {};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS;
  const long found = ::syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
  if (found < 0) return -errno;
  opened->reset(static_cast<int>(found));
  return 0;
}

bool IsOfType(int fd, long type) {
  struct statfs system;
  return ::fstatfs(fd, &system) == 0 && system.f_type == type;
}

// Returns whether a cgroup has a name as those of an agent, its sessions, or a later agent
// (session_groups.cc).
bool IsAgents(std::string_view name) {
  constexpr std::string_view kPrefix = "waep-";
  if (name.substr(0, kPrefix.size()) != kPrefix) return false;
  name.remove_prefix(kPrefix.size());
  return name == "agent" || name.find_first_not_of("0123456789") == std::string_view::npos;
}

// Returns whether a path is that of one of the agent's own cgroups or leads through one. The path
// has no links and no "..", and every mount of the hierarchy has the same inode numbers.
bool IsOfAgent(const std::string& path, uint64_t base) {
  for (size_t slash = path.find('/'); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const size_t start = path.find_first_not_of('/', slash);
    if (start == std::string::npos) return false;
    const std::string_view rest = std::string_view(path).substr(start);
    if (!IsAgents(rest.substr(0, rest.find('/')))) continue;
    unique_fd parent;
    struct stat about;
    if (OpenPlace(path.substr(0, slash + 1).c_str(), &parent) != 0) return false;
    if (IsOfType(parent.get(), CGROUP2_SUPER_MAGIC) && ::fstat(parent.get(), &about) == 0 &&
        about.st_ino == base) {
      return true;
    }
  }
  return false;
}

int Find(const char* path, long type, Place* place) {
  std::string folder(path);
  const size_t slash = folder.rfind('/');
  if (slash == std::string::npos || slash + 1 == folder.size()) return -EBUSY;
  place->name = folder.substr(slash + 1);
  folder.resize(slash + 1);
  const int error = OpenPlace(folder.c_str(), &place->folder);
  if (error != 0) return error;
  return IsOfType(place->folder.get(), type) ? 0 : kNotReadable;
}

long Change(const FileRequest& request) {
  const long type = IsOfCgroup(request.operation) ? CGROUP2_SUPER_MAGIC : BPF_FS_MAGIC;
  if (IsOfCgroup(request.operation) && IsOfAgent(request.path, request.base)) return kNotReadable;
  Place place;
  int error = Find(request.path, type, &place);
  if (error != 0) return error;
  const int folder = place.folder.get();
  const char* const name = place.name.c_str();
  switch (request.operation) {
    case FileOperation::kMakeFolder:
    case FileOperation::kMakeCgroup:
      return Result(::mkdirat(folder, name, static_cast<mode_t>(request.number) & 01777));
    case FileOperation::kRename: {
      Place other;
      error = Find(request.other, type, &other);
      if (error != 0) return error;
      return Result(::syscall(SYS_renameat2, folder, name, other.folder.get(), other.name.c_str(),
                              static_cast<unsigned>(request.number)));
    }
    case FileOperation::kMakeLink: {
      // No link leads out of the bpf file system: those who follow one later do not judge it.
      Place other;
      error = Find(request.other, type, &other);
      if (error != 0) return error;
      return Result(::symlinkat(request.other, folder, name));
    }
    default: {
      const bool is_folder = request.operation != FileOperation::kRemove;
      return Result(::unlinkat(folder, name, is_folder ? AT_REMOVEDIR : 0));
    }
  }
}

}  // namespace

const char* NameOf(FileOperation operation) {
  static constexpr const char* kNames[kFileOperations] = {
      "stat",   "statfs", "readlink",     "list",         "mkdir",  "rmdir",
      "unlink", "rename", "mkdir_cgroup", "rmdir_cgroup", "symlink"};
  return kNames[static_cast<size_t>(operation)];
}

size_t OutputBytes(FileOperation operation) {
  static constexpr size_t kBytes[kFileOperations] = {kStatxBytes, sizeof(struct statfs), 4096,
                                                     kListBytes};
  return kBytes[static_cast<size_t>(operation)];
}

long Operate(const FileRequest& request, uint8_t* out) {
  if (request.operation >= FileOperation::kMakeFolder) return Change(request);
  return request.operation == FileOperation::kList ? List(request, out) : Look(request, out);
}

}  // namespace waep
