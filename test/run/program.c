// An eBPF application of many small parts: each argument is one, and prints what came of it. It
// knows of no guest. Run by test/run and test/guest.
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/perf_event.h>
#include <linux/bpf_common.h>
#include <linux/filter.h>
#include <linux/kcmp.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// How long anything is waited for.
#define PATIENCE_MS 60000

static long bpf(int command, union bpf_attr *attr, unsigned size) {
  return syscall(SYS_bpf, command, attr, size);
}

static int create_map(const char *name) {
  union bpf_attr attr = {
      .map_type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 8, .max_entries = 1000};
  strncpy(attr.map_name, name, sizeof attr.map_name - 1);
  return (int)bpf(BPF_MAP_CREATE, &attr, sizeof attr);
}

static long element(int command, int fd, uint32_t key, uint64_t *value) {
  union bpf_attr attr = {.map_fd = (uint32_t)fd, .key = (uintptr_t)&key, .value = (uintptr_t)value};
  return bpf(command, &attr, sizeof attr);
}

static void check(const char *what, int fd, uint32_t key) {
  uint64_t value = 0;
  const long result = element(BPF_MAP_LOOKUP_ELEM, fd, key, &value);
  if (result == 0) {
    printf("%s: %llu\n", what, (unsigned long long)value);
  } else {
    printf("%s: %s\n", what, strerrorname_np(errno));
  }
  fflush(stdout);
}

static int map_with(uint32_t key, uint64_t value) {
  // Other tests run this program on the same kernel.
  const char *name = getenv("MAP_NAME");
  const int fd = create_map(name == NULL ? "parts" : name);
  if (fd < 0) {
    printf("create: %s\n", strerrorname_np(errno));
    exit(1);
  }
  element(BPF_MAP_UPDATE_ELEM, fd, key, &value);
  return fd;
}

static void copies(void) {
  const int fd = map_with(1, 11);
  const int copy = dup(fd);
  const int high = fcntl(fd, F_DUPFD_CLOEXEC, 200);
  const int placed = dup3(fd, 100, O_CLOEXEC);
  close(fd);
  check("closed", fd, 1);
  check("dup", copy, 1);
  check("fcntl", high, 1);
  check("dup3", placed, 1);
  const pid_t child = fork();
  if (child == 0) {
    check("child", copy, 1);
    _exit(0);
  }
  waitpid(child, NULL, 0);
}

static int send_descriptor(int socket, int fd) {
  char byte = 0;
  struct iovec part = {&byte, 1};
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &fd, sizeof fd);
  return sendmsg(socket, &message, 0) == 1 ? 0 : -1;
}

static int receive_descriptor(int socket) {
  char byte = 0;
  struct iovec part = {&byte, 1};
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  int fd = -1;
  if (recvmsg(socket, &message, 0) == 1 && CMSG_FIRSTHDR(&message) != NULL) {
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
  }
  return fd;
}

static void passed(void) {
  const int fd = map_with(2, 22);
  int pair[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
  send_descriptor(pair[0], fd);
  close(fd);
  check("passed", receive_descriptor(pair[1]), 2);
}

static int create_array(const char *name, uint32_t value_size, uint32_t entries, uint32_t flags) {
  union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY,
                         .key_size = 4,
                         .value_size = value_size,
                         .max_entries = entries,
                         .map_flags = flags};
  strncpy(attr.map_name, name, sizeof attr.map_name - 1);
  return (int)bpf(BPF_MAP_CREATE, &attr, sizeof attr);
}

static const char *outcome(const void *address) {
  if (address != MAP_FAILED) return "ok";
  const char *name = strerrorname_np(errno);
  return name == NULL ? "ENOTSUPP" : name;
}

// Memory of a map: what is written on one side is found on the other.
static void mapped(void) {
  const int fd = create_array("mapped", 4, 3, BPF_F_MMAPABLE);
  uint64_t value = 70;
  element(BPF_MAP_UPDATE_ELEM, fd, 1, &value);
  // As libbpf does it: at an address of its choice, the descriptor staying the map's.
  void *place = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  volatile uint64_t *memory =
      mmap(place, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
  if (memory != place) {
    printf("mapped: %s\n", strerrorname_np(errno));
    return;
  }
  printf("mapped: %llu\n", (unsigned long long)memory[1]);
  memory[2] = 71;
  check("written", fd, 2);
  volatile uint64_t *again = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
  value = 72;
  element(BPF_MAP_UPDATE_ELEM, fd, 0, &value);
  for (int ms = 0; again[0] != 72 && ms < PATIENCE_MS; ++ms) usleep(1000);
  printf("updated: %llu\n", (unsigned long long)memory[0]);
  check("still", fd, 1);
  printf("beyond: %s\n", outcome(mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0)));
  const int constant = create_array("constant", 8, 1, BPF_F_MMAPABLE | BPF_F_RDONLY_PROG);
  printf("constant: %s\n",
         outcome(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, constant, 0)));
  const int plain = create_array("plain", 8, 1, 0);
  printf("plain: %s\n", outcome(mmap(NULL, 4096, PROT_READ, MAP_SHARED, plain, 0)));
  union bpf_attr freeze = {.map_fd = (uint32_t)constant};
  bpf(BPF_MAP_FREEZE, &freeze, sizeof freeze);
}

static volatile sig_atomic_t alarms;
static void on_alarm(int signal) {
  (void)signal;
  ++alarms;
}

// Signals by the thousand must neither fail a call nor make it happen twice.
static void interrupted(void) {
  signal(SIGALRM, on_alarm);
  const struct itimerval often = {{0, 500}, {0, 500}};
  setitimer(ITIMER_REAL, &often, NULL);
  const int fd = map_with(3, 33);
  int failed = 0;
  // On a fast machine they take a while to come.
  for (uint32_t key = 0; key < 300 || (alarms <= 20 && key < 1000); ++key) {
    uint64_t value = key;
    union bpf_attr attr = {.map_fd = (uint32_t)fd,
                           .key = (uintptr_t)&key,
                           .value = (uintptr_t)&value,
                           .flags = key == 3 ? BPF_ANY : BPF_NOEXIST};
    failed += bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof attr) != 0;
  }
  const struct itimerval never = {0};
  setitimer(ITIMER_REAL, &never, NULL);
  printf("interrupted: %d failed, %s\n", failed, alarms > 20 ? "alarmed" : "calm");
}

static int shared_fd;
static void *worker(void *argument) {
  const uint32_t base = (uint32_t)(uintptr_t)argument;
  for (uint32_t i = 0; i < 50; ++i) {
    uint64_t value = base + i;
    element(BPF_MAP_UPDATE_ELEM, shared_fd, base + i, &value);
  }
  return NULL;
}

