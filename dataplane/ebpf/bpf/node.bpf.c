// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What a real server needs: see abi.h. */
#include <linux/pkt_cls.h>

#include "dataplane/ebpf/bpf/node_maps.h"

SEC("tc")
int tc_decap(struct __sk_buff *ctx)
{
	return TC_ACT_UNSPEC;
}

SEC("tc")
int tc_mss_clamp(struct __sk_buff *ctx)
{
	return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
