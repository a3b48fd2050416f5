// Counts the packets that two programs see, which tools of iproute2 attach to an interface.
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) __typeof__(value) *name

static void *(*bpf_map_lookup_elem)(void *map, const void *key) =
    (void *)BPF_FUNC_map_lookup_elem;

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} seen SEC(".maps");

static void count(void) {
  __u32 key = 0;
  __u64 *packets = bpf_map_lookup_elem(&seen, &key);
  if (packets) __sync_fetch_and_add(packets, 1);
}

SEC("xdp") int see_frame(struct xdp_md *context) {
  (void)context;
  count();
  return XDP_PASS;
}

SEC("tc") int see_packet(struct __sk_buff *packet) {
  (void)packet;
  count();
  return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
