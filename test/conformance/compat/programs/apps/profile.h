// SPDX-License-Identifier: GPL-2.0
// What a processor is at.
#ifndef PROFILE_H_
#define PROFILE_H_

enum { MOST_FRAMES = 64 };

struct sample {
  unsigned int processor;
  unsigned int process;
  char command[16];
  long long kernel_bytes;
  long long user_bytes;
  unsigned long long kernel[MOST_FRAMES];
  unsigned long long user[MOST_FRAMES];
};

#endif
