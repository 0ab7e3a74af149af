// All that the operator watches: one store and one reflector of each kind.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/log.h"
#include "kube/api/decode.h"
#include "kube/api/types.h"
#include "kube/client.h"
#include "kube/reflector.h"
#include "kube/store.h"
#include "operator/work.h"

namespace kube_lvs::controller {

class Cluster {
 public:
  // Called in a reflector's thread with the keys that changed. Keep it short.
  using OnChange = std::function<void(Kind kind, const std::vector<std::string>& keys)>;

  // All references must outlive it.
  Cluster(const kube::Client& client, OnChange on_change, uint64_t seed, const Clock& clock,
          Logger& log);

  // Watches until `stop`, each kind in a thread of its own; then OK.
  absl::Status Run(std::stop_token stop);

  // Whether every store has had a complete list. Service networks are not waited for: an older API
  // server has no such kind.
  bool Synced() const;

  // Why this LVSService cannot be read; nullopt if it can.
  std::optional<std::string> Unreadable(const std::string& key) const;
  std::map<std::string, std::string> UnreadableServices() const;

  const kube::Store<api::LvsService>& services() const { return services_.store; }
  const kube::Store<api::LvsAddressPool>& pools() const { return pools_.store; }
  const kube::Store<api::LvsDirectorGroup>& groups() const { return groups_.store; }
  const kube::Store<api::LvsNode>& lvs_nodes() const { return lvs_nodes_.store; }
  const kube::Store<api::KubeService>& kube_services() const { return kube_services_.store; }
  const kube::Store<api::EndpointSlice>& slices() const { return slices_.store; }
  const kube::Store<api::KubeNode>& nodes() const { return nodes_.store; }
  const kube::Store<api::KubeNamespace>& namespaces() const { return namespaces_.store; }
  const kube::Store<api::KubeServiceCidr>& service_cidrs() const { return service_cidrs_.store; }

 private:
  // One kind.
  template <typename T>
  struct Watched {
    using Decoder = absl::StatusOr<T> (*)(const nlohmann::json&, const api::DecodeOptions&);
    Watched(const kube::Client& client, const kube::Resource& resource, Decoder decoder, Kind kind,
            const OnChange& on_change, uint64_t seed, const Clock& clock, Logger& log)
        : store([on_change, kind](const std::vector<std::string>& keys) { on_change(kind, keys); }),
          reflector(
              client, {.resource = resource, .seed = seed + static_cast<uint64_t>(kind)},
              [decoder](const nlohmann::json& object) { return decoder(object, {}); }, store, clock,
              log) {}
    kube::Store<T> store;
    kube::Reflector<T> reflector;
  };

  Watched<api::LvsService> services_;
  Watched<api::LvsAddressPool> pools_;
  Watched<api::LvsDirectorGroup> groups_;
  Watched<api::LvsNode> lvs_nodes_;
  Watched<api::KubeService> kube_services_;
  Watched<api::EndpointSlice> slices_;
  Watched<api::KubeNode> nodes_;
  Watched<api::KubeNamespace> namespaces_;
  Watched<api::KubeServiceCidr> service_cidrs_;
};

}  // namespace kube_lvs::controller
