// SPDX-License-Identifier: MIT
//
// waep-launch CONTROL [--json ADDRESS] [--bind SOURCE TARGET]… -- PROGRAM [ARGUMENT]…: executes a
// program. The process at the other end of the descriptor CONTROL sends the offset of the guest's
// clock, as a standby does, and answers the program's eBPF calls (launch.h). With --json, messages
// go to the descriptor behind CONTROL, as JSON.
//
// waep-launch run COMMAND [--vm ADDRESS] [--] PROGRAM [ARGUMENT]…: the same, but the "waep standby"
// of that address answers. If there is none, or there are other options, it executes "node COMMAND
// run" with the same arguments.

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vector>

#include "../sockets.h"
#include "launch.h"
#include "standby_socket.h"

namespace {

int NotStartedByWaep() {
  fprintf(stderr, "waep: waep-launch is not started by hand; see \"waep run\"\n");
  return 125;
}

int Launch(int count, char** words) {
  if (count < 3) return NotStartedByWaep();
  waep::Surroundings surroundings;
  const auto control = static_cast<int>(strtol(words[0], nullptr, 10));
  waep::Messages messages;
  int next = 1;
  if (strcmp(words[next], "--json") == 0) {
    messages = {control + 1, words[next + 1]};
    next += 2;
  }
  for (; next + 2 < count && strcmp(words[next], "--bind") == 0; next += 3) {
    surroundings.binds.emplace_back(words[next + 1], words[next + 2]);
  }
  if (next + 1 >= count || strcmp(words[next], "--") != 0) return NotStartedByWaep();
  char** const program = words + next + 1;
  if (waep::StartWatcher(control, messages, program[0]) < 0) return 125;
  // Without an answer there is nobody to tell.
  if (!waep::standby::Await(control, &surroundings.clock_ahead_ns)) return 125;
  return waep::Exec(program, surroundings, messages, control);
}

// The arguments of "waep run", if they are only an address and a program.
struct Request {
  const char* address = nullptr;
  char** program = nullptr;
};

Request Parse(char** words) {
  Request request;
  for (; words[0] != nullptr && words[0][0] == '-'; ++words) {
    if (strcmp(words[0], "--") == 0) {
      ++words;
      break;
    }
    const bool apart = strcmp(words[0], "--vm") == 0;
    if (request.address != nullptr || (!apart && strncmp(words[0], "--vm=", 5) != 0)) return {};
    if (apart && words[1] == nullptr) return {};
    request.address = apart ? *++words : words[0] + 5;
  }
  if (words[0] != nullptr) request.program = words;
  return request;
}

int Run(char** words) {
  char* const command = words[0];
  const Request request = Parse(words + 1);
  if (request.address != nullptr && request.program != nullptr) {
    const int control = waep::standby::Ask(request.address, request.program[0], STDERR_FILENO);
    // Meanwhile the standby prepares its answer.
    if (control >= 0) {
      const pid_t watcher = waep::StartWatcher(control, {}, request.program[0]);
      if (watcher < 0) return 125;
      waep::Surroundings surroundings;
      if (waep::standby::Await(control, &surroundings.clock_ahead_ns)) {
        return waep::Exec(request.program, surroundings, {}, control);
      }
      ::kill(watcher, SIGKILL);
      // Node's own descriptors would come after this one.
      waep::sockets::Close(control);
    }
  }
  char node[] = "node";
  char run[] = "run";
  std::vector<char*> all = {node, command, run};
  for (char** word = words + 1; *word != nullptr; ++word) all.push_back(*word);
  all.push_back(nullptr);
  // Node 20 would read these certificates at its start, which takes longer than the rest of it.
  // waep has no use for them, and the program gets the variable back (src/run/launch.ts).
  const char* const certificates = ::getenv("NODE_EXTRA_CA_CERTS");
  if (certificates != nullptr) {
    ::setenv("WAEP_NODE_EXTRA_CA_CERTS", certificates, 1);
    ::unsetenv("NODE_EXTRA_CA_CERTS");
  }
  ::execvp(node, all.data());
  fprintf(stderr, "waep: node: %s\n", strerror(errno));
  return 125;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc >= 3 && strcmp(argv[1], "run") == 0) return Run(argv + 2);
  return Launch(argc - 1, argv + 1);
}
