// The eBPF dataplane as a Backend: services, real servers and their node items in the maps of our
// programs. What Read() reports comes from the maps and interfaces alone.
#pragma once

#include <cstdint>
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
#include "dataplane/ebpf/addresses.h"
#include "dataplane/ebpf/map_store.h"
#include "dataplane/ebpf/network.h"
#include "dataplane/ebpf/node_items.h"
#include "dataplane/ebpf/programs.h"
#include "dataplane/ebpf/service_tables.h"
#include "dataplane/model/backend.h"

namespace kube_lvs::ebpf {

// Not thread-safe. The calling thread is in the network namespace that the parts were made in.
class EbpfBackend final : public Backend {
 public:
  // Takes over what the maps hold: same ids, same connections; nothing is written unless a crash
  // left something half done. All are borrowed. kFailedPrecondition: the maps have another layout.
  // kDataLoss: they contradict themselves. Both messages name the mend.
  static absl::StatusOr<std::unique_ptr<EbpfBackend>> Adopt(MapStore& maps, Programs& programs,
                                                            Network& network, const Clock& clock);

  std::string Name() const override { return "eBPF"; }
  bool Takes(const Step& step) const override;
  absl::StatusOr<State> Read() override;
  absl::StatusOr<ServiceReading> ReadServices(const std::set<ServiceKey>& keys) override;
  // Consecutive steps of one service become visible together, or none of them does.
  std::vector<absl::Status> Apply(std::span<const Step> steps) override;
  absl::StatusOr<Stats> ReadStats() override;
  // Reading it all costs no more.
  absl::StatusOr<std::set<ServiceKey>> Suspects(const ServiceTable&) override {
    return absl::UnimplementedError("no look is cheaper than a reading");
  }
  // Remembers nothing that is not in the kernel.
  absl::Status ForgetAllBut(const ServiceTable&) override { return absl::OkStatus(); }

  // Readable when the network changed: call Refresh() then, and on a timer.
  int fd() const { return network_.fd(); }

  // Brings the ways to real servers and the interfaces' records up to date, and ends the rest of
  // removed objects. Writes only what changed.
  absl::Status Refresh();

  // Puts right the counts of connections that differ from the connection table while nothing moves;
  // returns of how many real servers. Refresh() does so at first and every ten minutes.
  absl::StatusOr<uint32_t> RepairCounts();
  uint64_t counts_repaired() const { return counts_repaired_; }  // since it was made

  // Every answered VIP is answered until then (CLOCK_BOOTTIME, nanoseconds); those answered later
  // start with it, too. Without a call the right to answer does not end.
  absl::Status RenewClaims(uint64_t until_boottime_ns) {
    return items_->RenewClaims(until_boottime_ns);
  }
  // Whether each VIP is claimed by one director: then others leave what comes for it to the real
  // servers on them.
  void SetClaims(bool by_one);

  // Tells the neighbours again that those of these VIPs which are answered here are at this node; a
  // network goes by its first address.
  absl::Status AnnounceAgain(const std::set<IpAddress>& vips) {
    return items_->AnnounceAgain(vips);
  }

  // The interfaces through which these real servers are reached now, without lo: where the replies
  // of NAT come in. Those without a route are left out.
  absl::StatusOr<std::set<std::string>> InterfacesOf(std::span<const RealServer> reals);

  // Packets dropped since the maps were made, by reason. Cheap.
  absl::StatusOr<std::map<std::string, uint64_t>> ReadDrops();

  // How each attached interface is served, for reports.
  absl::StatusOr<std::vector<AttachReport>> Attachments() { return items_->Attachments(); }

  // How full the tables are, 0 .. 1, by name.
  std::map<std::string, double> Fill() const { return services_->Fill(); }

 private:
  EbpfBackend(MapStore& maps, Programs& programs, Network& network, const Clock& clock)
      : maps_(maps), programs_(programs), network_(network), clock_(clock) {}

  NextHop WayTo(const IpAddress& to, bool source_nat);
  // The way to this node itself for packets whose source is translated: in by the LocalLink, so
  // that the replies come out of it; the local way as long as there is no LocalLink.
  NextHop WayToHere(const IpAddress& to);

  // The steps of one service, one after the other; the statuses of those that are not OK and of
  // all after them are set.
  void ApplyService(std::span<const Step> steps, std::span<absl::Status> statuses);

  absl::StatusOr<ServiceReading> ReadRules(const std::set<ServiceKey>& keys);
  absl::Status SweepConnections();

  MapStore& maps_;
  Programs& programs_;
  Network& network_;
  const Clock& clock_;
  std::unique_ptr<Addresses> addresses_;
  std::unique_ptr<ServiceTables> services_;
  std::unique_ptr<NodeItems> items_;
  std::optional<TimePoint> swept_;      // when the connection table was last
  std::optional<TimePoint> recounted_;  // when counts were last compared with the table
  uint64_t counts_repaired_ = 0;
  std::map<IpAddress, NextHop> ways_;  // asked within one call; empty between calls
  // Neighbours (interface, address) that the kernel was asked to keep resolved, and when last.
  std::map<std::pair<uint32_t, IpAddress>, TimePoint> kept_;
};

}  // namespace kube_lvs::ebpf
