// SPDX-License-Identifier: MIT
// Uses sockets of netlink, and tells what it sees. The output is the same natively and under waep,
// but for what waep refuses by name.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SOCK_DESTROY
#define SOCK_DESTROY 21
#endif

struct request {
  struct nlmsghdr header;
  union {
    struct ifinfomsg link;
    struct rtmsg route;
    struct tcmsg tc;
    uint8_t bytes[512];
  };
};

static int open_socket(int protocol) {
  const int made = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  if (made < 0) perror("socket");
  return made;
}

static long send_message(int fd, const void *message, size_t length) {
  struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  return sendto(fd, message, length, 0, (struct sockaddr *)&kernel, sizeof kernel);
}

// Tells the first message of the answer to a request.
static void tell_answer(const char *what, int fd) {
  char buffer[8192];
  struct sockaddr_nl from = {.nl_pid = 77};
  struct iovec part = {buffer, sizeof buffer};
  struct msghdr message = {
      .msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &part, .msg_iovlen = 1};
  const ssize_t got = recvmsg(fd, &message, 0);
  if (got < 0) {
    printf("%s: %s\n", what, strerror(errno));
    return;
  }
  const struct nlmsghdr *header = (const struct nlmsghdr *)buffer;
  struct sockaddr_nl own = {0};
  socklen_t length = sizeof own;
  getsockname(fd, (struct sockaddr *)&own, &length);
  printf("%s: type %u, sequence %u, %s port, from %u (%u bytes)", what, header->nlmsg_type,
         header->nlmsg_seq, header->nlmsg_pid == own.nl_pid ? "own" : "another", from.nl_pid,
         message.msg_namelen);
  if (header->nlmsg_type == NLMSG_ERROR) {
    printf(", %s", strerror(-((const struct nlmsgerr *)NLMSG_DATA(header))->error));
  }
  printf("\n");
}

static void ask(const char *what, int fd, struct request *request, size_t body) {
  request->header.nlmsg_len = (uint32_t)NLMSG_LENGTH(body);
  request->header.nlmsg_seq = 42;
  if (send_message(fd, request, request->header.nlmsg_len) < 0) {
    printf("%s: send: %s\n", what, strerror(errno));
    return;
  }
  tell_answer(what, fd);
}

static void *attribute(struct request *request, size_t at, uint16_t type, uint16_t length) {
  struct nlattr *one = (struct nlattr *)((uint8_t *)request + at);
  one->nla_len = (uint16_t)(NLA_HDRLEN + length);
  one->nla_type = type;
  return one + 1;
}

// Asks for a family of NETLINK_GENERIC by its name. Returns its number, or 0.
static uint16_t family(const char *name, int fd) {
  struct request request = {.header = {.nlmsg_type = GENL_ID_CTRL, .nlmsg_flags = NLM_F_REQUEST}};
  request.bytes[0] = CTRL_CMD_GETFAMILY;
  request.bytes[1] = 1;
  const size_t length = strlen(name) + 1;
  memcpy(attribute(&request, NLMSG_LENGTH(GENL_HDRLEN), CTRL_ATTR_FAMILY_NAME, (uint16_t)length),
         name, length);
  request.header.nlmsg_len = (uint32_t)NLMSG_LENGTH(GENL_HDRLEN + NLA_HDRLEN + NLA_ALIGN(length));
  if (send_message(fd, &request, request.header.nlmsg_len) < 0) perror("send");
  uint8_t answer[8192];
  const ssize_t got = recv(fd, answer, sizeof answer, MSG_PEEK);
  tell_answer(name, fd);
  struct nlattr one = {0};
  for (ssize_t at = NLMSG_LENGTH(GENL_HDRLEN); at + (ssize_t)sizeof one <= got;
       at += NLA_ALIGN(one.nla_len)) {
    memcpy(&one, answer + at, sizeof one);
    if (one.nla_len < NLA_HDRLEN) break;
    uint16_t number;
    memcpy(&number, answer + at + NLA_HDRLEN, sizeof number);
    if (one.nla_type == CTRL_ATTR_FAMILY_ID) return number;
  }
  return 0;
}

// Asks what an interface can do, as libbpf does before it attaches XDP.
static void generic(void) {
  enum { NETDEV_CMD_DEV_GET = 1, NETDEV_A_DEV_IFINDEX = 1, LOOPBACK = 1 };
  const int fd = open_socket(NETLINK_GENERIC);
  family("no_such_family", fd);
  const uint16_t netdev = family("netdev", fd);
  if (netdev == 0) return;
  struct request request = {.header = {.nlmsg_type = netdev, .nlmsg_flags = NLM_F_REQUEST}};
  request.bytes[0] = NETDEV_CMD_DEV_GET;
  request.bytes[1] = 1;
  const uint32_t index = LOOPBACK;
  memcpy(attribute(&request, NLMSG_LENGTH(GENL_HDRLEN), NETDEV_A_DEV_IFINDEX, sizeof index), &index,
         sizeof index);
  ask("netdev of lo", fd, &request, GENL_HDRLEN + NLA_HDRLEN + sizeof index);
  close(fd);
}

