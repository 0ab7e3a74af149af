// The addresses of a pool: ranges and exclusions -> CIDRs. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ip.h"
#include "kube/api/types.h"

namespace kube_lvs::api {

// Addresses of one family, both ends included, first <= last.
struct AddressRange {
  IpAddress first;
  IpAddress last;
  auto operator<=>(const AddressRange&) const = default;
  bool operator==(const AddressRange&) const = default;
};

// "192.0.2.0/24", "192.0.2.10-192.0.2.20" or one address.
absl::StatusOr<AddressRange> ParseRange(std::string_view text);

// The fewest CIDRs that make up `ranges` without `excluded`, in order, IPv4 first. Overlapping and
// adjacent ranges are joined. kInvalidArgument if that takes more than 4096 (status.cidrs' limit).
absl::StatusOr<std::vector<Cidr>> MakeCidrs(std::vector<AddressRange> ranges,
                                            const std::vector<AddressRange>& excluded);

// What a pool may grant. kInvalidArgument names the entry that is wrong.
absl::StatusOr<std::vector<Cidr>> PoolCidrs(const LvsAddressPool::Spec& spec);

// Of a pool's status; texts that are not CIDRs are left out.
std::vector<Cidr> ParseCidrs(const std::vector<std::string>& texts);

bool Contains(const std::vector<Cidr>& cidrs, const IpAddress& address);
// Whether one of them holds all of `other`. Of the fewest CIDRs that make up some addresses, one
// does if all do together.
bool Contains(const std::vector<Cidr>& cidrs, const Cidr& other);
bool Overlap(const Cidr& a, const Cidr& b);

// How many addresses of a family there are, at most kMostCounted.
inline constexpr int64_t kMostCounted = 9007199254740991;  // what JSON's numbers hold exactly
int64_t CountAddresses(const std::vector<Cidr>& cidrs, Family family);

// The first address of a family, in order, that is not `taken`; nullopt if all are. Asks about at
// most as many addresses as are taken, and one.
std::optional<IpAddress> FirstFree(const std::vector<Cidr>& cidrs, Family family,
                                   const std::function<bool(const IpAddress&)>& taken);

// The address after this one; nullopt after the last of its family.
std::optional<IpAddress> Next(IpAddress address);

}  // namespace kube_lvs::api
