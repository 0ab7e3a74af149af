/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps of abi.h. Every object that needs a map has the same definition, and user space gives
 * them one map; the sizes here are for tests.
 */
#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "dataplane/ebpf/bpf/family.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct klvs_settings);
} klvs_settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, klvs_addr);
	__type(value, struct klvs_address);
} klvs_addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct klvs_network_key);
	__type(value, struct klvs_address);
} klvs_networks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KLVS_INTERFACE_SLOTS);
	__type(key, __u32);
	__type(value, struct klvs_interface);
} klvs_interfaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct klvs_service_key);
	__type(value, struct klvs_service);
} klvs_services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct klvs_wide_key);
	__type(value, struct klvs_service);
} klvs_wide_services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 32768);
	__type(key, struct klvs_port_key);
	__type(value, struct klvs_port_owner);
} klvs_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct klvs_service_state);
} klvs_service_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct klvs_wide_state);
} klvs_wide_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct klvs_list_entry);
} klvs_lists SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, klvs_table_slot);
} klvs_tables SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct klvs_real);
} klvs_reals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct klvs_real_conns);
} klvs_real_conns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct klvs_conn_set);
} klvs_conns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct klvs_set_tags);
} klvs_conn_tags SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct klvs_counters);
} klvs_service_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct klvs_counters);
} klvs_real_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct klvs_locality);
} klvs_locality SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct klvs_template_key);
	__type(value, struct klvs_template);
} klvs_templates SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, klvs_template_count);
} klvs_real_templates SEC(".maps");

/* The set of klvs_conns from which the next conn_sweep goes on. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} klvs_sweep_hand SEC(".maps");

/* What later fragments go by. Least recently used ones give way when it is full. */
struct klvs_fragment_key {
	klvs_addr src;
	klvs_addr dst;
#ifdef KLVS_IPV6
	__be32 id;
#else
	__be16 id;
	__u8 protocol;
	__u8 reserved;
#endif
};

struct klvs_fragment {
	__u32 conn; /* handle, or FRAGMENT_DELIVERED; 0: what it is of has no connection */
	__u32 generation; /* then the number of its real server */
	__u64 until; /* jiffies */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct klvs_fragment_key);
	__type(value, struct klvs_fragment);
} klvs_fragments SEC(".maps");

/* ICMP that the programs make up themselves: the kernel's limits, of each CPU. */
#define KLVS_ANSWERS_PER_SECOND 1000
#define KLVS_ANSWERS_AT_ONCE 50

struct klvs_budget {
	__u64 since; /* jiffies */
	__u64 left;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct klvs_budget);
} klvs_answer_budget SEC(".maps");

/* New connections that hash schedulers remember; see stateless.h. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct klvs_budget);
} klvs_stateful_budget SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, KLVS_DROP_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} klvs_drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct klvs_budget);
} klvs_drop_budget SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, KLVS_DROP_RING_BYTES);
} klvs_drop_ring SEC(".maps");

#ifdef KLVS_IPV6

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct klvs_in6);
} klvs_service_vips6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct klvs_real6);
} klvs_reals6 SEC(".maps");

/* What is too large for the stack; see scratch.h. Of a size that no version changes. */
#define KLVS_SCRATCH 1024

struct klvs_scratch_room {
	__u64 words[KLVS_SCRATCH / 8];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct klvs_scratch_room);
} klvs_scratch6 SEC(".maps");

#elif defined(KLVS_XDP)

/* The program of IPv6, at 0. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} klvs_families_xdp SEC(".maps");

#else

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} klvs_families_tc SEC(".maps");

#endif
