// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What a real server needs: see abi.h. */
#include "dataplane/ebpf/bpf/node_maps.h"

#include "dataplane/ebpf/bpf/decap.h"
#include "dataplane/ebpf/bpf/mss.h"

SEC("tc")
int tc_decap(struct __sk_buff *ctx)
{
	return decapsulate(ctx);
}

SEC("tc")
int tc_mss_clamp(struct __sk_buff *ctx)
{
	mss_clamp(ctx);
	return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
