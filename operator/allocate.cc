#include "operator/allocate.h"

#include <algorithm>

#include "kube/api/pools.h"

namespace kube_lvs::controller {
namespace {

using api::AddressRequest;
using api::AssignedAddress;

constexpr char kMend[] = ": ask its owner for a namespaceSelector that matches";

std::string Text(const ClusterNetwork& network) {
  return network.cidr.ToString() + ", " + network.what;
}

std::string NamespaceText(const AllocationRequest& request) {
  return "namespace " + request.claim.name_space;
}

// The pool that may grant `ip`, or would if it were open.
const PoolView* PoolWith(const std::vector<PoolView>& pools, const IpAddress& ip) {
  const auto it = std::ranges::find_if(
      pools, [&](const PoolView& pool) { return api::Contains(pool.cidrs, ip); });
  return it == pools.end() ? nullptr : &*it;
}

const PoolView* PoolNamed(const std::vector<PoolView>& pools, const std::string& name) {
  const auto it = std::ranges::find(pools, name, &PoolView::name);
  return it == pools.end() ? nullptr : &*it;
}

AssignedAddress Assigned(const IpAddress& ip, const PoolView& pool) {
  return {.value = ip.ToString(), .pool_name = pool.name, .ip_family = ip.family};
}

class Allocator {
 public:
  Allocator(const AllocationRequest& request, const std::vector<PoolView>& pools,
            const std::vector<ClusterNetwork>& cluster, const AddressBook& book, TimePoint now)
      : request_(request),
        pools_(pools),
        cluster_(cluster),
        book_(book),
        now_(now),
        has_(book.Of(request.key)) {
    // Two services with one address and one port: the later one goes.
    std::erase_if(has_, [&](const AssignedAddress& address) {
      const absl::StatusOr<IpAddress> ip = IpAddress::Parse(address.value);
      return !ip.ok() || !book.Conflict(request.key, *ip, request.claim).empty();
    });
  }

  Allocation Run() {
    // Without a request: any address of a pool that is open.
    const AddressRequest wanted =
        request_.requests.empty() ? AddressRequest{} : request_.requests.front();
    return wanted.type == AddressRequest::Type::kIp ? Exactly(wanted) : FromPool(wanted);
  }

 private:
  // What it has, it keeps until it gets what it asks for.
  Allocation Denied(const char* reason, std::string message) const {
    return {.addresses = has_, .satisfied = false, .reason = reason, .message = std::move(message)};
  }

  Allocation Granted(const IpAddress& ip, const PoolView& pool) const {
    return {.addresses = {Assigned(ip, pool)},
            .satisfied = true,
            .reason = kAssigned,
            .message = ip.ToString() + " of LVSAddressPool " + pool.name};
  }

  // It has what it asks for; does it still have the right to it?
  Allocation Kept(const AssignedAddress& address, const IpAddress& ip) const {
    Allocation out{.addresses = {address}, .satisfied = true};
    const ClusterNetwork* network = NetworkWith(cluster_, ip);
    if (network != nullptr && network->node_address) {
      out.satisfied = false;
      out.reason = kAddressConflict;
      out.message = address.value + " is " + network->what +
                    " now, and is not served: ask for another address, or give the Node another";
      return out;
    }
    const PoolView* pool = PoolWith(pools_, ip);
    if (network == nullptr && pool != nullptr && pool->OpenTo(request_.namespace_labels)) {
      // Pools may have been renamed around it.
      out.addresses = {Assigned(ip, *pool)};
      out.message = address.value + " of LVSAddressPool " + pool->name;
      return out;
    }
    out.reason = kNotPermitted;
    out.message = address.value + " stays, but it would not be granted again: " +
                  (network != nullptr ? "it lies in " + Text(*network)
                   : pool == nullptr  ? "no LVSAddressPool grants it any more"
                                      : "LVSAddressPool " + pool->name + " is not open to " +
                                           NamespaceText(request_));
    return out;
  }

