/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is surely not ours costs least: one bit of klvs_filter. */
#pragma once

#include "dataplane/ebpf/bpf/defs.h"

static __always_inline int filter_has(const struct klvs_filter *filter, __be32 folded)
{
	__u32 bit = klvs_filter_bit(folded);

	return filter->words[bit >> 6] >> (bit & 63) & 1;
}

/*
 * Whether klvs_addresses is worth a look-up, for a packet between two addresses, folded. An ICMP
 * error of plain NAT may come from a router in between.
 */
static __always_inline int filter_passes(__be32 src, __be32 dst, int icmp,
					 const struct klvs_settings *settings)
{
	__u32 zero = 0;
	const struct klvs_filter *filter = bpf_map_lookup_elem(&klvs_filter, &zero);

	if (!filter)
		return 1;
	return filter_has(filter, dst) || (settings->flags & KLVS_SETTING_PLAIN_NAT &&
					   (icmp || filter_has(filter, src)));
}
