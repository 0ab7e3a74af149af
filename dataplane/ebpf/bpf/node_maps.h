/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The maps of abi.h that only real servers use. */
#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/abi_gue.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct klvs_tunnel_peer);
	__type(value, __u32);
} klvs_tunnel_peers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __be32);
	__type(value, __u32);
} klvs_mss_clamps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct klvs_tunnel_peer6);
	__type(value, __u32);
} klvs_tunnel_peers6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct klvs_in6);
	__type(value, __u32);
} klvs_mss_clamps6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct klvs_tunnel_net);
	__type(value, __u32);
} klvs_tunnel_nets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct klvs_mss_net);
	__type(value, __u32);
} klvs_mss_nets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct klvs_tunnel_net6);
	__type(value, __u32);
} klvs_tunnel_nets6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct klvs_mss_net6);
	__type(value, __u32);
} klvs_mss_nets6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct klvs_gue_peer);
	__type(value, __u32);
} klvs_gue_peers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct klvs_gue_peer6);
	__type(value, __u32);
} klvs_gue_peers6 SEC(".maps");
