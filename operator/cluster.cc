#include "operator/cluster.h"

#include <thread>

#include "kube/api/kinds.h"

namespace kube_lvs::controller {

Cluster::Cluster(const kube::Client& client, OnChange on_change, uint64_t seed, const Clock& clock,
                 Logger& log)
    : services_(client, api::kLvsServices, api::DecodeLvsService, Kind::kService, on_change, seed,
                clock, log),
      pools_(client, api::kLvsAddressPools, api::DecodeLvsAddressPool, Kind::kPool, on_change, seed,
             clock, log),
      groups_(client, api::kLvsDirectorGroups, api::DecodeLvsDirectorGroup, Kind::kGroup, on_change,
              seed, clock, log),
      lvs_nodes_(client, api::kLvsNodes, api::DecodeLvsNode, Kind::kLvsNode, on_change, seed, clock,
                 log),
      kube_services_(client, kube::kServices, api::DecodeKubeService, Kind::kKubeService, on_change,
                     seed, clock, log),
      slices_(client, kube::kEndpointSlices, api::DecodeEndpointSlice, Kind::kEndpointSlice,
              on_change, seed, clock, log),
      nodes_(client, kube::kNodes, api::DecodeKubeNode, Kind::kNode, on_change, seed, clock, log),
      namespaces_(client, kube::kNamespaces, api::DecodeKubeNamespace, Kind::kNamespace, on_change,
                  seed, clock, log),
      service_cidrs_(client, kube::kServiceCidrs, api::DecodeKubeServiceCidr, Kind::kServiceCidr,
                     on_change, seed, clock, log) {}

absl::Status Cluster::Run(std::stop_token stop) {
  std::vector<std::jthread> threads;
  const auto watch = [&](auto& watched) {
    threads.emplace_back([&watched, stop] {
      // It returns only when it is told to, and then with OK.
      watched.reflector.Run(stop).IgnoreError();
    });
  };
  watch(services_);
  watch(pools_);
  watch(groups_);
  watch(lvs_nodes_);
  watch(kube_services_);
  watch(slices_);
  watch(nodes_);
  watch(namespaces_);
  watch(service_cidrs_);
  threads.clear();  // joins them
  return absl::OkStatus();
}

bool Cluster::Synced() const {
  return services_.store.HasSynced() && pools_.store.HasSynced() && groups_.store.HasSynced() &&
         lvs_nodes_.store.HasSynced() && kube_services_.store.HasSynced() &&
         slices_.store.HasSynced() && nodes_.store.HasSynced() && namespaces_.store.HasSynced();
}

std::optional<std::string> Cluster::Unreadable(const std::string& key) const {
  const std::map<std::string, std::string> all = UnreadableServices();
  const auto it = all.find(key);
  if (it == all.end()) return std::nullopt;
  return it->second;
}

std::map<std::string, std::string> Cluster::UnreadableServices() const {
  return services_.reflector.Undecodable();
}

}  // namespace kube_lvs::controller
