/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An ICMP error about the outer packet of a tunnel, which comes to the tunnel's source: the client
 * gets it about his own packet, from the VIP, and of what fits the tunnel's headers are taken off.
 * ip_vs_in_icmp of Linux 6.1 does so for IPv4. tc alone: the client may be on another interface.
 */
#pragma once

#include "dataplane/ebpf/bpf/conn.h"
#include "dataplane/ebpf/bpf/drop.h"
#include "dataplane/ebpf/bpf/gue.h"
#include "dataplane/ebpf/bpf/icmp_answer.h"
#include "dataplane/ebpf/bpf/send_tc.h"

#ifdef KLVS_IPV6
#include "dataplane/ebpf/bpf/too_big6.h"
#else
#include "dataplane/ebpf/bpf/too_big.h"
#endif

/* What the error says, and of the packet in the tunnel. */
struct tunnel_error {
	struct klvs_conn_key key;
	klvs_addr real; /* where the tunnel leads */
	__be16 gue_port;
	__u16 at; /* offset of what is quoted of the packet, and how much it is */
	__u16 length;
	__u8 type;
	__u8 code;
	__u32 rest; /* the word behind its checksum: what fits, without the tunnel's headers */
};

#ifdef KLVS_IPV6
#define ICMP_TIME_EXCEEDED 3
#define MAY_BE_CUT(ip) 0

/* The length of a quoted header that ports or another header may be behind; else 0. */
static __always_inline __u32 quoted_header(const struct ipv6hdr *ip)
{
	return *(const __u8 *)ip >> 4 == 6 ? IP_HEADER : 0;
}

static __always_inline __u32 quoted_length(const struct ipv6hdr *ip)
{
	return bpf_ntohs(ip->payload_len) + IP_HEADER;
}

static __always_inline int says_what_fits(const struct icmp_error *error)
{
	return error->type == ICMP_TOO_BIG;
}

static __always_inline __u32 what_fits(const struct icmp_error *error)
{
	return bpf_ntohl(error->rest);
}

static __always_inline int is_passed_on(const struct icmp_error *error)
{
	return error->type >= ICMP_UNREACHABLE && error->type <= ICMP_TIME_EXCEEDED;
}
#else
#define MAY_BE_CUT(ip) (!((ip)->frag_off & IP_DONT_FRAGMENT))

static __always_inline __u32 quoted_header(const struct iphdr *ip)
{
	__u8 first = *(const __u8 *)ip;

	if (first >> 4 != 4 || (first & 15) < 5 || ip->frag_off & IP_FRAGMENT_OFFSET)
		return 0;
	return (first & 15) * 4;
}

static __always_inline __u32 quoted_length(const struct iphdr *ip)
{
	return bpf_ntohs(ip->tot_len);
}

static __always_inline int says_what_fits(const struct icmp_error *error)
{
	return error->type == ICMP_UNREACHABLE && error->code == ICMP_FRAGMENTATION_NEEDED;
}

/* RFC 1191; above it may be a length (RFC 4884). */
static __always_inline __u32 what_fits(const struct icmp_error *error)
{
	return bpf_ntohl(error->rest) & 0xffff;
}

static __always_inline int is_passed_on(const struct icmp_error *error)
{
	return error->type == ICMP_UNREACHABLE || error->type == ICMP_TIME_EXCEEDED;
}
#endif

/* `p` is an ICMP packet, no fragment. 0 if it is such an error: then `e`, all zero until now, is
 * filled in. */
__noinline int tunnel_error_read(klvs_ctx *ctx, struct packet *p, struct tunnel_error *e)
{
	struct icmp_error error;
	__u32 at, end, header;
	__be16 port[2];
	klvs_ip ip;

	if (!p || !e || packet_load(ctx, p->l4, &error, sizeof(error)))
		return -1;
	end = ETH_HEADER + p->total_length;
	header = quoted_header(&error.ip);
	if (!header || !is_passed_on(&error))
		return -1;
	ip = error.ip;
	if (!addr_equal(&IP_SRC(&ip), &p->key.dst))
		return -1;
	e->real = IP_DST(&ip);
	at = p->l4 + ICMP_HEADER + header;
	if (IP_NEXT(&ip) == IPPROTO_UDP) {
		struct gue_headers gue;

		if (packet_load(ctx, at, &gue, sizeof(gue)) || gue.variant ||
		    gue.protocol != IP_IN_IP)
			return -1;
		e->gue_port = gue.udp.dest;
		at += sizeof(gue);
	} else if (IP_NEXT(&ip) != IP_IN_IP) {
		return -1;
	}
	if (packet_load(ctx, at, &ip, sizeof(ip)))
		return -1;
	header = quoted_header(&ip);
	if (!header || at + header + ICMP_QUOTED_L4 > end ||
	    quoted_length(&ip) < header + ICMP_QUOTED_L4 ||
	    (IP_NEXT(&ip) != IPPROTO_TCP && IP_NEXT(&ip) != IPPROTO_UDP &&
	     IP_NEXT(&ip) != IPPROTO_SCTP) ||
	    packet_load(ctx, at + header, port, sizeof(port)))
		return -1;
	e->key.src = IP_SRC(&ip);
	e->key.dst = IP_DST(&ip);
	e->key.sport = port[0];
	e->key.dport = port[1];
	e->key.protocol = IP_NEXT(&ip);
	e->at = at;
	e->length = quoted_length(&ip);
	if (e->length > end - at)
		e->length = end - at;
	e->type = error.type;
	e->code = error.code;
	/* Of others it may be a length of what is quoted (RFC 4884), which is shorter now. */
	if (says_what_fits(&error)) {
		__u32 overhead = tunnel_overhead(e->gue_port);

		e->rest = what_fits(&error);
		if (MAY_BE_CUT(&ip) || e->rest < TOO_BIG_LEAST + overhead || e->rest > 0xffff)
			return -1;
		e->rest -= overhead;
	}
	return 0;
}

/* `p` is an ICMP packet, no fragment. KLVS_UNTOUCHED, and nothing has changed, if it is nothing of
 * the kind. */
__noinline int tunnel_error(klvs_ctx *ctx, struct packet *p)
{
	struct klvs_settings *settings = settings_get();
	struct tunnel_error e = {};
	struct klvs_real *real;
	const klvs_ends *ends;
	struct klvs_conn *c;
	__u32 handle, id;
	__u64 ctl;

	if (!p || !settings || tunnel_error_read(ctx, p, &e))
		return KLVS_UNTOUCHED;
	c = conn_find(&e.key, conn_hash(&e.key, settings), &ctl, &handle, settings);
	if (!c || ctl & CTL_REPLY || p->now > c->expires)
		return KLVS_UNTOUCHED;
	id = c->real;
	real = bpf_map_lookup_elem(&klvs_reals, &id);
	ends = real_ends(&id, real);
	if (!real || !ends || !(real->flags & KLVS_REAL_VALID) ||
	    real->method != KLVS_METHOD_TUNNEL || real->gue_port != e.gue_port ||
	    !addr_equal(&ends->address, &e.real) || !addr_equal(&ends->source, &p->key.dst))
		return KLVS_UNTOUCHED;
	p->key = e.key;
	p->total_length = e.length;
	if (icmp_answer(ctx, p, ICMP_KIND(e.type, e.code), e.rest, e.at) == KLVS_DROP)
		return drop(ctx, KLVS_DROP_ICMP);
	return send_to_client(ctx, p, c);
}