  Allocation Exactly(const AddressRequest& wanted) const {
    const absl::StatusOr<IpAddress> ip = IpAddress::Parse(wanted.value);
    if (!ip.ok()) return Denied(kPoolNotFound, wanted.value + " is not an address");
    const std::string conflict = book_.Conflict(request_.key, *ip, request_.claim);
    if (!conflict.empty()) {
      return Denied(kAddressConflict,
                    wanted.value + " is held by LVSService " + conflict +
                        "; services of one namespace may share an address if their ports differ");
    }
    for (const AssignedAddress& address : has_) {
      if (address.value == ip->ToString()) return Kept(address, *ip);
    }
    if (const ClusterNetwork* network = NetworkWith(cluster_, *ip)) {
      return Denied(kAddressConflict, wanted.value +
                                          (network->node_address ? " is " + network->what
                                                                 : " lies in " + Text(*network)) +
                                          ": ask for another address");
    }
    const PoolView* pool = PoolWith(pools_, *ip);
    if (pool == nullptr) return Denied(kPoolNotFound, "no LVSAddressPool grants " + wanted.value);
    if (!pool->OpenTo(request_.namespace_labels)) {
      return Denied(kNotPermitted, "LVSAddressPool " + pool->name + ", which holds " +
                                       wanted.value + ", is not open to " +
                                       NamespaceText(request_) + kMend);
    }
    if (const auto until = book_.RestsUntil(*ip, request_.key, now_)) {
      Allocation out =
          Denied(kAddressConflict,
                 wanted.value + " was given back a moment ago and is free again within a minute");
      out.retry_at = until;
      return out;
    }
    return Granted(*ip, *pool);
  }

  Allocation FromPool(const AddressRequest& wanted) const {
    const Family family = wanted.ip_family.value_or(request_.family);
    for (const AssignedAddress& address : has_) {
      const absl::StatusOr<IpAddress> ip = IpAddress::Parse(address.value);
      if (!ip.ok() || ip->family != family) continue;
      if (!wanted.pool_name.empty() && address.pool_name != wanted.pool_name) continue;
      return Kept(address, *ip);
    }
    std::vector<const PoolView*> open;
    if (wanted.pool_name.empty()) {
      for (const PoolView& pool : pools_) {
        if (pool.automatic && pool.OpenTo(request_.namespace_labels)) open.push_back(&pool);
      }
      if (open.empty()) {
        return Denied(kPoolNotFound, "no LVSAddressPool with allocation Automatic is open to " +
                                         NamespaceText(request_));
      }
    } else {
      const PoolView* pool = PoolNamed(pools_, wanted.pool_name);
      if (pool == nullptr) {
        return Denied(kPoolNotFound, "there is no LVSAddressPool " + wanted.pool_name);
      }
      if (!pool->OpenTo(request_.namespace_labels)) {
        return Denied(kNotPermitted, "LVSAddressPool " + pool->name + " is not open to " +
                                         NamespaceText(request_) + kMend);
      }
      open = {pool};
    }
    return FirstFree(open, family);
  }

  Allocation FirstFree(const std::vector<const PoolView*>& open, Family family) const {
    // What it gave back itself is not anybody else's yet.
    if (const auto own = book_.RestingOf(request_.key, now_); own && own->family == family) {
      for (const PoolView* pool : open) {
        if (api::Contains(pool->cidrs, *own)) return Granted(*own, *pool);
      }
    }
    std::optional<TimePoint> soonest;
    for (const PoolView* pool : open) {
      const auto ip = api::FirstFree(pool->cidrs, family, [&](const IpAddress& candidate) {
        if (book_.Held(candidate)) return true;
        const auto until = book_.RestsUntil(candidate, request_.key, now_);
        if (until && (!soonest || *until < *soonest)) soonest = until;
        return until.has_value();
      });
      if (ip) return Granted(*ip, *pool);
    }
    std::string names;
    for (const PoolView* pool : open) names += (names.empty() ? "" : ", ") + pool->name;
    std::string message = std::string("no free ") + (family == Family::kIpv4 ? "IPv4" : "IPv6") +
                          " address in LVSAddressPool " + names;
    for (const PoolView* pool : open) {
      if (!pool->why_not.empty()) message += "; " + pool->name + ": " + pool->why_not;
    }
    Allocation out = Denied(kPoolExhausted, std::move(message));
    out.retry_at = soonest;
    return out;
  }

  const AllocationRequest& request_;
  const std::vector<PoolView>& pools_;
  const std::vector<ClusterNetwork>& cluster_;
  const AddressBook& book_;
  const TimePoint now_;
  std::vector<AssignedAddress> has_;
};

}  // namespace

Claim ClaimOf(const api::LvsService& service) {
  Claim out{.name_space = service.meta.name_space, .ports = {}};
  for (const api::ServicePort& port : service.spec.ports) {
    out.ports.push_back({port.protocol, port.port, port.end_port.value_or(port.port)});
  }
  if (!service.spec.all_ports) return out;
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp}) {
    out.ports.push_back({protocol, 0, UINT16_MAX});
  }
  return out;
}

