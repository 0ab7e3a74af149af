/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The layout of every map that the BPF programs share with user space; C and C++ both include it.
 * Byte order is in the type: __be16 and __be32 are as on the wire, everything else is the host's.
 * An id of 0 is never valid. Reserved fields and padding are written as zero.
 * A change that moves or redefines a field increases KLVS_LAYOUT; using a reserved field does not.
 *
 * Objects. `director_xdp` and `director_tc` (skeletons of the same names) are one source compiled
 * twice; `node_tc` holds what real servers need. All share the maps below by name: load
 * director_tc first, hand its maps to the others with bpf_map__reuse_fd. Sizes are set before
 * loading (bpf_map__set_max_entries); the defaults in bpf/maps.h suit tests.
 *
 *   director_xdp: SEC xdp    xdp_director   XDP of an interface
 *   director_tc:  SEC tc     tc_director    clsact ingress of every interface of a director
 *                 SEC tc     tc_reply       clsact egress of the same: what processes of the
 *                                           director itself answer by NAT without source NAT
 *                 SEC syscall klvs_clock     BPF_PROG_TEST_RUN with ctx struct klvs_clock: the time
 *                 SEC tc     klvs_sweep     only by BPF_PROG_TEST_RUN: takes out expired
 *                                           connections of cb[1] sets from set cb[0] on; returns
 *                                           how many. With set 0 also templates that are over
 *   director6_xdp, director6_tc: the same source compiled for IPv6, with a table of connections of
 *                 its own. Their programs xdp_director6, tc_director6 are never attached: the
 *                 attached ones jump to them through the PROG_ARRAYs klvs_families_xdp and
 *                 klvs_families_tc (entry 0, which user space fills). `tc_reply6` is a filter beside
 *                 tc_reply. `klvs_sweep6` as klvs_sweep.
 *   node_tc:      SEC tc     tc_decap       clsact ingress of a real server, *before* tc_director
 *                 SEC tc     tc_mss_clamp   clsact egress of a real server
 *
 * No packet depends on klvs_sweep: who meets an expired connection takes it out. But an expired
 * one that nobody meets is still counted in klvs_real_conns, and a template in klvs_real_templates;
 * sweep before reading those counts.
 *
 * A node that is director and real server has two direct-action filters on ingress, tc_decap at
 * the lower preference: what it takes off its outer header goes straight to the stack
 * (TC_ACT_OK); everything else goes on to tc_director (TC_ACT_UNSPEC).
 *
 * How user space writes:
 *   - klvs_settings before anything is attached; later only `flags`, `timeouts` and `programs`.
 *   - HASH values are replaced whole; readers see the old or the new one.
 *   - klvs_reals, klvs_lists, klvs_tables, klvs_interfaces are mapped and written by plain stores.
 *     A list or table is written in a fresh extent, then the klvs_service that names it is
 *     replaced; the old extent rests 1 s before reuse. To change an address, port, method, next
 *     hop or MAC of a real server in use, clear KLVS_REAL_L2 first and set it last.
 *   - A removed real server keeps its record, with KLVS_REAL_REMOVED, until klvs_real_conns of
 *     its id reads 0 active and 0 inactive, and klvs_real_templates 0.
 */
#pragma once

#include <linux/types.h>

#ifdef __cplusplus
#define KLVS_ASSERT_SIZE(type, size) static_assert(sizeof(type) == (size), #type)
#else
#define KLVS_ASSERT_SIZE(type, size) _Static_assert(sizeof(type) == (size), #type)
#endif

#define KLVS_LAYOUT 4

/* An IPv6 address. Names that end in 6 are IPv6's own of what IPv4 has without it; everything
 * without addresses is of both. */
struct klvs_in6 {
	__be32 word[4];
};
KLVS_ASSERT_SIZE(struct klvs_in6, 16);

/* ---- settings: klvs_settings, ARRAY of 1 ------------------------------------------------- */

