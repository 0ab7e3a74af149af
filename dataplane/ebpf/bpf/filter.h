/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is surely not ours costs least: one bit of klvs_settings.filter. */
#pragma once

#include "dataplane/ebpf/bpf/defs.h"

/* Whether a packet to `dst`, folded, may be ours. */
static __always_inline int filter_passes_to(__be32 dst, const struct klvs_settings *settings)
{
	__u32 bit = klvs_filter_bit(dst);

	return settings->filter.words[bit >> 6] >> (bit & 63) & 1;
}

/*
 * Whether another packet may be ours, for networks and sources of tunnels have no bits: from `src`,
 * folded, a reply of plain NAT. An ICMP error may come from a router in between.
 */
static __always_inline int filter_passes_other(__be32 src, int icmp,
					       const struct klvs_settings *settings)
{
	if (settings->flags & KLVS_SETTING_NETWORKS)
		return 1;
#ifndef KLVS_XDP
	if (icmp && settings->flags & KLVS_SETTING_TUNNELS)
		return 1;
#endif
	return settings->flags & KLVS_SETTING_PLAIN_NAT && (icmp || filter_passes_to(src, settings));
}
