// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The least that a hop could be: what comes for a VIP gets the MACs of one real server, and what one of the VIPs, which
 * is VIP_BOTH, answers those of the client's router. Built with -DVIP=0x... and -DVIP_BOTH=0x..., in network order as
 * numbers of this machine, -DREAL_MAC=0x..,0x..,... and -DROUTER_MAC=... */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int mac_only(struct xdp_md *ctx)
{
	static const unsigned char real[ETH_ALEN] = {REAL_MAC}, router[ETH_ALEN] = {ROUTER_MAC};
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if (ip->daddr != VIP && ip->daddr != VIP_BOTH && ip->saddr != VIP_BOTH)
		return XDP_PASS;
	__builtin_memcpy(eth->h_source, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, ip->saddr == VIP_BOTH ? router : real, ETH_ALEN);
	return XDP_TX;
}

char _license[] SEC("license") = "Dual BSD/GPL";
