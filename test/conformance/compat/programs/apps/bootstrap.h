// SPDX-License-Identifier: GPL-2.0
// A record about the begin or the end of a program.
#ifndef BOOTSTRAP_H_
#define BOOTSTRAP_H_

struct report {
  char command[16];
  char parent[16];
  char file[64];
  int ended;
  int status;
  int lasted;
};

#endif
