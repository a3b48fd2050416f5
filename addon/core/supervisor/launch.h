// SPDX-License-Identifier: MIT
#pragma once

#include <unistd.h>

#include <utility>
#include <vector>

namespace waep {

// What a program sees in place of this machine's files and clock.
struct Surroundings {
  // The offset of its monotonic clock from this machine's.
  long long clock_ahead_ns = 0;
  // Files and folders that are bind-mounted over others: source, target.
  std::vector<std::pair<const char*, const char*>> binds;
};

// Where waep's own messages go.
struct Messages {
  int descriptor = STDERR_FILENO;
  // With the address of a guest, messages are objects in JSON, one on each line
  // (cli/json-lines.ts).
  const char* address = nullptr;
};

// Starts a process that ends the program when its calls are no longer answered, because the program
// cannot know that. When the other end of `control` is closed or shut down, nobody answers them any
// more. The program then gets SIGTERM after a few seconds, and SIGKILL some seconds later. A
// supervisor that has printed the reason shuts its end down; otherwise the watcher prints it.
//
// The caller becomes the program by Exec, or kills the watcher. Returns its id, or -1 after
// printing the reason. The caller then must not become the program, which nothing would end.
pid_t StartWatcher(int control, const Messages& messages, const char* name);

// Executes a program whose caught system calls another process answers.
//
//  1. It makes a mount namespace. There it mounts an empty bpf file system, mounts an empty file
//     system over tracefs, and binds files over others.
//  2. If it may, it makes a time namespace. There the monotonic clock is shifted, and the clock
//     since boot shows the same time. If it may, it removes the limit on locked memory.
//  3. It installs the filter (seccomp_filter.h) and sends the listener in one message over the Unix
//     socket `control`.
//  4. It waits for one byte from `control`, and executes the program.
//
// The watcher is started before: the filter's listener reports the end of the last process that has
// the filter.
//
// It returns only if it fails, after printing the reason: 125, or 126 or 127 like env(1).
int Exec(char** program, const Surroundings& surroundings, const Messages& messages, int control);

}  // namespace waep
