/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* As abi.h: what real servers know of tunnels by GUE. */
#pragma once

#include "dataplane/ebpf/abi.h"

/* klvs_gue_peers, LPM_TRIE -> __u32 1: as klvs_tunnel_nets, of GUE that comes to an address and UDP
 * port of this real server. `bits` counts all that must be equal, of which all but the VIP whole; a
 * single VIP is here, too. */
struct klvs_gue_to {
	__be32 director;
	__be32 real;
	__be16 port;
	__u16 reserved;
	__be32 vip;
};

struct klvs_gue_peer {
	__u32 bits;
	struct klvs_gue_to to;
};
KLVS_ASSERT_SIZE(struct klvs_gue_peer, 20);

/* klvs_gue_peers6: the same for IPv6. */
struct klvs_gue_to6 {
	struct klvs_in6 director;
	struct klvs_in6 real;
	__be16 port;
	__u16 reserved;
	struct klvs_in6 vip;
};

struct klvs_gue_peer6 {
	__u32 bits;
	struct klvs_gue_to6 to;
};
KLVS_ASSERT_SIZE(struct klvs_gue_peer6, 56);

#define KLVS_GUE_BITS 96 /* before those of the VIP */
#define KLVS_GUE_BITS6 288
