/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whether an address is one that the programs know: by itself, or by a network of VIPs. */
#pragma once

#include "dataplane/ebpf/bpf/defs.h"

static __noinline struct klvs_address *network_find(const klvs_addr *address)
{
	struct klvs_network_key key = {
		.prefix_length = 8 * sizeof(*address),
		.address = *address,
	};

	return bpf_map_lookup_elem(&klvs_networks, &key);
}

/* The id of an IPv4 VIP that needs no look-up; else 0. */
static __always_inline __u32 vip_at_hand(__be32 address, const struct klvs_settings *settings)
{
	__u64 word = READ_ONCE(settings->vips[klvs_vip_slot(address)]);

	return (__be32)word == address ? word >> 32 : 0;
}

/* NULL if it is not known. Where there are no networks they cost nothing but a look at the flag. */
static __always_inline struct klvs_address *address_find(const klvs_addr *key,
							 const struct klvs_settings *settings)
{
	struct klvs_address *address = bpf_map_lookup_elem(&klvs_addresses, key), *network;

	if (!(settings->flags & KLVS_SETTING_NETWORKS) ||
	    (address && address->flags & (KLVS_ADDRESS_VIP | KLVS_ADDRESS_SNAT)))
		return address;
	network = network_find(key);
	return network ? network : address;
}
