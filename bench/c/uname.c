// SPDX-License-Identifier: MIT
//
// Times uname(2), which `waep run` answers without asking the guest: what remains is the price of
// intercepting a system call.
//
//   uname --warmup N --count N     prints "uname NANOSECONDS" for each

#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "clock.h"

int main(int argc, char** argv) {
  if (argc != 5 || strcmp(argv[1], "--warmup") != 0 || strcmp(argv[3], "--count") != 0) {
    fprintf(stderr, "usage: uname --warmup N --count N\n");
    return 2;
  }
  struct utsname name;
  for (long i = strtol(argv[2], NULL, 10); i > 0; i--) uname(&name);
  for (long i = strtol(argv[4], NULL, 10); i > 0; i--) {
    const uint64_t start = clock_now_ns();
    if (uname(&name) != 0) return 1;
    printf("uname %llu\n", (unsigned long long)(clock_now_ns() - start));
  }
  return 0;
}
