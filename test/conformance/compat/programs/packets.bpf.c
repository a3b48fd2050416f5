// SPDX-License-Identifier: GPL-2.0
// Programs that tools of netlink(7) attach to an interface.
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

SEC("xdp")
int see_frame(struct xdp_md *context) {
  return context->data < context->data_end ? XDP_PASS : XDP_ABORTED;
}

SEC("tc")
int see_packet(struct __sk_buff *packet) { return packet->len > 0 ? TC_ACT_OK : TC_ACT_SHOT; }

char LICENSE[] SEC("license") = "GPL";
