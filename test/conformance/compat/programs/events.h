// SPDX-License-Identifier: GPL-2.0
// The records that events.bpf.c sends to its applications.
#ifndef EVENTS_H_
#define EVENTS_H_

struct event {
  unsigned long long number;
  char comm[16];
};

#endif
