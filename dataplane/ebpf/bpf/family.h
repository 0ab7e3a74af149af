/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The family that the source is compiled for: IPv6 with -DKLVS_IPV6, else IPv4. Records and maps of
 * abi.h that hold addresses go by IPv4's names; with KLVS_IPV6 those mean IPv6's.
 */
#pragma once

#include <linux/ip.h>
#include <linux/ipv6.h>

#include "dataplane/ebpf/abi.h"

#ifdef KLVS_IPV6

#define klvs_addresses klvs_addresses6
#define klvs_conn klvs_conn6
#define klvs_conn_key klvs_conn_key6
#define klvs_conn_set klvs_conn_set6
#define klvs_conn_tags klvs_conn_tags6
#define klvs_conns klvs_conns6
#define klvs_fragment_key klvs_fragment_key6
#define klvs_fragments klvs_fragments6
#define klvs_network_key klvs_network_key6
#define klvs_networks klvs_networks6
#define klvs_sweep_hand klvs_sweep_hand6
#define klvs_template_key klvs_template_key6
#define klvs_templates klvs_templates6

#define FAMILY_PROGRAM(name) name##6

#define IP6_SRC(ip) ((struct klvs_in6 *)&(ip)->saddr)
#define IP6_DST(ip) ((struct klvs_in6 *)&(ip)->daddr)
#define IP_SRC(ip) (*IP6_SRC(ip))
#define IP_DST(ip) (*IP6_DST(ip))
#define IP_NEXT(ip) ((ip)->nexthdr)
#define IP_ICMP IPPROTO_ICMPV6

typedef struct klvs_in6 klvs_addr;
typedef struct ipv6hdr klvs_ip;
/* What holds the addresses of a real server. */
typedef struct klvs_real6 klvs_ends;

#define IP_HEADER 40
#define IP_IN_IP IPPROTO_IPV6
#define IP_ETHERTYPE ETH_P_IPV6
#define L4_MASK 255 /* of the offset of the TCP, UDP or ICMP header in a frame */
#define CONN_SETS(settings) ((settings)->conn_sets6)

static __always_inline int addr_equal(const klvs_addr *a, const klvs_addr *b)
{
	return ((a->word[0] ^ b->word[0]) | (a->word[1] ^ b->word[1]) | (a->word[2] ^ b->word[2]) |
		(a->word[3] ^ b->word[3])) == 0;
}

/* Of frames and map values, whose words the verifier lets be unaligned. */
static __always_inline void addr_copy(void *to, const void *from)
{
	((__u64 *)to)[0] = ((const __u64 *)from)[0];
	((__u64 *)to)[1] = ((const __u64 *)from)[1];
}

static __always_inline int addr_is_any(const klvs_addr *a)
{
	return (a->word[0] | a->word[1] | a->word[2] | a->word[3]) == 0;
}

/* What the kernel's hash schedulers make of an address. */
static __always_inline __be32 addr_fold(const klvs_addr *a)
{
	return a->word[0] ^ a->word[1] ^ a->word[2] ^ a->word[3];
}

#else

#define FAMILY_PROGRAM(name) name

#define IP_SRC(ip) ((ip)->saddr)
#define IP_DST(ip) ((ip)->daddr)
#define IP_NEXT(ip) ((ip)->protocol)
#define IP_ICMP IPPROTO_ICMP
#ifdef KLVS_XDP
#define KLVS_FAMILIES klvs_families_xdp
#else
#define KLVS_FAMILIES klvs_families_tc
#endif

typedef __be32 klvs_addr;
typedef struct iphdr klvs_ip;
typedef struct klvs_real klvs_ends;

#define IP_HEADER 20
#define IP_IN_IP IPPROTO_IPIP
#define IP_ETHERTYPE ETH_P_IP
#define L4_MASK 127
#define CONN_SETS(settings) ((settings)->conn_sets)

static __always_inline int addr_equal(const klvs_addr *a, const klvs_addr *b)
{
	return *a == *b;
}

static __always_inline int addr_is_any(const klvs_addr *a)
{
	return *a == 0;
}

static __always_inline __be32 addr_fold(const klvs_addr *a)
{
	return *a;
}

#endif
