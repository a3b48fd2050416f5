/*
 * oracle: executes a script of bpf(2) calls on its own memory and reports what they did.
 *
 * The script comes on standard input, the reports go to standard output. A script lays out the
 * address space and the descriptors of the process that it plays: every address and descriptor
 * number in it is absolute, so that nothing in the arguments of a call has to be changed.
 *
 * A script is a sequence of steps of seven 64-bit words, in the order of enum operation:
 * operation, a, b, c, d, e, length; `length` bytes follow, padded to a multiple of eight.
 *
 *   CASE                       forget all memory and descriptors of the script
 *   MAP   address size prot    map `size` bytes (prot as of mmap) that end at an unmapped page, and
 *                              fill them with the bytes that follow
 *   COPY  to from size         copy within the memory
 *   SAME  to a b size          a 32-bit word becomes 1 where two stretches are equal, else 0
 *   OPEN  fd                   open the path that follows for reading
 *   CLOSE fd
 *   READ  fd address size
 *   BPF   command address size fd    `fd` is the number that a new descriptor gets, or 0; where
 *                              16 bytes follow, they are the fourth and fifth argument
 *   SELF  to                   a 32-bit word becomes the process id
 *
 * OPEN, READ and BPF are reported: the result (the new descriptor's number, where there is one) and
 * errno, 64 bits each, then for each MAP of the case a 64-bit size and the bytes up to the last
 * that is not zero.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum operation { CASE, MAP, COPY, SAME, OPEN, CLOSE, READ, BPF, SELF };
enum { PAGE = 4096, MAX_PLACES = 256, FIRST_FD = 200, LAST_FD = 900 };

struct step {
  uint64_t operation, a, b, c, d, e, length;
};

struct place {
  uint8_t *address;
  size_t size;
  int readable;
};

static struct place places[MAX_PLACES];
static size_t place_count;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static uint8_t *at(uint64_t address) { return (uint8_t *)(uintptr_t)address; }

static uint8_t *read_all(size_t *length) {
  size_t room = 1 << 20, used = 0;
  uint8_t *bytes = malloc(room);
  for (;;) {
    if (bytes == NULL) fail("malloc");
    ssize_t got = read(STDIN_FILENO, bytes + used, room - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("read");
    if (got == 0) break;
    used += (size_t)got;
    if (used == room) bytes = realloc(bytes, room *= 2);
  }
  *length = used;
  return bytes;
}

static size_t round_up(uint64_t size) {
  size_t pages = (size_t)((size + PAGE - 1) / PAGE);
  return (pages == 0 ? 1 : pages) * PAGE;
}

static void forget(void) {
  for (size_t i = 0; i < place_count; i++) {
    size_t size = round_up(places[i].size);
    munmap(places[i].address + places[i].size - size, size);
  }
  place_count = 0;
  syscall(SYS_close_range, FIRST_FD, LAST_FD, 0);
}

static void map(const struct step *step, const uint8_t *bytes) {
  if (place_count == MAX_PLACES) fail("too many places");
  size_t size = round_up(step->b);
  uint8_t *address = at(step->a);
  uint8_t *start = address + step->b - size;
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
  if (mmap(start, size, PROT_READ | PROT_WRITE, flags, -1, 0) != start) fail("mmap");
  if (step->length > 0) memcpy(address, bytes, step->length);
  if (mprotect(start, size, (int)step->c) < 0) fail("mprotect");
  places[place_count++] = (struct place){address, step->b, (step->c & PROT_READ) != 0};
}

static void put(uint64_t word) {
  if (fwrite(&word, sizeof word, 1, stdout) != 1) fail("write");
}

static void report(long result, int error, uint64_t fd) {
  if (result >= 0 && fd != 0) {
    if (dup3((int)result, (int)fd, O_CLOEXEC) < 0) fail("dup3");
    close((int)result);
    result = (long)fd;
  }
  put((uint64_t)result);
  put(result < 0 ? (uint64_t)error : 0);
  for (size_t i = 0; i < place_count; i++) {
    size_t size = places[i].readable ? places[i].size : 0;
    while (size > 0 && places[i].address[size - 1] == 0) size--;
    put(size);
    if (size > 0 && fwrite(places[i].address, size, 1, stdout) != 1) fail("write");
  }
}

static void execute(const struct step *step, const uint8_t *bytes) {
  long result = 0;
  switch ((enum operation)step->operation) {
    case CASE:
      forget();
      return;
    case MAP:
      map(step, bytes);
      return;
    case COPY:
      memcpy(at(step->a), at(step->b), step->c);
      return;
    case SAME: {
      uint32_t equal = memcmp(at(step->b), at(step->c), step->d) == 0;
      memcpy(at(step->a), &equal, sizeof equal);
      return;
    }
    case CLOSE:
      close((int)step->a);
      return;
    case OPEN:
      result = open((const char *)bytes, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
      report(result, errno, step->a);
      return;
    case READ:
      result = read((int)step->a, at(step->b), step->c);
      report(result, errno, 0);
      return;
    case BPF:
      if (step->length == 0) {
        result = syscall(SYS_bpf, (int)step->a, at(step->b), (unsigned)step->c);
      } else {
        uint64_t common[2];
        memcpy(common, bytes, sizeof common);
        result = syscall(SYS_bpf, (int)step->a, at(step->b), (unsigned)step->c, at(common[0]),
                         (unsigned)common[1]);
      }
      report(result, errno, step->d);
      return;
    case SELF: {
      int32_t self = getpid();
      memcpy(at(step->a), &self, sizeof self);
      return;
    }
  }
  fail("unknown operation");
}

int main(void) {
  struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
  setrlimit(RLIMIT_MEMLOCK, &unlimited);
  size_t length = 0;
  const uint8_t *script = read_all(&length);
  for (size_t offset = 0; offset + sizeof(struct step) <= length;) {
    struct step step;
    memcpy(&step, script + offset, sizeof step);
    offset += sizeof step;
    execute(&step, script + offset);
    offset += (step.length + 7) & ~(uint64_t)7;
  }
  forget();
  if (fflush(stdout) != 0) fail("write");
  return 0;
}