static void threads(void) {
  shared_fd = create_map("threads");
  pthread_t all[4];
  for (uintptr_t i = 0; i < 4; ++i) pthread_create(&all[i], NULL, worker, (void *)(100 * (i + 1)));
  int wrong = 0;
  for (int i = 0; i < 4; ++i) pthread_join(all[i], NULL);
  for (uint32_t i = 0; i < 4; ++i) {
    for (uint32_t k = 0; k < 50; ++k) {
      uint64_t value = 0;
      const uint32_t key = 100 * (i + 1) + k;
      wrong += element(BPF_MAP_LOOKUP_ELEM, shared_fd, key, &value) != 0 || value != key;
    }
  }
  printf("threads: %d wrong\n", wrong);
}

static int load_as(uint32_t type) {
  const struct bpf_insn code[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
                                  {.code = BPF_JMP | BPF_EXIT}};
  union bpf_attr attr = {.prog_type = type,
                         .expected_attach_type =
                             type == BPF_PROG_TYPE_SK_LOOKUP ? BPF_SK_LOOKUP : 0,
                         .insns = (uintptr_t)code,
                         .insn_cnt = sizeof code / sizeof code[0],
                         .license = (uintptr_t) "GPL"};
  return (int)bpf(BPF_PROG_LOAD, &attr, sizeof attr);
}

static int load_program(void) { return load_as(BPF_PROG_TYPE_SOCKET_FILTER); }

static uint32_t program_id(int fd) {
  struct bpf_prog_info info = {0};
  union bpf_attr attr = {
      .info = {.bpf_fd = (uint32_t)fd, .info_len = sizeof info, .info = (uintptr_t)&info}};
  return bpf(BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof attr) == 0 ? info.id : 0;
}

enum { LOADERS = 4, LOADS = 8 };

static uint32_t loaded[LOADERS][LOADS];

static void *loader(void *argument) {
  uint32_t *ids = argument;
  for (int i = 0; i < LOADS; ++i) {
    const int fd = load_program();
    ids[i] = program_id(fd);
    close(fd);
  }
  return NULL;
}

static int compare_ids(const void *left, const void *right) {
  const uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
  return (a > b) - (a < b);
}

// Threads that load at the same time get a program each.
static void loaders(void) {
  pthread_t all[LOADERS];
  for (int i = 0; i < LOADERS; ++i) pthread_create(&all[i], NULL, loader, loaded[i]);
  for (int i = 0; i < LOADERS; ++i) pthread_join(all[i], NULL);
  uint32_t *ids = loaded[0];
  qsort(ids, LOADERS * LOADS, sizeof *ids, compare_ids);
  int distinct = 0;
  for (int i = 0; i < LOADERS * LOADS; ++i)
    distinct += ids[i] != 0 && (i == 0 || ids[i] != ids[i - 1]);
  printf("loaders: %d programs\n", distinct);
}

static volatile sig_atomic_t urges;
static void on_urge(int signal) {
  (void)signal;
  ++urges;
}

static void *urged_worker(void *argument) {
  const uint32_t base = (uint32_t)(uintptr_t)argument;
  intptr_t failed = 0;
  for (uint32_t key = base; key < base + 100; ++key) {
    uint64_t value = key;
    union bpf_attr attr = {.map_fd = (uint32_t)shared_fd,
                           .key = (uintptr_t)&key,
                           .value = (uintptr_t)&value,
                           .flags = BPF_NOEXIST};
    failed += bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof attr) != 0;
  }
  return (void *)failed;
}

// Go interrupts threads that run for long by SIGURG, wherever they are: a call made twice would
// fail here, as its key is there already.
static void urged(void) {
  const struct sigaction action = {.sa_handler = on_urge, .sa_flags = SA_RESTART};
  sigaction(SIGURG, &action, NULL);
  shared_fd = create_map("urged");
  pthread_t all[4];
  for (uintptr_t i = 0; i < 4; ++i) {
    pthread_create(&all[i], NULL, urged_worker, (void *)(200 * i));
  }
  intptr_t failed = 0;
  for (int i = 0; i < 4; ++i) {
    void *result = NULL;
    while (pthread_tryjoin_np(all[i], &result) != 0) {
      for (int k = i; k < 4; ++k) pthread_kill(all[k], SIGURG);
      usleep(200);
    }
    failed += (intptr_t)result;
  }
  printf("urged: %d failed, %s\n", (int)failed, urges > 20 ? "interrupted" : "calm");
}

static volatile sig_atomic_t stopped;
static void on_stop(int signal) {
  (void)signal;
  stopped = 1;
}

// Ctrl-C is the program's to handle, and its objects are good until it ends.
static void until_interrupted(void) {
  const struct sigaction action = {.sa_handler = on_stop};
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  const int fd = map_with(7, 77);
  puts("running");
  fflush(stdout);
  uint64_t value = 0;
  // A handler without SA_RESTART can meet a call that nobody has taken up yet: then it is EINTR. And
  // where no terminal tells both, the signal comes twice: waep passes its own on.
  long result;
  do {
    result = element(BPF_MAP_LOOKUP_ELEM, fd, 7, &value);
  } while (result == 0 ? !stopped : errno == EINTR);
  if (result == 0) {
    printf("stopped: %llu\n", (unsigned long long)value);
  } else {
    printf("stopped: %s\n", strerrorname_np(errno));
  }
}

