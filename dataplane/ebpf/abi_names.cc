#include "dataplane/ebpf/abi_names.h"

#include <array>

namespace kube_lvs::ebpf {
namespace {

constexpr std::array<const char*, KLVS_DROP_REASONS> kDropReasons = {
    "unknown",        "short",      "bad_header",    "fragment",       "icmp",
    "protocol",       "no_service", "no_connection", "no_real_server", "table_full",
    "no_source_port", "ttl",        "too_big",       "no_route",       "bad_real",
    "local_nat",      "rewrite",    "race",          "martian",        "loop",
};
static_assert(kDropReasons.back() != nullptr, "every reason has a name");

constexpr std::array<const char*, KLVS_UDP + 1> kStates = {
    "NONE",  "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT", "TIME_WAIT",
    "CLOSE", "CLOSE_WAIT",  "LAST_ACK", "LISTEN",   "SYNACK",   "UDP",
};
static_assert(kStates.back() != nullptr, "every state has a name");

constexpr std::array<const char*, KLVS_SCTP_CLOSED - KLVS_SCTP_NONE + 1> kSctpStates = {
    "NONE",     "INIT1",       "INIT",   "C-SENT",     "C-REPLIED",  "C-WAIT",   "COOKIE",
    "C-ECHOED", "ESTABLISHED", "S-SENT", "S-RECEIVED", "S-ACK-SENT", "REJECTED", "CLOSED",
};
static_assert(kSctpStates.back() != nullptr, "every state has a name");

}  // namespace

const char* DropReasonName(unsigned reason) {
  return reason < kDropReasons.size() ? kDropReasons[reason] : "unknown";
}

const char* ConnectionStateName(unsigned state) {
  if (state < kStates.size()) return kStates[state];
  const unsigned sctp = state - KLVS_SCTP_NONE;
  return sctp < kSctpStates.size() ? kSctpStates[sctp] : "unknown";
}

}  // namespace kube_lvs::ebpf
