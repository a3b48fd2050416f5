// SPDX-License-Identifier: MIT

#ifndef WAEP_BENCH_CLOCK_H
#define WAEP_BENCH_CLOCK_H

#include <stdint.h>
#include <time.h>

// Nanoseconds of CLOCK_MONOTONIC.
static inline uint64_t clock_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline void clock_sleep(uint64_t ns) {
  const struct timespec pause = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
  if (ns > 0) nanosleep(&pause, NULL);
}

#endif
