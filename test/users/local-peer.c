/* Connects to a vsock port as some user, sends bytes and prints what comes back as hexadecimal.
 *   local-peer UID CID|own PORT SOURCE_PORT|0 HEX */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <linux/vm_sockets.h>
#include <unistd.h>

static int fail(const char *what) {
  printf("%s: %s\n", what, strerror(errno));
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 6) return 2;
  unsigned cid = (unsigned)strtoul(argv[2], NULL, 10);
  if (strcmp(argv[2], "own") == 0) {
    const int device = open("/dev/vsock", O_RDONLY);
    if (ioctl(device, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) < 0) return fail("own CID");
  }
  const uid_t user = (uid_t)strtoul(argv[1], NULL, 10);
  if (setgroups(0, NULL) < 0 || setgid(user) < 0 || setuid(user) < 0) return fail("setuid");
  const int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
  struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY};
  address.svm_port = (unsigned)strtoul(argv[4], NULL, 10);
  if (address.svm_port != 0 && bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
    return fail("bind");
  }
  address.svm_cid = cid;
  address.svm_port = (unsigned)strtoul(argv[3], NULL, 10);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) return fail("connect");
  unsigned char bytes[4096];
  size_t length = 0;
  for (unsigned byte; sscanf(argv[5] + 2 * length, "%2x", &byte) == 1 && length < sizeof bytes;) {
    bytes[length++] = (unsigned char)byte;
  }
  if (write(fd, bytes, length) != (ssize_t)length) return fail("write");
  const ssize_t got = read(fd, bytes, sizeof bytes);
  if (got < 0) return fail("read");
  for (ssize_t i = 0; i < got; ++i) printf("%02x", bytes[i]);
  return 0;
}