// What a child has made and passed on outlives the child.
static void legacy(void) {
  int pair[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
  const pid_t child = fork();
  if (child == 0) {
    _exit(send_descriptor(pair[1], map_with(8, 88)));
  }
  const int fd = receive_descriptor(pair[0]);
  waitpid(child, NULL, 0);
  check("legacy", fd, 8);
}

// Makes a call by i386's own door, which some kernels do not have, in a child that it may end.
static void i386_call(const char *name, long number) {
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(0L), "c"(0L), "d"(0L) : "memory");
    _exit(result < 0 ? (int)-result : 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  printf("i386 %s: %s\n", name,
         WIFSIGNALED(status) ? "no such door" : strerrorname_np(WEXITSTATUS(status)));
}

static void errors(void) {
  union bpf_attr attr = {0};
  printf("big: %s\n", bpf(BPF_MAP_CREATE, &attr, 4097) < 0 ? strerrorname_np(errno) : "ok");
  printf("fault: %s\n",
         syscall(SYS_bpf, BPF_MAP_CREATE, 8L, 64L) < 0 ? strerrorname_np(errno) : "ok");
  printf("command: %s\n", bpf(60000, &attr, sizeof attr) < 0 ? strerrorname_np(errno) : "ok");
  // The fourth and fifth argument that newer kernels take.
  printf("common: %s\n", syscall(SYS_bpf, BPF_PROG_LOAD | 1 << 16, &attr, sizeof attr, NULL, 24L) < 0
                             ? strerrorname_np(errno)
                             : "ok");
  check("foreign", STDERR_FILENO, 1);
  const int fd = map_with(4, 44);
  const uint32_t key = 4;
  char value[64];
  union bpf_attr lookup = {.map_fd = (uint32_t)fd, .key = (uintptr_t)&key, .value = 8};
  printf("value: %s\n",
         bpf(BPF_MAP_LOOKUP_ELEM, &lookup, sizeof lookup) < 0 ? strerrorname_np(errno) : "ok");
  // Present, but not to be read.
  uint32_t *const hidden =
      mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *hidden = 4;
  mprotect(hidden, 4096, PROT_NONE);
  lookup.key = (uintptr_t)hidden;
  lookup.value = (uintptr_t)&value;
  printf("key: %s\n",
         bpf(BPF_MAP_LOOKUP_ELEM, &lookup, sizeof lookup) < 0 ? strerrorname_np(errno) : "ok");
  void *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
  printf("mmap: %s\n", outcome(map));
  const int file = memfd_create("own", 0);
  ftruncate(file, 4096);
  map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
  printf("own mmap: %s\n", outcome(map));
  i386_call("bpf", 357);
  i386_call("io_uring_setup", 425);
}

// A program that hands the word it is run with to a helper: to a ring buffer, or a perf buffer.
static int emitter(int map, int helper) {
  const int perf = helper == BPF_FUNC_perf_event_output;
  const struct bpf_insn code[] = {
      {.code = BPF_LDX | BPF_MEM | BPF_DW, .dst_reg = 6, .src_reg = 1},
      {.code = BPF_STX | BPF_MEM | BPF_DW, .dst_reg = 10, .src_reg = 6, .off = -8},
      // bpf_ringbuf_output(map, data, 8, 0), bpf_perf_event_output(context, map, cpu, data, 8)
      {.code = BPF_LD | BPF_IMM | BPF_DW,
       .dst_reg = perf ? 2 : 1,
       .src_reg = BPF_PSEUDO_MAP_FD,
       .imm = map},
      {0},
      {.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = perf ? 4 : 2, .src_reg = 10},
      {.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = perf ? 4 : 2, .imm = -8},
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = perf ? 5 : 3, .imm = 8},
      {.code = (perf ? BPF_ALU : BPF_ALU64) | BPF_MOV | BPF_K,
       .dst_reg = perf ? 3 : 4,
       .imm = perf ? (int)BPF_F_CURRENT_CPU : 0},
      {.code = BPF_JMP | BPF_CALL, .imm = helper},
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0},
      {.code = BPF_JMP | BPF_EXIT},
  };
  union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
                         .insn_cnt = sizeof code / sizeof *code,
                         .insns = (uintptr_t)code,
                         .license = (uintptr_t)"GPL"};
  return (int)bpf(BPF_PROG_LOAD, &attr, sizeof attr);
}

static int emit(int program, uint64_t value) {
  union bpf_attr attr = {.test = {.prog_fd = (uint32_t)program,
                                  .ctx_in = (uintptr_t)&value,
                                  .ctx_size_in = sizeof value,
                                  .flags = BPF_F_TEST_RUN_ON_CPU}};
  return (int)bpf(BPF_PROG_TEST_RUN, &attr, sizeof attr);
}

// Asks whether a helper can be called, with room for the verifier's log, and adds what it is told to
// `*sum`. The room is filled before, to see what is written.
static int probe(int type, int helper, void *room, uint32_t room_bytes, uint64_t *sum) {
  const struct bpf_insn code[] = {
      {.code = BPF_JMP | BPF_CALL, .imm = helper},
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0},
      {.code = BPF_JMP | BPF_EXIT},
  };
  union bpf_attr attr = {.prog_type = (uint32_t)type,
                         .insn_cnt = sizeof code / sizeof *code,
                         .insns = (uintptr_t)code,
                         .license = (uintptr_t)"GPL",
                         .log_level = 1,
                         .log_size = room_bytes,
                         .log_buf = (uintptr_t)room};
  static char before[4096];
  const int in_memory = (uintptr_t)room > sizeof before;
  if (in_memory) memset(room, 0xa5, room_bytes);
  errno = 0;
  const int fd = (int)bpf(BPF_PROG_LOAD, &attr, sizeof attr);
  *sum = *sum * 31 + (uint64_t)(fd < 0 ? errno : 0);
  const unsigned char *const attribute = (const void *)&attr;
  for (size_t i = 0; i < 32; ++i) *sum = *sum * 31 + (i < 8 ? attribute[i] : 0);
  // Behind the end of the log nothing says what the kernel leaves there.
  const unsigned char *const log = room;
  for (uint32_t i = 0; in_memory && i < room_bytes && log[i] != 0; ++i) *sum = *sum * 31 + log[i];
  return fd;
}

// Counts through the helpers for some types of programs, with logs of several sizes, one of which is
// nowhere in memory.
static void logs(void) {
  static char room[4096];
  uint64_t sum = 0;
  int accepted = 0;
  for (int type = BPF_PROG_TYPE_SOCKET_FILTER; type <= BPF_PROG_TYPE_TRACEPOINT; ++type) {
    for (int helper = 1; helper <= 120; ++helper) {
      if (helper == 6 || helper == 36) continue;
      const int fd = probe(type, helper, room, sizeof room, &sum);
      if (fd < 0) continue;
      ++accepted;
      close(fd);
    }
  }
  for (int helper = 1000; helper < 1004; ++helper) {
    probe(BPF_PROG_TYPE_SOCKET_FILTER, helper, room, 200, &sum);
    probe(BPF_PROG_TYPE_SOCKET_FILTER, helper, room + 1, 199, &sum);
    probe(BPF_PROG_TYPE_SOCKET_FILTER, helper, (void *)16, 200, &sum);
    probe(BPF_PROG_TYPE_SOCKET_FILTER, helper, room, 200, &sum);
  }
  printf("logs: %d accepted, %016llx\n", accepted, (unsigned long long)sum);
}

// Counts through the helpers, as tools do that learn what a kernel can do, and uses the last
// program that was accepted.
static void probes(void) {
  int accepted = 0;
  int latest = -1;
  for (int helper = 1; helper <= 60; ++helper) {
    const struct bpf_insn code[] = {
        {.code = BPF_JMP | BPF_CALL, .imm = helper},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0},
        {.code = BPF_JMP | BPF_EXIT},
    };
    union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
                           .insn_cnt = sizeof code / sizeof *code,
                           .insns = (uintptr_t)code,
                           .license = (uintptr_t)"GPL"};
    const int fd = (int)bpf(BPF_PROG_LOAD, &attr, sizeof attr);
    if (fd < 0) continue;
    ++accepted;
    if (latest >= 0) close(latest);
    latest = fd;
  }
  struct bpf_prog_info info = {0};
  union bpf_attr query = {
      .info = {.bpf_fd = (uint32_t)latest, .info_len = sizeof info, .info = (uintptr_t)&info}};
  const long result = bpf(BPF_OBJ_GET_INFO_BY_FD, &query, sizeof query);
  printf("probes: %d accepted, %s\n", accepted,
         result == 0 && info.id > 0 && info.type == BPF_PROG_TYPE_RAW_TRACEPOINT ? "one used" : "none");
}

