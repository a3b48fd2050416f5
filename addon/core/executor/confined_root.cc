// SPDX-License-Identifier: MIT
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "../unique_fd.h"
#include "confinement.h"
#include "text_file.h"

namespace waep::confine {
namespace {

constexpr unsigned long kInert = MS_NOSUID | MS_NODEV | MS_NOEXEC;
constexpr unsigned long kReadOnly = MS_REMOUNT | MS_BIND | MS_RDONLY;

// The new root is built here. Every machine that an agent runs on has this folder.
constexpr const char* kStage = "/proc";
// Processes find their own entry of /proc here, and nothing else.
constexpr const char* kOwnProc = ".proc";
// The place of the program that is executed in the new root. It needs a path, because security
// modules of old kernels look it up by its path.
constexpr const char* kProgram = ".executor";

struct Source {
  std::string path;  // from the root, without a slash at its end
  bool writable = false;
  bool is_folder = false;
  unique_fd mount;
};

// Parses the places of mountinfo(5), which writes spaces and similar characters as octal numbers.
std::vector<std::pair<std::string, std::string>> PlacesAndTypes(std::string_view mounts) {
  std::vector<std::pair<std::string, std::string>> found;
  while (!mounts.empty()) {
    const size_t end = std::min(mounts.find('\n'), mounts.size());
    std::string_view line = mounts.substr(0, end);
    mounts.remove_prefix(std::min(end + 1, mounts.size()));
    const size_t type = line.find(" - ");
    size_t start = 0;
    for (int field = 0; field < 4; ++field) start = line.find(' ', start) + 1;
    if (type == std::string_view::npos || start == 0) continue;
    const std::string_view raw = line.substr(start, line.find(' ', start) - start);
    std::string place;
    for (size_t i = 0; i < raw.size(); ++i) {
      if (raw[i] == '\\' && i + 3 < raw.size()) {
        place += static_cast<char>(strtol(std::string(raw.substr(i + 1, 3)).c_str(), nullptr, 8));
        i += 3;
      } else {
        place += raw[i];
      }
    }
    line.remove_prefix(type + 3);
    found.emplace_back(std::move(place), std::string(line.substr(0, line.find(' '))));
  }
  return found;
}

bool IsBelow(std::string_view path, std::string_view folder) {
  return path.size() > folder.size() && path.substr(0, folder.size()) == folder &&
         path[folder.size()] == '/';
}

std::string WithoutSlash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

class Root {
 public:
  explicit Root(const Confinement& confinement)
      : mounts_(PlacesAndTypes(ReadText(AT_FDCWD, "/proc/self/mountinfo"))) {
    for (const std::string& path : confinement.readable) {
      const bool folder = !path.empty() && path.back() == '/';
      Add(WithoutSlash(path), false);
      if (folder) AddLinks(WithoutSlash(path));
    }
    // The whole folder is bound, so that a replaced file is found as well.
    for (const std::string& path : confinement.probed) Add(path.substr(0, path.rfind('/')), false);
    for (const std::string& path : confinement.pins) {
      AddWritable(WithoutSlash(path), BPF_FS_MAGIC, "bpf");
    }
    for (const std::string& path : confinement.cgroups) {
      AddWritable(WithoutSlash(path), CGROUP2_SUPER_MAGIC, "cgroup2");
    }
    // A folder comes before its contents.
    std::stable_sort(sources_.begin(), sources_.end(),
                     [](const Source& a, const Source& b) { return a.path < b.path; });
    sources_.erase(std::unique(sources_.begin(), sources_.end(),
                               [](Source& a, Source& b) {
                                 a.writable = a.writable || (a.path == b.path && b.writable);
                                 return a.path == b.path;
                               }),
                   sources_.end());
    std::vector<Source> apart;
    for (Source& source : sources_) {
      const auto has = [&source](const Source& one) { return one.writable && Has(one, source); };
      if (std::none_of(apart.begin(), apart.end(), has)) apart.push_back(std::move(source));
    }
    sources_ = std::move(apart);
  }

