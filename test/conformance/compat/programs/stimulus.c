// SPDX-License-Identifier: MIT
// stimulus [STAY_MS]: does in the guest what the tools must report: one small action of each kind,
// always the same. Then it stays for a moment, for tools that look at it while it runs.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// A place for uprobes.
__attribute__((noinline)) int stimulate(int number) {
  __asm__ volatile("" : : "r"(number));
  return number + 1;
}

// A place for a statically defined probe (USDT): a no-op, and a note that tells where it is, how it is
// called, and that its arguments are what the register EDI holds and a constant.
__attribute__((noinline)) static void step(int number) {
  __asm__ volatile(
      "990: nop\n"
      ".pushsection .note.stapsdt, \"\", \"note\"\n"
      ".balign 4\n"
      ".4byte 992f - 991f, 994f - 993f, 3\n"
      "991: .asciz \"stapsdt\"\n"
      "992: .balign 4\n"
      "993: .8byte 990b, _.stapsdt.base, 0\n"
      ".asciz \"stimulus\"\n"
      ".asciz \"step\"\n"
      ".asciz \"-4@%%edi -4@$7\"\n"
      "994: .balign 4\n"
      ".popsection\n"
      ".pushsection .stapsdt.base, \"aG\", \"progbits\", .stapsdt.base, comdat\n"
      ".weak _.stapsdt.base\n"
      ".hidden _.stapsdt.base\n"
      "_.stapsdt.base: .space 1\n"
      ".size _.stapsdt.base, 1\n"
      ".popsection"
      :
      : "D"(number));
}

static void files(void) {
  const int fd = open("/tmp/stimulus-file", O_CREAT | O_RDWR | O_TRUNC, 0600);
  char bytes[1000] = {0};
  (void)!write(fd, bytes, sizeof bytes);
  (void)!pread(fd, bytes, sizeof bytes, 0);
  fsync(fd);
  close(fd);
  struct stat status;
  stat("/tmp/stimulus-file", &status);
  unlink("/tmp/stimulus-file");
  open("/tmp/stimulus-missing", O_RDONLY);
  sync();
}

static void connections(void) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(7777)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 4) == 0) {
    const int client = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(client, (struct sockaddr *)&address, sizeof address) == 0) {
      const int server = accept(listener, NULL, NULL);
      char bytes[500] = {0};
      (void)!write(client, bytes, sizeof bytes);
      (void)!read(server, bytes, sizeof bytes);
      close(client);
      close(server);
    }
  }
  close(listener);
}

static void processes(void) {
  // On the stack, whose pages a child has at once. A program on execve(2) cannot read a page that
  // is not in memory yet.
  char path[] = "/bin/busybox";
  char name[] = "true";
  char argument[] = "stimulus-argument";
  char *const arguments[] = {name, argument, NULL};
  const pid_t child = fork();
  if (child == 0) {
    execv(path, arguments);
    _exit(1);
  }
  waitpid(child, NULL, 0);
  const pid_t victim = fork();
  if (victim == 0) {
    pause();
    _exit(0);
  }
  kill(victim, SIGTERM);
  waitpid(victim, NULL, 0);
}

int main(int argc, char **argv) {
  prctl(PR_SET_NAME, "stimulus");
  for (int i = 0; i < 3; ++i) {
    syscall(SYS_getppid);
    stimulate(i);
    step(i);
  }
  files();
  connections();
  processes();
  mkdir("/tmp/stimulus-mount", 0700);
  if (mount("none", "/tmp/stimulus-mount", "tmpfs", 0, "") == 0) umount("/tmp/stimulus-mount");
  setuid(0);
  setgid(0);
  setresuid(-1, 0, 0);
  const long stay_ms = argc > 1 ? atol(argv[1]) : 20;
  const struct timespec nap = {stay_ms / 1000, stay_ms % 1000 * 1000000};
  nanosleep(&nap, NULL);
  return 0;
}
