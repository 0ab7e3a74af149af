/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * twos: of two real servers drawn by weight, the one with the smaller overhead for its weight.
 * Source: ip_vs_twos.c of Linux 6.1, restated; a draw from 0 on, as there, gives the first of the
 * list one chance more than its weight.
 */
#pragma once

#include "dataplane/ebpf/bpf/schedule_least.h"

struct twos_walk {
	__s64 sum; /* of the weights; of the draw: what is left */
	__u32 base;
	__u32 drawn; /* 0: the walk that adds up the weights */
	__u32 real;  /* drawn; 0 if none */
	__s32 weight;
};

static long twos_visit(__u32 n, void *data)
{
	struct twos_walk *walk = data;
	__u32 index = walk->base + n, real, weight;
	struct klvs_list_entry *entry = bpf_map_lookup_elem(&klvs_lists, &index);

	if (!entry)
		return 1;
	real = entry->real;
	weight = entry->weight;
	if (!weight || real_is_overloaded(real))
		return 0;
	if (!walk->drawn) {
		walk->sum += weight;
		return 0;
	}
	walk->sum -= weight;
	if (walk->sum > 0)
		return 0;
	walk->real = real;
	walk->weight = weight;
	return 1;
}

/* Draws a real server into `walk`; returns its overhead. */
static __noinline __s32 twos_draw(struct twos_walk *walk, __u32 count, __u32 total)
{
	struct klvs_real_conns *c;
	__u32 real;

	walk->sum = (__u64)bpf_get_prandom_u32() * ((__u64)total + 1) >> 32;
	walk->drawn = KLVS_LOOP_ZERO + 1;
	bpf_loop(count, twos_visit, walk, 0);
	real = walk->real;
	c = bpf_map_lookup_elem(&klvs_real_conns, &real);
	return c ? real_overhead(c) : 0;
}

/* The real server's id; 0 if there is none. */
static __noinline __u32 schedule_twos(const struct klvs_service *service)
{
	struct twos_walk walk = {
		.base = service->list_base,
		.sum = KLVS_LOOP_ZERO,
		.drawn = KLVS_LOOP_ZERO,
		.real = KLVS_LOOP_ZERO,
		.weight = KLVS_LOOP_ZERO,
	};
	__s32 one_weight, one_overhead, overhead;
	__u32 count = service->list_count, total, one;

	bpf_loop(count, twos_visit, &walk, 0);
	total = walk.sum;
	if (!total)
		return 0;
	one_overhead = twos_draw(&walk, count, total);
	one = walk.real;
	one_weight = walk.weight;
	overhead = twos_draw(&walk, count, total);
	return walk.weight * one_overhead > one_weight * overhead ? walk.real : one;
}