enum { EVENTS = 1000, TURN = 50 };

static int wait_by_epoll(int epoll, int fd) {
  (void)fd;
  struct epoll_event event;
  return epoll_wait(epoll, &event, 1, 20000);
}

static int wait_by_poll(int epoll, int fd) {
  (void)epoll;
  struct pollfd one = {.fd = fd, .events = POLLIN};
  return poll(&one, 1, 20000);
}

static int wait_by_select(int epoll, int fd) {
  (void)epoll;
  fd_set set;
  FD_ZERO(&set);
  FD_SET(fd, &set);
  struct timeval patience = {.tv_sec = 20};
  return select(fd + 1, &set, NULL, NULL, &patience);
}

// As libbpf reads a ring buffer: maps it, waits, and reads until there is no more. `most` is how
// many records are read before it waits again, and what is left must not be waited for in vain.
static void ring(const char *name, int (*wait)(int, int), int most) {
  union bpf_attr attr = {.map_type = BPF_MAP_TYPE_RINGBUF, .max_entries = 4096};
  const int fd = (int)bpf(BPF_MAP_CREATE, &attr, sizeof attr);
  volatile uint64_t *read_to = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  char *writer = mmap(NULL, 4096 * 3, PROT_READ, MAP_SHARED, fd, 4096);
  const int epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  const int program = emitter(fd, BPF_FUNC_ringbuf_output);
  if (read_to == MAP_FAILED || writer == MAP_FAILED || program < 0) {
    printf("%s: %s\n", name, strerrorname_np(errno));
    return;
  }
  uint64_t expected = 0;
  int wrong = 0;
  int vain = 0;
  for (uint64_t sent = 0; sent < EVENTS;) {
    for (int i = 0; i < TURN; ++i) wrong += emit(program, sent++) != 0;
    while (expected < sent && wait(epoll, fd) == 1) {
      uint64_t at = *read_to;
      vain += at == __atomic_load_n((uint64_t *)writer, __ATOMIC_ACQUIRE);
      for (int i = 0; i < most && at < __atomic_load_n((uint64_t *)writer, __ATOMIC_ACQUIRE); ++i) {
        const char *record = writer + 4096 + (at & 4095);
        const uint32_t length = __atomic_load_n((uint32_t *)record, __ATOMIC_ACQUIRE);
        wrong += length != 8 || memcmp(record + 8, &expected, 8) != 0;
        ++expected;
        at += 16;
        __atomic_store_n((uint64_t *)read_to, at, __ATOMIC_RELEASE);
      }
    }
  }
  printf("%s: %llu events, %d wrong\n", name, (unsigned long long)expected, wrong);
  // Where all is read, looking finds nothing.
  struct pollfd one = {.fd = fd, .events = POLLIN};
  fd_set set;
  FD_ZERO(&set);
  FD_SET(fd, &set);
  struct timeval no_time = {0};
  if (wait != wait_by_epoll && (vain != 0 || poll(&one, 1, 0) != 0 ||
                                select(fd + 1, &set, NULL, NULL, &no_time) != 0)) {
    printf("%s: woken %d times for nothing\n", name, vain);
  }
}

// Waits for a record that never comes, in each way in which one can wait, at once and a second
// later.
static void wait_in_vain(void) {
  union bpf_attr attr = {.map_type = BPF_MAP_TYPE_RINGBUF, .max_entries = 4096};
  const int fd = (int)bpf(BPF_MAP_CREATE, &attr, sizeof attr);
  const void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  const int epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  if (page == MAP_FAILED || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
    printf("in vain: %s\n", strerrorname_np(errno));
    return;
  }
  const struct {
    const char *name;
    int (*wait)(int, int);
  } ways[] = {{"epoll", wait_by_epoll}, {"poll", wait_by_poll}, {"select", wait_by_select}};
  for (size_t i = 0; i < 2 * sizeof ways / sizeof *ways; ++i) {
    if (fork() != 0) continue;
    const int late = i % 2;
    if (late) {
      sleep(1);
    } else {
      printf("%s waits\n", ways[i / 2].name);
      fflush(stdout);
    }
    const int found = ways[i / 2].wait(epoll, fd);
    printf("%s%s: %d\n", late ? "late " : "", ways[i / 2].name, found);
    fflush(stdout);
    _exit(0);
  }
  while (wait(NULL) > 0) {
  }
}

