// SPDX-License-Identifier: MIT
//
// Times whole runs of a command, from before fork(2) to its end.
//
//   stopwatch NAME --warmup N --count N -- COMMAND…     prints "NAME NANOSECONDS" for each
//
// The command's standard output goes nowhere. Ends with an error when a run does not end with 0.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

static void fail(const char* why) {
  fprintf(stderr, "stopwatch: %s: %s\n", why, strerror(errno));
  exit(1);
}

static uint64_t timed(char** command) {
  const uint64_t start = clock_now_ns();
  const pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    const int nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDOUT_FILENO);
    execvp(command[0], command);
    fprintf(stderr, "stopwatch: %s: %s\n", command[0], strerror(errno));
    _exit(127);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) fail("waitpid");
  }
  const uint64_t end = clock_now_ns();
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    fprintf(stderr, "stopwatch: %s ended with %#x\n", command[0], status);
    exit(1);
  }
  return end - start;
}

int main(int argc, char** argv) {
  if (argc < 8 || strcmp(argv[2], "--warmup") != 0 || strcmp(argv[4], "--count") != 0 ||
      strcmp(argv[6], "--") != 0) {
    fprintf(stderr, "usage: stopwatch NAME --warmup N --count N -- COMMAND...\n");
    return 2;
  }
  for (long i = strtol(argv[3], NULL, 10); i > 0; i--) timed(argv + 7);
  for (long i = strtol(argv[5], NULL, 10); i > 0; i--) {
    printf("%s %llu\n", argv[1], (unsigned long long)timed(argv + 7));
  }
  return 0;
}
