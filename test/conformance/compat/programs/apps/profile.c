// SPDX-License-Identifier: MIT
// profile: samples all processors, and prints each sample's command with the function of the kernel
// in which its stack begins, by the kernel's list of names.
#include "profile.h"

#include <linux/perf_event.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "application.h"
#include "profile.skel.h"

enum { PER_SECOND = 49, MOST_PROCESSORS = 64, MOST_NAMES = 400000 };

struct name {
  unsigned long long address;
  char text[56];
};

static struct name *names;
static size_t count;

static int by_address(const void *a, const void *b) {
  const unsigned long long x = ((const struct name *)a)->address;
  const unsigned long long y = ((const struct name *)b)->address;
  return x < y ? -1 : x > y;
}

static bool read_names(void) {
  FILE *file = fopen("/proc/kallsyms", "r");
  names = calloc(MOST_NAMES, sizeof *names);
  if (file == NULL || names == NULL) return false;
  char line[512], kind;
  while (count < MOST_NAMES && fgets(line, sizeof line, file) != NULL) {
    struct name *name = &names[count];
    const int found = sscanf(line, "%llx %c %55s", &name->address, &kind, name->text);
    if (found == 3 && (kind == 't' || kind == 'T')) ++count;
  }
  fclose(file);
  qsort(names, count, sizeof *names, by_address);
  return count > 0;
}

static const char *name_of(unsigned long long address) {
  size_t first = 0, end = count;
  while (first < end) {
    const size_t middle = first + (end - first) / 2;
    if (names[middle].address <= address)
      first = middle + 1;
    else
      end = middle;
  }
  return first == 0 ? "nothing" : names[first - 1].text;
}

static int printed;

static int print(void *context, void *data, size_t size) {
  (void)context;
  const struct sample *sample = data;
  if (size < sizeof *sample) return 0;
  const long long frames = sample->kernel_bytes / (long long)sizeof *sample->kernel;
  const char *begin = frames > 0 ? name_of(sample->kernel[frames - 1]) : "no function";
  ++printed;
  printf("%s of process %s: from %s, %s frames of its own\n", sample->command,
         sample->process == 0 ? "0" : "n", begin, sample->user_bytes > 0 ? "with" : "without");
  return 0;
}

static int sampling(int processor) {
  struct perf_event_attr attribute = {
      .type = PERF_TYPE_SOFTWARE,
      .size = sizeof attribute,
      .config = PERF_COUNT_SW_CPU_CLOCK,
      .sample_freq = PER_SECOND,
      .freq = 1,
  };
  return (int)syscall(SYS_perf_event_open, &attribute, -1, processor, -1, PERF_FLAG_FD_CLOEXEC);
}

int main(void) {
  begin();
  if (!read_names()) return fail("kallsyms");
  struct profile *skeleton = profile__open_and_load();
  if (skeleton == NULL) return fail("load");
  struct ring_buffer *ring =
      ring_buffer__new(bpf_map__fd(skeleton->maps.samples), print, NULL, NULL);
  if (ring == NULL) return fail("ring buffer");
  struct bpf_link *links[MOST_PROCESSORS] = {NULL};
  const int processors = libbpf_num_possible_cpus();
  for (int i = 0; i < processors && i < MOST_PROCESSORS; ++i) {
    const int event = sampling(i);
    if (event < 0) return fail("perf_event_open");
    links[i] = bpf_program__attach_perf_event(skeleton->progs.on_sample, event);
    if (links[i] == NULL) return fail("attach");
  }
  while (!interrupted()) {
    const int polled = ring_buffer__poll(ring, REST_MS);
    if (polled < 0 && polled != -EINTR) return fail("poll");
  }
  for (int i = 0; i < MOST_PROCESSORS; ++i) bpf_link__destroy(links[i]);
  ring_buffer__free(ring);
  profile__destroy(skeleton);
  return printed == 0;
}
