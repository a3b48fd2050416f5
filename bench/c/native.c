// SPDX-License-Identifier: MIT
//
// Makes bpf(2) calls directly, on the kernel that this program runs on: the same calls, byte for
// byte, that are forwarded elsewhere.
//
//   native --calls FILE --warmup N --count N [--settle MILLISECONDS]
//   native --calls FILE --serve ADDRESS
//   native --calls FILE --at ADDRESS --sizes REQUEST:REPLY,… --warmup N --count N
//          [--settle MILLISECONDS]
//
// FILE is a sequence of calls in the shape of src/call.ts, all numbers 32-bit little-endian:
//
//   "WAEPCALL"  calls
//   per call:        name (32 bytes, zero-padded)  command  result handle  buffers  relocations
//   per buffer:      kind (0 in, 1 out, 2 inout)  length  bytes (none for out)
//   per relocation:  buffer  offset  kind (0 pointer, 1 fd32, 2 fd64)  target
//
// One iteration makes every call once, in order, then closes what they returned, last first, and
// sleeps for the settling time: a tracepoint that is enabled again while the grace period of its
// last disabling is still running makes the caller wait for the rest of it (tp_rcu_cond_sync in
// kernel/tracepoint.c), and that is no part of the call's cost.
// Each call is timed by itself; "NAME NANOSECONDS" is printed per call after all iterations.
// --at has the calls made by another process, which --serve is, and times the exchanges: the least
// that forwarding can cost. A request has the index of its call and as many bytes in all as the sizes
// say; so has the reply, which begins with the result. An index behind the last call closes what
// the calls returned. --serve says "listening" once it does, and serves one connection at a time.

#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "address.h"
#include "clock.h"

enum { MAX_MESSAGE = 16 * 1024 * 1024 };
enum { MAX_CALLS = 8, MAX_BUFFERS = 16, MAX_RELOCATIONS = 64, MAX_HANDLES = 64, PAGE = 4096 };
enum buffer_kind { BUFFER_IN, BUFFER_OUT, BUFFER_INOUT };
enum relocation_kind { RELOCATION_POINTER, RELOCATION_FD32, RELOCATION_FD64 };

struct relocation {
  uint32_t buffer, offset, kind, target;
};

struct call {
  char name[33];
  uint32_t command, result, buffer_count, relocation_count;
  char* buffers[MAX_BUFFERS];
  uint32_t lengths[MAX_BUFFERS];
  struct relocation relocations[MAX_RELOCATIONS];
};

static struct call calls[MAX_CALLS];
static uint32_t call_count;
static int handles[MAX_HANDLES];

static void fail(const char* why) {
  fprintf(stderr, "native: %s\n", why);
  exit(1);
}

static void take(FILE* file, void* bytes, size_t length) {
  if (length != 0 && fread(bytes, length, 1, file) != 1) fail("the file of calls is cut short");
}

static uint32_t take_number(FILE* file, uint32_t maximum) {
  uint32_t number;
  take(file, &number, sizeof number);
  if (number > maximum) fail("a number in the file of calls is out of range");
  return number;
}

static void take_call(FILE* file, struct call* call) {
  take(file, call->name, 32);
  call->command = take_number(file, UINT32_MAX);
  call->result = take_number(file, MAX_HANDLES - 1);
  call->buffer_count = take_number(file, MAX_BUFFERS);
  call->relocation_count = take_number(file, MAX_RELOCATIONS);
  for (uint32_t i = 0; i < call->buffer_count; i++) {
    const uint32_t kind = take_number(file, BUFFER_INOUT);
    const uint32_t length = take_number(file, 64 * 1024 * 1024);
    // A whole zeroed page at least: the kernel writes some fields beyond the size it was told.
    call->buffers[i] = calloc(1, length < PAGE ? PAGE : length);
    call->lengths[i] = length;
    if (call->buffers[i] == NULL) fail("out of memory");
    if (kind != BUFFER_OUT) take(file, call->buffers[i], length);
  }
  for (uint32_t i = 0; i < call->relocation_count; i++) {
    struct relocation* relocation = &call->relocations[i];
    take(file, relocation, sizeof *relocation);
    const size_t width = relocation->kind == RELOCATION_FD32 ? 4 : 8;
    if (relocation->kind > RELOCATION_FD64 || relocation->buffer >= call->buffer_count ||
        relocation->offset + width > call->lengths[relocation->buffer] ||
        relocation->target >=
            (relocation->kind == RELOCATION_POINTER ? call->buffer_count : MAX_HANDLES)) {
      fail("a relocation in the file of calls is out of range");
    }
  }
}

