// The services and real servers in the maps: what is there is read from the maps each time; kept
// beside them are only the allocators, which are rebuilt from the maps at a start.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/addresses.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/extents.h"
#include "dataplane/ebpf/ids.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/map_store.h"
#include "dataplane/ebpf/network.h"
#include "dataplane/ebpf/recount.h"
#include "dataplane/ebpf/service_map.h"
#include "dataplane/model/service.h"
#include "dataplane/model/state.h"

namespace kube_lvs::ebpf {

// Not thread-safe. `now` never goes backwards over all calls.
class ServiceTables {
 public:
  // The way to a real server; one with ifindex 0 when there is none. `source_nat`: it sees a source
  // address of ours.
  using WayTo = std::function<NextHop(const IpAddress&, bool source_nat)>;

  // Takes over what is in the maps and repairs what a crash left half done; writes nothing when
  // nothing is. Everything is borrowed. kDataLoss: the maps contradict themselves.
  static absl::StatusOr<std::unique_ptr<ServiceTables>> Adopt(MapStore& maps, Addresses& addresses,
                                                              WayTo way_to, TimePoint now);

  absl::StatusOr<ServiceTable> Read();
  absl::StatusOr<std::optional<VirtualService>> Find(const ServiceKey& key);

  // Makes the service as wanted, which passed CheckSupported and is in canonical order: visible to
  // new connections at once or, on an error, not at all. kResourceExhausted names the limit.
  absl::Status Write(const ServiceKey& key, const VirtualService& wanted, TimePoint now);

  // New connections find no service any more; those that are there keep their real server's record.
  absl::Status Remove(const ServiceKey& key, TimePoint now);

  bool HasServices(const Cidr& vips) const { return services_of_vip_.contains(vips); }

  // Whether the counts of connections matter: an id rests, or some service chooses by them or has
  // templates.
  absl::StatusOr<bool> CountsMatter();

  // Ends the rest of ids whose connections and templates are gone, and forgets addresses that NAT
  // needs no more.
  absl::Status Sweep(TimePoint now);

  // Brings the ways to all real servers up to date; writes only what changed.
  absl::Status RefreshWays();

  // Puts right the counts of connections that differ from the connection table while nothing moves;
  // returns of how many real servers. Three times a walk over the table, as a rule once.
  // `await_programs` returns when every program has ended that ran when it was called.
  absl::StatusOr<uint32_t> RepairCounts(const std::function<absl::Status()>& await_programs);

  // Adds what the programs counted: for all services, or for one, which is as it was just read.
  absl::Status ReadStats(Stats& stats);
  absl::Status ReadStats(const ServiceKey& key, const VirtualService& service, Stats& stats);

  // "services" -> taken / capacity and the like, 0 .. 1. Of connections: the slots that those take
  // which klvs_real_conns counts, so up to the last sweep also those that have expired.
  std::map<std::string, double> Fill() const;

 private:
  using RealKey = std::pair<uint32_t, Endpoint>;  // id of the service, endpoint
  struct Found {
    RecordKey key;
    klvs_service value;
  };
  // What one Write takes before it changes anything, to give it back if it cannot go on.
  struct Claim {
    uint32_t service_id = 0;
    bool new_service = false;
    std::vector<uint32_t> reals;     // in the order of the list
    std::vector<RealKey> new_reals;  // of them, those that were not in the table
    std::vector<RealKey> revived;    // of them, those that rested
    Extent list;
    Extent table;
  };

  ServiceTables(MapStore& maps, Addresses& addresses, WayTo way_to)
      : maps_(maps), addresses_(addresses), way_to_(std::move(way_to)) {}

  absl::Status Map();
  absl::Status AdoptServices(TimePoint now);
  absl::Status AdoptLists(const std::vector<std::pair<ServiceKey, klvs_service>>& services);
  absl::Status AdoptThresholds(const ServiceKey& key, const klvs_service& service);
  absl::Status AdoptRemoved(TimePoint now);

  absl::StatusOr<std::optional<Found>> Lookup(const ServiceKey& key);
  absl::StatusOr<VirtualService> Decode(const ServiceKey& key, const Found& found) const;
  absl::StatusOr<std::span<klvs_list_entry>> ListOf(const klvs_service& service) const;

  absl::Status TakeIds(const ServiceKey& key, const VirtualService& wanted, Claim& claim);
  absl::Status TakeExtents(const ServiceKey& key, const VirtualService& wanted,
                           const std::optional<Found>& before, TimePoint now, Claim& claim);
  void GiveBack(const ServiceKey& key, const Claim& claim, TimePoint now);
  absl::StatusOr<std::vector<uint32_t>> MaglevSlots(const VirtualService& wanted,
                                                    std::span<const uint32_t> reals) const;
  // The real server's id in each slot of the scheduler's table; none for one without a table.
  absl::StatusOr<std::vector<uint32_t>> TableSlots(const VirtualService& wanted,
                                                   std::span<const uint32_t> reals) const;
  absl::StatusOr<std::vector<RealRecord>> PrepareReals(const VirtualService& wanted,
                                                       const Claim& claim);
  RealRecord Record(uint32_t id) const;
  void Store(uint32_t id, const RealRecord& record);
  // Which service an id belongs to, as klvs_service_state has it.
  std::optional<ServiceKey> KeyOfState(uint32_t id) const;
  void SetState(uint32_t id, const ServiceKey& key, uint64_t cursor);
  void ClearState(uint32_t id);
  void Retire(const RealKey& key, TimePoint now);
  // `local`: the service's real server on this node, to which other directors may send; 0 none.
  static void SetDelivery(const klvs_service& before, uint32_t local, klvs_service& next);
  // Whether programs still need the record of a real server that was removed so long ago. Templates
  // that only wait for its return are given up after a while.
  bool IsNeeded(uint32_t id, Duration rested);
  RealServerStats StatsOf(uint32_t id, uint32_t weight, const Counters& counters) const;
  // Without the table.
  absl::StatusOr<CountReading> ReadCount(uint32_t id);
  // VIPs that lost their last service and are not answered for: they would only drop packets.
  absl::Status RemoveStaleVips();

  MapStore& maps_;
  Addresses& addresses_;
  WayTo way_to_;

  std::span<klvs_service_state> states_;
  std::span<klvs_wide_state> wide_states_;
  std::span<klvs_in6> vips6_;  // by service id
  std::span<klvs_locality> localities_;
  std::span<klvs_list_entry> lists_;
  std::span<TableCell> tables_;
  std::span<klvs_real> reals_;
  std::span<klvs_real6> ends6_;  // by real id
  std::span<klvs_real_conns> conns_;
  std::span<TemplateCount> templates_;  // by real id
  uint32_t service_capacity_ = 0;       // of the hash map
  uint64_t connection_capacity_ = 0;
  uint64_t connection_capacity6_ = 0;
  uint64_t template_capacity_ = 0;
  uint64_t template_capacity6_ = 0;

  std::optional<IdAllocator<ServiceKey>> service_ids_;
  std::optional<IdAllocator<RealKey>> real_ids_;
  std::optional<ExtentAllocator> list_extents_;
  std::optional<ExtentAllocator> table_extents_;
  std::map<Cidr, int> services_of_vip_;
  std::map<RealKey, TimePoint> real_rests_since_;
  std::map<ServiceKey, TimePoint> service_rests_since_;
  std::set<Cidr> stale_vips_;
  bool ends_changed_ = false;  // KeepEnds may have something to take away
  bool stale_ports_ = false;  // a change of them was cut short
};

}  // namespace kube_lvs::ebpf