/* States of a connection: the kernel's IP_VS_TCP_S_*, one for UDP, then its IP_VS_SCTP_S_*. */
enum klvs_state {
	KLVS_NONE = 0,
	KLVS_ESTABLISHED = 1,
	KLVS_SYN_SENT = 2,
	KLVS_SYN_RECV = 3,
	KLVS_FIN_WAIT = 4,
	KLVS_TIME_WAIT = 5,
	KLVS_CLOSE = 6,
	KLVS_CLOSE_WAIT = 7,
	KLVS_LAST_ACK = 8,
	KLVS_LISTEN = 9,
	KLVS_SYNACK = 10,
	KLVS_UDP = 11,
	KLVS_STATES = 16, /* size of tables indexed by state of TCP and UDP */
	KLVS_SCTP_NONE = 16,
	KLVS_SCTP_INIT1 = 17,
	KLVS_SCTP_INIT = 18,
	KLVS_SCTP_COOKIE_SENT = 19,
	KLVS_SCTP_COOKIE_REPLIED = 20,
	KLVS_SCTP_COOKIE_WAIT = 21,
	KLVS_SCTP_COOKIE = 22,
	KLVS_SCTP_COOKIE_ECHOED = 23,
	KLVS_SCTP_ESTABLISHED = 24,
	KLVS_SCTP_SHUTDOWN_SENT = 25,
	KLVS_SCTP_SHUTDOWN_RECEIVED = 26,
	KLVS_SCTP_SHUTDOWN_ACK_SENT = 27,
	KLVS_SCTP_REJECTED = 28,
	KLVS_SCTP_CLOSED = 29,
};

/* The kernel's timeouts in seconds by state; multiply by hz for klvs_settings.timeouts. */
#define KLVS_TIMEOUT_SECONDS {2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120, 300, 0, 0, 0, 0}

enum klvs_setting_flags {
	/* Some address carries KLVS_ADDRESS_NAT_REAL: look at source addresses, too. */
	KLVS_SETTING_PLAIN_NAT = 1,
	/* VIPs are addresses of this host, too: what cannot be balanced goes to its stack. */
	KLVS_SETTING_SHARED_VIPS = 2,
	/* Templates of a quiesced real server do not hold: the kernel's expire_quiescent_template. */
	KLVS_SETTING_EXPIRE_QUIESCENT = 4,
	KLVS_SETTING_NETWORKS = 8, /* klvs_networks or klvs_networks6 has some */
	KLVS_SETTING_TUNNELS = 16, /* some address carries KLVS_ADDRESS_TUNNEL: look at ICMP, too */
	/* A VIP that is not claimed here by KLVS_ADDRESS_ANSWER_ARP is claimed by another director,
	 * who balances what comes to it. */
	KLVS_SETTING_CLAIMS = 32,
};

/*
 * A bit for each address of klvs_addresses and klvs_addresses6, by
 * which most packets that are not ours are known at once. A bit is set before its address is added,
 * and cleared after the last address that has it was removed. What is KLVS_ADDRESS_TUNNEL and
 * nothing else has none: what a node gets by itself goes on without a look-up, save ICMP.
 */
#define KLVS_FILTER_BITS 65536

struct klvs_filter {
	__u64 words[KLVS_FILTER_BITS / 64];
};
KLVS_ASSERT_SIZE(struct klvs_filter, 8192);

/* The bit of an address, of an IPv6 address of the exclusive or of its words. */
static inline __u32 klvs_filter_bit(__be32 folded)
{
	return (folded * 0x9E3779B1U) >> 16;
}

/*
 * IPv4 VIPs that are known without a look-up in klvs_addresses, which has them all: each in the slot
 * of its address, unless another one was there first. It is put there after it was added there, and
 * taken out before it is removed there.
 */
#define KLVS_VIP_SLOTS 4096

static inline __u32 klvs_vip_slot(__be32 address)
{
	return klvs_filter_bit(address) / (KLVS_FILTER_BITS / KLVS_VIP_SLOTS);
}

static inline __u64 klvs_vip_word(__be32 address, __u32 vip_id)
{
	return (__u64)vip_id << 32 | address;
}

struct klvs_settings {
	__u32 layout;	  /* KLVS_LAYOUT */
	__u32 flags;	  /* KLVS_SETTING_* */
	__u32 hz;	  /* jiffies per second: 1e9 / clock_getres(CLOCK_MONOTONIC_COARSE) in ns */
	__u32 conn_sets;  /* max_entries of klvs_conns; a power of two */
	__u32 conn_sets6; /* max_entries of klvs_conns6; a power of two */
	__u16 snat_port_base; /* ports claimed on a source-NAT address; default 1024 */
	__u16 snat_port_count; /* default 31744: up to 32767, below the ephemeral ports */
	__u64 seed[2];	       /* random; fixed for the life of klvs_conns */
	__u32 timeouts[KLVS_STATES]; /* jiffies */
	__u64 programs;	   /* lvsadm's dataplane: names the objects that were attached last */
	__u32 stateful_per_second; /* new connections of each CPU that hash schedulers remember; 0: all */
	__u32 reserved[19];
	struct klvs_filter filter;
	__u64 vips[KLVS_VIP_SLOTS]; /* klvs_vip_word; 0: nobody's */
};
KLVS_ASSERT_SIZE(struct klvs_settings, 41152);