static void take_calls(const char* path) {
  FILE* file = fopen(path, "rb");
  if (file == NULL) {
    perror(path);
    exit(1);
  }
  char magic[8];
  take(file, magic, sizeof magic);
  if (memcmp(magic, "WAEPCALL", sizeof magic) != 0) fail("not a file of calls");
  call_count = take_number(file, MAX_CALLS);
  for (uint32_t i = 0; i < call_count; i++) take_call(file, &calls[i]);
  fclose(file);
}

static void relocate(const struct call* call) {
  for (uint32_t i = 0; i < call->relocation_count; i++) {
    const struct relocation* relocation = &call->relocations[i];
    const uint64_t word = relocation->kind == RELOCATION_POINTER
                              ? (uint64_t)(uintptr_t)call->buffers[relocation->target]
                              : (uint64_t)(uint32_t)handles[relocation->target];
    memcpy(call->buffers[relocation->buffer] + relocation->offset, &word,
           relocation->kind == RELOCATION_FD32 ? 4 : 8);
  }
}

// The other process that makes the calls, or -1.
static int maker = -1;

struct sizes {
  uint32_t request, reply;
};

static struct sizes sizes[MAX_CALLS + 1];
static char* message;

static int move_all(ssize_t (*move)(int, char*, size_t), int fd, char* bytes, size_t length) {
  for (size_t done = 0; done < length;) {
    const ssize_t moved = move(fd, bytes + done, length - done);
    if (moved < 0 && errno == EINTR) continue;
    if (moved <= 0) return 0;
    done += (size_t)moved;
  }
  return 1;
}

static ssize_t receive(int fd, char* bytes, size_t length) { return recv(fd, bytes, length, 0); }

static ssize_t transmit(int fd, char* bytes, size_t length) {
  return send(fd, bytes, length, MSG_NOSIGNAL);
}

static long make(const struct call* call) {
  return syscall(SYS_bpf, call->command, call->buffers[0], call->lengths[0]);
}

// What call `index` returned in the other process.
static long made_by_other(uint32_t index) {
  const uint32_t head[3] = {index, sizes[index].request, sizes[index].reply};
  memcpy(message, head, sizeof head);
  int64_t result;
  if (!move_all(transmit, maker, message, head[1]) || !move_all(receive, maker, message, head[2])) {
    fail("the process that makes the calls has gone");
  }
  memcpy(&result, message, sizeof result);
  errno = result < 0 ? (int)-result : 0;
  return result;
}

static uint64_t timed(uint32_t index) {
  const struct call* call = &calls[index];
  relocate(call);
  const uint64_t start = clock_now_ns();
  const long result = maker < 0 ? make(call) : made_by_other(index);
  const uint64_t elapsed_ns = clock_now_ns() - start;
  if (result < 0) {
    fprintf(stderr, "native: %s: %s\n", call->name, strerror(errno));
    exit(1);
  }
  if (call->result != 0) handles[call->result] = (int)result;
  return elapsed_ns;
}

static void close_all(void) {
  if (maker >= 0) {
    made_by_other(call_count);
    return;
  }
  for (uint32_t i = call_count; i-- > 0;) {
    if (calls[i].result != 0) close(handles[calls[i].result]);
  }
}

