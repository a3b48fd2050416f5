/* What system calls on paths and folders return. Of files that tell of the kernel, and no others. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define NET "/sys/class/net"

static void tell(const char *what, long result) {
  printf("%s: %s\n", what, result < 0 ? strerrorname_np(errno) : "ok");
}

static int compare(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name);
}

int main(void) {
  struct stat facts, other;
  struct statx more;
  struct statfs system;
  char text[4096];

  const int folder = open(NET, O_RDONLY | O_DIRECTORY);
  tell("open", folder);
  tell("fstat", fstat(folder, &facts));
  tell("stat", stat(NET, &other));
  printf("the same: %d\n", facts.st_ino == other.st_ino && facts.st_dev == other.st_dev &&
                               facts.st_mode == other.st_mode);
  tell("fstatfs", fstatfs(folder, &system));
  printf("type: %lx\n", (long)system.f_type);
  tell("read", read(folder, text, 64));
  tell("openat", openat(folder, "lo/mtu", O_RDONLY));
  tell("openat none", openat(folder, "none", O_RDONLY));
  tell("openat up", openat(folder, "../net/lo/mtu", O_RDONLY));
  tell("faccessat", faccessat(folder, "lo/mtu", R_OK, 0));
  tell("faccessat x", faccessat(folder, "lo/mtu", X_OK, 0));
  tell("fstatat", fstatat(folder, "lo", &facts, AT_SYMLINK_NOFOLLOW));
  printf("link: %d\n", S_ISLNK(facts.st_mode));
  tell("statx", statx(folder, "lo", 0, STATX_ALL, &more));
  printf("folder: %d\n", S_ISDIR(more.stx_mode));
  tell("statx of it", statx(folder, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &more));
  printf("folder: %d\n", S_ISDIR(more.stx_mode));
  const ssize_t length = readlinkat(folder, "lo", text, sizeof text);
  printf("readlinkat: %.*s\n", (int)length, text);
  printf("cut short: %zd\n", readlink(NET "/lo", text, 3));
  tell("readlink of a folder", readlink(NET, text, sizeof text));
  tell("open of a file in a file", open(NET "/lo/mtu/none", O_RDONLY));
  tell("a file as a folder", open(NET "/lo/mtu", O_RDONLY | O_DIRECTORY));
  tell("getxattr", getxattr(NET, "user.none", text, sizeof text));

  /* Listed by pieces of any size, and again. */
  int counts[3] = {0, 0, 0};
  DIR *stream = fdopendir(dup(folder));
  while (readdir(stream) != NULL) ++counts[0];
  rewinddir(stream);
  while (readdir(stream) != NULL) ++counts[1];
  closedir(stream);
  lseek(folder, 0, SEEK_SET);
  for (;;) {
    const long got = syscall(SYS_getdents64, folder, text, 64);
    if (got <= 0) break;
    for (long at = 0; at < got; at += ((struct dirent64 *)(text + at))->d_reclen) ++counts[2];
  }
  printf("again: %d %d\n", counts[0] == counts[1], counts[0] == counts[2]);
  lseek(folder, 0, SEEK_SET);
  tell("no room", syscall(SYS_getdents64, folder, text, 8));
  tell("of a file", syscall(SYS_getdents64, open("/proc/partitions", O_RDONLY), text, 4096));
  struct dirent **entries;
  const int count = scandir(NET, &entries, NULL, compare);
  for (int i = 0; i < count; ++i) printf("%s %d\n", entries[i]->d_name, entries[i]->d_type);

  /* A folder's descriptor means the same wherever it goes. */
  const int copy = fcntl(folder, F_DUPFD_CLOEXEC, 100);
  tell("by a copy", openat(copy, "lo/mtu", O_RDONLY));
  snprintf(text, sizeof text, "/proc/self/fd/%d", copy);
  char target[256];
  printf("its name: %.*s\n", (int)readlink(text, target, sizeof target), target);
  tell("getcwd", chdir("/sys/class"));
  printf("%s\n", getcwd(text, sizeof text));
  tell("relative", open("net/lo/mtu", O_RDONLY));
  tell("relative stat", stat("net", &facts));
  tell("chdir to a file", chdir("/proc/partitions"));
  tell("chdir to nothing", chdir("/sys/none"));
  return 0;
}