/* ctx of klvs_clock: both clocks read at once, to show `expires` as seconds left. */
struct klvs_clock {
	__u64 jiffies;
	__u64 boot_ns;
};
KLVS_ASSERT_SIZE(struct klvs_clock, 16);

/* ---- addresses: klvs_addresses, HASH __be32 -> struct klvs_address; klvs_addresses6, HASH
 *      struct klvs_in6 -> the same. No two VIPs of both have one id -------------------------- */

enum klvs_address_flags {
	/* Packets to it are ours: balanced, or dropped with a reason, if not KLVS_SETTING_SHARED_VIPS. */
	KLVS_ADDRESS_VIP = 1,
	/* with VIP: ARP, of IPv6 neighbour discovery, answered on `ifindex` until `claim_until` */
	KLVS_ADDRESS_ANSWER_ARP = 2,
	KLVS_ADDRESS_SNAT = 4,	     /* a `source` of NAT real servers: replies come to it */
	KLVS_ADDRESS_NAT_REAL = 8, /* a NAT real server without source NAT: replies come from it */
	/* a `source` of Tunnel real servers: errors about its packets come to it */
	KLVS_ADDRESS_TUNNEL = 16,
};

struct klvs_address {
	__u32 vip_id; /* != 0 with KLVS_ADDRESS_VIP */
	__u32 flags;
	__u64 claim_until; /* CLOCK_BOOTTIME ns; ~0 never ends */
	__u32 ifindex;	   /* of KLVS_ADDRESS_ANSWER_ARP */
	__u32 prefix_length; /* of its key in klvs_networks, for a look-up gets the longest prefix; else 0 */
	__u32 reserved[2];
};
KLVS_ASSERT_SIZE(struct klvs_address, 32);

/*
 * klvs_networks, LPM_TRIE struct klvs_network_key -> struct klvs_address, and klvs_networks6: VIPs by
 * the prefix, which share one vip_id. Asked with KLVS_SETTING_NETWORKS, for what is no VIP and no
 * KLVS_ADDRESS_SNAT by itself; a connection's key has the very address.
 */
struct klvs_network_key {
	__u32 prefix_length; /* in bits */
	__be32 address;
};
KLVS_ASSERT_SIZE(struct klvs_network_key, 8);

struct klvs_network_key6 {
	__u32 prefix_length;
	struct klvs_in6 address;
};
KLVS_ASSERT_SIZE(struct klvs_network_key6, 20);

/*
 * Interfaces that the programs are attached to: klvs_interfaces, ARRAY, mapped; the record of an
 * interface is at ifindex % KLVS_INTERFACE_SLOTS. Two attached interfaces with one slot cannot
 * both be served. XDP passes what arrives on an interface without record to tc.
 */
#define KLVS_INTERFACE_SLOTS 1024

enum klvs_interface_flags {
	/* What comes in here was sent by this node, which has the addresses that replies of source
	 * NAT come to; from elsewhere such a source is forged. */
	KLVS_INTERFACE_LOCAL = 1,
};

struct klvs_interface {
	__u32 ifindex; /* 0: empty slot. Written last. */
	__u8 mac[6];
	__u16 reserved0;
	__u32 flags; /* KLVS_INTERFACE_* */
};
KLVS_ASSERT_SIZE(struct klvs_interface, 16);

/* ---- services: klvs_services, HASH struct klvs_service_key -> struct klvs_service; those of many
 *      ports in klvs_wide_services, HASH struct klvs_wide_key -> the same ----------------------- */

struct klvs_service_key {
	__u32 vip_id;
	__be16 port;
	__u8 protocol; /* 6, 17, 132 */
	__u8 reserved;
};
KLVS_ASSERT_SIZE(struct klvs_service_key, 8);

/* Ports `first` to `last` of a VIP, both included, or all of its ports. Its real
 * servers have port 0: each packet keeps its port. */
struct klvs_wide_key {
	__u32 vip_id;
	__be16 first; /* 0: all ports */
	__be16 last;
	__u8 protocol; /* 0: all ports */
	__u8 reserved[3];
};
KLVS_ASSERT_SIZE(struct klvs_wide_key, 12);

/*
 * klvs_ports, LPM_TRIE struct klvs_port_key -> struct klvs_port_owner: which service of many ports
 * has a port that no service of klvs_services has; the longest prefix wins. A range is cut into the
 * fewest blocks of 2^n ports that begin at a multiple of 2^n, all ports are the prefix of the VIP.
 * An owner that is not in klvs_wide_services owns nothing.
 */
#define KLVS_PORT_PREFIX_VIP 32
#define KLVS_PORT_PREFIX_PORT 64 /* of a single port */

