// Rules as text, byte for byte as ipvsadm 1.31 prints them. Pure but for `names`.
#pragma once

#include <string>

#include "cli/names.h"
#include "cli/request.h"
#include "cli/table.h"
#include "dataplane/model/ipvs_settings.h"

namespace kube_lvs::cli {

enum class Columns : uint8_t {
  kPlain,
  kStats,
  kRate,
  kThresholds,
  kPersistentConn,
  kTunnelInfo,
  kRules,  // as commands for -R
};

struct Format {
  Columns columns = Columns::kPlain;
  bool exact = false;  // numbers without K, M, G, T
  bool full = false;   // kRules: also what ipvsadm leaves out
};

// What a request for a list or for rules wants. Of several options the first in the order of
// Columns wins, as in ipvsadm.
Format FormatOf(const Request& request);

// The lines above the services; none for kRules.
std::string Title(const Format& format);
std::string Services(const Table& table, const Format& format, const Names& names);

std::string TimeoutsLine(const IpvsTimeouts& timeouts);
std::string DaemonLines(const std::vector<SyncDaemon>& daemons);

// HOST:PORT, at most 59 characters.
std::string EndpointText(const Endpoint& at, uint16_t protocol, const Names& names);

// Where a service that has no mark is found: HOST:PORT and, of the eBPF dataplane, HOST:10000-10100
// or HOST:all.
std::string MatchText(const ServiceKey& key, const Names& names);

}  // namespace kube_lvs::cli
