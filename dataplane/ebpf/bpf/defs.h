/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What XDP and tc name differently, and small words that every file uses. */
#pragma once

#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "dataplane/ebpf/bpf/family.h"

#ifdef KLVS_XDP
typedef struct xdp_md klvs_ctx;
#define KLVS_UNTOUCHED XDP_PASS
#define KLVS_DROP XDP_DROP
#define IFINDEX(ctx) ((ctx)->ingress_ifindex)
#define KLVS_STAGE KLVS_STAGE_XDP
#else
typedef struct __sk_buff klvs_ctx;
#define KLVS_UNTOUCHED TC_ACT_UNSPEC
#define KLVS_DROP TC_ACT_SHOT
#define IFINDEX(ctx) ((ctx)->ifindex)
#define KLVS_STAGE KLVS_STAGE_TC
#endif

#define ETH_HEADER 14
#define ETH_TYPE 12 /* offset */
#define TCP_HEADER 20
#define TCP_HEADER_WORDS 12 /* offset of the byte that says how many */
#define UDP_HEADER 8
#define SCTP_CHUNK_HEADER 4

#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

/*
 * `value`, about which the verifier now knows nothing: branches that computed it differently are
 * walked on once instead of once for each. The caller bounds it again with a mask.
 */
static __always_inline __u64 klvs_forget(__u64 value)
{
	__u64 noise = bpf_jiffies64();

	asm volatile("%0 ^= %1\n\t%0 ^= %1" : "+r"(value) : "r"(noise));
	return value;
}

/*
 * What a callback of bpf_loop changes and looks at must begin as klvs_forget(0): verifiers before
 * 6.7 walk a callback once, with the values of before the loop, and take out the branches that
 * those do not take.
 */
#define KLVS_LOOP_ZERO klvs_forget(0)

/* `value & mask`, where the compiler must not leave out a mask that the verifier needs. */
#define klvs_mask(value, mask)                                                                     \
	({                                                                                         \
		__u64 masked_ = (value);                                                           \
		asm volatile("%0 &= %1" : "+r"(masked_) : "i"(mask));                              \
		masked_;                                                                           \
	})

/* Copies a MAC address; a memcpy of 6 bytes may become single bytes. */
static __always_inline void mac_copy(void *to, const void *from)
{
	__u16 *t = to;
	const __u16 *f = from;

	t[0] = f[0];
	t[1] = f[1];
	t[2] = f[2];
}

static __always_inline int mac_equal(const void *a, const void *b)
{
	const __u16 *x = a, *y = b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2];
}

/* The same by wider words: for frames and map values, which may be unaligned, and for what begins at
 * a multiple of 4 on the stack. */
static __always_inline void mac_move(void *to, const void *from)
{
	*(__u32 *)to = *(const __u32 *)from;
	*(__u16 *)(to + 4) = *(const __u16 *)(from + 4);
}

/* Two, one behind the other. */
static __always_inline void macs_move(void *to, const void *from)
{
	*(__u64 *)to = *(const __u64 *)from;
	*(__u32 *)(to + 8) = *(const __u32 *)(from + 8);
}

static __always_inline int mac_same(const void *a, const void *b)
{
	return *(const __u32 *)a == *(const __u32 *)b &&
	       *(const __u16 *)(a + 4) == *(const __u16 *)(b + 4);
}