struct klvs_port_key {
	__u32 prefix_length; /* in bits, of what follows */
	__u32 vip_id;
	__u8 protocol;
	__u8 reserved;
	__be16 port;
};
KLVS_ASSERT_SIZE(struct klvs_port_key, 12);

struct klvs_port_owner {
	struct klvs_wide_key service;
	__u32 prefix_length; /* of its key: who looks up gets the longest prefix, not the one he asks */
};
KLVS_ASSERT_SIZE(struct klvs_port_owner, 16);

enum klvs_scheduler {
	KLVS_SCHEDULER_RR = 1,
	KLVS_SCHEDULER_WRR = 2,
	KLVS_SCHEDULER_MH = 3,
	KLVS_SCHEDULER_LC = 4,
	KLVS_SCHEDULER_WLC = 5,
	KLVS_SCHEDULER_SED = 6,
	KLVS_SCHEDULER_NQ = 7,
	KLVS_SCHEDULER_OVF = 8,
	KLVS_SCHEDULER_TWOS = 9,
	KLVS_SCHEDULER_FO = 10,
	KLVS_SCHEDULER_SH = 11,
	KLVS_SCHEDULER_DH = 12,
	KLVS_SCHEDULER_LBLC = 13,
	KLVS_SCHEDULER_LBLCR = 14,
};

#define KLVS_HASH_BUCKETS 256 /* of sh and dh */

enum klvs_service_flags {
	KLVS_SERVICE_SOURCE_NAT = 1, /* its NAT real servers see `source` instead of the client */
	KLVS_SERVICE_HASH_PORT = 2, /* mh, sh: the client's port takes part in the hash */
	KLVS_SERVICE_HASH_FALLBACK = 4, /* mh, sh: an unavailable choice is replaced by another */
	KLVS_SERVICE_THRESHOLDS = 8,	/* some real server of its list has an upper threshold */
	KLVS_SERVICE_ONE_PACKET = 16,	/* UDP, not NAT: each packet is scheduled, none remembered */
	KLVS_SERVICE_PERSISTENT = 32,	/* clients stay with their real server: klvs_template */
};

/* Whether a service has a real server on this node, to which another director sends. */
enum klvs_delivers {
	KLVS_DELIVERS_NOTHING = 0,
	KLVS_DELIVERS = 1,
	KLVS_DELIVERED = 2, /* it has left the list; its connections, opened elsewhere, go on */
};

/*
 * rr and wrr keep (position, current weight) in klvs_service_state, tagged with `generation`. When
 * a replaced value has another generation, its `start_*` are taken instead: user space computes
 * them from the state it finds and the kernel's rule for a changed list. A position is 0 at the
 * head of the list, else 1 + the index of the last choice.
 */
struct klvs_service {
	__u32 id; /* 1 .. max_entries - 1 of klvs_service_state and klvs_service_counters */
	__u8 scheduler;
	__u8 flags;
	__u16 generation; /* != 0; another one whenever the list changes */
	__u32 list_base;  /* first index in klvs_lists */
	__u32 list_count; /* <= 65535 */
	__u32 table_base; /* mh, sh, dh: first index in klvs_tables */
	__u32 table_size; /* mh: a prime of the kernel's list, default 4093; sh, dh:
			     KLVS_HASH_BUCKETS */
	__u32 wrr_max;	  /* greatest weight - wrr_gcd + 1; 0 if there is no weight > 0 */
	__u32 wrr_gcd;	  /* of all weights > 0; 1 if there is none */
	__u32 start_weight; /* wrr: current weight of this generation's first choice */
	__u16 start_position;
	__u8 template_prefix; /* PERSISTENT: of the clients that share a template; <= 32 or 128 */
	__u8 delivers; /* KLVS_DELIVERS* */
	__u32 template_seconds; /* PERSISTENT: how long a new template lives */
	__u32 local; /* with `delivers`: a real server on this node by DirectRouting or Tunnel */
	__u32 reserved[4];
};
KLVS_ASSERT_SIZE(struct klvs_service, 64);

/* klvs_service_state, ARRAY by service id, mapped. User space zeroes the cursor before it gives an
 * id to a new service, and otherwise only reads it. The programs do not look at the other fields:
 * they tell user space which service a resting id belongs to, so that it gets the same id back. */
struct klvs_service_state {
	__u64 cursor; /* generation << 48 | position << 32 | current weight; one word, replaced
			 by compare-and-swap */
	__be32 vip; /* 0 with `ipv6`: see klvs_service_vips6 */
	__be16 port;
	__u8 protocol; /* 0: the id belongs to no service */
	__u8 ipv6;
};
KLVS_ASSERT_SIZE(struct klvs_service_state, 16);

