/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * SipHash-1-3 of one 32-bit word with both halves of the key equal, low 32 bits: what the kernel's
 * `mh` uses on 64-bit machines. Algorithm: Aumasson and Bernstein, "SipHash: a fast short-input
 * PRF".
 */
#pragma once

#include "dataplane/ebpf/bpf/defs.h"

#define SIPHASH_ROTATE(x, bits) ((x) << (bits) | (x) >> (64 - (bits)))

#define SIPHASH_ROUND(v0, v1, v2, v3)                                                              \
	do {                                                                                       \
		v0 += v1, v1 = SIPHASH_ROTATE(v1, 13), v1 ^= v0, v0 = SIPHASH_ROTATE(v0, 32);      \
		v2 += v3, v3 = SIPHASH_ROTATE(v3, 16), v3 ^= v2;                                   \
		v0 += v3, v3 = SIPHASH_ROTATE(v3, 21), v3 ^= v0;                                   \
		v2 += v1, v1 = SIPHASH_ROTATE(v1, 17), v1 ^= v2, v2 = SIPHASH_ROTATE(v2, 32);      \
	} while (0)

static __always_inline __u32 siphash_u32(__u32 value, __u64 key)
{
	__u64 v0 = key ^ 0x736f6d6570736575ULL, v1 = key ^ 0x646f72616e646f6dULL;
	__u64 v2 = key ^ 0x6c7967656e657261ULL, v3 = key ^ 0x7465646279746573ULL;
	__u64 b = 4ULL << 56 | value;

	v3 ^= b;
	SIPHASH_ROUND(v0, v1, v2, v3);
	v0 ^= b;
	v2 ^= 0xff;
	SIPHASH_ROUND(v0, v1, v2, v3);
	SIPHASH_ROUND(v0, v1, v2, v3);
	SIPHASH_ROUND(v0, v1, v2, v3);
	return v0 ^ v1 ^ v2 ^ v3;
}
