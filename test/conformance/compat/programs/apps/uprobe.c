// SPDX-License-Identifier: MIT
// uprobe PROGRAM FUNCTION: what a function of a program gets and returns, by its name.
#include "application.h"
#include "uprobe.skel.h"

static struct bpf_link *attach(struct bpf_program *program, char **words, bool retprobe) {
  LIBBPF_OPTS(bpf_uprobe_opts, options, .func_name = words[2], .retprobe = retprobe);
  return bpf_program__attach_uprobe_opts(program, -1, words[1], 0, &options);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  begin();
  struct uprobe *skeleton = uprobe__open_and_load();
  if (skeleton == NULL) return fail("load");
  skeleton->links.on_entry = attach(skeleton->progs.on_entry, argv, false);
  skeleton->links.on_return = attach(skeleton->progs.on_return, argv, true);
  if (skeleton->links.on_entry == NULL || skeleton->links.on_return == NULL) return fail("attach");
  while (!interrupted()) rest();
  printf("%llu calls with %llu in all, %llu returns with %llu\n", skeleton->bss->calls,
         skeleton->bss->arguments, skeleton->bss->returns, skeleton->bss->results);
  const bool nothing = skeleton->bss->calls == 0 || skeleton->bss->returns == 0;
  uprobe__destroy(skeleton);
  return nothing;
}
