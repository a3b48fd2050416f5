// What system calls do to descriptors of each kind of object: a line for each pair, "KIND CALL:
// OUTCOME". It knows of no guest. Run by test/run and test/guest, natively and under waep.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static long bpf(int command, union bpf_attr *attr) {
  return syscall(SYS_bpf, command, attr, sizeof *attr);
}

static int create(uint32_t type, uint32_t key, uint32_t value, uint32_t entries, uint32_t flags) {
  union bpf_attr attr = {.map_type = type,
                         .key_size = key,
                         .value_size = value,
                         .max_entries = entries,
                         .map_flags = flags};
  return (int)bpf(BPF_MAP_CREATE, &attr);
}

static int load(void) {
  const struct bpf_insn code[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
                                  {.code = BPF_JMP | BPF_EXIT}};
  union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
                         .insns = (uintptr_t)code,
                         .insn_cnt = sizeof code / sizeof *code,
                         .license = (uintptr_t) "GPL"};
  return (int)bpf(BPF_PROG_LOAD, &attr);
}

static int attach(int program) {
  union bpf_attr attr = {
      .raw_tracepoint = {.name = (uintptr_t) "sys_exit", .prog_fd = (uint32_t)program}};
  return (int)bpf(BPF_RAW_TRACEPOINT_OPEN, &attr);
}

// One type: an int of 4 bytes.
static int types(void) {
  const uint32_t data[] = {0x0001eb9f, 24, 0, 16, 16, 5, 1, 0x01000000, 4, 0x01000020, 0x746e6900, 0};
  union bpf_attr attr = {.btf = (uintptr_t)data, .btf_size = 24 + 16 + 5};
  return (int)bpf(BPF_BTF_LOAD, &attr);
}

static int event(uint32_t type, uint64_t config) {
  struct perf_event_attr attr = {.type = type,
                                 .size = sizeof attr,
                                 .config = config,
                                 .read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_ID,
                                 .disabled = 1};
  if (config == PERF_COUNT_SW_BPF_OUTPUT) {
    attr.sample_type = PERF_SAMPLE_RAW;
    attr.sample_period = 1;
    attr.wakeup_events = 1;
  }
  return (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
}

static void on_alarm(int signal) { (void)signal; }

static void tell(const char *kind, const char *call, long result) {
  const int error = errno;
  alarm(0);
  if (result < 0) {
    const char *const name = error == 524 ? "ENOTSUPP" : strerrorname_np(error);
    printf("%s %s: %s\n", kind, call, error == EINTR ? "hangs" : name);
  } else {
    printf("%s %s: %ld\n", kind, call, result);
  }
  fflush(stdout);
}

#define TELL(call, ...)                \
  do {                                 \
    alarm(5);                          \
    errno = 0;                         \
    tell(kind, call, (long)(__VA_ARGS__)); \
  } while (0)

static long mapped(int fd, int protection, int flags, size_t length) {
  void *const memory = mmap(NULL, length, protection, flags, fd, 0);
  return memory == MAP_FAILED ? -1 : 0;
}

static long mode(int fd) {
  struct stat status;
  return fstat(fd, &status) < 0 ? -1 : (long)status.st_mode;
}

static long extended_mode(int fd) {
  struct statx status;
  return statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &status) < 0 ? -1 : status.stx_mode;
}

static long polled(int fd) {
  struct pollfd ready = {fd, POLLIN | POLLOUT, 0};
  const int count = poll(&ready, 1, 20);
  return count < 0 ? -1 : ready.revents;
}

static long selected(int fd) {
  fd_set set;
  FD_ZERO(&set);
  FD_SET(fd, &set);
  struct timeval time = {.tv_usec = 20000};
  return select(fd + 1, &set, NULL, NULL, &time);
}

static long watched(int fd, uint32_t flags) {
  const int set = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event ready = {.events = EPOLLIN | flags};
  long result = epoll_ctl(set, EPOLL_CTL_ADD, fd, &ready);
  ready.events = 0;
  if (result == 0) result = epoll_wait(set, &ready, 1, 20);
  if (result > 0) result = ready.events;
  close(set);
  return result;
}

static long spliced(int fd) {
  int pipes[2];
  if (pipe(pipes) < 0) return -1;
  const long result = splice(fd, NULL, pipes[1], NULL, 8, SPLICE_F_NONBLOCK);
  const int error = errno;
  close(pipes[0]);
  close(pipes[1]);
  errno = error;
  return result;
}