static int answer_one(int fd) {
  uint32_t head[3];
  if (!move_all(receive, fd, (char*)head, sizeof head)) return 0;
  const uint32_t index = head[0];
  const struct sizes size = {head[1], head[2]};
  if (index > call_count || size.request < sizeof head || size.request > MAX_MESSAGE ||
      size.reply < sizeof(int64_t) || size.reply > MAX_MESSAGE) {
    fail("a request is malformed");
  }
  if (!move_all(receive, fd, message, size.request - sizeof head)) return 0;
  int64_t result = 0;
  if (index == call_count) {
    close_all();
  } else {
    const struct call* call = &calls[index];
    relocate(call);
    result = make(call);
    if (result < 0) result = -errno;
    if (result >= 0 && call->result != 0) handles[call->result] = (int)result;
  }
  memcpy(message, &result, sizeof result);
  return move_all(transmit, fd, message, size.reply);
}

static void serve(const char* address) {
  const int listener = address_listen(address);
  puts("listening");
  fflush(stdout);
  for (;;) {
    const int fd = accept(listener, NULL, NULL);
    if (fd < 0) fail("accept");
    address_no_delay(fd);
    while (answer_one(fd)) continue;
    close(fd);
  }
}

static void take_sizes(const char* text) {
  for (uint32_t i = 0; i < call_count; i++, text = strchr(text, ',') + 1) {
    if (sscanf(text, "%u:%u", &sizes[i].request, &sizes[i].reply) != 2 ||
        sizes[i].request > MAX_MESSAGE || sizes[i].reply > MAX_MESSAGE ||
        (i + 1 < call_count && strchr(text, ',') == NULL)) {
      fail("--sizes does not have two numbers for each call");
    }
  }
  sizes[call_count] = (struct sizes){3 * sizeof(uint32_t), sizeof(int64_t)};
}

static void settle(long milliseconds) {
  const struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  nanosleep(&time, NULL);
}

static void measure(size_t warmup, size_t count, long settle_ms) {
  uint64_t* samples = calloc(count * call_count + 1, sizeof *samples);
  if (samples == NULL) fail("out of memory");
  for (size_t i = 0; i < warmup + count; i++) {
    for (uint32_t c = 0; c < call_count; c++) {
      const uint64_t elapsed_ns = timed(c);
      if (i >= warmup) samples[(i - warmup) * call_count + c] = elapsed_ns;
    }
    close_all();
    settle(settle_ms);
  }
  for (size_t i = 0; i < count * call_count; i++) {
    printf("%s %llu\n", calls[i % call_count].name, (unsigned long long)samples[i]);
  }
  free(samples);
}

int main(int argc, char** argv) {
  static const struct option options[] = {
      {"calls", required_argument, NULL, 'f'},
      {"warmup", required_argument, NULL, 'w'},
      {"count", required_argument, NULL, 'n'},
      {"settle", required_argument, NULL, 's'},
      {"serve", required_argument, NULL, 'l'},
      {"at", required_argument, NULL, 'a'},
      {"sizes", required_argument, NULL, 'z'},
      {NULL, 0, NULL, 0},
  };
  const char *path = NULL, *served = NULL, *at = NULL, *sizes_text = NULL;
  size_t warmup = 0;
  size_t count = 1;
  long settle_ms = 0;
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (option == 'f') path = optarg;
    if (option == 'w') warmup = strtoul(optarg, NULL, 10);
    if (option == 'n') count = strtoul(optarg, NULL, 10);
    if (option == 's') settle_ms = atol(optarg);
    if (option == 'l') served = optarg;
    if (option == 'a') at = optarg;
    if (option == 'z') sizes_text = optarg;
    if (option == '?') path = NULL;
  }
  if (path == NULL || optind != argc || (at == NULL) != (sizes_text == NULL)) {
    fputs(
        "usage: native --calls FILE --warmup N --count N [--settle MILLISECONDS]\n"
        "       native --calls FILE --serve ADDRESS\n"
        "       native --calls FILE --at ADDRESS --sizes REQUEST:REPLY,... and the options of the first\n",
        stderr);
    return 2;
  }
  take_calls(path);
  message = malloc(MAX_MESSAGE);
  if (message == NULL) fail("out of memory");
  if (at != NULL) {
    take_sizes(sizes_text);
    maker = address_connect(at);
    address_no_delay(maker);
  }
  if (served != NULL) {
    serve(served);
  } else {
    measure(warmup, count, settle_ms);
  }
  return 0;
}