// As libbpf reads a perf buffer.
static void perf(void) {
  union bpf_attr attr = {.map_type = BPF_MAP_TYPE_PERF_EVENT_ARRAY,
                         .key_size = 4,
                         .value_size = 4,
                         .max_entries = 1};
  const int fd = (int)bpf(BPF_MAP_CREATE, &attr, sizeof attr);
  struct perf_event_attr output = {.type = PERF_TYPE_SOFTWARE,
                                   .size = sizeof output,
                                   .config = PERF_COUNT_SW_BPF_OUTPUT,
                                   .sample_period = 1,
                                   .sample_type = PERF_SAMPLE_RAW,
                                   .wakeup_events = 1};
  const int opened = (int)syscall(SYS_perf_event_open, &output, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
  char *page = mmap(NULL, 4096 * 2, PROT_READ | PROT_WRITE, MAP_SHARED, opened, 0);
  const int epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  const int program = emitter(fd, BPF_FUNC_perf_event_output);
  const uint32_t key = 0;
  const uint32_t value = (uint32_t)opened;
  union bpf_attr place = {
      .map_fd = (uint32_t)fd, .key = (uintptr_t)&key, .value = (uintptr_t)&value};
  if (page == MAP_FAILED || program < 0 || ioctl(opened, PERF_EVENT_IOC_ENABLE, 0) < 0 ||
      bpf(BPF_MAP_UPDATE_ELEM, &place, sizeof place) < 0 ||
      epoll_ctl(epoll, EPOLL_CTL_ADD, opened, &event) < 0) {
    printf("perf: %s\n", strerrorname_np(errno));
    return;
  }
  struct perf_event_mmap_page *header = (struct perf_event_mmap_page *)page;
  uint64_t expected = 0;
  uint64_t lost = 0;
  uint64_t id = 0;
  int wrong = ioctl(opened, PERF_EVENT_IOC_ID, &id) < 0;
  for (uint64_t sent = 0; sent < EVENTS;) {
    for (int i = 0; i < TURN; ++i) wrong += emit(program, sent++) != 0;
    while (expected < sent && epoll_wait(epoll, &event, 1, 20000) == 1) {
      uint64_t at = header->data_tail;
      while (at < __atomic_load_n(&header->data_head, __ATOMIC_ACQUIRE)) {
        char record[64];
        for (unsigned i = 0; i < sizeof record; ++i) record[i] = page[4096 + ((at + i) & 4095)];
        const struct perf_event_header *head = (struct perf_event_header *)record;
        at += head->size;
        if (head->type == PERF_RECORD_LOST) {
          uint64_t told[2];
          memcpy(told, record + 8, sizeof told);
          wrong += head->size != 24 || told[0] != id;
          expected += told[1];
          lost += told[1];
          continue;
        }
        wrong += head->type != PERF_RECORD_SAMPLE || memcmp(record + 12, &expected, 8) != 0;
        ++expected;
      }
      __atomic_store_n(&header->data_tail, at, __ATOMIC_RELEASE);
    }
  }
  printf("perf: %llu events, %d wrong\n", (unsigned long long)expected, wrong);
  if (lost > 0) printf("perf: %llu of them lost\n", (unsigned long long)lost);
}

static void tell(const char *what, long result) {
  printf("%s: %s\n", what, result < 0 ? strerrorname_np(errno) : "ok");
  fflush(stdout);
}

// Probes its own process for a call of a function of the kernel, and tries to use the probe. Each
// such call from then on has a signal follow.
static void probe_itself(void) {
  FILE *file = fopen("/sys/bus/event_source/devices/kprobe/type", "re");
  struct perf_event_attr event = {
      .size = sizeof event, .sample_period = 1, .sigtrap = 1, .remove_on_exec = 1};
  if (file == NULL || fscanf(file, "%u", &event.type) != 1) exit(1);
  const int program = load_as(BPF_PROG_TYPE_KPROBE);
  union bpf_attr events = {.map_type = BPF_MAP_TYPE_PERF_EVENT_ARRAY,
                           .key_size = 4,
                           .value_size = 4,
                           .max_entries = 1};
  const long array = bpf(BPF_MAP_CREATE, &events, sizeof events);
  signal(SIGTRAP, on_alarm);
  event.config1 = (uintptr_t)"no_such_function";
  tell("unknown", syscall(SYS_perf_event_open, &event, getpid(), -1, -1, 0));
  event.config1 = (uintptr_t)"__x64_sys_bpf";
  const int fd = (int)syscall(SYS_perf_event_open, &event, getpid(), -1, -1, 0);
  tell("known", fd);
  uint64_t value;
  tell("read", read(fd, &value, sizeof value));
  tell("enable", ioctl(fd, PERF_EVENT_IOC_ENABLE, 0));
  tell("map", mmap(NULL, 4096 * 2, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
  value = (uint64_t)fd;
  tell("put into a map", element(BPF_MAP_UPDATE_ELEM, (int)array, 0, &value));
  union bpf_attr link = {.link_create = {.prog_fd = (uint32_t)program,
                                         .target_fd = (uint32_t)fd,
                                         .attach_type = BPF_PERF_EVENT}};
  tell("link", bpf(BPF_LINK_CREATE, &link, sizeof link));
  printf("then: %s\n", create_map("then") < 0 ? strerrorname_np(errno) : "a map");
}

// A program of another type for an interface whose index is also the number of a descriptor.
static void attach_to_interface(void) {
  const int number = dup2(open("/dev/null", O_RDONLY), 50);
  union bpf_attr link = {
      .link_create = {.prog_fd = (uint32_t)load_program(), .attach_type = BPF_XDP}};
  link.link_create.target_ifindex = (uint32_t)number;
  tell("attach to an interface", bpf(BPF_LINK_CREATE, &link, sizeof link));
}

// Reads an iterator, whose program counts in a map, to its end again and again.
static void iterate(uint32_t map_id, uint32_t link_id) {
  union bpf_attr counts = {.map_id = map_id};
  union bpf_attr link = {.link_id = link_id};
  const int fd = (int)bpf(BPF_MAP_GET_FD_BY_ID, &counts, sizeof counts);
  const int of = (int)bpf(BPF_LINK_GET_FD_BY_ID, &link, sizeof link);
  const volatile uint64_t *count = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
  if (of < 0 || count == MAP_FAILED) {
    printf("iterate: %s\n", strerrorname_np(errno));
    return;
  }
  for (int i = 0; i < 20; ++i) {
    union bpf_attr run = {.iter_create = {.link_fd = (uint32_t)of}};
    const int output = (int)bpf(BPF_ITER_CREATE, &run, sizeof run);
    char bytes[64];
    const ssize_t length = read(output, bytes, sizeof bytes);
    printf("%zd bytes, counted %llu\n", length, (unsigned long long)*count);
    close(output);
  }
}

// Removes a queue that is not there from an interface that there is not. It takes CAP_NET_ADMIN all
// the same.
static long remove_queue(void) {
  struct {
    struct nlmsghdr head;
    struct tcmsg about;
    struct rtattr kind;
    char name[8];
  } request = {.head = {.nlmsg_len = sizeof request,
                        .nlmsg_type = RTM_DELQDISC,
                        .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
               .about = {.tcm_ifindex = INT32_MAX, .tcm_parent = TC_H_CLSACT},
               .kind = {.rta_len = sizeof request.kind + sizeof "clsact", .rta_type = TCA_KIND},
               .name = "clsact"};
  struct {
    struct nlmsghdr head;
    struct nlmsgerr error;
    char rest[256];
  } answer = {0};
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) return -1;
  const int sent = send(fd, &request, sizeof request, 0) == (ssize_t)sizeof request;
  const int received = sent && recv(fd, &answer, sizeof answer, 0) > 0;
  close(fd);
  if (!received) return -1;
  errno = -answer.error.error;
  return errno == 0 ? 0 : -1;
}

// What a program may do with the rights that it has just now.
static void use_rights(const char *who) {
  char what[64];
  union bpf_attr next = {0};
  struct perf_event_attr event = {
      .type = PERF_TYPE_SOFTWARE, .size = sizeof event, .config = PERF_COUNT_SW_CPU_CLOCK};
  snprintf(what, sizeof what, "%s: map", who);
  tell(what, create_map("rights"));
  snprintf(what, sizeof what, "%s: list", who);
  tell(what, bpf(BPF_MAP_GET_NEXT_ID, &next, sizeof next));
  snprintf(what, sizeof what, "%s: load", who);
  tell(what, load_program());
  snprintf(what, sizeof what, "%s: event", who);
  tell(what, syscall(SYS_perf_event_open, &event, -1, 0, -1, PERF_FLAG_FD_CLOEXEC));
  snprintf(what, sizeof what, "%s: queue", who);
  tell(what, remove_queue());
}

static void set_effective(uint64_t mask) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  syscall(SYS_capget, &header, data);
  data[0].effective = data[0].permitted & (uint32_t)mask;
  data[1].effective = data[1].permitted & (uint32_t)(mask >> 32);
  syscall(SYS_capset, &header, data);
}

static void *unable(void *argument) {
  (void)argument;
  set_effective(0);
  use_rights("a thread without capabilities");
  return NULL;
}

static void in_child(const char *who, int (*give_up)(void)) {
  const pid_t child = fork();
  if (child == 0) {
    tell(who, give_up());
    use_rights(who);
    _exit(0);
  }
  waitpid(child, NULL, 0);
}

static int be_nobody(void) { return setresgid(65534, 65534, 65534) | setresuid(65534, 65534, 65534); }
static int leave_namespace(void) { return unshare(CLONE_NEWUSER); }

static void rights(void) {
  use_rights("root");
  in_child("nobody", be_nobody);
  in_child("another namespace", leave_namespace);
  pthread_t thread;
  pthread_create(&thread, NULL, unable, NULL);
  pthread_join(thread, NULL);
  set_effective(~0ull & ~(1ull << CAP_BPF) & ~(1ull << CAP_SYS_ADMIN));
  use_rights("without CAP_BPF");
  set_effective(~0ull);
  use_rights("with all of it again");
}

static void on_alarm_spin(int signal) {
  (void)signal;
  ++alarms;
}

// A test run that would take minutes, and the next call after the signal that ends it.
static void spin(unsigned alarm_s) {
  enum { WORK = 400 };
  struct bpf_insn code[WORK + 2] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0}};
  for (int i = 1; i <= WORK; ++i) {
    code[i] = (struct bpf_insn){.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_0, .imm = 1};
  }
  code[WORK + 1] = (struct bpf_insn){.code = BPF_JMP | BPF_EXIT};
  union bpf_attr load = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
                         .insns = (uintptr_t)code,
                         .insn_cnt = WORK + 2,
                         .license = (uintptr_t)"GPL"};
  const int program = (int)bpf(BPF_PROG_LOAD, &load, sizeof load);
  char packet[64] = {0};
  union bpf_attr run = {.test = {.prog_fd = (uint32_t)program,
                                 .data_in = (uintptr_t)packet,
                                 .data_size_in = sizeof packet,
                                 .repeat = UINT32_MAX}};
  const struct sigaction action = {.sa_handler = on_alarm_spin, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  puts("spinning");
  fflush(stdout);
  alarm(alarm_s);
  const long result = bpf(BPF_PROG_TEST_RUN, &run, sizeof run);
  printf("test run: %s, %d alarm\n", result < 0 ? strerrorname_np(errno) : "ended", (int)alarms);
  check("after it", map_with(9, 99), 9);
}

