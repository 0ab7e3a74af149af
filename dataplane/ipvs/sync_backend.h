// The daemons that copy IPVS's connections between directors, as a Backend.
#pragma once

#include <set>
#include <span>
#include <string>
#include <vector>

#include "dataplane/ipvs/channel.h"
#include "dataplane/model/backend.h"

namespace kube_lvs::ipvs {

// Takes SyncDaemon items. The kernel runs at most one daemon of each role in a network namespace
// and keeps no owner: what we start is written down first, in a file of its own, and a daemon that
// is not there as written is another owner's. It is neither read nor stopped, and stands in our way
// (kAlreadyExists). The file of an earlier boot is empty.
//
// Adding takes the place of our own daemon of that role: the kernel can change none, so it is
// stopped and started, and what would have been copied between is lost.
class SyncBackend final : public Backend {
 public:
  // Borrows the channel. `journal`: a path whose directory must be there. `boot_id`: the content of
  // /proc/sys/kernel/random/boot_id.
  SyncBackend(Channel& channel, std::string journal, std::string boot_id)
      : channel_(channel), journal_(std::move(journal)), boot_id_(std::move(boot_id)) {}

  std::string Name() const override { return "IPVS sync"; }
  bool Takes(const Step& step) const override;
  // Does not ask the kernel where we never started one.
  absl::StatusOr<State> Read() override;
  absl::StatusOr<ServiceReading> ReadServices(const std::set<ServiceKey>&) override {
    return ServiceReading{};
  }
  std::vector<absl::Status> Apply(std::span<const Step> steps) override;
  absl::StatusOr<Stats> ReadStats() override { return Stats{}; }
  absl::StatusOr<std::set<ServiceKey>> Suspects(const ServiceTable&) override {
    return absl::UnimplementedError("a reading costs as little");
  }
  absl::Status ForgetAllBut(const ServiceTable&) override { return absl::OkStatus(); }

 private:
  absl::StatusOr<std::set<SyncDaemon>> Ours() const;
  absl::Status Save(const std::set<SyncDaemon>& ours) const;
  absl::StatusOr<std::set<SyncDaemon>> Running();
  absl::Status Start(const SyncDaemon& daemon);
  absl::Status Stop(const SyncDaemon& daemon);

  Channel& channel_;
  const std::string journal_;
  const std::string boot_id_;
};

// Pure. What the file says, a line a daemon: "master eth0 7 224.0.0.81 8848 1" below the boot id.
std::string SyncJournalText(const std::set<SyncDaemon>& daemons, const std::string& boot_id);
// Pure. kDataLoss, with the line, for what is none of that.
absl::StatusOr<std::set<SyncDaemon>> ParseSyncJournal(const std::string& text,
                                                      const std::string& boot_id);

}  // namespace kube_lvs::ipvs
