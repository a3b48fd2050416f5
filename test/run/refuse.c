// Has a system call fail, as containers do, and becomes another program: refuse ERRNO PROGRAM ...
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define REFUSE(number)                                       \
  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),         \
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)refusal)

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  const int refusal = atoi(argv[1]);
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      REFUSE(SYS_process_vm_readv),
      REFUSE(SYS_process_vm_writev),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const struct sock_fprog filter = {sizeof code / sizeof *code, code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    perror("seccomp");
    return 2;
  }
  char byte = 0;
  const struct iovec one = {&byte, 1};
  if (process_vm_readv(getpid(), &one, 1, &one, 1, 0) != -1 || errno != refusal) {
    fprintf(stderr, "process_vm_readv is not refused\n");
    return 2;
  }
  execvp(argv[2], argv + 2);
  perror(argv[2]);
  return 2;
}
