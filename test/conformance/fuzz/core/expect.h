// SPDX-License-Identifier: MIT
#pragma once

#include <cstdio>
#include <cstdlib>

// Ends the process, which libFuzzer takes for a finding.
[[noreturn]] inline void Wrong(const char* what) {
  fprintf(stderr, "wrong: %s\n", what);
  abort();
}

inline void Expect(bool condition, const char* what) {
  if (!condition) Wrong(what);
}
