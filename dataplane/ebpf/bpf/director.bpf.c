// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The director: compiled with -DKLVS_XDP into xdp_director, without it into tc_director.
 */
#include "dataplane/ebpf/bpf/maps.h"

#ifdef KLVS_XDP
SEC("xdp")
int xdp_director(struct xdp_md *ctx)
{
	return XDP_PASS;
}
#else
SEC("tc")
int tc_director(struct __sk_buff *ctx)
{
	return -1;
}

SEC("syscall")
int klvs_clock(struct klvs_clock *clock)
{
	clock->jiffies = bpf_jiffies64();
	clock->boot_ns = bpf_ktime_get_boot_ns();
	return 0;
}
#endif

char LICENSE[] SEC("license") = "Dual BSD/GPL";
