// How long IPVS remembers connections, as a Backend.
#pragma once

#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "dataplane/ipvs/channel.h"
#include "dataplane/model/backend.h"

namespace kube_lvs::ipvs {

// What timeouts that we hold were before us, in seconds.
using TimeoutsBefore = std::map<ConnectionKind, uint32_t>;

// Pure. Of the file's text: "udp 300" a line below the boot id. kDataLoss, with the line, for what
// is none of that.
absl::StatusOr<TimeoutsBefore> ParseTimeoutJournal(const std::string& text,
                                                   const std::string& boot_id);

// Takes ConnectionTimeout items of IPVS. The kernel has each timeout once for a network namespace
// and keeps no owner: what it was before us is written down before it is first changed, so that a
// crash at any point can still be undone. The file of an earlier boot is empty.
class TimeoutBackend final : public Backend {
 public:
  // Borrows the channel. `journal`: a path whose directory must be there. `boot_id`: the content of
  // /proc/sys/kernel/random/boot_id.
  TimeoutBackend(Channel& channel, std::string journal, std::string boot_id)
      : channel_(channel), journal_(std::move(journal)), boot_id_(std::move(boot_id)) {}

  std::string Name() const override { return "IPVS timeouts"; }
  bool Takes(const Step& step) const override;
  // Those that we changed, at the value they have now. Does not ask the kernel if there are none.
  absl::StatusOr<State> Read() override;
  absl::StatusOr<ServiceReading> ReadServices(const std::set<ServiceKey>&) override {
    return ServiceReading{};
  }
  // Removal of one that is not at the item's value any more is left to whoever changed it.
  std::vector<absl::Status> Apply(std::span<const Step> steps) override;
  absl::StatusOr<Stats> ReadStats() override { return Stats{}; }
  absl::StatusOr<std::set<ServiceKey>> Suspects(const ServiceTable&) override {
    return absl::UnimplementedError("a reading costs as little");
  }
  absl::Status ForgetAllBut(const ServiceTable&) override { return absl::OkStatus(); }

 private:
  absl::StatusOr<TimeoutsBefore> Held() const;
  absl::Status Save(const TimeoutsBefore& before) const;
  absl::Status Set(ConnectionKind kind, uint32_t seconds);
  absl::Status Hold(const ConnectionTimeout& timeout);
  absl::Status Release(const ConnectionTimeout& timeout);

  Channel& channel_;
  const std::string journal_;
  const std::string boot_id_;
};

}  // namespace kube_lvs::ipvs