static void look(const char *kind, int fd) {
  if (fd < 0) {
    tell(kind, "open", fd);
    return;
  }
  char room[4096];
  int unread = 0;
  const struct iovec part = {room, sizeof room};
  TELL("read", read(fd, room, 64));
  TELL("short read", read(fd, room, 8));
  TELL("large read", strncmp(kind, "event", 5) == 0 ? 0 : read(fd, room, sizeof room));
  TELL("readv", strncmp(kind, "event", 5) == 0 ? 0 : readv(fd, &part, 1));
  TELL("pread", pread(fd, room, 8, 0));
  TELL("write", write(fd, room, 8));
  TELL("lseek", lseek(fd, 0, SEEK_SET));
  TELL("ftruncate", ftruncate(fd, 0));
  TELL("fsync", fsync(fd));
  TELL("fstat", mode(fd));
  TELL("statx", extended_mode(fd));
  TELL("private mmap", mapped(fd, PROT_READ, MAP_PRIVATE, 4096));
  TELL("poll", polled(fd));
  TELL("select", selected(fd));
  TELL("epoll", watched(fd, 0));
  TELL("edge epoll", watched(fd, EPOLLET));
  TELL("once epoll", watched(fd, EPOLLONESHOT));
  TELL("FIONREAD", ioctl(fd, FIONREAD, &unread));
  TELL("TCGETS", ioctl(fd, 0x5401, room));
  TELL("RESET", ioctl(fd, PERF_EVENT_IOC_RESET, 0));
  TELL("splice", spliced(fd));
  TELL("F_GETFL", fcntl(fd, F_GETFL));
  close(fd);
}

static long froze(int fd) {
  union bpf_attr attr = {.map_fd = (uint32_t)fd};
  return bpf(BPF_MAP_FREEZE, &attr);
}

// A map that can be written to by memory cannot be frozen, and the reverse.
static void freeze(void) {
  const char *kind = "frozen array";
  const int fd = create(BPF_MAP_TYPE_ARRAY, 4, 8, 10, BPF_F_MMAPABLE);
  void *const memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  TELL("freeze while it is mapped for writing", froze(fd));
  munmap(memory, 4096);
  TELL("mmap for reading", mapped(fd, PROT_READ, MAP_SHARED, 4096));
  TELL("freeze", froze(fd));
  TELL("freeze again", froze(fd));
  TELL("mmap for reading, then", mapped(fd, PROT_READ, MAP_SHARED, 4096));
  TELL("mmap for writing, then", mapped(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 4096));
  close(fd);
}

// What is mapped to be read only stays so.
static void protect(const char *kind, int fd, off_t offset) {
  void *const memory = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, offset);
  TELL("mmap for reading", memory == MAP_FAILED ? -1 : 0);
  TELL("make it writable", mprotect(memory, 4096, PROT_READ | PROT_WRITE));
  TELL("mmap for reading again", mapped(fd, PROT_READ, MAP_SHARED, 4096));
  close(fd);
}

int main(void) {
  const struct sigaction action = {.sa_handler = on_alarm};
  sigaction(SIGALRM, &action, NULL);
  look("hash", create(BPF_MAP_TYPE_HASH, 4, 8, 10, 0));
  look("read-only", create(BPF_MAP_TYPE_HASH, 4, 8, 10, BPF_F_RDONLY));
  look("write-only", create(BPF_MAP_TYPE_HASH, 4, 8, 10, BPF_F_WRONLY));
  look("array", create(BPF_MAP_TYPE_ARRAY, 4, 8, 10, BPF_F_MMAPABLE));
  const int array = create(BPF_MAP_TYPE_ARRAY, 4, 8, 10, BPF_F_MMAPABLE);
  mapped(array, PROT_READ | PROT_WRITE, MAP_SHARED, 4096);
  look("mapped array", array);
  look("ring", create(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0));
  const int ring = create(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0);
  mapped(ring, PROT_READ | PROT_WRITE, MAP_SHARED, 4096);
  look("mapped ring", ring);
  look("user ring", create(BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 4096, 0));
  protect("array that is read", create(BPF_MAP_TYPE_ARRAY, 4, 8, 10, BPF_F_MMAPABLE), 0);
  protect("ring that is read", create(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0), 4096);
  protect("user ring that is read", create(BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 4096, 0), 0);
  look("program", load());
  look("link", attach(load()));
  look("types", types());
  look("event", event(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CONTEXT_SWITCHES));
  const int buffer = event(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_BPF_OUTPUT);
  mapped(buffer, PROT_READ | PROT_WRITE, MAP_SHARED, 2 * 4096);
  look("event with a buffer", buffer);
  freeze();
  return 0;
}
