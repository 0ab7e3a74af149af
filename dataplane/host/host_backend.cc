#include "dataplane/host/host_backend.h"

#include <type_traits>
#include <utility>

#include "base/status.h"
#include "dataplane/host/announce.h"

namespace kube_lvs::host {
namespace {

constexpr Duration kRenewalWithoutEnd = std::chrono::seconds(30);  // only to mend what others broke

bool NeighboursAskFor(const Cidr& vips) { return vips.IsHost() || vips.address.IsV4(); }

const NodeItem* ItemOf(const Step& step) {
  if (const auto* add = std::get_if<AddItem>(&step)) return &add->item;
  if (const auto* remove = std::get_if<RemoveItem>(&step)) return &remove->item;
  return nullptr;
}

}  // namespace

HostBackend::HostBackend(std::unique_ptr<Addresses> addresses, std::unique_ptr<LocalRoutes> routes,
                         std::unique_ptr<LocalClients> local_clients,
                         std::unique_ptr<MasqueradeTable> masquerades,
                         std::unique_ptr<AnswerClaims> claims, Sysctls sysctls)
    : addresses_(std::move(addresses)),
      routes_(std::move(routes)),
      local_clients_(std::move(local_clients)),
      masquerades_(std::move(masquerades)),
      claims_(std::move(claims)),
      sysctls_(std::move(sysctls)) {}

bool HostBackend::Takes(const Step& step) const {
  const NodeItem* item = ItemOf(step);
  if (item == nullptr) return false;
  if (const auto* vip = std::get_if<AnsweredVip>(item)) return vip->dataplane == Dataplane::kIpvs;
  return std::holds_alternative<Sysctl>(*item) || std::holds_alternative<LocalLink>(*item) ||
         std::holds_alternative<LocalVip>(*item) || std::holds_alternative<SilentVip>(*item) ||
         std::holds_alternative<Masquerade>(*item);
}

absl::StatusOr<State> HostBackend::Read() {
  State state;
  KUBE_LVS_ASSIGN_OR_RETURN(const auto addresses, addresses_->Read());
  answered_.clear();
  for (const OwnedAddress& address : addresses) {
    if (address.device == "lo") {
      state.items.insert(SilentVip{address.address});
    } else {
      answered_.emplace(Cidr::Host(address.address), address.device);
      state.items.insert(AnsweredVip{Dataplane::kIpvs, address.address, address.device});
    }
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto routes, routes_->Read());
  for (const auto& [device, vips] : routes) {
    if (device == "lo") {
      state.items.insert(SilentVip{vips.address, vips.length});
    } else {
      answered_.emplace(vips, device);
      state.items.insert(AnsweredVip{Dataplane::kIpvs, vips.address, device, vips.length});
    }
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto local_clients, local_clients_->Read());
  state.items.insert(local_clients.begin(), local_clients.end());
  KUBE_LVS_ASSIGN_OR_RETURN(const auto sysctls, sysctls_.Read());
  state.items.insert(sysctls.begin(), sysctls.end());
  KUBE_LVS_ASSIGN_OR_RETURN(const auto masquerades, masquerades_->Read());
  state.items.insert(masquerades.begin(), masquerades.end());
  return state;
}

std::vector<absl::Status> HostBackend::Apply(std::span<const Step> steps) {
  std::vector<absl::Status> out;
  for (const Step& step : steps) out.push_back(ApplyOne(step));
  return out;
}

std::set<Cidr> HostBackend::Answered() const {
  std::set<Cidr> out;
  for (const auto& [vips, interface] : answered_) out.insert(vips);
  return out;
}

absl::Status HostBackend::RenewClaims(std::optional<Duration> lifetime, TimePoint now) {
  const Duration interval = lifetime.has_value() ? *lifetime / 10 : kRenewalWithoutEnd;
  const std::set<Cidr> vips = Answered();
  const bool due = !vips.empty() && now - renewed_at_ >= interval;
  if (claimed_ == vips && lifetime == lifetime_ && !due) return absl::OkStatus();
  renewed_at_ = now;
  lifetime_ = lifetime;
  claimed_ = vips;
  if (const absl::Status status = claims_->Write(vips, lifetime); !status.ok()) {
    // A kernel without nf_tables holds nothing that would have to go.
    return vips.empty() && absl::IsFailedPrecondition(status) ? absl::OkStatus() : status;
  }
  return absl::OkStatus();
}

absl::Status HostBackend::AnnounceAgain(const std::set<IpAddress>& vips) {
  absl::Status status;
  for (const auto& [answered, interface] : answered_) {
    if (!vips.contains(answered.address) || !NeighboursAskFor(answered)) continue;
    status.Update(Announce(answered, interface));
  }
  return status;
}

absl::StatusOr<std::set<IpAddress>> HostBackend::RunOut() {
  if (answered_.empty()) return std::set<IpAddress>();
  return claims_->RunOut();
}

absl::Status HostBackend::Place(const Cidr& vips, const std::string& device, bool add) {
  if (vips.IsHost()) {
    const OwnedAddress address{device, vips.address};
    return add ? addresses_->Add(address) : addresses_->Remove(address);
  }
  const LocalRoute route{device, vips};
  return add ? routes_->Add(route) : routes_->Remove(route);
}

absl::Status HostBackend::CheckAnswersForRoutes(const std::string& interface) const {
  for (const std::string& conf : {std::string("all"), interface}) {
    const std::string name = "net/ipv4/conf/" + conf + "/arp_ignore";
    const auto value = sysctls_.Get(name);
    if (absl::IsNotFound(value.status())) return absl::NotFoundError("no interface " + interface);
    KUBE_LVS_RETURN_IF_ERROR(value.status());
    if (*value == "0") continue;
    return absl::FailedPreconditionError(
        "sysctl " + name + " is " + *value +
        ", so that the kernel answers ARP for its interfaces' addresses alone: set it to 0 "
        "(kube-proxy: strictARP: false), or give the service single addresses");
  }
  return absl::OkStatus();
}

absl::Status HostBackend::Answer(const AnsweredVip& item) {
  const Cidr vips = item.Vips();
  if (!vips.IsHost() && vips.address.IsV4()) {
    KUBE_LVS_RETURN_IF_ERROR(CheckAnswersForRoutes(item.interface));
  }
  // First the claim: VIPs without one would be answered for without end.
  KUBE_LVS_RETURN_IF_ERROR(claims_->Add(vips, lifetime_));
  if (claimed_.has_value()) claimed_->insert(vips);
  KUBE_LVS_RETURN_IF_ERROR(Place(vips, item.interface, true));
  answered_.emplace(vips, item.interface);
  return NeighboursAskFor(vips) ? Announce(vips, item.interface) : absl::OkStatus();
}

absl::Status HostBackend::Silence(const AnsweredVip& item) {
  KUBE_LVS_RETURN_IF_ERROR(Place(item.Vips(), item.interface, false));
  answered_.erase(item.Vips());
  return absl::OkStatus();  // its claim goes with the next renewal
}

absl::Status HostBackend::ApplyOne(const Step& step) {
  const bool add = std::holds_alternative<AddItem>(step);
  return std::visit(
      [&](const auto& item) -> absl::Status {
        using T = std::decay_t<decltype(item)>;
        if constexpr (std::is_same_v<T, Sysctl>) {
          return add ? sysctls_.Hold(item) : sysctls_.Release(item.name);
        } else if constexpr (std::is_same_v<T, LocalLink> || std::is_same_v<T, LocalVip>) {
          return add ? local_clients_->Add(item) : local_clients_->Remove(item);
        } else if constexpr (std::is_same_v<T, Masquerade>) {
          return add ? masquerades_->Add(item) : masquerades_->Remove(item);
        } else if constexpr (std::is_same_v<T, SilentVip>) {
          return Place(item.Vips(), "lo", add);
        } else if constexpr (std::is_same_v<T, AnsweredVip>) {
          return add ? Answer(item) : Silence(item);
        } else {
          return absl::InternalError("the host does not apply \"" + ToString(step) + "\"");
        }
      },
      *ItemOf(step));
}

}  // namespace kube_lvs::host