// Objects of each kind, all called mortal, mapped and waited for where that is possible.
static void hold(void) {
  union bpf_attr ring_attr = {.map_type = BPF_MAP_TYPE_RINGBUF, .max_entries = 4096};
  strcpy(ring_attr.map_name, "mortal");
  const int fd = (int)bpf(BPF_MAP_CREATE, &ring_attr, sizeof ring_attr);
  const void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  struct epoll_event event = {.events = EPOLLIN};
  const int watched = epoll_ctl(epoll_create1(0), EPOLL_CTL_ADD, fd, &event);
  const int globals = create_array("mortal", 8, 1, BPF_F_MMAPABLE);
  const void *data = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, globals, 0);
  const struct bpf_insn code[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
                                  {.code = BPF_JMP | BPF_EXIT}};
  union bpf_attr load = {.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
                         .insns = (uintptr_t)code,
                         .insn_cnt = sizeof code / sizeof *code,
                         .license = (uintptr_t)"GPL"};
  strcpy(load.prog_name, "mortal");
  const int program = (int)bpf(BPF_PROG_LOAD, &load, sizeof load);
  union bpf_attr attach = {
      .raw_tracepoint = {.name = (uintptr_t)"sys_exit", .prog_fd = (uint32_t)program}};
  const int link = (int)bpf(BPF_RAW_TRACEPOINT_OPEN, &attach, sizeof attach);
  const int held = link >= 0 && watched == 0 && page != MAP_FAILED && data != MAP_FAILED;
  puts(held ? "attached" : strerrorname_np(errno));
  fflush(stdout);
  pause();
}

// The kernel's version by the note in the vDSO, once somebody lets it look.
static void vdso(void) {
  puts("waiting");
  fflush(stdout);
  getchar();
  const char *const base = (const char *)getauxval(AT_SYSINFO_EHDR);
  const Elf64_Ehdr *const head = (const void *)base;
  const Elf64_Phdr *const segments = (const void *)(base + head->e_phoff);
  for (int i = 0; i < head->e_phnum; ++i) {
    if (segments[i].p_type != PT_NOTE) continue;
    const char *at = base + segments[i].p_offset;
    const char *const end = at + segments[i].p_memsz;
    while (at < end) {
      const Elf64_Nhdr *const note = (const void *)at;
      const char *const name = at + sizeof *note;
      const char *const value = name + ((note->n_namesz + 3) & ~3u);
      if (note->n_type == 0 && strcmp(name, "Linux") == 0) {
        const uint32_t version = *(const uint32_t *)value;
        printf("vdso: %u.%u.%u\n", version >> 16, version >> 8 & 255, version & 255);
      }
      at = value + ((note->n_descsz + 3) & ~3u);
    }
  }
}

