/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ARP requests for a VIP: answered on its interface while the claim lasts; else untouched. */
#pragma once

#include <linux/if_ether.h>

#include "dataplane/ebpf/bpf/address.h"

#define ARP_ETHERNET bpf_htons(1)
#define ARP_REQUEST bpf_htons(1)
#define ARP_REPLY bpf_htons(2)

struct arp_ipv4 {
	struct ethhdr eth;
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_length;
	__u8 protocol_length;
	__be16 operation;
	__u8 sender_mac[6];
	__u8 sender[4];
	__u8 target_mac[6];
	__u8 target[4];
} __attribute__((packed, aligned(2)));

_Static_assert(sizeof(struct arp_ipv4) == 42, "ARP over Ethernet");

static __always_inline int arp_answer(klvs_ctx *ctx, __u32 ifindex,
				      const struct klvs_settings *settings)
{
	struct klvs_interface *interface;
	struct klvs_address *address;
	struct arp_ipv4 *arp;
	void *data, *end;
	__u8 mac[6];
	__be32 vip;
	__u32 slot;

#ifndef KLVS_XDP
	if (ctx->data + sizeof(*arp) > ctx->data_end)
		bpf_skb_pull_data(ctx, sizeof(*arp));
#endif
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	arp = data;
	if ((void *)(arp + 1) > end)
		return KLVS_UNTOUCHED;
	if (arp->hardware != ARP_ETHERNET || arp->protocol != bpf_htons(ETH_P_IP) ||
	    arp->hardware_length != 6 || arp->protocol_length != 4 ||
	    arp->operation != ARP_REQUEST)
		return KLVS_UNTOUCHED;
	__builtin_memcpy(&vip, arp->target, sizeof(vip));
	address = address_find(&vip, settings);
	if (!address || !(address->flags & KLVS_ADDRESS_ANSWER_ARP) || address->ifindex != ifindex ||
	    bpf_ktime_get_boot_ns() >= address->claim_until)
		return KLVS_UNTOUCHED;
	/* Somebody announces the address as its own: no question. */
	if (__builtin_memcmp(arp->sender, arp->target, 4) == 0)
		return KLVS_UNTOUCHED;
	slot = ifindex % KLVS_INTERFACE_SLOTS;
	interface = bpf_map_lookup_elem(&klvs_interfaces, &slot);
	if (!interface || interface->ifindex != ifindex)
		return KLVS_UNTOUCHED;
	mac_copy(mac, interface->mac);
	/* A request to somebody else's address, flooded to us. */
	if (!(arp->eth.h_dest[0] & 1) && !mac_equal(arp->eth.h_dest, mac))
		return KLVS_UNTOUCHED;

	arp->operation = ARP_REPLY;
	mac_copy(arp->eth.h_dest, arp->sender_mac);
	mac_copy(arp->eth.h_source, mac);
	mac_copy(arp->target_mac, arp->sender_mac);
	__builtin_memcpy(arp->target, arp->sender, 4);
	mac_copy(arp->sender_mac, mac);
	__builtin_memcpy(arp->sender, &vip, 4);
#ifdef KLVS_XDP
	return XDP_TX;
#else
	return bpf_redirect(ifindex, 0);
#endif
}
