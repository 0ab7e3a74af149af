#include "dataplane/model/ipvs_settings.h"

namespace kube_lvs {

bool Satisfies(const SyncDaemon& there, const SyncDaemon& wanted) {
  SyncDaemon resolved = wanted;
  if (resolved.max_length == 0) resolved.max_length = there.max_length;
  return there == resolved;
}

std::string ToString(const IpvsTimeouts& timeouts) {
  return "tcp " + std::to_string(timeouts.tcp_seconds) + " s, tcpfin " +
         std::to_string(timeouts.tcp_fin_seconds) + " s, udp " +
         std::to_string(timeouts.udp_seconds) + " s";
}

std::string ToString(SyncRole role) { return role == SyncRole::kMaster ? "master" : "backup"; }

std::string ToString(const SyncDaemon& daemon) {
  std::string out = ToString(daemon.role) + " on " + daemon.interface + ", sync id " +
                    std::to_string(daemon.sync_id) + ", " +
                    Endpoint{daemon.group, daemon.port}.ToString();
  if (daemon.ttl != 1) out += ", ttl " + std::to_string(daemon.ttl);
  if (daemon.max_length != 0) out += ", at most " + std::to_string(daemon.max_length) + " bytes";
  return out;
}

}  // namespace kube_lvs
