/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What each family and each stage has of its own, under the same names. */
#pragma once

#ifdef KLVS_IPV6
#include "dataplane/ebpf/bpf/echo6.h"
#include "dataplane/ebpf/bpf/icmp6.h"
#include "dataplane/ebpf/bpf/ndp.h"
#include "dataplane/ebpf/bpf/too_big6.h"
#include "dataplane/ebpf/bpf/tunnel6.h"
#else
#include "dataplane/ebpf/bpf/arp.h"
#include "dataplane/ebpf/bpf/echo.h"
#include "dataplane/ebpf/bpf/icmp.h"
#include "dataplane/ebpf/bpf/too_big.h"
#include "dataplane/ebpf/bpf/tunnel.h"
#endif

#ifdef KLVS_XDP
#include "dataplane/ebpf/bpf/established.h"
#include "dataplane/ebpf/bpf/send_xdp.h"
#else
#include "dataplane/ebpf/bpf/send_tc.h"
#include "dataplane/ebpf/bpf/tunnel_error.h"
#endif
