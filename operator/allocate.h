// Who gets which VIP. Pure: the time is passed in.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/ip.h"
#include "kube/api/types.h"
#include "operator/networks.h"
#include "operator/pools.h"

namespace kube_lvs::controller {

// Reasons of the condition AddressesAssigned.
inline constexpr char kAssigned[] = "Assigned";
inline constexpr char kPoolNotFound[] = "PoolNotFound";
inline constexpr char kPoolExhausted[] = "PoolExhausted";
inline constexpr char kNotPermitted[] = "NotPermitted";
inline constexpr char kAddressConflict[] = "AddressConflict";

// So long nobody else gets a VIP that was given back: until every director has let go of it.
inline constexpr std::chrono::seconds kRest{60};

// Ports of one protocol, both ends included.
struct ClaimedPorts {
  Protocol protocol = Protocol::kTcp;
  uint16_t first = 0, last = 0;
  bool operator==(const ClaimedPorts&) const = default;
};

// What a service takes of a VIP. Services of one namespace may share one, if they ask for the very
// address and their ports differ. One with allPorts shares its VIP with nobody: every port is its.
struct Claim {
  std::string name_space = {};
  std::vector<ClaimedPorts> ports = {};
  bool operator==(const Claim&) const = default;
};
Claim ClaimOf(const api::LvsService& service);

// Who has what. Keys are "namespace/name".
class AddressBook {
 public:
  // From now on `key` has exactly these. What it had before and has no more begins its rest.
  void Set(const std::string& key, const std::vector<api::AssignedAddress>& addresses,
           const Claim& claim, TimePoint now);
  void Remove(const std::string& key, TimePoint now) { Set(key, {}, {}, now); }

  // Somebody who is not known any more had it until `now`.
  void Rest(const IpAddress& ip, TimePoint now) {
    resting_[ip] = {.key = "", .until = now + kRest};
  }

  std::vector<api::AssignedAddress> Of(const std::string& key) const;
  // Another one that holds `ip`, and with which `claim` cannot share it; "" if there is none.
  std::string Conflict(const std::string& key, const IpAddress& ip, const Claim& claim) const;
  bool Held(const IpAddress& ip) const { return holders_.contains(ip); }
  // When others than the one that had it last may have it; nullopt: now.
  std::optional<TimePoint> RestsUntil(const IpAddress& ip, const std::string& key,
                                      TimePoint now) const;
  // An address that rests and was `key`'s.
  std::optional<IpAddress> RestingOf(const std::string& key, TimePoint now) const;

  const std::set<IpAddress>& Vips() const { return vips_; }
  std::vector<std::string> HoldersOf(const IpAddress& ip) const;
  // The addresses of a pool that are held, in order.
  std::vector<IpAddress> HeldOf(const std::string& pool) const;

 private:
  struct Resting {
    std::string key;
    TimePoint until{};
  };
  std::map<std::string, std::vector<api::AssignedAddress>> by_key_;
  std::map<IpAddress, std::map<std::string, Claim>> holders_;
  std::map<std::string, std::map<IpAddress, int>> by_pool_;  // -> how many hold it
  std::set<IpAddress> vips_;                                 // holders_' keys
  std::map<IpAddress, Resting> resting_;
};

struct AllocationRequest {
  std::string key = {};
  Claim claim = {};
  std::vector<api::AddressRequest> requests = {};  // spec.addresses
  std::map<std::string, std::string> namespace_labels = {};
  Family family = Family::kIpv4;  // where the request does not say
};

struct Allocation {
  std::vector<api::AssignedAddress> addresses = {};  // what it has from now on
  bool satisfied = false;                            // whether they are what it asks for
  std::string reason = kAssigned;
  std::string message = {};
  std::optional<TimePoint> retry_at = {};  // when a resting address may be had
  bool operator==(const Allocation&) const = default;
};

// The rules: what a service has, it keeps while that is what it asks for, even when it lost the
// right to it (satisfied, but NotPermitted), or when a Node got the same address (not satisfied:
// AddressConflict, and directors do not serve it). No address of a Node or in a network of the
// cluster is granted. A request that cannot be met leaves it with what it
// has. Of open pools the highest priority first, then by name; the first free address. The first
// to hold an address keeps it. Whoever gave an address back gets it again.
Allocation Allocate(const AllocationRequest& request, const std::vector<PoolView>& pools,
                    const std::vector<ClusterNetwork>& cluster, const AddressBook& book,
                    TimePoint now);

}  // namespace kube_lvs::controller
