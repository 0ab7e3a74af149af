// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The least that DirectRouting could be: what comes for one VIP gets the MACs of one real server. Built with
 * -DVIP=0x..., in network order as a number of this machine, and -DREAL_MAC=0x..,0x..,... */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int mac_only(struct xdp_md *ctx)
{
	static const unsigned char real[ETH_ALEN] = {REAL_MAC};
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->daddr != VIP)
		return XDP_PASS;
	__builtin_memcpy(eth->h_source, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, real, ETH_ALEN);
	return XDP_TX;
}

char _license[] SEC("license") = "Dual BSD/GPL";