// Starts another program while a probe is on.
static void start_another(void) {
  union bpf_attr attach = {
      .raw_tracepoint = {.name = (uintptr_t)"sys_exit", .prog_fd = (uint32_t)load_as(BPF_PROG_TYPE_RAW_TRACEPOINT)}};
  const int link = (int)bpf(BPF_RAW_TRACEPOINT_OPEN, &attach, sizeof attach);
  tell("attach", link);
  const pid_t child = fork();
  if (child == 0) {
    execl("/bin/true", "true", NULL);
    _exit(1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  tell("started", status == 0 ? 0 : -1);
  close(link);
}

// Room for a log as large as the kernel takes, of which it uses little.
static void huge_log(void) {
  const size_t bytes = (1u << 30) - 1;
  char *const log = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  const struct bpf_insn code[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
                                  {.code = BPF_JMP | BPF_EXIT}};
  union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
                         .insns = (uintptr_t)code,
                         .insn_cnt = sizeof code / sizeof code[0],
                         .license = (uintptr_t) "GPL",
                         .log_level = 2,
                         .log_size = (uint32_t)bytes,
                         .log_buf = (uintptr_t)log};
  strcpy(attr.prog_name, "logged");
  tell("huge log", bpf(BPF_PROG_LOAD, &attr, sizeof attr));
  printf("it says: %s\n", strstr(log, "exit") == NULL ? "nothing" : "exit");
}

// What needs something of the machine that the program runs on.
static void foreign(void) {
  const int program = load_program();
  tell("socket", setsockopt(socket(AF_UNIX, SOCK_DGRAM, 0), SOL_SOCKET, SO_ATTACH_BPF, &program,
                            sizeof program));
  const int space = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
  union bpf_attr attach = {.link_create = {.prog_fd = (uint32_t)load_as(BPF_PROG_TYPE_SK_LOOKUP),
                                           .target_fd = (uint32_t)space,
                                           .attach_type = BPF_SK_LOOKUP}};
  tell("namespace", bpf(BPF_LINK_CREATE, &attach, sizeof attach));
  union bpf_attr programs = {
      .map_type = BPF_MAP_TYPE_PROG_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
  const int first = 0;
  union bpf_attr element = {.map_fd = (uint32_t)bpf(BPF_MAP_CREATE, &programs, sizeof programs),
                            .key = (uintptr_t)&first,
                            .value = (uintptr_t)&space};
  tell("element", bpf(BPF_MAP_UPDATE_ELEM, &element, sizeof element));
  struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const struct sock_fprog filter = {.len = 1, .filter = allow};
  tell("listener", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
                           &filter));
  struct perf_event_attr event = {.type = PERF_TYPE_SOFTWARE,
                                  .size = sizeof event,
                                  .config = PERF_COUNT_SW_BPF_OUTPUT,
                                  .sample_type = PERF_SAMPLE_RAW,
                                  .write_backward = 1};
  const int opened = (int)syscall(SYS_perf_event_open, &event, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
  tell("backward", mmap(NULL, 4096 * 2, PROT_READ, MAP_SHARED, opened, 0) == MAP_FAILED ? -1 : 0);
  tell("own process", syscall(SYS_perf_event_open, &event, getpid(), -1, -1, 0));
  tell("sockets", socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  tell("uevents", socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT));
  tell("packets", socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  struct ifreq interface = {.ifr_name = "lo"};
  const int local = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  tell("address", ioctl(local, SIOCGIFADDR, &interface));
  int marked;
  tell("mark", ioctl(local, SIOCATMARK, &marked));
  tell("add a module", syscall(SYS_init_module, NULL, 0UL, NULL));
  tell("add a module's file", syscall(SYS_finit_module, -1, NULL, 0));
  tell("remove a module", syscall(SYS_delete_module, "none", 0U));
  tell("restart", syscall(SYS_reboot, 0, 0, 0, NULL));
  tell("clock", syscall(SYS_settimeofday, NULL, NULL));
  tell("enter own", setns(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), 0));
  tell("mounts", syscall(457, NULL, NULL, 0L, 0L));
  tell("itself", kill(getpid(), 0));
  tell("nobody", kill(0x3fffff, 0));
}

// Who owns the namespace at a path.
static void owner(const char *path) {
  tell("owner", ioctl(open(path, O_RDONLY | O_CLOEXEC), NS_GET_USERNS));
}

// What does not change while it is looked at.
static void memory(void) {
  struct sysinfo facts;
  tell("memory", sysinfo(&facts));
  printf("in all: %lu, swap: %lu, unit: %u\n", facts.totalram, facts.totalswap, facts.mem_unit);
  printf("up: %d, threads: %d\n", facts.uptime > 0, facts.procs > 0);
}

// Calls about a process that is none of its own, and about some that are.
static void processes(const char *other) {
  const pid_t pid = atoi(other);
  tell("is there", kill(pid, 0));
  tell("signal", kill(pid, SIGCONT));
  tell("group", kill(-pid, SIGCONT));
  tell("all", kill(-1, SIGCONT));
  tell("trace", ptrace(PTRACE_SEIZE, pid, NULL, NULL));
  char byte;
  struct iovec part = {&byte, 1};
  tell("memory", process_vm_readv(pid, &part, 1, &part, 1, 0));
  cpu_set_t set;
  tell("processors", sched_getaffinity(pid, sizeof set, &set));
  struct rlimit limit;
  tell("limit", prlimit(pid, RLIMIT_NOFILE, NULL, &limit));
  tell("priority", setpriority(PRIO_PROCESS, (id_t)pid, 1));
  tell("thread", syscall(SYS_tkill, pid, SIGCONT));
  tell("thread of it", tgkill(pid, pid, SIGCONT));
  tell("compare", syscall(SYS_kcmp, getpid(), pid, KCMP_VM, 0, 0));
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, pid};
  struct __user_cap_data_struct data[2];
  tell("capabilities", syscall(SYS_capget, &header, data));
  struct timespec time;
  clockid_t own;
  // See clock_getcpuclockid(3).
  const clockid_t clock = (clockid_t)(~(unsigned)pid << 3 | 2);
  tell("clock", clock_gettime(clock, &time));
  // struct link_create of a uprobe_multi, with its pid.
  uint32_t attach[16] = {0, 0, 48};
  attach[14] = (uint32_t)getpid();
  tell("probe in itself", syscall(SYS_bpf, BPF_LINK_CREATE, attach, sizeof attach));
  const pid_t child = fork();
  if (child == 0) _exit(unshare(CLONE_NEWNS) != 0 || kill(getppid(), SIGCONT) != 0);
  siginfo_t info;
  waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT);
  tell("own parent", info.si_status == 0 ? 0 : -1);
  tell("own ended child", kill(child, SIGCONT));
  waitpid(child, NULL, 0);
  tell("own clock", pthread_getcpuclockid(pthread_self(), &own) || clock_gettime(own, &time));
  header.pid = getpid();
  tell("own capabilities", syscall(SYS_capget, &header, data));
  tell("compare itself", syscall(SYS_kcmp, getpid(), getpid(), KCMP_VM, 0, 0));
  tell("own thread", tgkill(getpid(), gettid(), 0));
  tell("own processors", sched_getaffinity(gettid(), sizeof set, &set));
}

// A probe in a file, at a place that is the same instruction in any program.
static void probe_file(const char *path) {
  uint32_t type = 0;
  FILE *const file = fopen("/sys/bus/event_source/devices/uprobe/type", "r");
  if (file == NULL || fscanf(file, "%u", &type) != 1) return;
  fclose(file);
  struct perf_event_attr attr = {
      .type = type, .size = sizeof attr, .config1 = (uintptr_t)path, .config2 = 0x1000};
  tell("probe", syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC));
}

// What a program may do to the memory and the descriptors that it shares with waep.
static void shared(void) {
  union bpf_attr attr = {.map_type = BPF_MAP_TYPE_USER_RINGBUF, .max_entries = 4096};
  const int user = (int)bpf(BPF_MAP_CREATE, &attr, sizeof attr);
  uint64_t *const submitted =
      mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, user, 4096);
  tell("map it", submitted == MAP_FAILED ? -1 : 0);
  // More records than there is room for: empty ones.
  __atomic_store_n(submitted, 1ull << 40, __ATOMIC_SEQ_CST);
  union bpf_attr ring = {.map_type = BPF_MAP_TYPE_RINGBUF, .max_entries = 4096};
  struct pollfd watched = {.fd = (int)bpf(BPF_MAP_CREATE, &ring, sizeof ring), .events = POLLIN};
  void *const taken = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, watched.fd, 0);
  tell("map a ring", taken == MAP_FAILED ? -1 : 0);
  tell("poll", poll(&watched, 1, 0));
  tell("flags", fcntl(watched.fd, F_SETFL, 0));
  tell("poll then", poll(&watched, 1, 0));
  tell("another map", create_array("another", 4, 1, 0));
}