/* klvs_wide_state, ARRAY by service id, mapped: what klvs_service_state lacks for a service of many
 * ports, whose `port` is the first one and whose protocol is TCP with all ports, and for one of a
 * network of VIPs, whose `vip` is the first one. Only user space looks at it. */
struct klvs_wide_state {
	__u8 wide; /* 0: one port; `last` is 0, too */
	__u8 prefix_length; /* of the network of VIPs; 0: a single address */
	__be16 last;
	__u32 reserved;
};
KLVS_ASSERT_SIZE(struct klvs_wide_state, 8);

/* klvs_service_vips6, ARRAY of struct klvs_in6 by service id, mapped: the VIP of klvs_service_state
 * with `ipv6`. Only user space looks at it. */

/*
 * klvs_locality, ARRAY by service id, mapped: where connections of lblc and lblcr went. The set of
 * lblcr are the real servers whose klvs_real_conns.joined is not 0 and at least `first`. User space
 * empties both when the service gets another scheduler.
 */
struct klvs_locality {
	__u32 real;   /* lblc; 0 none */
	__u32 first;  /* lblcr: `joined` of whoever joined before is void */
	__u32 joined; /* lblcr: of the last one that joined */
	__u32 reserved;
	__u64 used;    /* jiffies of the last choice */
	__u64 changed; /* lblcr: when the set changed last */
};
KLVS_ASSERT_SIZE(struct klvs_locality, 32);

/* klvs_lists, ARRAY, mapped: the real servers of a service in their order. */
struct klvs_list_entry {
	__u32 real;
	__u32 weight; /* 0: quiesced */
};
KLVS_ASSERT_SIZE(struct klvs_list_entry, 8);

/* klvs_tables, ARRAY, mapped: a real server id for each slot of a table of mh, sh or dh; 0 is an
 * empty slot. Whether the real server is quiesced is read from klvs_reals. */
typedef __u32 klvs_table_slot;

/* ---- real servers: klvs_reals, ARRAY by real id, mapped ------------------------------------ */

enum klvs_method {
	KLVS_METHOD_NAT = 0,
	KLVS_METHOD_DIRECT_ROUTING = 1,
	KLVS_METHOD_TUNNEL = 2, /* IPIP; of IPv6 in IPv6; or either by GUE */
};

enum klvs_real_flags {
	KLVS_REAL_VALID = 1,
	KLVS_REAL_REMOVED = 2, /* only its connections remain */
	KLVS_REAL_LOCAL = 4,   /* this node: handed to the stack (NAT: without source NAT) */
	KLVS_REAL_L2 = 8, /* dst_mac, src_mac are valid, so that XDP on `ifindex` may transmit */
	KLVS_REAL_IPV6 = 16, /* address, next_hop and source are in klvs_reals6, here 0 */
	KLVS_REAL_FORGOTTEN = 32, /* with REMOVED: klvs_sweep takes out its templates */
};

/* One real server of one service: two services with the same endpoint have two ids. */
struct klvs_real {
	__be32 address;
	__be16 port; /* 0: that of the packet */
	__u8 method;
	__u8 flags;
	__u32 weight;	 /* as in the list */
	__u32 ifindex;	 /* where it, or the router to it, is reached; 0 only with LOCAL */
	__be32 next_hop; /* its address, or the router's */
	__be32 source;	 /* DIP: outer source of Tunnel, source address of source NAT */
	__u16 mtu;	 /* of the way to it */
	__be16 gue_port; /* TUNNEL: the UDP port that it takes GUE at; 0 IPIP */
	__u8 dst_mac[6];
	__u8 src_mac[6];
	__u32 service; /* id of its service */
	__u32 last_weight; /* newest weight that was not 0: what mh's table is made of; only user
			      space looks at it */
	__u32 upper_threshold; /* connections; 0 none */
	__u32 lower_threshold; /* 0: upper_threshold - upper_threshold / 4 */
	__u32 reserved[2];
};
KLVS_ASSERT_SIZE(struct klvs_real, 64);

/* klvs_reals6, ARRAY by real id, mapped: the addresses of a real server with KLVS_REAL_IPV6. */
struct klvs_real6 {
	struct klvs_in6 address;
	struct klvs_in6 next_hop;
	struct klvs_in6 source;
	__u32 reserved[4];
};
KLVS_ASSERT_SIZE(struct klvs_real6, 64);

