/*
 * Preloaded into tests. It lets time pass before and after calls by which tests cause their
 * programs to run. Then copies of mapped maps, which waep keeps equal at intervals, are equal
 * again.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/bpf.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SETTLE_MS = 200 };

static void settle(void) { poll(NULL, 0, SETTLE_MS); }

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define PATIENTLY(type, call) \
  settle();                   \
  type result = call;         \
  settle();                   \
  return result

int usleep(useconds_t us) { PATIENTLY(int, NEXT(usleep)(us)); }

int nanosleep(const struct timespec* time, struct timespec* rest) {
  PATIENTLY(int, NEXT(nanosleep)(time, rest));
}

pid_t getpgid(pid_t pid) { PATIENTLY(pid_t, NEXT(getpgid)(pid)); }

ssize_t write(int fd, const void* bytes, size_t length) {
  PATIENTLY(ssize_t, NEXT(write)(fd, bytes, length));
}

int connect(int fd, const struct sockaddr* address, socklen_t length) {
  PATIENTLY(int, NEXT(connect)(fd, address, length));
}

int listen(int fd, int backlog) { PATIENTLY(int, NEXT(listen)(fd, backlog)); }

int setsockopt(int fd, int level, int name, const void* value, socklen_t length) {
  PATIENTLY(int, NEXT(setsockopt)(fd, level, name, value, length));
}

int fstat(int fd, struct stat* status) { PATIENTLY(int, NEXT(fstat)(fd, status)); }

int close(int fd) { PATIENTLY(int, NEXT(close)(fd)); }

int system(const char* command) { PATIENTLY(int, NEXT(system)(command)); }

#define READ_WORDS(from, count)                                        \
  long word[count];                                                    \
  va_list words;                                                       \
  va_start(words, from);                                               \
  for (int at = 0; at < (count); at++) word[at] = va_arg(words, long); \
  va_end(words)

int prctl(int option, ...) {
  READ_WORDS(option, 4);
  PATIENTLY(int, NEXT(prctl)(option, word[0], word[1], word[2], word[3]));
}

/* Some tests change an element many thousand times. */
static int changes_left = 50;

static int runs_programs(long command) {
  return (command == BPF_MAP_UPDATE_ELEM || command == BPF_MAP_DELETE_ELEM) && changes_left-- > 0;
}

long syscall(long number, ...) {
  READ_WORDS(number, 6);
  // Tests that only want a system call leave its argument to chance. waep refuses the id of any
  // process but the test's own.
  if (number == SYS_getpgid) word[0] = 0;
#define CALL NEXT(syscall)(number, word[0], word[1], word[2], word[3], word[4], word[5])
  if (number == SYS_perf_event_open || (number == SYS_bpf && !runs_programs(word[0]))) return CALL;
  PATIENTLY(long, CALL);
}
