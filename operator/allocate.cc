#include "operator/allocate.h"

#include <algorithm>

#include "kube/api/pools.h"

namespace kube_lvs::controller {
namespace {

using api::AddressRequest;
using api::AssignedAddress;

constexpr char kMend[] = ": ask its owner for a namespaceSelector that matches";

// "192.0.2.1 is the address of Node a", "192.0.2.0/24 lies in 192.0.0.0/8, the pods' network".
std::string Clash(const std::string& subject, const Cidr& vips, const ClusterNetwork& network) {
  if (network.cidr.Contains(vips)) {
    return subject + (network.node_address
                          ? " is " + network.what
                          : " lies in " + network.cidr.ToString() + ", " + network.what);
  }
  return subject + " has " + network.cidr.ShortText() + ", " + network.what;
}

std::string NamespaceText(const AllocationRequest& request) {
  return "namespace " + request.claim.name_space;
}

// The pool that may grant all of `vips`, or would if it were open.
const PoolView* PoolWith(const std::vector<PoolView>& pools, const Cidr& vips) {
  const auto it = std::ranges::find_if(
      pools, [&](const PoolView& pool) { return api::Contains(pool.cidrs, vips); });
  return it == pools.end() ? nullptr : &*it;
}

const PoolView* PoolNamed(const std::vector<PoolView>& pools, const std::string& name) {
  const auto it = std::ranges::find(pools, name, &PoolView::name);
  return it == pools.end() ? nullptr : &*it;
}

AssignedAddress Assigned(const Cidr& vips, const PoolView& pool) {
  return {.value = vips.ShortText(), .pool_name = pool.name, .ip_family = vips.address.family};
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
      const absl::StatusOr<Cidr> vips = Cidr::Parse(address.value);
      return !vips.ok() || !book.Conflict(request.key, *vips, request.claim).empty();
    });
  }

  Allocation Run() {
    // Without a request: any address of a pool that is open.
    const AddressRequest wanted =
        request_.requests.empty() ? AddressRequest{} : request_.requests.front();
    return wanted.type == AddressRequest::Type::kPool ? FromPool(wanted) : Exactly(wanted);
  }

 private:
  // What it has, it keeps until it gets what it asks for.
  Allocation Denied(const char* reason, std::string message) const {
    return {.addresses = has_, .satisfied = false, .reason = reason, .message = std::move(message)};
  }

  Allocation Granted(const Cidr& vips, const PoolView& pool) const {
    return {.addresses = {Assigned(vips, pool)},
            .satisfied = true,
            .reason = kAssigned,
            .message = vips.ShortText() + " of LVSAddressPool " + pool.name};
  }

  // It has what it asks for; does it still have the right to it?
  Allocation Kept(const AssignedAddress& address, const Cidr& vips) const {
    Allocation out{.addresses = {address}, .satisfied = true};
    const ClusterNetwork* network = NetworkWith(cluster_, vips);
    if (network != nullptr && network->node_address) {
      out.satisfied = false;
      out.reason = kAddressConflict;
      out.message = Clash(address.value, vips, *network) +
                    " now, and is not served: ask for another address, or give the Node another";
      return out;
    }
    const PoolView* pool = PoolWith(pools_, vips);
    if (network == nullptr && pool != nullptr && pool->OpenTo(request_.namespace_labels)) {
      // Pools may have been renamed around it.
      out.addresses = {Assigned(vips, *pool)};
      out.message = address.value + " of LVSAddressPool " + pool->name;
      return out;
    }
    out.reason = kNotPermitted;
    out.message = address.value + " stays, but it would not be granted again: " +
                  (network != nullptr ? Clash("it", vips, *network)
                   : pool == nullptr  ? "no LVSAddressPool grants it any more"
                                      : "LVSAddressPool " + pool->name + " is not open to " +
                                           NamespaceText(request_));
    return out;
  }

  Allocation Exactly(const AddressRequest& wanted) const {
    const absl::StatusOr<Cidr> vips = Cidr::Parse(wanted.value);
    if (!vips.ok()) return Denied(kPoolNotFound, wanted.value + " is not an address");
    const std::string conflict = book_.Conflict(request_.key, *vips, request_.claim);
    if (!conflict.empty()) {
      return Denied(kAddressConflict,
                    wanted.value + " is held by LVSService " + conflict +
                        "; services of one namespace may share an address if their ports differ" +
                        (vips->IsHost() ? "" : ", and a CIDR as a whole"));
    }
    for (const AssignedAddress& address : has_) {
      if (address.value == vips->ShortText()) return Kept(address, *vips);
    }
    if (const ClusterNetwork* network = NetworkWith(cluster_, *vips)) {
      return Denied(kAddressConflict,
                    Clash(wanted.value, *vips, *network) + ": ask for another address");
    }
    const PoolView* pool = PoolWith(pools_, *vips);
    if (pool == nullptr)
      return Denied(kPoolNotFound, "no LVSAddressPool grants " +
                                       (vips->IsHost() ? "" : std::string("all of ")) +
                                       wanted.value);
    if (!pool->OpenTo(request_.namespace_labels)) {
      return Denied(kNotPermitted, "LVSAddressPool " + pool->name + ", which holds " +
                                       wanted.value + ", is not open to " +
                                       NamespaceText(request_) + kMend);
    }
    if (const auto until = book_.RestsUntil(*vips, request_.key, now_)) {
      Allocation out =
          Denied(kAddressConflict,
                 wanted.value + " was given back a moment ago and is free again within a minute");
      out.retry_at = until;
      return out;
    }
    return Granted(*vips, *pool);
  }

  Allocation FromPool(const AddressRequest& wanted) const {
    const Family family = wanted.ip_family.value_or(request_.family);
    for (const AssignedAddress& address : has_) {
      const absl::StatusOr<Cidr> vip = Cidr::Parse(address.value);
      if (!vip.ok() || !vip->IsHost() || vip->address.family != family) continue;
      if (!wanted.pool_name.empty() && address.pool_name != wanted.pool_name) continue;
      return Kept(address, *vip);
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
        if (api::Contains(pool->cidrs, *own)) return Granted(Cidr::Host(*own), *pool);
      }
    }
    std::optional<TimePoint> soonest;
    for (const PoolView* pool : open) {
      const auto ip = api::FirstFree(pool->cidrs, family, [&](const IpAddress& candidate) {
        if (book_.Held(Cidr::Host(candidate))) return true;
        const auto until = book_.RestsUntil(Cidr::Host(candidate), request_.key, now_);
        if (until && (!soonest || *until < *soonest)) soonest = until;
        return until.has_value();
      });
      if (ip) return Granted(Cidr::Host(*ip), *pool);
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
  std::set<Cidr> keeps;
  for (const AssignedAddress& address : addresses) {
    if (const absl::StatusOr<Cidr> vips = Cidr::Parse(address.value); vips.ok()) {
      keeps.insert(*vips);
    }
  }
  for (const AssignedAddress& address : Of(key)) {
    const absl::StatusOr<Cidr> vips = Cidr::Parse(address.value);
    if (!vips.ok()) continue;
    auto& pool = by_pool_[address.pool_name];
    if (--pool[*vips] <= 0) pool.erase(*vips);
    if (pool.empty()) by_pool_.erase(address.pool_name);
    auto& holders = holders_[*vips];
    holders.erase(key);
    if (!holders.empty()) continue;
    holders_.Erase(*vips);
    if (vips->IsHost()) vips_.erase(vips->address);
    std::erase(prefixes_, *vips);
    if (!keeps.contains(*vips)) resting_[*vips] = {.key = key, .until = now + kRest};
  }
  by_key_.erase(key);
  for (const AssignedAddress& address : addresses) {
    const absl::StatusOr<Cidr> vips = Cidr::Parse(address.value);
    if (!vips.ok()) continue;
    by_key_[key].push_back(address);
    ++by_pool_[address.pool_name][*vips];
    const bool fresh = holders_.Find(*vips) == nullptr;
    holders_[*vips][key] = claim;
    if (vips->IsHost()) {
      vips_.insert(vips->address);
    } else if (fresh) {
      prefixes_.push_back(*vips);
    }
    resting_.Erase(*vips);
  }
  resting_.EraseIf([now](const Resting& resting) { return resting.until <= now; });
}