/*
 * klvs_real_conns, ARRAY by real id, mapped: kept by the programs, read by user space. Both counts
 * are one 64-bit word, changed by one atomic addition, so that their sum is exact at each change.
 *
 * `overloaded` is 1 from the connection that reaches the upper threshold until there are fewer than
 * the lower one says. User space, too, writes it, when it changes a threshold.
 */
struct klvs_real_conns {
	__u32 active;
	__u32 inactive;
	__u32 overloaded;
	__u32 joined; /* lblcr: see klvs_locality */
};
KLVS_ASSERT_SIZE(struct klvs_real_conns, 16);

/* ---- connections: klvs_conns, ARRAY of struct klvs_conn_set, mapped ------------------------ */

/* The addresses and ports as in the packet that finds the entry, a client's or a reply. */
struct klvs_conn_key {
	__be32 src;
	__be32 dst;
	__be16 sport;
	__be16 dport;
	__u8 protocol;
	__u8 reserved[3];
};
KLVS_ASSERT_SIZE(struct klvs_conn_key, 16);

enum klvs_conn_flags {
	KLVS_CONN_LIVE = 1,
	KLVS_CONN_REPLY = 2, /* only a key: everything else is in the entry that `peer` names */
	KLVS_CONN_PENDING = 4, /* its reply key is not claimed yet */
	KLVS_CONN_SNAT = 8,
	KLVS_CONN_NAT = 16,
	/* Opened by a packet that proves nothing (UDP, or any in mid-stream), and fewer than
	 * KLVS_SETTLED packets of the client were seen. State, counts and timeout are as ever, but
	 * it may give way to a new connection. */
	KLVS_CONN_EMBRYONIC = 32,
	/* Counted by the template of its client, service and `template_prefix`, if that still is of
	 * its `real` and `template_generation`. Its port is not used again before it has expired. */
	KLVS_CONN_CONTROLLED = 64,
	/* With PENDING: just coming in, and another CPU may be bringing in its key, too. */
	KLVS_CONN_CLAIMED = 128,
};

/* NAT: an answer counts for all packets of the client but the last. */
#define KLVS_SETTLED 3

/* `ctl`: generation << 32 | flags << 8 | state. The generation counts the uses of the slot. */
#define KLVS_CTL_STATE(ctl) ((__u32)(ctl) & 0xff)
#define KLVS_CTL_FLAGS(ctl) (((__u32)(ctl) >> 8) & 0xff)
#define KLVS_CTL_GENERATION(ctl) ((__u32)((ctl) >> 32))

/*
 * A handle names an entry: 1 + (set * KLVS_CONN_WAYS + way).
 * An entry is there if it is LIVE, and (not REPLY) jiffies <= expires. A REPLY entry is there if
 * its peer is, with generation `peer_generation`.
 */
struct klvs_conn {
	struct klvs_conn_key key;
	__u64 ctl;
	__u64 expires; /* jiffies; not of a REPLY entry */
	__u32 real;
	__u32 service;
	__be32 nat_addr; /* NAT: what the real server sees as client */
	__be16 nat_port;
	__u16 seen; /* EMBRYONIC: packets of the client */
	__u32 peer; /* handle of the reply entry, or of a REPLY entry's connection; 0 none */
	union {
		__u32 client_ifindex;  /* interface of the client's packets */
		__u32 peer_generation; /* of a REPLY entry */
	};
	/* Where the client's packets came from; NAT: the last one. It is read and written with the
	 * two bytes behind it as one word, so that nobody meets half of it. */
	__u8 client_mac[6];
	__u8 template_prefix; /* CONTROLLED */
	__u8 template_generation;
};
KLVS_ASSERT_SIZE(struct klvs_conn, 64);

#define KLVS_CONN_WAYS 8

#define KLVS_SWEEP_SETS 16384 /* the most that one run of klvs_sweep visits */

struct klvs_conn_set {
	struct klvs_conn ways[KLVS_CONN_WAYS];
};
KLVS_ASSERT_SIZE(struct klvs_conn_set, 512);

/*
 * klvs_conn_tags, ARRAY of struct klvs_set_tags, mapped: of the set of the same number. They lie
 * close together, so that they stay in a CPU's caches where the entries do not. IPv6's are in
 * klvs_conn_tags6.
 */
struct klvs_set_tags {
	__u16 way[KLVS_CONN_WAYS]; /* 16 bits of each entry's hash; 0 is a free way */
};
KLVS_ASSERT_SIZE(struct klvs_set_tags, 16);

/* klvs_conns6, ARRAY of struct klvs_conn_set6, mapped: the connections of IPv6. */
struct klvs_conn_key6 {
	struct klvs_in6 src;
	struct klvs_in6 dst;
	__be16 sport;
	__be16 dport;
	__u8 protocol;
	__u8 reserved[3];
};
KLVS_ASSERT_SIZE(struct klvs_conn_key6, 40);

