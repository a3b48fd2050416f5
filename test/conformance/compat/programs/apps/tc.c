// SPDX-License-Identifier: MIT
// tc INTERFACE PORT: puts a filter on what an interface receives, and takes it away at the end.
#include <net/if.h>
#include <stdlib.h>

#include "application.h"
#include "tc.skel.h"

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  begin();
  struct tc *skeleton = tc__open();
  if (skeleton == NULL) return fail("open");
  skeleton->rodata->port = (unsigned short)atoi(argv[2]);
  if (tc__load(skeleton) != 0) return fail("load");
  const int index = (int)if_nametoindex(argv[1]);
  if (index == 0) return fail("interface");
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = index, .attach_point = BPF_TC_INGRESS);
  const int made = bpf_tc_hook_create(&hook);
  if (made != 0 && made != -EEXIST) return fail("hook");
  LIBBPF_OPTS(bpf_tc_opts, options, .handle = 1, .priority = 1,
              .prog_fd = bpf_program__fd(skeleton->progs.on_packet));
  if (bpf_tc_attach(&hook, &options) != 0) return fail("attach");
  LIBBPF_OPTS(bpf_tc_opts, asked, .handle = 1, .priority = 1);
  if (bpf_tc_query(&hook, &asked) != 0) return fail("query");
  printf("attached as %u of priority %u: %s\n", asked.handle, asked.priority,
         asked.prog_id == options.prog_id ? "the program" : "another program");
  while (!interrupted()) rest();
  const unsigned long long begun = skeleton->bss->begun;
  printf("%llu connections\n", begun);
  options.prog_fd = 0;
  options.prog_id = 0;
  options.flags = 0;
  if (bpf_tc_detach(&hook, &options) != 0) return fail("detach");
  hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
  if (made == 0 && bpf_tc_hook_destroy(&hook) != 0) return fail("removal of the hook");
  tc__destroy(skeleton);
  return begun == 0;
}
