/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Incremental Internet checksums: RFC 1624, equation 3. */
#pragma once

#include "dataplane/ebpf/bpf/defs.h"

/* `sum`, and what a word's change adds to it. 32 bits are room for 32768 of them. */
static __always_inline __u32 csum_change16(__u32 sum, __u16 from, __u16 to)
{
	return sum + (__u16)~from + to;
}

static __always_inline __u32 csum_change32(__u32 sum, __u32 from, __u32 to)
{
	sum = csum_change16(sum, from >> 16, to >> 16);
	return csum_change16(sum, from, to);
}

static __always_inline __u32 csum_change_addr(__u32 sum, const klvs_addr *from, const klvs_addr *to)
{
#ifdef KLVS_IPV6
	__u64 wide = 0;
	__u32 i;

#pragma unroll
	for (i = 0; i < 4; i++)
		wide += (__u64)(__u32)~from->word[i] + to->word[i];
	/* At most 35 bits. */
	wide = (__u32)wide + (wide >> 32);
	return sum + (wide & 0xffff) + (wide >> 16);
#else
	return csum_change32(sum, *from, *to);
#endif
}

static __always_inline __u16 csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* The checksum that was `check`, after the changes in `sum`. */
static __always_inline __u16 csum_apply(__u16 check, __u32 sum)
{
	return ~csum_fold(sum + (__u16)~check);
}
