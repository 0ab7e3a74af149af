/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is dropped: all of it is counted, some of it is shown to whoever reads klvs_drop_ring. */
#pragma once

#include "dataplane/ebpf/bpf/budget.h"
#include "dataplane/ebpf/bpf/packet.h"

static __always_inline __u32 frame_length(klvs_ctx *ctx)
{
#ifdef KLVS_XDP
	return bpf_xdp_get_buff_len(ctx);
#else
	return ctx->len;
#endif
}

static __always_inline int may_sample(void)
{
	__u32 zero = 0;
	struct klvs_settings *settings = bpf_map_lookup_elem(&klvs_settings, &zero);
	struct klvs_budget *budget = bpf_map_lookup_elem(&klvs_drop_budget, &zero);

	return settings && budget &&
	       budget_take(budget, bpf_jiffies64(), settings->hz, KLVS_DROP_SAMPLES_PER_SECOND,
			   KLVS_DROP_SAMPLES_PER_SECOND);
}

/* Counts the reason. With a full ring nobody reads. */
__noinline int drop_note(klvs_ctx *ctx, __u32 reason)
{
	__u64 *count = bpf_map_lookup_elem(&klvs_drops, &reason);
	struct klvs_drop_sample *sample;
	__u32 length;

	if (count)
		*count += 1;
	if (!may_sample())
		return 0;
	sample = bpf_ringbuf_reserve(&klvs_drop_ring, sizeof(*sample), 0);
	if (!sample)
		return 0;
	length = frame_length(ctx);
	sample->boot_ns = bpf_ktime_get_boot_ns();
	sample->ifindex = IFINDEX(ctx);
	sample->length = length;
	sample->captured = 0;
	sample->reason = reason;
	sample->stage = KLVS_STAGE;
	sample->reserved = 0;
	if (length > KLVS_DROP_FRAME)
		length = KLVS_DROP_FRAME;
	if (LENGTH_HOLDS(length, ETH_HEADER, KLVS_DROP_FRAME) &&
	    !packet_load(ctx, 0, sample->frame, length))
		sample->captured = length;
	bpf_ringbuf_submit(sample, 0);
	return 0;
}

/* The verdict that drops. */
static __always_inline int drop(klvs_ctx *ctx, __u32 reason)
{
	drop_note(ctx, reason);
	return KLVS_DROP;
}
