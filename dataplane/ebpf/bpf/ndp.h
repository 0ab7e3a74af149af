/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Neighbour solicitations for a VIP (RFC 4861): answered on its interface while the claim lasts;
 * else untouched. The interface must take the frames of the VIP's solicited-node group.
 */
#pragma once

#include "dataplane/ebpf/bpf/address.h"
#include "dataplane/ebpf/bpf/icmp6.h"
#include "dataplane/ebpf/bpf/scratch.h"

#define NDP_SOLICITATION 135
#define NDP_ADVERTISEMENT 136
#define NDP_HOPS 255
#define NDP_SOLICITED_OVERRIDE bpf_htonl(0x60000000)
#define NDP_TARGET_LINK_ADDRESS 2

struct ndp_message {
	__u8 type;
	__u8 code;
	__sum16 check;
	__be32 flags;
	struct klvs_in6 target;
	/* Of ours always; a solicitation may have it, and other options. */
	__u8 option;
	__u8 option_units; /* of 8 bytes */
	__u8 mac[6];
};

#define NDP_NO_OPTION 24 /* bytes of a message */

struct ndp_frame {
	__u16 align;
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct ndp_message ndp;
};

#define NDP_FRAME (ETH_HEADER + IP_HEADER + sizeof(struct ndp_message))

_Static_assert(sizeof(struct ndp_frame) == 2 + NDP_FRAME, "neighbour advertisement");

static __always_inline int may_be_solicitation(const struct ipv6hdr *ip)
{
	return ip->nexthdr == IPPROTO_ICMPV6 && ip->hop_limit == NDP_HOPS;
}

/* A packet of which may_be_solicitation is true. */
__noinline int ndp_answer(klvs_ctx *ctx, __u32 ifindex)
{
	const __u32 fixed = ETH_HEADER + IP_HEADER + NDP_NO_OPTION;
	struct klvs_scratch *scratch = scratch_get();
	struct klvs_settings *settings = settings_get();
	struct klvs_interface *interface;
	struct klvs_address *address;
	struct klvs_in6 vip, client;
	struct ndp_frame *frame;
	__u32 slot;

	if (!scratch || !settings)
		return KLVS_UNTOUCHED;
	frame = (struct ndp_frame *)scratch->answer;
	if (packet_load(ctx, 0, &frame->eth, fixed))
		return KLVS_UNTOUCHED;
	if (frame->ip.version != 6 || bpf_ntohs(frame->ip.payload_len) < NDP_NO_OPTION ||
	    frame->ndp.type != NDP_SOLICITATION || frame->ndp.code)
		return KLVS_UNTOUCHED;
	vip = frame->ndp.target;
	client = *IP6_SRC(&frame->ip);
	/* Somebody wants the address for itself, and asks whether it is free: no question of a
	 * neighbour. */
	if (addr_is_any(&client))
		return KLVS_UNTOUCHED;
	address = address_find(&vip, settings);
	if (!address || !(address->flags & KLVS_ADDRESS_ANSWER_ARP) || address->ifindex != ifindex ||
	    bpf_ktime_get_boot_ns() >= address->claim_until)
		return KLVS_UNTOUCHED;
	slot = ifindex % KLVS_INTERFACE_SLOTS;
	interface = bpf_map_lookup_elem(&klvs_interfaces, &slot);
	if (!interface || interface->ifindex != ifindex)
		return KLVS_UNTOUCHED;
	/* A question to somebody else's address, flooded to us. */
	if (!(frame->eth.h_dest[0] & 1) && !mac_equal(frame->eth.h_dest, interface->mac))
		return KLVS_UNTOUCHED;

	mac_copy(frame->eth.h_dest, frame->eth.h_source);
	mac_copy(frame->eth.h_source, interface->mac);
	frame->ndp.type = NDP_ADVERTISEMENT;
	frame->ndp.check = 0;
	frame->ndp.flags = NDP_SOLICITED_OVERRIDE;
	frame->ndp.option = NDP_TARGET_LINK_ADDRESS;
	frame->ndp.option_units = 1;
	mac_copy(frame->ndp.mac, interface->mac);
	icmp_finish(&frame->ip, &vip, &client, &frame->ndp, sizeof(frame->ndp), NDP_HOPS);
	if (packet_resize(ctx, NDP_FRAME) || packet_store(ctx, 0, &frame->eth, NDP_FRAME))
		return KLVS_UNTOUCHED;
#ifdef KLVS_XDP
	return XDP_TX;
#else
	return bpf_redirect(ifindex, 0);
#endif
}
