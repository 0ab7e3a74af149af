#include "dataplane/host/host_backend.h"

#include <type_traits>
#include <utility>

#include "base/status.h"
#include "dataplane/host/announce.h"

namespace kube_lvs::host {
namespace {

const NodeItem* ItemOf(const Step& step) {
  if (const auto* add = std::get_if<AddItem>(&step)) return &add->item;
  if (const auto* remove = std::get_if<RemoveItem>(&step)) return &remove->item;
  return nullptr;
}

}  // namespace

HostBackend::HostBackend(std::unique_ptr<Addresses> addresses,
                         std::unique_ptr<MasqueradeTable> masquerades, Sysctls sysctls)
    : addresses_(std::move(addresses)),
      masquerades_(std::move(masquerades)),
      sysctls_(std::move(sysctls)) {}

bool HostBackend::Takes(const Step& step) const {
  const NodeItem* item = ItemOf(step);
  if (item == nullptr) return false;
  if (const auto* vip = std::get_if<AnsweredVip>(item)) return vip->dataplane == Dataplane::kIpvs;
  return std::holds_alternative<Sysctl>(*item) || std::holds_alternative<SilentVip>(*item) ||
         std::holds_alternative<Masquerade>(*item);
}

absl::StatusOr<State> HostBackend::Read() {
  State state;
  KUBE_LVS_ASSIGN_OR_RETURN(const auto addresses, addresses_->Read());
  for (const OwnedAddress& address : addresses) {
    if (address.device == "lo") {
      state.items.insert(SilentVip{address.address});
    } else {
      state.items.insert(AnsweredVip{Dataplane::kIpvs, address.address, address.device});
    }
  }
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

absl::Status HostBackend::ApplyOne(const Step& step) {
  const bool add = std::holds_alternative<AddItem>(step);
  return std::visit(
      [&](const auto& item) -> absl::Status {
        using T = std::decay_t<decltype(item)>;
        if constexpr (std::is_same_v<T, Sysctl>) {
          return add ? sysctls_.Hold(item) : sysctls_.Release(item.name);
        } else if constexpr (std::is_same_v<T, Masquerade>) {
          return add ? masquerades_->Add(item) : masquerades_->Remove(item);
        } else if constexpr (std::is_same_v<T, SilentVip>) {
          const OwnedAddress address{"lo", item.vip};
          return add ? addresses_->Add(address) : addresses_->Remove(address);
        } else if constexpr (std::is_same_v<T, AnsweredVip>) {
          const OwnedAddress address{item.interface, item.vip};
          if (!add) return addresses_->Remove(address);
          KUBE_LVS_RETURN_IF_ERROR(addresses_->Add(address));
          return Announce(item.vip, item.interface);
        } else {
          return absl::InternalError("the host does not apply \"" + ToString(step) + "\"");
        }
      },
      *ItemOf(step));
}

}  // namespace kube_lvs::host