std::vector<AssignedAddress> AddressBook::Of(const std::string& key) const {
  const auto it = by_key_.find(key);
  return it == by_key_.end() ? std::vector<AssignedAddress>{} : it->second;
}

std::string AddressBook::Conflict(const std::string& key, const Cidr& vips,
                                  const Claim& claim) const {
  std::string conflict;
  holders_.ForEachOverlapping(vips, [&](const Cidr& held, const auto& holders) {
    // Who holds it with these very ports was there first.
    const auto own = holders.find(key);
    const bool holds = held == vips && own != holders.end() && own->second == claim;
    for (const auto& [other, theirs] : holders) {
      if (other == key || holds) continue;
      bool clash = held != vips || theirs.name_space != claim.name_space;
      for (const ClaimedPorts& port : claim.ports) {
        clash = clash || std::ranges::any_of(theirs.ports, [&port](const ClaimedPorts& their) {
                  return port.protocol == their.protocol && port.first <= their.last &&
                         their.first <= port.last;
                });
      }
      if (!clash) continue;
      conflict = other;
      return false;
    }
    return true;
  });
  return conflict;
}

std::optional<TimePoint> AddressBook::RestsUntil(const Cidr& vips, const std::string& key,
                                                 TimePoint now) const {
  std::optional<TimePoint> last;
  resting_.ForEachOverlapping(vips, [&](const Cidr&, const Resting& resting) {
    if (resting.until > now && resting.key != key && (!last || *last < resting.until)) {
      last = resting.until;
    }
    return true;
  });
  return last;
}

std::optional<IpAddress> AddressBook::RestingOf(const std::string& key, TimePoint now) const {
  for (const auto& [vip, resting] : resting_.hosts()) {
    if (resting.key == key && resting.until > now) return vip.address;
  }
  return std::nullopt;
}

std::vector<std::string> AddressBook::Holders() const {
  std::vector<std::string> out;
  for (const auto& [key, addresses] : by_key_) out.push_back(key);
  return out;
}

std::vector<std::string> AddressBook::HoldersOf(const Cidr& vips) const {
  std::vector<std::string> out;
  if (const auto* holders = holders_.Find(vips)) {
    for (const auto& [key, claim] : *holders) out.push_back(key);
  }
  return out;
}

std::vector<Cidr> AddressBook::HeldOf(const std::string& pool) const {
  std::vector<Cidr> out;
  if (const auto it = by_pool_.find(pool); it != by_pool_.end()) {
    for (const auto& [vips, count] : it->second) out.push_back(vips);
  }
  return out;
}

Allocation Allocate(const AllocationRequest& request, const std::vector<PoolView>& pools,
                    const std::vector<ClusterNetwork>& cluster, const AddressBook& book,
                    TimePoint now) {
  return Allocator(request, pools, cluster, book, now).Run();
}

}  // namespace kube_lvs::controller
