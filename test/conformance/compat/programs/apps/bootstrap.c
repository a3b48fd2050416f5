// SPDX-License-Identifier: MIT
// bootstrap: prints which programs begin and end.
#include "bootstrap.h"

#include "application.h"
#include "bootstrap.skel.h"

static int printed;

static int print(void *context, void *data, size_t size) {
  (void)context;
  const struct report *report = data;
  if (size < sizeof *report) return 0;
  ++printed;
  if (report->ended) {
    printf("end of %s, from %s, with %d%s\n", report->command, report->parent, report->status,
           report->lasted ? "" : ", before it began");
  } else {
    printf("begin of %s, from %s, by %s\n", report->command, report->parent, report->file);
  }
  return 0;
}

int main(void) {
  begin();
  struct bootstrap *skeleton = bootstrap__open_and_load();
  if (skeleton == NULL) return fail("load");
  if (bootstrap__attach(skeleton) != 0) return fail("attach");
  struct ring_buffer *ring =
      ring_buffer__new(bpf_map__fd(skeleton->maps.reports), print, NULL, NULL);
  if (ring == NULL) return fail("ring buffer");
  while (!interrupted()) {
    const int polled = ring_buffer__poll(ring, REST_MS);
    if (polled < 0 && polled != -EINTR) return fail("poll");
  }
  ring_buffer__free(ring);
  bootstrap__destroy(skeleton);
  return printed == 0;
}
