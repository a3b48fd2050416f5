// SPDX-License-Identifier: MIT
#pragma once

#include <cstdio>
#include <cstdlib>

// Ends the process. libFuzzer reports that as a finding.
[[noreturn]] inline void Wrong(const char* what) {
  fprintf(stderr, "wrong: %s\n", what);
  abort();
}

inline void Expect(bool condition, const char* what) {
  if (!condition) Wrong(what);
}