/* What every packet needs is in the first 64 bytes. */
struct klvs_conn6 {
	struct klvs_conn_key6 key;
	__u64 ctl;
	__u64 expires;
	__u32 real;
	__u32 service;
	struct klvs_in6 nat_addr;
	__be16 nat_port;
	__u16 seen;
	__u32 peer;
	union {
		__u32 client_ifindex;
		__u32 peer_generation;
	};
	__u16 sum_change; /* NAT: what the way to the real server adds to a sum over addresses and
			     ports, RFC 1624; 0 is not known */
	__u16 reserved1;
	__u8 client_mac[6];
	__u8 template_prefix; /* CONTROLLED */
	__u8 template_generation;
	__u32 reserved2[6];
};
KLVS_ASSERT_SIZE(struct klvs_conn6, 128);

struct klvs_conn_set6 {
	struct klvs_conn6 ways[KLVS_CONN_WAYS];
};
KLVS_ASSERT_SIZE(struct klvs_conn_set6, 1024);

/* ---- persistence: klvs_templates, HASH struct klvs_template_key -> struct klvs_template; of IPv6
 *      klvs_templates6 ---------------------------------------------------------------------------
 *
 * The kernel's template: where the new connections of a client go, or of all clients of a prefix.
 * Each of them renews it, by its own `timeout`; it is over when it was not renewed so long and
 * controls no connection. While it does, it goes on by KLVS_TEMPLATE_AGAIN_SECONDS at a time, and is
 * renewed by as much from then on. A change of the service's time is for new templates.
 *
 * Source: ip_vs_sched_persist, ip_vs_check_template, ip_vs_conn_expire of Linux 6.1. The kernel
 * goes by timers and pointers, these by what is met, with these differences:
 *   - A connection that has expired controls its template until it is taken out: by a packet, by
 *     the few sets that each new connection of a persistent service sweeps, or by klvs_sweep. Then
 *     the template's end is as if it had been taken out in time.
 *   - When the map is full a new client goes without a template; the others keep theirs.
 *   - A template whose real server was removed, or quiesced with KLVS_SETTING_EXPIRE_QUIESCENT, names
 *     none from its client's next connection on, and is then replaced in place.
 *     Its generation keeps older connections from being taken for its own; of 8 bits, so that one
 *     may be after 255 replacements: then it is over too early.
 */
struct klvs_template_key {
	__u32 service; /* id */
	__be32 client; /* its prefix, the rest 0 */
};
KLVS_ASSERT_SIZE(struct klvs_template_key, 8);

struct klvs_template_key6 {
	__u32 service;
	struct klvs_in6 client;
};
KLVS_ASSERT_SIZE(struct klvs_template_key6, 20);

#define KLVS_TEMPLATE_AGAIN_SECONDS 60

/* `word`: real << 32 | generation << 24 | connections that it controls; one word, replaced by
 * compare-and-swap. 0 is one that is being taken out. */
#define KLVS_TEMPLATE_REAL(word) ((__u32)((word) >> 32))
#define KLVS_TEMPLATE_GENERATION(word) ((__u32)(word) >> 24)
#define KLVS_TEMPLATE_CONTROLLED(word) ((__u32)(word) & 0xffffff)

struct klvs_template {
	__u64 word;
	__u64 expires; /* jiffies; if it controls connections, it lives on */
	__u32 timeout; /* jiffies; from the last renewal */
	__u32 reserved;
};
KLVS_ASSERT_SIZE(struct klvs_template, 24);

/* klvs_real_templates, ARRAY by real id, mapped: how many templates name it, of both maps. */
typedef __u32 klvs_template_count;

/* ---- counters ------------------------------------------------------------------------------ */

/* klvs_service_counters, klvs_real_counters: PERCPU_ARRAY by id. Bytes are IP total lengths. */
struct klvs_counters {
	__u64 packets; /* from clients */
	__u64 bytes;
	__u64 connections;
	__u64 reply_packets; /* NAT: from real servers */
	__u64 reply_bytes;
};
KLVS_ASSERT_SIZE(struct klvs_counters, 40);

