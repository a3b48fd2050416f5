// SPDX-License-Identifier: MIT
//
// Processes in the sandbox of an executor, each of which makes one system call. Prints a line for
// each of them, which begins with "ok" if the process ended as it should.

#include "executor/sandbox.h"

#include <linux/netlink.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace {

using waep::Rules;

constexpr int kFilterFailed = 1;

// Rules with a message of each protocol. Only those of the given ones are allowed.
Rules Allowing(const std::vector<uint32_t>& protocols) {
  Rules rules;
  for (const uint32_t protocol : {NETLINK_ROUTE, NETLINK_SOCK_DIAG, NETLINK_NETFILTER}) {
    bool allowed = false;
    for (const uint32_t one : protocols) allowed = allowed || one == protocol;
    waep::NetlinkRule rule;
    rule.allowed = allowed;
    rule.protocol = protocol;
    rules.netlink.push_back(rule);
  }
  return rules;
}

template <typename Call>
void Try(const char* what, const Rules& rules, bool survives, Call call) {
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    if (waep::EnterSandbox(rules) != 0) _exit(kFilterFailed);
    call();
    // Whether the kernel has what was asked for is not the filter's matter.
    _exit(0);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  const bool lives = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
  printf("%s %s\n", (survives ? lives : killed) ? "ok" : "not ok", what);
}

void Socket(const char* what, const Rules& rules, bool survives, int family, int protocol) {
  Try(what, rules, survives, [=] { socket(family, SOCK_RAW | SOCK_CLOEXEC, protocol); });
}

}  // namespace

int main() {
  const Rules none = Allowing({});
  const Rules route = Allowing({NETLINK_ROUTE});
  const Rules both = Allowing({NETLINK_ROUTE, NETLINK_SOCK_DIAG});
  Socket("no netlink without a message", none, false, AF_NETLINK, NETLINK_ROUTE);
  Socket("the protocol of an allowed message", route, true, AF_NETLINK, NETLINK_ROUTE);
  Socket("no other protocol", route, false, AF_NETLINK, NETLINK_SOCK_DIAG);
  Socket("the first of two protocols", both, true, AF_NETLINK, NETLINK_ROUTE);
  Socket("the second of two protocols", both, true, AF_NETLINK, NETLINK_SOCK_DIAG);
  Socket("no third protocol", both, false, AF_NETLINK, NETLINK_NETFILTER);
  Socket("no other family with such a protocol", both, false, AF_INET, NETLINK_ROUTE);
  const int on = 1;
  const auto set = [=](int level) {
    return [=] { setsockopt(0, level, NETLINK_EXT_ACK, &on, sizeof on); };
  };
  Try("an option of netlink", route, true, set(SOL_NETLINK));
  Try("no option of netlink without a message", none, false, set(SOL_NETLINK));
  Try("no option of another level", route, false, set(SOL_SOCKET));
  Try("a signal to itself", none, true, [] { syscall(SYS_tgkill, getpid(), getpid(), 0); });
  Try("no signal to another process", none, false, [] { syscall(SYS_tgkill, 1, 1, 0); });
  Try("a call that the executor needs", both, true, [] { close(-1); });
  Try("no program", both, false, [] { execl("/bin/true", "true", nullptr); });
}
