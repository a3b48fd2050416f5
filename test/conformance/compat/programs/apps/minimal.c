// SPDX-License-Identifier: MIT
// minimal: a skeleton, a global that it sets before it loads, and a global that it reads at the
// end.
#include <stdio.h>
#include <string.h>

#include "application.h"
#include "minimal.skel.h"

int main(void) {
  begin();
  struct minimal *skeleton = minimal__open();
  if (skeleton == NULL) return fail("open");
  strcpy((char *)skeleton->rodata->wanted, "stimulus");
  if (minimal__load(skeleton) != 0) return fail("load");
  if (minimal__attach(skeleton) != 0) return fail("attach");
  while (!interrupted()) rest();
  const unsigned long long calls = skeleton->bss->calls;
  printf("%llu calls\n", calls);
  minimal__destroy(skeleton);
  return calls == 0;
}
