#include "node-agent/desired/vips.h"

#include "base/status.h"
#include "kube/api/pools.h"

namespace kube_lvs {
namespace {

// Whether the pool grants the address, or any pool where the status does not say which.
bool Granted(const api::AssignedAddress& assigned, const Cidr& vips, const Snapshot& snapshot) {
  for (const auto& [name, pool] : *snapshot.pools) {
    if (!assigned.pool_name.empty() && name != assigned.pool_name) continue;
    if (api::Contains(api::ParseCidrs(pool->status.cidrs), vips)) return true;
  }
  return false;
}

std::vector<std::string> AddressTexts(const api::LvsService& service, bool kubernetes) {
  std::vector<std::string> texts;
  if (kubernetes) {
    for (const auto& assigned : service.status.addresses) texts.push_back(assigned.value);
  } else {
    for (const auto& request : service.spec.addresses) {
      if (request.type != api::AddressRequest::Type::kPool) texts.push_back(request.value);
    }
  }
  return texts;
}

}  // namespace

VipsOfService FindVips(const api::LvsService& service, const Snapshot& snapshot) {
  VipsOfService out;
  const auto take = [&out](const std::string& text) -> std::optional<Cidr> {
    const auto vips = Cidr::Parse(text);
    if (!vips.ok()) {
      out.problems.push_back({api::kInvalidSpec, "\"" + text + "\" is not an IP address"});
      return std::nullopt;
    }
    if (api::IsNeverAllowed(vips->address)) {
      out.problems.push_back({kNotPermitted, text +
                                                 " can never be a VIP: it is a loopback, "
                                                 "link-local, multicast or unspecified address"});
      return std::nullopt;
    }
    const absl::Status allowed = vips->IsHost() ? absl::OkStatus() : api::CheckVipPrefix(*vips);
    if (!allowed.ok()) {
      out.problems.push_back({kNotPermitted, text + ": " + Message(allowed)});
      return std::nullopt;
    }
    return *vips;
  };
  if (!snapshot.kubernetes) {
    for (const auto& request : service.spec.addresses) {
      if (request.type == api::AddressRequest::Type::kPool) {
        out.problems.push_back(
            {api::kInvalidSpec,
             "spec.addresses: without Kubernetes no operator assigns addresses; write the VIP "
             "itself: {type: IP, value: 192.0.2.10}"});
      } else if (const auto vips = take(request.value)) {
        out.vips.push_back(*vips);
      }
    }
    if (service.spec.addresses.empty()) {
      out.problems.push_back(
          {api::kInvalidSpec,
           "spec.addresses is empty, and without Kubernetes no operator assigns addresses; write "
           "the VIP itself: {type: IP, value: 192.0.2.10}"});
    }
    return out;
  }
  for (const auto& assigned : service.status.addresses) {
    const auto vips = take(assigned.value);
    if (!vips.has_value()) continue;
    if (Granted(assigned, *vips, snapshot)) {
      out.vips.push_back(*vips);
      continue;
    }
    out.held.push_back(*vips);
    out.problems.push_back(
        {kNotPermitted, assigned.value + " lies in no range that " +
                            (assigned.pool_name.empty() ? std::string("any LVSAddressPool")
                                                        : "LVSAddressPool " + assigned.pool_name) +
                            " grants; what is programmed for it stays, nothing new is"});
  }
  return out;
}

std::set<Cidr> AllVips(const Snapshot& snapshot) {
  std::set<Cidr> all;
  for (const auto& [key, service] : *snapshot.services) {
    for (const std::string& text : AddressTexts(*service, snapshot.kubernetes)) {
      if (const auto vips = Cidr::Parse(text); vips.ok()) all.insert(*vips);
    }
  }
  return all;
}

}  // namespace kube_lvs
