// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Makes a packet of a flow at random, and jumps to the program under test: packets follow each other
 * without a system call in between, as they do behind a network card. */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define WORDS 8 /* 64 bytes */
#define SOURCE 26
#define SOURCE_PORT 34

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} under_test SEC(".maps");

__u64 frame[WORDS]; /* of flow 0 */
__u64 state;	    /* of a xorshift generator; not 0 */
__u32 flows;
__u32 ports; /* so many flows of each client */
__u32 first_client;
__u32 first_port;

SEC("xdp")
int random_flow(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 x = state;
	__u32 n, i;

	if (data + sizeof(frame) > end || !flows || !ports)
		return XDP_ABORTED;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	state = x;
	n = (x >> 32) % flows;
#pragma unroll
	for (i = 0; i < WORDS; i++)
		((__u64 *)data)[i] = frame[i];
	*(__u32 *)(data + SOURCE) = bpf_htonl(first_client + n / ports);
	*(__u16 *)(data + SOURCE_PORT) = bpf_htons(first_port + n % ports);
	bpf_tail_call(ctx, &under_test, 0);
	return XDP_ABORTED;
}

/* As many cache lines as the connection table has, all zero. */
#define LINES (1 << 21)
struct line {
	__u64 word[WORDS];
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LINES);
	__type(key, __u32);
	__type(value, struct line);
} lines SEC(".maps");

/* Under test: no more than one access to memory, which the next packet waits for. */
SEC("xdp")
int one_access(struct xdp_md *ctx)
{
	__u32 n = (state * 0x9E3779B97F4A7C15ULL) >> 43;
	struct line *line = bpf_map_lookup_elem(&lines, &n);

	if (!line)
		return XDP_ABORTED;
	state ^= line->word[0];
	line->word[1] = n;
	return XDP_TX;
}

char _license[] SEC("license") = "Dual BSD/GPL";
