// SPDX-License-Identifier: MIT
// What the applications have in common: they print whole lines, go on until Ctrl-C, and fail if
// they have seen nothing.
#ifndef APPLICATION_H_
#define APPLICATION_H_

#include <bpf/libbpf.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { REST_MS = 100 };

static volatile sig_atomic_t interruptions;

static void on_interrupt(int number) {
  (void)number;
  interruptions = 1;
}

static inline int warn(enum libbpf_print_level level, const char *format, va_list arguments) {
  return level == LIBBPF_WARN ? vfprintf(stderr, format, arguments) : 0;
}

static inline void begin(void) {
  const struct sigaction action = {.sa_handler = on_interrupt};
  sigaction(SIGINT, &action, NULL);
  setvbuf(stdout, NULL, _IOLBF, 0);
  libbpf_set_print(warn);
}

static inline bool interrupted(void) { return interruptions != 0; }
static inline void rest(void) { usleep(REST_MS * 1000); }

static inline int fail(const char *what) {
  printf("%s: %s\n", what, strerror(errno));
  return 1;
}

#endif
