// An eBPF application of many small parts: each argument is one, and prints what came of it. It
// knows of no guest. Run by test/run and test/guest.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

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
  union bpf_attr attr = {
      .map_fd = (uint32_t)fd, .key = (uintptr_t)&key, .value = (uintptr_t)value};
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
  const int fd = create_map("parts");
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

static void passed(void) {
  const int fd = map_with(2, 22);
  int pair[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
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
  sendmsg(pair[0], &message, 0);
  close(fd);
  recvmsg(pair[1], &message, 0);
  int received = -1;
  memcpy(&received, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof received);
  check("passed", received, 2);
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
  while (again[0] != 72) usleep(1000);
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
  for (uint32_t key = 0; key < 300; ++key) {
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

static void errors(void) {
  union bpf_attr attr = {0};
  printf("big: %s\n", bpf(BPF_MAP_CREATE, &attr, 4097) < 0 ? strerrorname_np(errno) : "ok");
  printf("fault: %s\n",
         syscall(SYS_bpf, BPF_MAP_CREATE, 8L, 64L) < 0 ? strerrorname_np(errno) : "ok");
  printf("command: %s\n", bpf(60000, &attr, sizeof attr) < 0 ? strerrorname_np(errno) : "ok");
  check("foreign", STDERR_FILENO, 1);
  const int fd = map_with(4, 44);
  const uint32_t key = 4;
  union bpf_attr lookup = {.map_fd = (uint32_t)fd, .key = (uintptr_t)&key, .value = 8};
  printf("value: %s\n",
         bpf(BPF_MAP_LOOKUP_ELEM, &lookup, sizeof lookup) < 0 ? strerrorname_np(errno) : "ok");
  void *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
  printf("mmap: %s\n", outcome(map));
  const int file = memfd_create("own", 0);
  ftruncate(file, 4096);
  map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
  printf("own mmap: %s\n", outcome(map));
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    // i386's number of bpf(2), by i386's own door, which some kernels do not have.
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(357L), "b"(0L), "c"(0L), "d"(0L) : "memory");
    _exit(result < 0 ? (int)-result : 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  printf("i386: %s\n", WIFSIGNALED(status) ? "no such door" : strerrorname_np(WEXITSTATUS(status)));
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; ++i) {
    if (strcmp(argv[i], "copies") == 0) copies();
    if (strcmp(argv[i], "passed") == 0) passed();
    if (strcmp(argv[i], "mapped") == 0) mapped();
    if (strcmp(argv[i], "interrupted") == 0) interrupted();
    if (strcmp(argv[i], "threads") == 0) threads();
    if (strcmp(argv[i], "errors") == 0) errors();
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
