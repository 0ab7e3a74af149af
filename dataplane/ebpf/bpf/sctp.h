/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * SCTP: what a packet means to its connection, and the states, as the kernel's IPVS has them
 * (ip_vs_proto_sctp.c of Linux 6.1; behaviour, measured there).
 */
#pragma once

#include "dataplane/ebpf/bpf/defs.h"

/* The first chunk of a packet; or ABORT, where that follows a cookie. */
enum {
	SCTP_DATA = 0, /* and whatever else moves nothing */
	SCTP_INIT = 1,
	SCTP_INIT_ACK = 2,
	SCTP_COOKIE_ECHO = 3,
	SCTP_COOKIE_ACK = 4,
	SCTP_SHUTDOWN = 5,
	SCTP_SHUTDOWN_ACK = 6,
	SCTP_SHUTDOWN_COMPLETE = 7,
	SCTP_ERROR = 8,
	SCTP_ABORT = 9,
};

#define NO (KLVS_SCTP_NONE - KLVS_SCTP_NONE)
#define I1 (KLVS_SCTP_INIT1 - KLVS_SCTP_NONE)
#define IN (KLVS_SCTP_INIT - KLVS_SCTP_NONE)
#define CS (KLVS_SCTP_COOKIE_SENT - KLVS_SCTP_NONE)
#define CR (KLVS_SCTP_COOKIE_REPLIED - KLVS_SCTP_NONE)
#define CW (KLVS_SCTP_COOKIE_WAIT - KLVS_SCTP_NONE)
#define CO (KLVS_SCTP_COOKIE - KLVS_SCTP_NONE)
#define CE (KLVS_SCTP_COOKIE_ECHOED - KLVS_SCTP_NONE)
#define ES (KLVS_SCTP_ESTABLISHED - KLVS_SCTP_NONE)
#define SS (KLVS_SCTP_SHUTDOWN_SENT - KLVS_SCTP_NONE)
#define SR (KLVS_SCTP_SHUTDOWN_RECEIVED - KLVS_SCTP_NONE)
#define SA (KLVS_SCTP_SHUTDOWN_ACK_SENT - KLVS_SCTP_NONE)
#define RJ (KLVS_SCTP_REJECTED - KLVS_SCTP_NONE)
#define CL (KLVS_SCTP_CLOSED - KLVS_SCTP_NONE)

/* By direction, event and state. */
static const __u8 sctp_table[4][16][16] = {
	/* NO  I1  IN  CS  CR  CW  CO  CE  ES  SS  SR  SA  RJ  CL */
	{ /* INPUT */
	 {ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL}, /* data */
	 {I1, IN, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, IN, IN}, /* init */
	 {CW, CW, CW, CS, CR, CO, CO, CE, ES, SS, SR, SA, RJ, CL}, /* init-ack */
	 {CR, IN, IN, CR, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL}, /* cookie-echo */
	 {ES, I1, IN, CS, CR, CW, CO, ES, ES, SS, SR, SA, RJ, CL}, /* cookie-ack */
	 {SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL}, /* shutdown */
	 {CL, IN, IN, CS, CR, CW, CO, CE, ES, CL, SR, CL, RJ, CL}, /* shutdown-ack */
	 {CL, CL, CL, CS, CR, CW, CO, CE, ES, SS, SR, CL, RJ, CL}, /* shutdown-complete */
	 {CL, I1, IN, CS, CR, CW, CO, CL, ES, SS, SR, SA, RJ, CL}, /* error */
	 {CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL}, /* abort */
	},
	{ /* OUTPUT */
	 {ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL}, /* data */
	 {CW, CW, CW, CW, CW, CW, CW, CW, ES, CW, CW, CW, CW, CW}, /* init */
	 {CS, CS, CS, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL}, /* init-ack */
	 {CE, CE, CE, CE, CE, CE, CE, CE, ES, SS, SR, SA, RJ, CL}, /* cookie-echo */
	 {ES, ES, ES, ES, ES, ES, ES, ES, ES, SS, SR, SA, RJ, CL}, /* cookie-ack */
	 {SS, SS, SS, SS, SS, SS, SS, SS, SS, SS, SR, SA, RJ, CL}, /* shutdown */
	 {SA, SA, SA, SA, SA, CW, CO, CE, ES, SA, SA, SA, RJ, CL}, /* shutdown-ack */
	 {CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL}, /* shutdown-complete */
	 {CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, SR, SA, RJ, CL}, /* error */
	 {CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL}, /* abort */
	},
	{ /* INPUT-ONLY */
	 {ES, I1, IN, CS, CR, ES, CO, CE, ES, SS, SR, SA, RJ, CL}, /* data */
	 {I1, IN, IN, IN, IN, IN, CO, CE, ES, SS, SR, SA, IN, IN}, /* init */
	 {CE, CE, CE, CE, CE, CE, CO, CE, ES, SS, SR, SA, RJ, CL}, /* init-ack */
	 {ES, ES, ES, ES, ES, ES, CO, CE, ES, SS, SR, SA, RJ, CL}, /* cookie-echo */
	 {ES, I1, IN, ES, ES, CW, ES, ES, ES, SS, SR, SA, RJ, CL}, /* cookie-ack */
	 {SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL}, /* shutdown */
	 {CL, IN, IN, CS, CR, CW, CO, CE, CL, CL, SR, CL, RJ, CL}, /* shutdown-ack */
	 {CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, CL, CL, RJ, CL}, /* shutdown-complete */
	 {CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL}, /* error */
	 {CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL}, /* abort */
	},
};

#undef NO
#undef I1
#undef IN
#undef CS
#undef CR
#undef CW
#undef CO
#undef CE
#undef ES
#undef SS
#undef SR
#undef SA
#undef RJ
#undef CL

static __always_inline __u32 sctp_next(__u32 state, __u32 direction, __u32 event)
{
	state -= KLVS_SCTP_NONE;
	return KLVS_SCTP_NONE +
	       (&sctp_table[0][0][0])[klvs_mask(direction << 8 | event << 4 | state, 1023)];
}

/* Seconds. No command changes them. */
static __always_inline __u32 sctp_seconds(__u32 state)
{
	if (state == KLVS_SCTP_ESTABLISHED)
		return 900;
	if (state == KLVS_SCTP_NONE)
		return 2;
	return state == KLVS_SCTP_INIT1 || state == KLVS_SCTP_REJECTED ? 4 : 61;
}
