#include "node-agent/loop/replies.h"

namespace kube_lvs {
namespace {

constexpr uint64_t kMany = 10;  // fewer may be a scan, or a server that is starting

bool MustReplyThroughUs(const ServiceKey& key, const VirtualService& service,
                        const RealServer& real) {
  // Of all ports, some may be UDP's, which needs no reply.
  return key.protocol == Protocol::kTcp && !IsOfAllPorts(key) && !service.config.source_nat &&
         real.method == ForwardingMethod::kNat;
}

}  // namespace

bool NeedsReplies(const State& state) {
  for (const auto& [key, service] : state.services) {
    for (const RealServer& real : service.reals) {
      if (MustReplyThroughUs(key, service, real)) return true;
    }
  }
  return false;
}

std::optional<std::string> WithoutReplies(const State& state, const Stats& stats,
                                          const std::map<ServiceKey, ServiceOrigin>& origins) {
  std::string first;
  size_t more = 0;
  for (const auto& [key, service] : state.services) {
    for (const RealServer& real : service.reals) {
      if (!MustReplyThroughUs(key, service, real)) continue;
      const auto found = stats.reals.find({key, real.at});
      if (found == stats.reals.end()) continue;
      const Counters& counters = found->second.counters;
      if (counters.connections < kMany || counters.reply_packets > 0) continue;
      if (!first.empty()) {
        ++more;
        continue;
      }
      const auto origin = origins.find(key);
      first = ToString(key) + " -> " + real.at.ToString();
      if (origin != origins.end()) {
        first += " of LVSService " + origin->second.name_space + "/" + origin->second.name;
      }
      first += " got " + std::to_string(counters.connections) +
               " connections, and not one packet came back through this director";
    }
  }
  if (first.empty()) return std::nullopt;
  if (more > 0) first += " (and " + std::to_string(more) + " more real servers)";
  return first;
}

}  // namespace kube_lvs