// As tools do for which perf_event_open(2) has failed.
static void define(const char *text, int copied) {
  int file = open("/sys/kernel/tracing/kprobe_events", O_WRONLY | O_APPEND | O_CLOEXEC);
  if (copied) file = dup(file);
  const ssize_t written = write(file, text, strlen(text));
  printf("%s: %s\n", text, written < 0 ? strerrorname_np(errno) : "defined");
}

// What interfaces of these names are called by their numbers.
static void interfaces(char **names) {
  for (; *names != NULL; ++names) {
    char name[IF_NAMESIZE] = "none";
    const unsigned index = if_nametoindex(*names);
    printf("interface: %s %u %s\n", *names, index, index == 0 ? strerrorname_np(errno) : "");
    if (index != 0) printf("its name: %s\n", if_indextoname(index, name));
  }
}

// The id of a cgroup as bpftrace asks for it.
static void cgroup_id(const char *path) {
  struct {
    struct file_handle head;
    uint64_t id;
  } handle = {0};
  int mount;
  tell("no room", name_to_handle_at(AT_FDCWD, path, &handle.head, &mount, 0));
  tell("id", name_to_handle_at(AT_FDCWD, path, &handle.head, &mount, 0));
  printf("%u bytes of type %d: %llu\n", handle.head.handle_bytes, handle.head.handle_type,
         (unsigned long long)handle.id);
}

// Defines a probe as tools do on kernels without PMUs for them, uses it and removes it.
static void use_definition(const char *kind, const char *text) {
  char path[128];
  char name[64] = "";
  char line[256];
  snprintf(path, sizeof path, "/sys/kernel/tracing/%s_events", kind);
  sscanf(text, "%*[^:]:%63[^ ]", name);
  const int file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
  tell("define", write(file, text, strlen(text)));
  tell("define again", write(file, text, strlen(text)));
  FILE *const list = fopen(path, "r");
  while (list != NULL && fgets(line, sizeof line, list) != NULL) {
    if (strstr(line, name) != NULL) printf("listed: %s", line);
  }
  fclose(list);
  snprintf(path, sizeof path, "/sys/kernel/tracing/events/%s", name);
  tell("folder", access(path, F_OK));
  strcat(path, "/id");
  unsigned id = 0;
  FILE *const told = fopen(path, "r");
  tell("id", told != NULL && fscanf(told, "%u", &id) == 1 ? 0 : -1);
  if (told != NULL) fclose(told);
  struct perf_event_attr attr = {.type = PERF_TYPE_TRACEPOINT,
                                 .size = PERF_ATTR_SIZE_VER0,
                                 .config = id,
                                 .sample_type = PERF_SAMPLE_RAW,
                                 .sample_period = 1};
  const int event = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
  tell("open", event);
  tell("attach", ioctl(event, PERF_EVENT_IOC_SET_BPF, load_as(BPF_PROG_TYPE_KPROBE)));
  close(event);
  snprintf(line, sizeof line, "-:%s", name);
  tell("remove", write(file, line, strlen(line)));
  tell("remove again", write(file, line, strlen(line)));
  tell("id then", open(path, O_RDONLY));
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; ++i) {
    if (strcmp(argv[i], "copies") == 0) copies();
    if (strcmp(argv[i], "passed") == 0) passed();
    if (strcmp(argv[i], "mapped") == 0) mapped();
    if (strcmp(argv[i], "probes") == 0) probes();
    if (strcmp(argv[i], "logs") == 0) logs();
    if (strcmp(argv[i], "ring") == 0) ring("ring", wait_by_epoll, EVENTS);
    if (strcmp(argv[i], "polled") == 0) ring("polled", wait_by_poll, 3);
    if (strcmp(argv[i], "selected") == 0) ring("selected", wait_by_select, 3);
    if (strcmp(argv[i], "level") == 0) ring("level", wait_by_epoll, 3);
    if (strcmp(argv[i], "in-vain") == 0) wait_in_vain();
    if (strcmp(argv[i], "perf") == 0) perf();
    if (strcmp(argv[i], "interrupted") == 0) interrupted();
    if (strcmp(argv[i], "threads") == 0) threads();
    if (strcmp(argv[i], "loaders") == 0) loaders();
    if (strcmp(argv[i], "urged") == 0) urged();
    if (strcmp(argv[i], "until-interrupted") == 0) until_interrupted();
    if (strcmp(argv[i], "legacy") == 0) legacy();
    if (strcmp(argv[i], "errors") == 0) errors();
    if (strcmp(argv[i], "hold") == 0) hold();
    if (strcmp(argv[i], "foreign") == 0) foreign();
    if (strcmp(argv[i], "memory") == 0) memory();
    if (strcmp(argv[i], "owner") == 0) owner(argv[++i]);
    if (strcmp(argv[i], "processes") == 0) processes(argv[++i]);
    if (strcmp(argv[i], "huge-log") == 0) huge_log();
    if (strcmp(argv[i], "vdso") == 0) vdso();
    if (strcmp(argv[i], "start") == 0) start_another();
    if (strcmp(argv[i], "probe") == 0) probe_file(argv[++i]);
    if (strcmp(argv[i], "rights") == 0) rights();
    if (strcmp(argv[i], "shared") == 0) shared();
    if (strcmp(argv[i], "spin") == 0) spin(1);
    if (strcmp(argv[i], "spin-on") == 0) spin(0);
    if (strcmp(argv[i], "define") == 0) define(argv[++i], 0);
    if (strcmp(argv[i], "define-by-copy") == 0) define(argv[++i], 1);
    if (strcmp(argv[i], "interfaces") == 0) return interfaces(argv + i + 1), 0;
    if (strcmp(argv[i], "probe-itself") == 0) probe_itself();
    if (strcmp(argv[i], "attach-to-interface") == 0) attach_to_interface();
    if (strcmp(argv[i], "iterate") == 0) {
      iterate((uint32_t)atoi(argv[i + 1]), (uint32_t)atoi(argv[i + 2]));
      i += 2;
    }
    if (strcmp(argv[i], "cgroup-id") == 0) cgroup_id(argv[++i]);
    if (strcmp(argv[i], "use-definition") == 0) {
      use_definition(argv[i + 1], argv[i + 2]);
      i += 2;
    }
    if (strcmp(argv[i], "wait") == 0) {
      map_with(5, 55);
      puts("waiting");
      fflush(stdout);
      pause();
    }
    if (strcmp(argv[i], "self") == 0) {
      // The child inherits the descriptor by exec, too.
      const int fd = map_with(6, 66);
      fcntl(fd, F_SETFD, 0);
      char number[16];
      snprintf(number, sizeof number, "%d", fd);
      execl("/proc/self/exe", argv[0], "inherited", number, NULL);
    }
    if (strcmp(argv[i], "inherited") == 0) check("inherited", atoi(argv[++i]), 6);
    fflush(stdout);
  }
  return 0;
}
