// SPDX-License-Identifier: MIT
//
// Works on a hash map with plain bpf(2) calls, on the kernel that this program runs on: what a C
// program in the guest would do, to compare with the same work from outside.
//
//   maps ops --warmup N --count N                  element operations, "COMMAND NANOSECONDS" each
//   maps dump --entries N --batch N --warmup N --count N
//                                                  all entries, by BPF_MAP_LOOKUP_BATCH
//   maps walk --entries N --warmup N --count N     all entries, by BPF_MAP_GET_NEXT_KEY and
//                                                  BPF_MAP_LOOKUP_ELEM
//
// Keys have 4 bytes and values 8. Every dump and walk adds up the values, and must find each once.

#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"

enum { OPS_ENTRIES = 1024 };

struct settings {
  uint32_t entries, batch;
  size_t warmup, count;
};

static void fail(const char* why) {
  fprintf(stderr, "maps: %s: %s\n", why, strerror(errno));
  exit(1);
}

static long bpf(int command, union bpf_attr* attr) {
  return syscall(SYS_bpf, command, attr, sizeof *attr);
}

static uint64_t address(const void* pointer) { return (uint64_t)(uintptr_t)pointer; }

static int create(uint32_t entries) {
  union bpf_attr attr = {0};
  attr.map_type = BPF_MAP_TYPE_HASH;
  attr.key_size = sizeof(uint32_t);
  attr.value_size = sizeof(uint64_t);
  attr.max_entries = entries;
  const long map = bpf(BPF_MAP_CREATE, &attr);
  if (map < 0) fail("BPF_MAP_CREATE");
  return (int)map;
}

static void fill(int map, uint32_t entries) {
  uint32_t* keys = malloc(entries * sizeof *keys);
  uint64_t* values = malloc(entries * sizeof *values);
  if (keys == NULL || values == NULL) fail("malloc");
  for (uint32_t i = 0; i < entries; i++) {
    keys[i] = i;
    values[i] = i + 1;
  }
  union bpf_attr attr = {0};
  attr.batch.keys = address(keys);
  attr.batch.values = address(values);
  attr.batch.count = entries;
  attr.batch.map_fd = (uint32_t)map;
  if (bpf(BPF_MAP_UPDATE_BATCH, &attr) != 0) fail("BPF_MAP_UPDATE_BATCH");
  free(keys);
  free(values);
}

static long element(int command, int map, const uint32_t* key, void* value_or_next) {
  union bpf_attr attr = {0};
  attr.map_fd = (uint32_t)map;
  attr.key = address(key);
  attr.value = address(value_or_next);
  return bpf(command, &attr);
}

static void ops(const struct settings* settings) {
  static const struct {
    const char* name;
    int command;
  } steps[] = {
      {"MAP_UPDATE_ELEM", BPF_MAP_UPDATE_ELEM},
      {"MAP_LOOKUP_ELEM", BPF_MAP_LOOKUP_ELEM},
      {"MAP_GET_NEXT_KEY", BPF_MAP_GET_NEXT_KEY},
      {"MAP_DELETE_ELEM", BPF_MAP_DELETE_ELEM},
  };
  enum { STEPS = sizeof steps / sizeof *steps };
  const int map = create(2 * OPS_ENTRIES);
  fill(map, OPS_ENTRIES);
  uint64_t* samples = calloc(STEPS * settings->count + 1, sizeof *samples);
  if (samples == NULL) fail("calloc");
  for (size_t i = 0; i < settings->warmup + settings->count; i++) {
    const uint32_t key = OPS_ENTRIES + (uint32_t)(i % OPS_ENTRIES);
    uint64_t value = i + 1;
    uint32_t next;
    for (size_t s = 0; s < STEPS; s++) {
      const int command = steps[s].command;
      void* other = command == BPF_MAP_GET_NEXT_KEY ? (void*)&next : (void*)&value;
      const uint64_t start = clock_now_ns();
      const long result =
          element(command, map, &key, command == BPF_MAP_DELETE_ELEM ? NULL : other);
      const uint64_t elapsed_ns = clock_now_ns() - start;
      // The new key may be the last one.
      if (result != 0 && !(command == BPF_MAP_GET_NEXT_KEY && errno == ENOENT)) {
        fail(steps[s].name);
      }
      if (i >= settings->warmup) samples[(i - settings->warmup) * STEPS + s] = elapsed_ns;
    }
  }
  for (size_t i = 0; i < STEPS * settings->count; i++) {
    printf("%s %llu\n", steps[i % STEPS].name, (unsigned long long)samples[i]);
  }
}