// Another program sends what looks like an answer.
static void inject(int fd) {
  struct sockaddr_nl own = {.nl_family = AF_NETLINK};
  socklen_t length = sizeof own;
  if (bind(fd, (struct sockaddr *)&own, sizeof own) < 0) perror("bind");
  getsockname(fd, (struct sockaddr *)&own, &length);
  const struct nlmsghdr forged = {.nlmsg_len = sizeof forged, .nlmsg_type = NLMSG_DONE};
  const int other = open_socket(NETLINK_USERSOCK);
  sendto(other, &forged, sizeof forged, 0, (struct sockaddr *)&own, sizeof own);
  tell_answer("of another", fd);
  close(other);
}

static void look(void) {
  const int fd = open_socket(NETLINK_ROUTE);
  inject(fd);
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  printf("ready before: %d\n", poll(&ready, 1, 0));
  tell_answer("before", fd);
  struct request request = {.header = {.nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST},
                            .link = {.ifi_index = 1}};
  request.header.nlmsg_len = (uint32_t)NLMSG_LENGTH(sizeof request.link);
  request.header.nlmsg_seq = 1;
  struct iovec parts[] = {{&request, 20}, {(uint8_t *)&request + 20, request.header.nlmsg_len - 20}};
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
  printf("sent: %zd\n", sendmsg(fd, &message, 0));
  printf("ready: %d\n", poll(&ready, 1, 0));
  // The length of the datagram, and then its beginning.
  char byte;
  const ssize_t whole = recv(fd, NULL, 0, MSG_PEEK | MSG_TRUNC);
  printf("whole: %s\n", whole > 100 ? "yes" : strerror(errno));
  printf("peeked: %zd\n", recv(fd, &byte, 1, MSG_PEEK));
  const int copy = dup(fd);
  tell_answer("copy", copy);
  tell_answer("after", fd);
  printf("written: %zd\n", write(copy, &request, request.header.nlmsg_len));
  tell_answer("of write", fd);
  request.link.ifi_index = 0x7fffffff;
  ask("no such link", copy, &request, sizeof request.link);
  request.header.nlmsg_flags |= NLM_F_DUMP;
  ask("all links", fd, &request, sizeof request.link);
  for (ssize_t got = 1; got > 0;) got = recv(fd, &byte, 1, 0);
  printf("done: %s\n", strerror(errno));
  close(copy);
  close(fd);
  for (int i = 0; i < 200; ++i) close(open_socket(NETLINK_ROUTE));
  const int diag = open_socket(NETLINK_SOCK_DIAG);
  struct request sockets = {
      .header = {.nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
      .bytes = {AF_UNIX, [4] = 0xff, 0xff, 0xff, 0xff}};
  ask("unix sockets", diag, &sockets, 24);
}

// Messages that are malformed in one way each. No process may end or hang by them.
static void hostile(void) {
  const int fd = open_socket(NETLINK_ROUTE);
  struct request request = {
      .header = {.nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK}};
  static const uint32_t lengths[] = {0, 1, 15, 16, 17, 33, 0xffff, 0xffffffff};
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; ++i) {
    request.header.nlmsg_len = lengths[i];
    char what[32];
    snprintf(what, sizeof what, "length %x", lengths[i]);
    printf("%s: sent %ld\n", what, send_message(fd, &request, 64));
    tell_answer(what, fd);
    char byte;
    while (recv(fd, &byte, 1, 0) >= 0) continue;
  }
  struct sockaddr_nl other = {.nl_family = AF_INET};
  printf("another family: %ld\n",
         sendto(fd, &request, 32, 0, (struct sockaddr *)&other, sizeof other));
  const long sent = send_message(fd, (void *)8, 32);
  printf("no memory: %ld %s\n", sent, strerror(errno));
}

