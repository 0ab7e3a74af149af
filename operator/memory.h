// What the leader knows beside the stores, and which objects a change makes due. Pure: objects and
// the time are passed in, and what is due is collected until it is taken.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "kube/api/resolve.h"
#include "kube/api/types.h"
#include "operator/allocate.h"
#include "operator/group.h"
#include "operator/networks.h"
#include "operator/pools.h"
#include "operator/work.h"

namespace kube_lvs::controller {

inline constexpr std::chrono::milliseconds kCountsDelay{500};  // pools' and groups' counts follow
inline constexpr std::chrono::seconds kTick{10};

using ServiceMap = std::map<std::string, std::shared_ptr<const api::LvsService>, std::less<>>;
using Texts = std::map<std::string, std::string>;

// Keys are "namespace/name", or "name" of objects of the cluster; nullptr: there is none (any
// more).
class Memory {
 public:
  std::vector<Due> TakeDue() { return std::exchange(due_, {}); }

  // ---- At the beginning

  // What services have, however they came by it: of two that have the same, the older keeps it. And
  // what directors still answer for rests. All services are due.
  void Inherit(std::vector<api::LvsService> services, const LvsNodeMap& reports, TimePoint now);
  // Groups are due, and so is the first tick.
  void Begin(const GroupMap& groups);

  // ---- What watches tell

  void SliceChanged(const std::string& key, std::shared_ptr<const api::EndpointSlice> slice);
  void KubeServiceChanged(const std::string& key);
  void ReportChanged(const std::string& node, std::shared_ptr<const api::LvsNode> report,
                     const GroupMap& groups);
  void NodesChanged(const NodeMap& nodes, const ServiceCidrs& cidrs, const PoolMap& pools,
                    const GroupMap& groups);
  void PoolsChanged(const PoolMap& pools);
  void GroupChanged(const std::string& name, std::shared_ptr<const api::LvsDirectorGroup> group,
                    const GroupMap& groups);
  void NamespaceChanged(const std::string& name);

  // What no watch tells: every kTick. `unreadable`: services, and why.
  void Tick(const Texts& unreadable);
  // Services that have something. Of those that cannot be read no store tells that they are gone.
  std::vector<std::string> Holders() const { return book_.Holders(); }

  // ---- What reconciling a service finds out

  // Its group, and the Services ("namespace/name") that it takes its real servers from.
  void ServiceUses(const std::string& key, const std::string& group,
                   std::set<std::string> services);
  void Granted(const std::string& key, const Claim& claim, const Allocation& allocation,
               TimePoint now);
  void Judged(const std::string& key, const std::vector<api::Condition>& conditions);
  void ForgetService(const std::string& key, TimePoint now);

  // ---- What is known

  const AddressBook& book() const { return book_; }
  const std::vector<PoolView>& pools() const { return pools_; }
  const Networks& networks() const { return networks_; }
  // Of a Service, in the order of their names.
  std::vector<std::shared_ptr<const api::EndpointSlice>> SlicesOf(const std::string& service) const;
  int ServicesOf(const std::string& group) const;
  size_t Services() const { return group_of_.size(); }
  size_t NotReady() const { return not_ready_.size(); }

 private:
  void Now(std::string key) { due_.push_back({.key = std::move(key)}); }
  void Now(Kind kind, const std::string& name) { Now(KeyOf(kind, name)); }
  void Later(Kind kind, const std::string& name, Duration after) {
    due_.push_back({.key = KeyOf(kind, name), .after = after});
  }
  void AllServices();
  void Waiting();
  void PoolsOf(const std::vector<api::AssignedAddress>& addresses);
  void SetGroup(const std::string& service, const std::string& group);
  void SetUses(const std::string& service, std::set<std::string> now);

  std::vector<Due> due_;
  AddressBook book_;
  std::vector<PoolView> pools_;
  Networks networks_;

  // Backends: "namespace/name" of a Service -> LVSServices, and back.
  std::map<std::string, std::set<std::string>> used_by_;
  std::map<std::string, std::set<std::string>> uses_;
  // EndpointSlices by their Service, and back.
  std::map<std::string, api::EndpointSliceMap> slices_;
  std::map<std::string, std::string> slice_of_;

  std::map<std::string, std::shared_ptr<const api::LvsNode>> reports_;
  std::map<std::string, api::KubeNode> nodes_;  // without versions: what matters of them
  std::map<std::string, std::string> group_of_;
  std::map<std::string, int> group_sizes_;
  std::map<std::string, std::shared_ptr<const api::LvsDirectorGroup>> groups_;  // as last looked at

  Texts waiting_;                       // for an address -> why
  std::set<std::string> unprogrammed_;  // Programmed is not True
  std::set<std::string> not_ready_;
};

}  // namespace kube_lvs::controller
