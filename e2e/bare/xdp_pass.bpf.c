// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Hands every frame on. A veth transmits by XDP only if its far end has an XDP program, too. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp")
int xdp_pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
