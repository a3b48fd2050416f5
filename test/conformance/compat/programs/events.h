// SPDX-License-Identifier: GPL-2.0
// What events.bpf.c tells its applications.
#ifndef EVENTS_H_
#define EVENTS_H_

struct event {
  unsigned long long number;
  char comm[16];
};

#endif