  int Enter(const char* program) {
    const unique_fd executed(::open_tree(AT_FDCWD, program, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
    if (!executed.valid()) return -errno;
    for (Source& source : sources_) {
      source.mount.reset(
          ::open_tree(AT_FDCWD, source.path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
      if (!source.mount.valid()) {
        // The source is gone, or is hidden below another mount.
        if (errno == ENOENT || errno == EACCES || errno == EINVAL || errno == ELOOP) continue;
        return -errno;
      }
      struct stat about;
      if (::fstat(source.mount.get(), &about) < 0) return -errno;
      source.is_folder = S_ISDIR(about.st_mode);
    }
    if (::mount("waep", kStage, "tmpfs", kInert, "mode=755,size=1m") < 0 || ::chdir(kStage) < 0) {
      return -errno;
    }
    for (const Source& source : sources_) {
      const int error = source.mount.valid() ? Attach(source) : 0;
      if (error != 0) return error;
    }
    int error = AttachOwnProc();
    if (error == 0) error = AttachFile(executed.get(), kProgram, MS_RDONLY | MS_NOSUID | MS_NODEV);
    if (error != 0) return error;
    if (::mount(nullptr, ".", nullptr, kReadOnly | kInert, nullptr) < 0 ||
        ::mount(".", "/", nullptr, MS_MOVE, nullptr) < 0 || ::chroot(".") < 0 || ::chdir("/") < 0) {
      return -errno;
    }
    return 0;
  }

 private:
  // Binds a path with everything that is mounted in it. Paths that the machine lacks are left out.
  void Add(const std::string& path, bool writable) {
    struct stat about;
    if (path.empty() || ::stat(path.c_str(), &about) < 0) return;
    AddOne(path, writable);
    for (const auto& [place, type] : mounts_) {
      if (IsBelow(place, path) || path == "/") AddOne(place, false);
    }
  }

  // Returns whether a folder has another one without a mount of its own. With one, the other folder
  // could not be removed.
  static bool Has(const Source& folder, const Source& other) {
    struct stat about;
    struct stat of_other;
    return IsBelow(other.path, folder.path) && ::stat(folder.path.c_str(), &about) == 0 &&
           ::stat(other.path.c_str(), &of_other) == 0 && about.st_dev == of_other.st_dev;
  }

  void AddOne(const std::string& path, bool writable) {
    Source source;
    source.path = path;
    source.writable = writable;
    sources_.push_back(std::move(source));
  }

  // Binds the targets of links in a folder as well: the devices of /sys/bus/event_source are links.
  void AddLinks(const std::string& folder) {
    DIR* const entries = ::opendir(folder.c_str());
    if (entries == nullptr) return;
    while (const dirent* const entry = ::readdir(entries)) {
      if (entry->d_type != DT_LNK) continue;
      char* const real = ::realpath((folder + "/" + entry->d_name).c_str(), nullptr);
      if (real != nullptr && !IsBelow(real, folder)) Add(real, false);
      ::free(real);
    }
    ::closedir(entries);
  }

  // A folder that is made later lies in one that exists already.
  void AddWritable(std::string path, long type, std::string_view type_name) {
    for (const auto& [place, mounted] : mounts_) {
      if (mounted == type_name && IsBelow(place, path)) AddOne(place, true);
    }
    struct statfs about;
    while (path.size() > 1) {
      if (::statfs(path.c_str(), &about) == 0) {
        if (about.f_type == type) Add(path, true);
        return;
      }
      path.resize(path.rfind('/'));
    }
  }

  static int Attach(const Source& source) {
    if (source.path == "/") return -EINVAL;
    const std::string place = source.path.substr(1);
    for (size_t slash = place.find('/'); slash != std::string::npos;
         slash = place.find('/', slash + 1)) {
      ::mkdir(place.substr(0, slash).c_str(), 0755);
    }
    const unsigned long flags = kInert | (source.writable ? 0 : MS_RDONLY);
    if (!source.is_folder) return AttachFile(source.mount.get(), place.c_str(), flags);
    ::mkdir(place.c_str(), 0755);
    return AttachAt(source.mount.get(), place.c_str(), flags);
  }

  static int AttachFile(int mount, const char* place, unsigned long flags) {
    const unique_fd made(::open(place, O_CREAT | O_RDONLY | O_CLOEXEC, 0444));
    return AttachAt(mount, place, flags);
  }

  static int AttachAt(int mount, const char* place, unsigned long flags) {
    if (::move_mount(mount, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH) < 0) {
      // A mount in a folder that other mounts hide cannot be reached either.
      return errno == ENOENT ? 0 : -errno;
    }
    return ::mount(nullptr, place, nullptr, MS_REMOUNT | MS_BIND | flags, nullptr) < 0 ? -errno : 0;
  }

  // A client may ask about its descriptors, and an executor looks up its own memory. This entry
  // shows nothing of other processes.
  int AttachOwnProc() const {
    const auto is_proc = [](const Source& source) { return source.path == "/proc"; };
    if (std::any_of(sources_.begin(), sources_.end(), is_proc)) return 0;
    if ((::mkdir("proc", 0755) < 0 && errno != EEXIST) || ::mkdir(kOwnProc, 0755) < 0 ||
        ::mount("proc", kOwnProc, "proc", MS_RDONLY | kInert, "subset=pid,hidepid=4") < 0 ||
        ::symlink("/.proc/self", "proc/self") < 0) {
      return -errno;
    }
    return 0;
  }

  std::vector<std::pair<std::string, std::string>> mounts_;
  std::vector<Source> sources_;
};

// Keeps the root, and makes everything in it read-only except bpffs and the mounts in which cgroups
// may be made.
int MakeReadOnly(const std::vector<std::string>& cgroups) {
  const auto has_cgroups = [&cgroups](const std::string& place) {
    return std::any_of(cgroups.begin(), cgroups.end(), [&place](const std::string& one) {
      const std::string folder = WithoutSlash(one);
      return folder == place || place == "/" || IsBelow(folder, place) || IsBelow(place, folder);
    });
  };
  for (const auto& [place, type] : PlacesAndTypes(ReadText(AT_FDCWD, "/proc/self/mountinfo"))) {
    if (type == "bpf" || (type == "cgroup2" && has_cgroups(place))) continue;
    constexpr unsigned long kFlags = kReadOnly | MS_NOSUID | MS_NODEV;
    if (::mount(nullptr, place.c_str(), nullptr, kFlags, nullptr) == 0) continue;
    // A mount that is hidden below another cannot be reached.
    if (errno != EINVAL && errno != ENOENT) return -errno;
  }
  return 0;
}

}  // namespace

int EnterRoot(const Confinement& confinement, std::string* program) {
  // debugfs mounts tracefs here at the first access, so access it before the mounts are copied.
  ::access("/sys/kernel/debug/tracing/README", F_OK);
  // Later mounts of the machine still appear here if it shares its mounts. They are not in this
  // list.
  const unsigned long apart = confinement.whole_root ? MS_SLAVE : MS_PRIVATE;
  if (::unshare(CLONE_NEWNS) < 0 || ::mount(nullptr, "/", nullptr, MS_REC | apart, nullptr) < 0) {
    return -errno;
  }
  if (confinement.whole_root) return MakeReadOnly(confinement.cgroups);
  const int error = Root(confinement).Enter(program->c_str());
  *program = std::string("/") + kProgram;
  return error;
}

}  // namespace waep::confine
