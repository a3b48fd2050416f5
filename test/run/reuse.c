/*
 * caller FILE: looks up an element of a map, whose value goes to a fixed address, and before that
 * writes its process id to FILE. Ends with the errno, or 0. constant FILE: the same, but nothing can
 * be written there.
 * victim: has memory at that address. For each line of its input it says whether that was written to.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SIZE = 4096 };
static char *const place = (char *)0x123400000000;

static long bpf(int command, union bpf_attr *attr) {
  return syscall(SYS_bpf, command, attr, sizeof *attr);
}

static int call(const char *path) {
  union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 64, .max_entries = 1};
  long map = bpf(BPF_MAP_CREATE, &attr);
  FILE *file = fopen(path, "w");
  if (map < 0 || file == NULL) return 1;
  fprintf(file, "%d\n", getpid());
  fclose(file);
  __u32 key = 0;
  memset(&attr, 0, sizeof attr);
  attr.map_fd = (__u32)map;
  attr.key = (__u64)&key;
  attr.value = (__u64)place;
  if (bpf(BPF_MAP_LOOKUP_ELEM, &attr) < 0) return place[0] == 'v' ? errno : 255;
  return place[0];
}

int main(int argc, char **argv) {
  int rights = argc > 2 && strcmp(argv[1], "constant") == 0 ? PROT_READ : PROT_READ | PROT_WRITE;
  char *page = mmap(place, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (page != place) return 1;
  memset(place, 'v', SIZE);
  mprotect(place, SIZE, rights);
  if (argc > 2) return call(argv[2]);
  setvbuf(stdout, NULL, _IOLBF, 0);
  char line[16];
  while (fgets(line, sizeof line, stdin) != NULL) {
    int written = 0;
    for (int i = 0; i < SIZE; i++) written |= place[i] != 'v';
    puts(written ? "written" : "kept");
  }
  return 0;
}