void AddressBook::Set(const std::string& key, const std::vector<AssignedAddress>& addresses,
                      const Claim& claim, TimePoint now) {
  std::set<IpAddress> keeps;
  for (const AssignedAddress& address : addresses) {
    if (const absl::StatusOr<IpAddress> ip = IpAddress::Parse(address.value); ip.ok()) {
      keeps.insert(*ip);
    }
  }
  for (const AssignedAddress& address : Of(key)) {
    const absl::StatusOr<IpAddress> ip = IpAddress::Parse(address.value);
    if (!ip.ok()) continue;
    auto& pool = by_pool_[address.pool_name];
    if (--pool[*ip] <= 0) pool.erase(*ip);
    if (pool.empty()) by_pool_.erase(address.pool_name);
    auto& holders = holders_[*ip];
    holders.erase(key);
    if (!holders.empty()) continue;
    holders_.erase(*ip);
    vips_.erase(*ip);
    if (!keeps.contains(*ip)) resting_[*ip] = {.key = key, .until = now + kRest};
  }
  by_key_.erase(key);
  for (const AssignedAddress& address : addresses) {
    const absl::StatusOr<IpAddress> ip = IpAddress::Parse(address.value);
    if (!ip.ok()) continue;
    by_key_[key].push_back(address);
    ++by_pool_[address.pool_name][*ip];
    holders_[*ip][key] = claim;
    vips_.insert(*ip);
    resting_.erase(*ip);
  }
  std::erase_if(resting_, [&](const auto& entry) { return entry.second.until <= now; });
}

std::vector<AssignedAddress> AddressBook::Of(const std::string& key) const {
  const auto it = by_key_.find(key);
  return it == by_key_.end() ? std::vector<AssignedAddress>{} : it->second;
}

std::string AddressBook::Conflict(const std::string& key, const IpAddress& ip,
                                  const Claim& claim) const {
  const auto it = holders_.find(ip);
  if (it == holders_.end()) return "";
  // Who holds it with these very ports was there first.
  const bool holds = it->second.contains(key) && it->second.at(key) == claim;
  for (const auto& [other, theirs] : it->second) {
    if (other == key || holds) continue;
    if (theirs.name_space != claim.name_space) return other;
    for (const ClaimedPorts& port : claim.ports) {
      const auto overlaps = [&port](const ClaimedPorts& their) {
        return port.protocol == their.protocol && port.first <= their.last &&
               their.first <= port.last;
      };
      if (std::ranges::any_of(theirs.ports, overlaps)) return other;
    }
  }
  return "";
}

std::optional<TimePoint> AddressBook::RestsUntil(const IpAddress& ip, const std::string& key,
                                                 TimePoint now) const {
  const auto it = resting_.find(ip);
  if (it == resting_.end() || it->second.until <= now || it->second.key == key) {
    return std::nullopt;
  }
  return it->second.until;
}

std::optional<IpAddress> AddressBook::RestingOf(const std::string& key, TimePoint now) const {
  for (const auto& [ip, resting] : resting_) {
    if (resting.key == key && resting.until > now) return ip;
  }
  return std::nullopt;
}

std::vector<std::string> AddressBook::HoldersOf(const IpAddress& ip) const {
  std::vector<std::string> out;
  if (const auto it = holders_.find(ip); it != holders_.end()) {
    for (const auto& [key, claim] : it->second) out.push_back(key);
  }
  return out;
}

std::vector<IpAddress> AddressBook::HeldOf(const std::string& pool) const {
  std::vector<IpAddress> out;
  if (const auto it = by_pool_.find(pool); it != by_pool_.end()) {
    for (const auto& [ip, count] : it->second) out.push_back(ip);
  }
  return out;
}

Allocation Allocate(const AllocationRequest& request, const std::vector<PoolView>& pools,
                    const std::vector<ClusterNetwork>& cluster, const AddressBook& book,
                    TimePoint now) {
  return Allocator(request, pools, cluster, book, now).Run();
}

}  // namespace kube_lvs::controller