/* klvs_drops: PERCPU_ARRAY of __u64, KLVS_DROP_SLOTS entries, by reason. Names: abi_names.h. */
enum klvs_drop_reason {
	KLVS_DROP_SHORT = 1,	  /* ends within a header, or before its total length */
	KLVS_DROP_BAD_HEADER = 2, /* version, header or total length make no sense */
	KLVS_DROP_FRAGMENT = 3, /* of ICMP, or a later one whose first was not seen */
	/* Neither an echo request nor an error about a known connection; or one error too many
	 * about tunnels. */
	KLVS_DROP_ICMP = 4,
	KLVS_DROP_PROTOCOL = 5,	     /* neither TCP nor UDP nor ICMP (of its family) */
	KLVS_DROP_NO_SERVICE = 6,    /* no service at this port of the VIP */
	KLVS_DROP_NO_CONNECTION = 7, /* TCP without SYN, and no connection known */
	KLVS_DROP_NO_REAL_SERVER = 8,
	KLVS_DROP_TABLE_FULL = 9, /* no way free for a new connection */
	KLVS_DROP_NO_SOURCE_PORT = 10, /* NAT: no reply key to be had */
	KLVS_DROP_TTL = 11,
	/* Does not fit the way to the real server; Tunnel adds 20 bytes, of IPv6 40, and GUE 12 more.
	 * Counted too when the client is told so by ICMP. */
	KLVS_DROP_TOO_BIG = 12,
	KLVS_DROP_NO_ROUTE = 13, /* the real server's record names no interface */
	KLVS_DROP_BAD_REAL = 14, /* a list or connection names no valid record */
	KLVS_DROP_LOCAL_NAT = 15, /* NAT to this very node */
	KLVS_DROP_REWRITE = 16,	  /* the kernel refused to change the packet */
	KLVS_DROP_RACE = 17,	  /* another CPU is setting up the same connection */
	KLVS_DROP_MARTIAN = 18,	  /* from an address that no client has, such as a VIP of ours */
	KLVS_DROP_LOOP = 19, /* DirectRouting: its real server sent it back to us */
	KLVS_DROP_REASONS = 20,	  /* one more than the last */
	KLVS_DROP_SLOTS = 64,
};

/* klvs_drop_ring, RINGBUF: some of what is dropped, at most KLVS_DROP_SAMPLES_PER_SECOND on each
 * CPU. Nothing is added while it is full. */
#define KLVS_DROP_SAMPLES_PER_SECOND 50
#define KLVS_DROP_RING_BYTES (1 << 18)
#define KLVS_DROP_FRAME 128

enum klvs_stage {
	KLVS_STAGE_XDP = 1,
	KLVS_STAGE_TC = 2,
};

struct klvs_drop_sample {
	__u64 boot_ns;	/* CLOCK_BOOTTIME */
	__u32 ifindex;	/* where it came in */
	__u32 length;	/* of the frame, from its Ethernet header on */
	__u16 captured; /* of `frame`; 0: it could not be read */
	__u8 reason;
	__u8 stage;
	__u32 reserved;
	__u8 frame[KLVS_DROP_FRAME]; /* as it was when it was dropped */
};
KLVS_ASSERT_SIZE(struct klvs_drop_sample, 152);

/* ---- real servers' own maps ---------------------------------------------------------------- */

/* klvs_tunnel_peers, HASH -> __u32 1: IPIP packets whose outer source is `director` and whose inner
 * destination is `vip` lose their outer header. */
struct klvs_tunnel_peer {
	__be32 director;
	__be32 vip;
};
KLVS_ASSERT_SIZE(struct klvs_tunnel_peer, 8);

/* klvs_mss_clamps, HASH __be32 (vip) -> __u32: greatest MSS in a SYN-ACK from it, 1..65535. */

struct klvs_tunnel_peer6 {
	struct klvs_in6 director;
	struct klvs_in6 vip;
};
KLVS_ASSERT_SIZE(struct klvs_tunnel_peer6, 32);

/* klvs_tunnel_peers6 and klvs_mss_clamps6 (HASH struct klvs_in6 -> __u32): the same for IPv6. */

/* klvs_tunnel_nets, klvs_mss_nets and IPv6's: LPM_TRIE with the values of the four above, for a
 * prefix of VIPs. `bits` counts all that must be equal: a whole director, then of the VIP. */
struct klvs_tunnel_net {
	__u32 bits;
	struct klvs_tunnel_peer to;
};
KLVS_ASSERT_SIZE(struct klvs_tunnel_net, 12);

struct klvs_tunnel_net6 {
	__u32 bits;
	struct klvs_tunnel_peer6 to;
};
KLVS_ASSERT_SIZE(struct klvs_tunnel_net6, 36);

struct klvs_mss_net {
	__u32 bits;
	__be32 vip;
};
KLVS_ASSERT_SIZE(struct klvs_mss_net, 8);

struct klvs_mss_net6 {
	__u32 bits;
	struct klvs_in6 vip;
};
KLVS_ASSERT_SIZE(struct klvs_mss_net6, 20);
