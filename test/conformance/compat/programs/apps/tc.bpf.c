// SPDX-License-Identifier: GPL-2.0
// Counts the packets of an interface that begin a connection of TCP to a port.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>

#include <bpf/bpf_helpers.h>

#include <bpf/bpf_endian.h>

const volatile unsigned short port = 0;
unsigned long long begun;

SEC("tc")
int on_packet(struct __sk_buff *packet) {
  const void *const end = (void *)(long)packet->data_end;
  const struct ethhdr *const frame = (void *)(long)packet->data;
  const struct iphdr *const ip = (const void *)(frame + 1);
  const struct tcphdr *const tcp = (const void *)(ip + 1);
  if ((const void *)(tcp + 1) > end) return TC_ACT_OK;
  if (frame->h_proto != bpf_htons(ETH_P_IP) || ip->protocol != IPPROTO_TCP) return TC_ACT_OK;
  if (tcp->dest == bpf_htons(port) && tcp->syn && !tcp->ack) __sync_fetch_and_add(&begun, 1);
  return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
