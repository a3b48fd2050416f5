/*
 * Preloaded into tests. It lets time pass before and after calls by which tests cause their programs
 * to run. Then copies of mapped maps, which waep keeps equal at intervals, are equal again.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <stdarg.h>
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

long syscall(long number, ...) {
  long word[6];
  va_list words;
  va_start(words, number);
  for (int at = 0; at < 6; at++) word[at] = va_arg(words, long);
  va_end(words);
#define CALL NEXT(syscall)(number, word[0], word[1], word[2], word[3], word[4], word[5])
  // waep sees these, and compares copies by itself where they make programs run.
  if (number == SYS_bpf || number == SYS_perf_event_open) return CALL;
  PATIENTLY(long, CALL);
}
