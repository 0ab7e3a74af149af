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
#include "operator/by_vips.h"
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
// The same holds of a CIDR; of two that are not the same, none may overlap.
struct Claim {
  std::string name_space = {};
  std::vector<ClaimedPorts> ports = {};
  bool operator==(const Claim&) const = default;
};
Claim ClaimOf(const api::LvsService& service);

// Who has what. Keys are "namespace/name"; VIPs are single addresses and, of type CIDR, prefixes.
class AddressBook {
 public:
  // From now on `key` has exactly these. What it had before and has no more begins its rest.
  void Set(const std::string& key, const std::vector<api::AssignedAddress>& addresses,
           const Claim& claim, TimePoint now);
  void Remove(const std::string& key, TimePoint now) { Set(key, {}, {}, now); }

  // Somebody who is not known any more had it until `now`.
  void Rest(const Cidr& vips, TimePoint now) { resting_[vips] = {.key = "", .until = now + kRest}; }

  std::vector<api::AssignedAddress> Of(const std::string& key) const;
  // Another one that holds `vips`, and with which `claim` cannot share them, or that holds others
  // which overlap them; "" if there is none.
  std::string Conflict(const std::string& key, const Cidr& vips, const Claim& claim) const;
  bool Held(const Cidr& vips) const { return holders_.AnyOverlaps(vips); }
  // When others than the one that had them last may have them; nullopt: now.
  std::optional<TimePoint> RestsUntil(const Cidr& vips, const std::string& key,
                                      TimePoint now) const;
  // A single address that rests and was `key`'s.
  std::optional<IpAddress> RestingOf(const std::string& key, TimePoint now) const;

  const std::set<IpAddress>& Vips() const { return vips_; }        // single ones
  const std::vector<Cidr>& Prefixes() const { return prefixes_; }  // of type CIDR
  std::vector<std::string> Holders() const;                        // of anything
  std::vector<std::string> HoldersOf(const Cidr& vips) const;      // of these very ones
  // What is held of a pool, in order.
  std::vector<Cidr> HeldOf(const std::string& pool) const;

 private:
  struct Resting {
    std::string key;
    TimePoint until{};
  };
  std::map<std::string, std::vector<api::AssignedAddress>> by_key_;
  ByVips<std::map<std::string, Claim>> holders_;
  std::map<std::string, std::map<Cidr, int>> by_pool_;  // -> how many hold it
  std::set<IpAddress> vips_;                            // holders_' keys
  std::vector<Cidr> prefixes_;                          // the others of them
  ByVips<Resting> resting_;
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
