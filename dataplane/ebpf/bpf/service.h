/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The service of a packet to a VIP: of its very port, else of many ports. */
#pragma once

#include "dataplane/ebpf/bpf/packet.h"

/* Only new connections ask: the trie costs packets that have one nothing. */
static __always_inline struct klvs_service *service_find(const struct packet *p)
{
	struct klvs_service_key key = {
		.vip_id = p->vip_id,
		.port = p->key.dport,
		.protocol = p->key.protocol,
	};
	struct klvs_port_key port = {};
	struct klvs_service *service = bpf_map_lookup_elem(&klvs_services, &key);
	struct klvs_port_owner *owner;

	if (service)
		return service;
	port.prefix_length = KLVS_PORT_PREFIX_PORT;
	port.vip_id = p->vip_id;
	port.protocol = p->key.protocol;
	port.port = p->key.dport;
	owner = bpf_map_lookup_elem(&klvs_ports, &port);
	if (!owner)
		return NULL;
	return bpf_map_lookup_elem(&klvs_wide_services, &owner->service);
}
