// SPDX-License-Identifier: MIT

#ifndef WAEP_BENCH_AFFINITY_H
#define WAEP_BENCH_AFFINITY_H

// Needs _GNU_SOURCE.
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

// Keeps the calling thread on one CPU. Ends the program if it may not run there.
static inline void affinity_pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET((size_t)cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) < 0) {
    perror("sched_setaffinity");
    exit(1);
  }
}

#endif
