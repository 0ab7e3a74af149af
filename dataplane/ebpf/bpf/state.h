/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The states of a connection, as the kernel's IPVS has them, and its counts at the real server. */
#pragma once

#include "dataplane/ebpf/bpf/defs.h"
#include "dataplane/ebpf/bpf/sctp.h"

static __always_inline struct klvs_settings *settings_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&klvs_settings, &zero);
}

#define CTL_LIVE ((__u64)KLVS_CONN_LIVE << 8)
#define CTL_REPLY ((__u64)KLVS_CONN_REPLY << 8)
#define CTL_PENDING ((__u64)KLVS_CONN_PENDING << 8)
#define CTL_EMBRYONIC ((__u64)KLVS_CONN_EMBRYONIC << 8)
#define CTL_CONTROLLED ((__u64)KLVS_CONN_CONTROLLED << 8)
#define CTL_CLAIMED ((__u64)KLVS_CONN_CLAIMED << 8)
#define CTL_GENERATION_ONE (1ULL << 32)

/* Which way a packet goes, and whether we see both ways. */
enum { STATE_INPUT = 0, STATE_OUTPUT = 1, STATE_INPUT_ONLY = 2 };

/* What a TCP packet means: the first of RST, SYN, FIN, ACK that is set. */
enum { EVENT_SYN = 0, EVENT_FIN = 1, EVENT_ACK = 2, EVENT_RST = 3, EVENT_NONE = 4 };

static __always_inline __u64 state_timeout(const struct klvs_settings *settings, __u32 state)
{
	if (state >= KLVS_SCTP_NONE)
		return (__u64)sctp_seconds(state) * settings->hz;
	return settings->timeouts[klvs_mask(state, KLVS_STATES - 1)];
}

#define NO KLVS_NONE
#define ES KLVS_ESTABLISHED
#define SS KLVS_SYN_SENT
#define SR KLVS_SYN_RECV
#define FW KLVS_FIN_WAIT
#define TW KLVS_TIME_WAIT
#define CL KLVS_CLOSE
#define CW KLVS_CLOSE_WAIT
#define LA KLVS_LAST_ACK
#define LI KLVS_LISTEN
#define SA KLVS_SYNACK

static const __u8 state_table[4 * 4 * KLVS_STATES] = {
	/* INPUT: syn, fin, ack, rst    NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA */
	SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR, 0, 0, 0, 0, 0,
	CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW, 0, 0, 0, 0, 0,
	ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES, 0, 0, 0, 0, 0,
	CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR, 0, 0, 0, 0, 0,
	/* OUTPUT */
	SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR, 0, 0, 0, 0, 0,
	TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW, 0, 0, 0, 0, 0,
	ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES, 0, 0, 0, 0, 0,
	CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL, 0, 0, 0, 0, 0,
	/* INPUT-ONLY */
	SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR, 0, 0, 0, 0, 0,
	CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW, 0, 0, 0, 0, 0,
	ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES, 0, 0, 0, 0, 0,
	CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL, 0, 0, 0, 0, 0,
};

#undef NO
#undef ES
#undef SS
#undef SR
#undef FW
#undef TW
#undef CL
#undef CW
#undef LA
#undef LI
#undef SA

static __always_inline __u32 state_next(__u32 state, __u32 direction, __u32 event)
{
	if (state == KLVS_UDP)
		return KLVS_UDP;
	if (state >= KLVS_SCTP_NONE)
		return sctp_next(state, direction, event);
	if (event == EVENT_NONE)
		return KLVS_CLOSE;
	return state_table[klvs_mask(direction << 6 | event << 4 | state, 255)];
}

static __always_inline int state_is_active(__u32 state)
{
	const __u32 active = 1 << KLVS_ESTABLISHED | 1 << KLVS_SYN_SENT | 1 << KLVS_SYN_RECV |
			     1 << KLVS_SYNACK | 1 << KLVS_SCTP_ESTABLISHED;

	return active >> (state & 31) & 1;
}

/* Not yet, or not for sure, a conversation of two. */
static __always_inline int ctl_is_embryonic(__u64 ctl)
{
	const __u32 half_open = 1 << KLVS_NONE | 1 << KLVS_SYN_SENT | 1 << KLVS_SYN_RECV |
				1 << KLVS_SYNACK | 1 << KLVS_SCTP_NONE |
				1 << KLVS_SCTP_INIT1 | 1 << KLVS_SCTP_INIT |
				1 << KLVS_SCTP_COOKIE_SENT | 1 << KLVS_SCTP_COOKIE_REPLIED |
				1 << KLVS_SCTP_COOKIE_WAIT | 1 << KLVS_SCTP_COOKIE |
				1 << KLVS_SCTP_COOKIE_ECHOED;

	return ctl & CTL_EMBRYONIC || half_open >> (ctl & 31) & 1;
}

static __always_inline int ctl_is_over(__u64 ctl)
{
	const __u32 over = 1 << KLVS_TIME_WAIT | 1 << KLVS_CLOSE | 1 << KLVS_LAST_ACK |
			   1 << KLVS_SCTP_REJECTED | 1 << KLVS_SCTP_CLOSED;

	return over >> (ctl & 31) & 1;
}

/* A client may use the port of such a one again. */
static __always_inline int state_is_closed(__u32 state)
{
	return state == KLVS_TIME_WAIT || state == KLVS_CLOSE || state == KLVS_SCTP_CLOSED;
}

/* What one connection in `state` is in the word of counts of klvs_real_conns. */
static __always_inline __u64 state_count(__u32 state)
{
	return state_is_active(state) ? 1 : 1ULL << 32;
}
