// Asks for a token as libbpf does where LIBBPF_BPF_TOKEN_PATH says so. Its status is the errno.
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BPF_TOKEN_CREATE 36

int main(void) {
  struct {
    uint32_t flags;
    int32_t folder;
  } attr = {0, open("/sys/fs/bpf", O_DIRECTORY)};
  return syscall(SYS_bpf, BPF_TOKEN_CREATE, &attr, sizeof attr) < 0 ? errno : 0;
}
