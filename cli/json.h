// Listings for programs: JSON with the names that docs/lvsadm.8 describes, which stay. Pure.
#pragma once

#include <string>
#include <vector>

#include "cli/connections.h"
#include "cli/table.h"
#include "dataplane/model/ipvs_settings.h"

namespace kube_lvs::cli {

struct JsonDataplane {
  std::string name;  // "ipvs", "ebpf"
  Table table;
};

// Each a document with a newline at its end.
std::string ServicesJson(const std::vector<JsonDataplane>& dataplanes);
std::string ConnectionsJson(const std::vector<Connection>& connections);
std::string TimeoutsJson(const IpvsTimeouts& timeouts);
std::string DaemonsJson(const std::vector<SyncDaemon>& daemons);

}  // namespace kube_lvs::cli