static struct request all_links(void) {
  struct request request = {
      .header = {.nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
  request.header.nlmsg_len = (uint32_t)NLMSG_LENGTH(sizeof request.link);
  return request;
}

// Asks more than it receives.
static void flood(void) {
  const int fd = open_socket(NETLINK_ROUTE);
  struct request request = all_links();
  long sent = 0;
  for (int i = 0; i < 20000 && sent >= 0; ++i) {
    sent = send_message(fd, &request, request.header.nlmsg_len);
  }
  printf("flood: %s\n", sent < 0 ? strerror(errno) : "no end");
  char byte;
  while (recv(fd, &byte, 1, 0) >= 0) continue;
  ask("after the flood", fd, &request, sizeof request.link);
  close(fd);
}

static pthread_barrier_t both;

static void *with_own_files(void *argument) {
  const int fd = *(int *)argument;
  unshare(CLONE_FILES);
  pthread_barrier_wait(&both);
  pthread_barrier_wait(&both);
  struct request request = all_links();
  const long sent = send_message(fd, &request, request.header.nlmsg_len);
  printf("of a thread: %ld %s\n", sent, strerror(errno));
  return NULL;
}

// A number of the thread is another socket's number in the rest of the process.
static void confuse(void) {
  int fd = open_socket(NETLINK_ROUTE);
  const int other = open_socket(NETLINK_USERSOCK);
  pthread_t thread;
  pthread_barrier_init(&both, NULL, 2);
  pthread_create(&thread, NULL, with_own_files, &fd);
  pthread_barrier_wait(&both);
  if (dup2(other, fd) != fd) perror("dup2");
  pthread_barrier_wait(&both);
  pthread_join(thread, NULL);
  char byte;
  printf("the other: %zd\n", recv(other, &byte, 1, 0));
}

static void change(const char *device, const char *bpf) {
  const int fd = open_socket(NETLINK_ROUTE);
  const int index = atoi(device);
  struct request route = {
      .header = {.nlmsg_type = RTM_NEWROUTE, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK}};
  ask("route", fd, &route, sizeof route.route);
  struct request link = {
      .header = {.nlmsg_type = RTM_SETLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
      .link = {.ifi_index = index}};
  const size_t at = NLMSG_LENGTH(sizeof link.link);
  uint32_t *inner = attribute(&link, at, IFLA_XDP | NLA_F_NESTED, 8);
  struct nlattr *descriptor = (struct nlattr *)inner;
  descriptor->nla_len = 8;
  descriptor->nla_type = IFLA_XDP_FD;
  const int program = atoi(bpf);
  memcpy(descriptor + 1, &program, sizeof program);
  ask("xdp", fd, &link, sizeof link.link + 12);
  descriptor->nla_len = 200;
  ask("xdp, too long", fd, &link, sizeof link.link + 12);
  attribute(&link, at, IFLA_NET_NS_FD, 4);
  ask("namespace", fd, &link, sizeof link.link + 8);
  link.link.ifi_flags = 1;
  ask("up", fd, &link, sizeof link.link);
  const int diag = open_socket(NETLINK_SOCK_DIAG);
  struct request destroy = {
      .header = {.nlmsg_type = SOCK_DESTROY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
      .bytes = {AF_INET, 6}};
  ask("destroy", diag, &destroy, 56);
  struct sockaddr_nl group = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
  printf("group: %d\n", bind(fd, (struct sockaddr *)&group, sizeof group));
  const int links = RTNLGRP_LINK;
  printf("member: %d\n",
         setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &links, sizeof links));
  printf("replaced: %d\n", dup2(fd, 3));
}

// Attaches an XDP program that passes every packet, or a filter, and detaches it when told to.
static void attach(const char *device) {
  const struct bpf_insn pass[] = {{.code = 0xb7, .dst_reg = 0, .imm = 2}, {.code = 0x95}};
  union bpf_attr load = {.prog_type = BPF_PROG_TYPE_XDP,
                         .insns = (uintptr_t)pass,
                         .insn_cnt = 2,
                         .license = (uintptr_t) "GPL"};
  const int program = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
  const int fd = open_socket(NETLINK_ROUTE);
  struct request link = {
      .header = {.nlmsg_type = RTM_SETLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
      .link = {.ifi_index = atoi(device)}};
  struct nlattr *one = attribute(&link, NLMSG_LENGTH(sizeof link.link), IFLA_XDP, 8);
  one->nla_len = 8;
  one->nla_type = IFLA_XDP_FD;
  memcpy(one + 1, &program, sizeof program);
  ask("attach", fd, &link, sizeof link.link + 12);
  close(program);
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  sigprocmask(SIG_BLOCK, &end, NULL);
  int ended;
  printf("waiting\n");
  sigwait(&end, &ended);
  const int none = -1;
  memcpy(one + 1, &none, sizeof none);
  ask("detach", fd, &link, sizeof link.link + 12);
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IONBF, 0);
  if (argc == 1) {
    look();
    generic();
  }
  if (argc == 2) hostile();
  if (argc == 3) change(argv[1], argv[2]);
  if (argc == 4) attach(argv[1]);
  if (argc == 5) {
    flood();
    confuse();
  }
  return 0;
}
