/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Directors that are each other's real servers by DirectRouting: what comes to one that has not
 * claimed the VIP was balanced by the one that has. It goes to the real server on this node, and
 * leaves no connection here.
 */
#pragma once

#include "dataplane/ebpf/bpf/address.h"
#include "dataplane/ebpf/bpf/csum.h"
#include "dataplane/ebpf/bpf/open.h"
#include "dataplane/ebpf/bpf/service.h"

/*
 * The real server on this node that `p` is for, which has no connection here; 0 if there is none,
 * or `p` is ours to balance. In mid-stream also one that has left the list: its connections go on
 * where they were opened. KLVS_SETTING_CLAIMS is set.
 */
__noinline int deliver_here(struct packet *p, struct klvs_settings *settings)
{
	struct klvs_address *address;
	struct klvs_service *service;
	klvs_addr vip;

	if (!p || !settings)
		return 0;
	service = service_find(p);
	if (!service || service->delivers == KLVS_DELIVERS_NOTHING ||
	    (p->opening && service->delivers != KLVS_DELIVERS))
		return 0;
	if (is_local_link(p->ifindex) || source_is_martian(p))
		return 0;
	vip = p->key.dst;
	address = address_find(&vip, settings);
	if (!address || (address->flags & KLVS_ADDRESS_ANSWER_ARP &&
			 bpf_ktime_get_boot_ns() < address->claim_until))
		return 0;
	return service->local;
}
