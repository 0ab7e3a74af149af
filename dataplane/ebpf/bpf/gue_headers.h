/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Generic UDP Encapsulation, variant 0 without options (draft-ietf-intarea-gue-09): what is between
 * the outer IP header and the packet. No checksum, as IPVS's by default; of IPv6, too (RFC 6935).
 */
#pragma once

#include <linux/types.h>
#include <linux/udp.h>

struct gue_headers {
	struct udphdr udp;
	__u8 variant; /* and the length of its options */
	__u8 protocol;
	__be16 flags;
};

#define GUE_HEADERS sizeof(struct gue_headers)

_Static_assert(GUE_HEADERS == 12, "UDP and GUE");
