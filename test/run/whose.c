/* What system calls find at each path that comes by standard input, behind the names of the calls. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

static const char *outcome(long result) { return result < 0 ? strerrorname_np(errno) : "ok"; }

static void look(const char *what, int result, const struct stat *facts) {
  if (result < 0) printf(" %s=%s", what, strerrorname_np(errno));
  else printf(" %s=%lx/%o", what, (long)facts->st_dev, facts->st_mode);
}

int main(void) {
  static char line[8192];
  while (fgets(line, sizeof line, stdin) != NULL) {
    line[strcspn(line, "\n")] = 0;
    char *path = strchr(line, ' ');
    if (path == NULL) continue;
    *path++ = 0;
    struct stat facts;
    char text[4096];
    printf("%s", path);
    look("stat", stat(path, &facts), &facts);
    look("lstat", lstat(path, &facts), &facts);
    printf(" access=%s", outcome(access(path, F_OK)));
    const ssize_t length = readlink(path, text, sizeof text);
    printf(" link=%s", outcome(length));
    struct statfs system;
    const int found = statfs(path, &system);
    printf(" statfs=%s/%lx", outcome(found), found < 0 ? 0 : (long)system.f_type);
    if (strstr(line, "open") != NULL) {
      const int file = open(path, O_RDONLY | O_NONBLOCK);
      printf(" open=%s", outcome(file));
      if (file >= 0) {
        const ssize_t got = read(file, text, sizeof text);
        printf(" read=%s", got > 0 ? "some" : got == 0 ? "none" : strerrorname_np(errno));
        close(file);
      }
      DIR *folder = opendir(path);
      if (folder != NULL) {
        printf(" list=%s", readdir(folder) == NULL ? "none" : "some");
        closedir(folder);
      }
    }
    printf("\n");
    fflush(stdout);
  }
  return 0;
}