static uint64_t dump(int map, uint32_t batch, uint32_t* keys, uint64_t* values) {
  uint64_t sum = 0;
  uint64_t token = 0;
  const void* position = NULL;
  for (;;) {
    union bpf_attr attr = {0};
    attr.batch.in_batch = address(position);
    attr.batch.out_batch = address(&token);
    attr.batch.keys = address(keys);
    attr.batch.values = address(values);
    attr.batch.count = batch;
    attr.batch.map_fd = (uint32_t)map;
    const long result = bpf(BPF_MAP_LOOKUP_BATCH, &attr);
    if (result != 0 && errno != ENOENT) fail("BPF_MAP_LOOKUP_BATCH");
    for (uint32_t i = 0; i < attr.batch.count; i++) sum += keys[i] + values[i];
    if (result != 0) return sum;
    position = &token;
  }
}

static uint64_t walk(int map) {
  uint64_t sum = 0;
  uint32_t key;
  const uint32_t* position = NULL;
  for (uint32_t next; element(BPF_MAP_GET_NEXT_KEY, map, position, &next) == 0; position = &key) {
    uint64_t value;
    key = next;
    if (element(BPF_MAP_LOOKUP_ELEM, map, &key, &value) != 0) fail("BPF_MAP_LOOKUP_ELEM");
    sum += key + value;
  }
  return sum;
}

static void all(const struct settings* settings) {
  const int map = create(settings->entries);
  fill(map, settings->entries);
  uint32_t* keys = calloc(settings->batch + 1, sizeof *keys);
  uint64_t* values = calloc(settings->batch + 1, sizeof *values);
  uint64_t* samples = calloc(settings->count + 1, sizeof *samples);
  if (keys == NULL || values == NULL || samples == NULL) fail("calloc");
  const uint64_t expected = (uint64_t)settings->entries * settings->entries;
  for (size_t i = 0; i < settings->warmup + settings->count; i++) {
    const uint64_t start = clock_now_ns();
    const uint64_t sum = settings->batch == 0 ? walk(map) : dump(map, settings->batch, keys, values);
    const uint64_t elapsed_ns = clock_now_ns() - start;
    if (sum != expected) {
      fputs("maps: not every entry was met once\n", stderr);
      exit(1);
    }
    if (i >= settings->warmup) samples[i - settings->warmup] = elapsed_ns;
  }
  for (size_t i = 0; i < settings->count; i++) printf("all %llu\n", (unsigned long long)samples[i]);
}

int main(int argc, char** argv) {
  static const struct option options[] = {
      {"entries", required_argument, NULL, 'e'},
      {"batch", required_argument, NULL, 'b'},
      {"warmup", required_argument, NULL, 'w'},
      {"count", required_argument, NULL, 'n'},
      {NULL, 0, NULL, 0},
  };
  struct settings settings = {.entries = 1, .count = 1};
  int known = 1;
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (option == 'e') settings.entries = (uint32_t)strtoul(optarg, NULL, 10);
    if (option == 'b') settings.batch = (uint32_t)strtoul(optarg, NULL, 10);
    if (option == 'w') settings.warmup = strtoul(optarg, NULL, 10);
    if (option == 'n') settings.count = strtoul(optarg, NULL, 10);
    if (option == '?') known = 0;
  }
  const char* work = optind + 1 == argc ? argv[optind] : "";
  if (known && strcmp(work, "ops") == 0) {
    ops(&settings);
  } else if (known && strcmp(work, "dump") == 0 && settings.batch > 0) {
    all(&settings);
  } else if (known && strcmp(work, "walk") == 0) {
    settings.batch = 0;
    all(&settings);
  } else {
    fputs(
        "usage: maps ops --warmup N --count N\n"
        "       maps dump --entries N --batch N --warmup N --count N\n"
        "       maps walk --entries N --warmup N --count N\n",
        stderr);
    return 2;
  }
  return 0;
}
