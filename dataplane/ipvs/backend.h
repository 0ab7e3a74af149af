// The kernel's IPVS as a Backend.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/ipvs/channel.h"
#include "dataplane/ipvs/codec.h"
#include "dataplane/ipvs/journal.h"
#include "dataplane/ipvs/marks.h"
#include "dataplane/ipvs/schedulers.h"
#include "dataplane/model/backend.h"

namespace kube_lvs::ipvs {

// The text of /proc/net/ip_vs.
using ShowRules = std::function<absl::StatusOr<std::string>()>;
// In the network namespace of the calling thread. kNotFound: the kernel has no ip_vs.
absl::StatusOr<std::string> RulesOfThisThread();

// Takes the service steps of keys with Dataplane::kIpvs. Only services in the journal are read or
// changed; a key that is in the kernel and not in the journal is another owner's (kAlreadyExists).
// Never flushes.
//
// Order: the kernel puts a new real server at the head of its list, so those that come with their
// service are added last first, and the kernel's list is then in the order given. One added later
// stands at the head. Read gives the kernel's order. A service made with mh and several real
// servers is filled while it is rr and switched at the end: the kernel rebuilds the table at each
// addition otherwise.
//
// Steps of one service are applied one after another; of different services, side by side in
// batches. Of the real servers that come with their service, each is tried, all in one batch.
//
// A service of many ports, or of a prefix of VIPs, is in the kernel by a mark of its own, which the
// journal keeps. Its packets are marked after its first real servers are there, and until it goes;
// where that is not so it reads as unreached. Within one Apply all that is to be marked, or is no
// more, goes in one step. One that would take packets from another owner's service is refused
// (kAlreadyExists).
//
// A kernel that knows no tunnel but IPIP takes a real server with another for one with IPIP, and
// says nothing: the first such one is read back. Where the kernel is like that, it is removed again
// and refused (kFailedPrecondition), as are those that follow.
class IpvsBackend final : public Backend {
 public:
  // Borrows all three.
  IpvsBackend(Channel& channel, Journal& journal, MarkTable& marks,
              SchedulerCheck check = CheckSchedulerOfThisNode, ShowRules show = RulesOfThisThread)
      : channel_(channel),
        journal_(journal),
        marks_(marks),
        check_(std::move(check)),
        show_(std::move(show)) {}

  std::string Name() const override { return "IPVS"; }
  bool Takes(const Step& step) const override;

  // kFailedPrecondition when the kernel has no ip_vs, also while no service is ours. What another
  // program changed in our services so that the model cannot say it is shown as a scheduler or a
  // forwarding method that nobody desires.
  absl::StatusOr<State> Read() override;
  absl::StatusOr<ServiceReading> ReadServices(const std::set<ServiceKey>& keys) override;
  std::vector<absl::Status> Apply(std::span<const Step> steps) override;
  // How many services of other owners the kernel had when all were read last.
  size_t other_services() const { return other_services_; }

  // Lags by up to 2 s: the kernel publishes its counters that often.
  absl::StatusOr<Stats> ReadStats() override;
  // By the text of shown_rules.h, which says what cannot be seen: of a service with a mark too
  // little, so that it is always a suspect. Holds no lock of IPVS while it reads.
  absl::StatusOr<std::set<ServiceKey>> Suspects(const ServiceTable& expected) override;
  // Takes keys that are not desired, and not in the kernel, out of the journal: their addition
  // failed in a way that left unknown whether it was made.
  absl::Status ForgetAllBut(const ServiceTable& desired) override;

 private:
  class Batch;

  // These add what the kernel counts to `stats`, if there are any.
  absl::StatusOr<ServiceTable> ReadOurs(Stats* stats);
  absl::StatusOr<VirtualService> ReadRules(const ServiceKey& key, ServiceEntry entry,
                                           bool source_nat, Stats* stats);
  // Whether the packets of the services read are marked. Asks nothing if none of them needs that.
  void ReadMarks(ServiceTable& services, Stats* stats);
  // Our services that need them, by the marks that the kernel knows them by.
  std::map<ServiceKey, ServiceKey> OursByMark() const;
  // As the kernel has a service of ours, or one that is being added.
  ServiceKey InKernel(const ServiceKey& key) const;
  absl::StatusOr<std::vector<RealEntry>> RealsOf(const ServiceKey& key, Content content);
  // Of a real server that was just sent.
  absl::Status ConfirmTunnel(const ServiceKey& key, const RealServer& real);

  Channel& channel_;
  Journal& journal_;
  MarkTable& marks_;
  const SchedulerCheck check_;
  const ShowRules show_;
  size_t other_services_ = 0;
  // Whether the kernel knows other tunnels than IPIP; nullopt until it told a real server.
  std::optional<bool> tells_tunnels_;
};

}  // namespace kube_lvs::ipvs
