/* Prints the frequency of this machine's time stamp counter in kHz. */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC_RAW, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int main(void) {
  uint64_t best_khz = 0;
  uint64_t best_width_ns = UINT64_MAX;
  /* A measurement that was interrupted between the two clocks is wider than the others. */
  for (int attempt = 0; attempt < 5; attempt++) {
    uint64_t from_ns = now_ns();
    uint64_t from = __rdtsc();
    uint64_t from_width_ns = now_ns() - from_ns;
    while (now_ns() - from_ns < 20000000) continue;
    uint64_t to_ns = now_ns();
    uint64_t to = __rdtsc();
    uint64_t width_ns = from_width_ns + now_ns() - to_ns;
    if (width_ns >= best_width_ns) continue;
    best_width_ns = width_ns;
    best_khz = (to - from) * 1000000 / (to_ns - from_ns);
  }
  printf("%llu\n", (unsigned long long)best_khz);
}
