// SPDX-License-Identifier: MIT
//
// The application of the thesis' Figure 2, with stock libbpf: loads hello.bpf.o, attaches it, and
// ends. Knows of no guest.
//
//   hello OBJECT
#include <bpf/libbpf.h>
#include <stdio.h>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  struct bpf_object* object = bpf_object__open_file(argv[1], NULL);
  if (object == NULL || bpf_object__load(object) != 0) {
    perror("hello: loading");
    return 1;
  }
  struct bpf_link* link = bpf_program__attach(bpf_object__next_program(object, NULL));
  if (link == NULL) {
    perror("hello: attaching");
    return 1;
  }
  bpf_link__destroy(link);
  bpf_object__close(object);
  return 0;
}
