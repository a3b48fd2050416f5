# Builds the kernel's own tests of bpf(2) from tools/testing/selftests/bpf. The kernel's Makefile
# would build bpftool and modules as well, and needs the kernel's sources whole.
#
#   TESTS    the kernel's folder tools/testing/selftests/bpf
#   HERE     the folder of this file
#   LIBBPF   the folder of libbpf-dev, unpacked, for the headers that are generated
#   LIBELF   the folder of libelf-dev, unpacked
#   VMLINUX  the folder of vmlinux.h, the kernel's types as a header

TOOLS := $(TESTS)/../../..
INCLUDES := -I. -I$(VMLINUX) -I$(TESTS) -I$(TOOLS)/lib -I$(TOOLS)/include -I$(TOOLS)/include/uapi \
	-I$(LIBBPF)/usr/include -I$(LIBELF)/usr/include
CFLAGS := -O0 -w -rdynamic -fmacro-prefix-map=$(TESTS)/= $(INCLUDES)
BPF_CFLAGS := -g -O2 -w -target bpf -mcpu=v3 -mlittle-endian -D__TARGET_ARCH_x86 \
	-DENABLE_ATOMICS_TESTS -I$(VMLINUX) -I$(LIBBPF)/usr/include -I$(TESTS) \
	-I$(TOOLS)/include/uapi -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include
LIBRARIES := -l:libelf.so.1 -l:libz.so.1 -lrt -lpthread

# These lists are in the kernel's Makefile.
LINKED := test_static_linked linked_funcs linked_vars linked_maps test_subskeleton \
	test_subskeleton_lib test_usdt
test_static_linked := test_static_linked1 test_static_linked2
linked_funcs := linked_funcs1 linked_funcs2
linked_vars := linked_vars1 linked_vars2
linked_maps := linked_maps1 linked_maps2
test_subskeleton := test_subskeleton_lib2 test_subskeleton_lib test_subskeleton
test_subskeleton_lib := test_subskeleton_lib2 test_subskeleton_lib
test_usdt := test_usdt test_usdt_multispec
LIGHT := fentry_test fexit_test fexit_sleep test_ringbuf atomics trace_printk trace_vprintk \
	map_ptr_kern core_kern core_kern_overflow
LIGHT_AS_WELL := test_ksyms_module test_ksyms_weak kfunc_call_test kfunc_call_test_subprog
HELPERS := cgroup_helpers trace_helpers network_helpers testing_helpers btf_helpers cap_helpers

sources = $(basename $(notdir $(wildcard $(TESTS)/$(1)/*.c)))
programs := $(call sources,progs)
parts := $(foreach name,$(LINKED),$($(name)))
plain := $(filter-out btf__% test_pinning_invalid test_sk_assign $(LIGHT) $(parts),$(programs))
skeletons := $(plain:%=%.skel.h) $(LINKED:%=%.skel.h) $(LIGHT:%=%.lskel.h) $(LIGHT_AS_WELL:%=%.lskel.h)
progs_tests := $(patsubst %,%.test.o,$(call sources,prog_tests))
maps_tests := $(patsubst %,%.map.o,$(call sources,map_tests))
verifier_tests := $(notdir $(wildcard $(TESTS)/verifier/*.c))
libbpf := $(patsubst %,%.libbpf.o,$(basename $(notdir $(wildcard $(TOOLS)/lib/bpf/*.c))))

.DELETE_ON_ERROR:
.SECONDARY:

all: test_verifier test_maps test_progs urandom_read $(programs:%=%.bpf.o)

%.bpf.o: $(TESTS)/progs/%.c
	clang $(BPF_CFLAGS) -c $< -o $@
test_l4lb_noinline.bpf.o test_xdp_noinline.bpf.o: BPF_CFLAGS += -fno-inline

# A file that is linked twice has its names and types in the form that skeletons need.
LINK = bpftool gen object $@.1 $^ && bpftool gen object $@ $@.1 && rm $@.1
%.linked.o: %.bpf.o
	$(LINK)
define linked
$(1).linked.o: $(patsubst %,%.bpf.o,$($(1)))
	$$(LINK)
endef
$(foreach name,$(LINKED),$(eval $(call linked,$(name))))
%.light.o: %.bpf.o
	$(LINK)
%.skel.h: %.linked.o
	bpftool gen subskeleton $< name $* >$*.subskel.h
	bpftool gen skeleton $< name $* >$@
%.lskel.h: %.light.o
	bpftool gen skeleton -L $< name $*_lskel >$@

%_tests/tests.h:
	mkdir -p $(@D)
	sed -n -E 's/^void (serial_)?test_([a-zA-Z0-9_]+)\((void)?\).*/DEFINE_TEST(\2)/p' \
		$(TESTS)/$*_tests/*.c | sort >$@
verifier/tests.h:
	mkdir -p $(@D)
	printf '%s\n' '#ifdef FILL_ARRAY' $(verifier_tests:%='#include "%"') '#endif' >$@

%.test.o: $(TESTS)/prog_tests/%.c | $(skeletons)
	gcc $(CFLAGS) -c $< -o $@
%.map.o: $(TESTS)/map_tests/%.c | $(skeletons)
	gcc $(CFLAGS) -c $< -o $@
%.libbpf.o: $(TOOLS)/lib/bpf/%.c
	gcc -O2 -w -fPIC -D_GNU_SOURCE $(INCLUDES) -c $< -o $@
%.o: $(TESTS)/%.c
	gcc $(CFLAGS) -c $< -o $@
%.o: $(HERE)/%.c
	gcc $(CFLAGS) -c $< -o $@
test_progs.o: prog_tests/tests.h
each-map-test.o: map_tests/tests.h
test_verifier.o: verifier/tests.h
test_verifier.o: CFLAGS += -I$(TESTS)/verifier -O1

PROGRAM = gcc -rdynamic -Wl,-S -o $@ $^ $(LIBRARIES)
test_progs: test_progs.o test_loader.o $(progs_tests) $(HELPERS:%=%.o) $(libbpf)
	$(PROGRAM)
test_maps: each-map-test.o $(maps_tests) testing_helpers.o $(libbpf)
	$(PROGRAM)
test_verifier: test_verifier.o testing_helpers.o cap_helpers.o $(libbpf)
	$(PROGRAM)

# Without separate code, a semaphore of USDT has one place in the file.
PROBED := -w -O0 $(INCLUDES) -Wl,-znoseparate-code -Wl,--build-id=sha1
liburandom_read.so: $(TESTS)/urandom_read_lib1.c $(TESTS)/urandom_read_lib2.c
	gcc $(PROBED) -fPIC -shared -o $@ $^
urandom_read: $(TESTS)/urandom_read.c $(TESTS)/urandom_read_aux.c liburandom_read.so
	gcc $(PROBED) -Wl,-rpath=. -o $@ $^
