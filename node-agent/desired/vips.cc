#include "node-agent/desired/vips.h"

#include "kube/api/pools.h"

namespace kube_lvs {
namespace {

// Whether the pool grants the address, or any pool where the status does not say which.
bool Granted(const api::AssignedAddress& assigned, const IpAddress& vip, const Snapshot& snapshot) {
  for (const auto& [name, pool] : *snapshot.pools) {
    if (!assigned.pool_name.empty() && name != assigned.pool_name) continue;
    if (api::Contains(api::ParseCidrs(pool->status.cidrs), vip)) return true;
  }
  return false;
}

std::vector<std::string> AddressTexts(const api::LvsService& service, bool kubernetes) {
  std::vector<std::string> texts;
  if (kubernetes) {
    for (const auto& assigned : service.status.addresses) texts.push_back(assigned.value);
  } else {
    for (const auto& request : service.spec.addresses) {
      if (request.type == api::AddressRequest::Type::kIp) texts.push_back(request.value);
    }
  }
  return texts;
}

}  // namespace

VipsOfService FindVips(const api::LvsService& service, const Snapshot& snapshot) {
  VipsOfService out;
  const auto take = [&out](const std::string& text) -> std::optional<IpAddress> {
    const auto vip = IpAddress::Parse(text);
    if (!vip.ok()) {
      out.problems.push_back({api::kInvalidSpec, "\"" + text + "\" is not an IP address"});
      return std::nullopt;
    }
    if (api::IsNeverAllowed(*vip)) {
      out.problems.push_back({kNotPermitted, text +
                                                 " can never be a VIP: it is a loopback, "
                                                 "link-local, multicast or unspecified address"});
      return std::nullopt;
    }
    return *vip;
  };
  if (!snapshot.kubernetes) {
    for (const auto& request : service.spec.addresses) {
      if (request.type != api::AddressRequest::Type::kIp) {
        out.problems.push_back(
            {api::kInvalidSpec,
             "spec.addresses: without Kubernetes no operator assigns addresses; write the VIP "
             "itself: {type: IP, value: 192.0.2.10}"});
      } else if (const auto vip = take(request.value)) {
        out.vips.push_back(*vip);
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
    const auto vip = take(assigned.value);
    if (!vip.has_value()) continue;
    if (Granted(assigned, *vip, snapshot)) {
      out.vips.push_back(*vip);
      continue;
    }
    out.held.push_back(*vip);
    out.problems.push_back(
        {kNotPermitted, assigned.value + " lies in no range that " +
                            (assigned.pool_name.empty() ? std::string("any LVSAddressPool")
                                                        : "LVSAddressPool " + assigned.pool_name) +
                            " grants; what is programmed for it stays, nothing new is"});
  }
  return out;
}

std::set<IpAddress> AllVips(const Snapshot& snapshot) {
  std::set<IpAddress> all;
  for (const auto& [key, service] : *snapshot.services) {
    for (const std::string& text : AddressTexts(*service, snapshot.kubernetes)) {
      if (const auto vip = IpAddress::Parse(text); vip.ok()) all.insert(*vip);
    }
  }
  return all;
}

}  // namespace kube_lvs
