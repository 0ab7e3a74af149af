// The node's own settings that services need: VIPs as addresses, sysctls, source NAT for IPVS.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/clock.h"
#include "dataplane/host/addresses.h"
#include "dataplane/host/answer_claims.h"
#include "dataplane/host/local_clients.h"
#include "dataplane/host/local_routes.h"
#include "dataplane/host/masquerade.h"
#include "dataplane/host/sysctls.h"
#include "dataplane/model/backend.h"

namespace kube_lvs::host {

// Takes Sysctl, LocalLink, LocalVip, SilentVip, Masquerade and AnsweredVip of IPVS. A SilentVip is
// an address of ours on lo, an AnsweredVip one on any other interface, and of a prefix a local
// route there; adding an AnsweredVip claims and announces it. Claims are no part of the state:
// whoever plans renews them. A prefix of IPv4 is not answered for where arp_ignore, whoever set it,
// makes the kernel silent for routes (kFailedPrecondition). One of IPv6 is a local route and no
// more, since the kernel answers NDP for single addresses only: packets for it come by a router's
// route, via an AnsweredVip of one address.
class HostBackend final : public Backend {
 public:
  HostBackend(std::unique_ptr<Addresses> addresses, std::unique_ptr<LocalRoutes> routes,
              std::unique_ptr<LocalClients> local_clients,
              std::unique_ptr<MasqueradeTable> masquerades, std::unique_ptr<AnswerClaims> claims,
              Sysctls sysctls);

  std::string Name() const override { return "host"; }
  bool Takes(const Step& step) const override;
  absl::StatusOr<State> Read() override;
  absl::StatusOr<ServiceReading> ReadServices(const std::set<ServiceKey>&) override {
    return ServiceReading{};
  }
  std::vector<absl::Status> Apply(std::span<const Step> steps) override;
  absl::StatusOr<Stats> ReadStats() override { return Stats{}; }
  // Reading it all costs no more.
  absl::StatusOr<std::set<ServiceKey>> Suspects(const ServiceTable&) override {
    return absl::UnimplementedError("no look is cheaper than a reading");
  }
  // Remembers nothing that is not in the kernel.
  absl::Status ForgetAllBut(const ServiceTable&) override { return absl::OkStatus(); }

  // Keeps the VIPs that are answered claimed: until `lifetime` after `now`, for ever without one.
  // May be called as often as one likes: the kernel is asked ten times a lifetime.
  absl::Status RenewClaims(std::optional<Duration> lifetime, TimePoint now);

  // Tells the neighbours again that those of these VIPs which are answered here are at this node.
  absl::Status AnnounceAgain(const std::set<IpAddress>& vips);

  // VIPs whose address is here although the right to answer for them has run out: another director
  // has them. Of prefixes, the first address.
  absl::StatusOr<std::set<IpAddress>> RunOut();

 private:
  absl::Status ApplyOne(const Step& step);
  absl::Status Answer(const AnsweredVip& item);
  absl::Status Silence(const AnsweredVip& item);
  absl::Status CheckAnswersForRoutes(const std::string& interface) const;
  // The VIPs as an address of the device, or as a local route.
  absl::Status Place(const Cidr& vips, const std::string& device, bool add);
  std::set<Cidr> Answered() const;

  std::unique_ptr<Addresses> addresses_;
  std::unique_ptr<LocalRoutes> routes_;
  std::unique_ptr<LocalClients> local_clients_;
  std::unique_ptr<MasqueradeTable> masquerades_;
  std::unique_ptr<AnswerClaims> claims_;
  Sysctls sysctls_;
  std::map<Cidr, std::string> answered_;   // VIPs -> interface, as last read or applied
  std::optional<std::set<Cidr>> claimed_;  // as last written; nullopt: not by this process
  std::optional<Duration> lifetime_;       // of the claims written next
  TimePoint renewed_at_{};
};

}  // namespace kube_lvs::host
