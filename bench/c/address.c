// SPDX-License-Identifier: MIT

#define _GNU_SOURCE
#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct endpoint {
  struct sockaddr_storage name;
  socklen_t length;
  unsigned mux_port;  // 0 where no handshake is needed
};

static void fail(const char* what, const char* address) {
  fprintf(stderr, "%s %s: %s\n", what, address, strerror(errno));
  exit(1);
}

static void malformed(const char* address) {
  fprintf(stderr,
          "malformed address %s: expected unix:/path, tcp:HOST:PORT, vsock:CID:PORT or "
          "vsock-mux:/path:PORT\n",
          address);
  exit(2);
}

// Cuts "…:PORT" off the end of text and returns the port.
static unsigned cut_port(char* text, const char* address) {
  char* colon = strrchr(text, ':');
  if (colon == NULL) malformed(address);
  *colon = '\0';
  return (unsigned)strtoul(colon + 1, NULL, 10);
}

static void set_unix(struct endpoint* endpoint, const char* path, const char* address) {
  struct sockaddr_un* name = (struct sockaddr_un*)&endpoint->name;
  if (strlen(path) >= sizeof name->sun_path) malformed(address);
  name->sun_family = AF_UNIX;
  strcpy(name->sun_path, path);
  endpoint->length = sizeof *name;
}

static struct endpoint parse(const char* address) {
  struct endpoint endpoint = {0};
  const char* colon = strchr(address, ':');
  if (colon == NULL) malformed(address);
  const size_t kind = (size_t)(colon - address);
  char rest[256];
  if (strlen(colon + 1) >= sizeof rest) malformed(address);
  strcpy(rest, colon + 1);

  if (strncmp(address, "unix", kind) == 0) {
    set_unix(&endpoint, rest, address);
  } else if (strncmp(address, "vsock-mux", kind) == 0 && kind == 9) {
    endpoint.mux_port = cut_port(rest, address);
    set_unix(&endpoint, rest, address);
  } else if (strncmp(address, "tcp", kind) == 0) {
    struct sockaddr_in* name = (struct sockaddr_in*)&endpoint.name;
    name->sin_family = AF_INET;
    name->sin_port = htons((uint16_t)cut_port(rest, address));
    if (inet_pton(AF_INET, rest, &name->sin_addr) != 1) malformed(address);
    endpoint.length = sizeof *name;
  } else if (strncmp(address, "vsock", kind) == 0) {
    struct sockaddr_vm* name = (struct sockaddr_vm*)&endpoint.name;
    name->svm_family = AF_VSOCK;
    name->svm_port = cut_port(rest, address);
    name->svm_cid = strcmp(rest, "any") == 0 ? VMADDR_CID_ANY : (unsigned)strtoul(rest, NULL, 10);
    endpoint.length = sizeof *name;
  } else {
    malformed(address);
  }
  return endpoint;
}

// The multiplexer's handshake. The answer is read byte by byte: what follows its newline already
// belongs to the stream.
static void mux_handshake(int fd, unsigned port, const char* address) {
  char line[32];
  const int length = snprintf(line, sizeof line, "CONNECT %u\n", port);
  if (write(fd, line, (size_t)length) != length) fail("handshake with", address);
  char byte = '\0';
  for (int i = 0; byte != '\n'; i++) {
    if (read(fd, &byte, 1) != 1) {
      fprintf(stderr, "handshake with %s: refused\n", address);
      exit(1);
    }
    if (i < 3 && byte != "OK "[i]) {
      fprintf(stderr, "handshake with %s: not an OK line\n", address);
      exit(1);
    }
  }
}

void address_no_delay(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // fails where there is no Nagle
}

int address_connect(const char* address) {
  const struct endpoint endpoint = parse(address);
  const int fd = socket(endpoint.name.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket", address);
  if (connect(fd, (const struct sockaddr*)&endpoint.name, endpoint.length) < 0) {
    fail("connect", address);
  }
  address_no_delay(fd);
  if (endpoint.mux_port != 0) mux_handshake(fd, endpoint.mux_port, address);
  return fd;
}

int address_listen(const char* address) {
  const struct endpoint endpoint = parse(address);
  if (endpoint.mux_port != 0) malformed(address);
  const int fd = socket(endpoint.name.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket", address);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (const struct sockaddr*)&endpoint.name, endpoint.length) < 0) fail("bind", address);
  if (listen(fd, 16) < 0) fail("listen", address);
  return fd;
}
