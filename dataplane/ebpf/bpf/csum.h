/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Incremental Internet checksums: RFC 1624, equation 3; by wide words, RFC 1071, section 2. */
#pragma once

#include "dataplane/ebpf/bpf/defs.h"

/* `sum`, and what a word's change adds to it. 64 bits are room for all of a header's. `max - from`
 * is `~from`: the many maxima become one constant. */
static __always_inline __u64 csum_change16(__u64 sum, __u16 from, __u16 to)
{
	return sum + 0xffff - from + to;
}

static __always_inline __u64 csum_change32(__u64 sum, __u32 from, __u32 to)
{
	return sum + 0xffffffff - from + to;
}

static __always_inline __u64 csum_change_addr(__u64 sum, const klvs_addr *from,
					      const klvs_addr *to)
{
#ifdef KLVS_IPV6
	__u32 i;

#pragma unroll
	for (i = 0; i < 4; i++) {
		sum += to->word[i];
		sum -= from->word[i];
		/* Now: the words do not fit into registers together. */
		asm volatile("" : "+r"(sum));
	}
	return sum + 4 * 0xffffffffULL;
#else
	return csum_change32(sum, *from, *to);
#endif
}

/* The same sum in at most 18 bits. */
static __always_inline __u32 csum_narrow(__u64 sum)
{
	/* 33 bits */
	sum = (__u32)sum + (sum >> 32);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline __u16 csum_fold_narrow(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static __always_inline __u16 csum_fold(__u64 sum)
{
	return csum_fold_narrow(csum_narrow(sum));
}

/* The checksum that was `check`, after the changes in `sum`. */
static __always_inline __u16 csum_apply(__u16 check, __u64 sum)
{
	return ~csum_fold(sum + (__u16)~check);
}

/* For a sum of few words of 16 bits. */
static __always_inline __u16 csum_apply_narrow(__u16 check, __u32 sum)
{
	return ~csum_fold_narrow(sum + (__u16)~check);
}
