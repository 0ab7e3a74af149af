#include "kube/api/pools.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/status.h"

namespace kube_lvs::api {
namespace {

constexpr size_t kMostCidrs = 4096;

// Addresses as numbers: 128 bits, of which IPv4 uses the lowest 32.
using Number = unsigned __int128;

Number ToNumber(const IpAddress& address) {
  Number out = 0;
  for (size_t i = 0; i < address.Size(); ++i) out = out << 8 | address.bytes[i];
  return out;
}

IpAddress FromNumber(Number number, Family family) {
  IpAddress out;
  out.family = family;
  for (size_t i = out.Size(); i-- > 0; number >>= 8) out.bytes[i] = static_cast<uint8_t>(number);
  return out;
}

Number LastOf(Family family) { return family == Family::kIpv4 ? Number{0xffffffff} : ~Number{0}; }

AddressRange RangeOf(const Cidr& cidr) {
  const int host_bits = cidr.address.Bits() - cidr.length;
  const Number hosts = host_bits >= 128 ? ~Number{0} : (Number{1} << host_bits) - 1;
  return {cidr.address, FromNumber(ToNumber(cidr.address) | hosts, cidr.address.family)};
}

// Sorted, disjoint, with a gap between each two.
std::vector<AddressRange> Joined(std::vector<AddressRange> ranges) {
  std::ranges::sort(ranges);
  std::vector<AddressRange> out;
  for (const AddressRange& range : ranges) {
    if (!out.empty() && out.back().last.family == range.first.family) {
      const std::optional<IpAddress> next = Next(out.back().last);
      if (!next || range.first <= *next) {
        out.back().last = std::max(out.back().last, range.last);
        continue;
      }
    }
    out.push_back(range);
  }
  return out;
}

std::vector<AddressRange> Without(const std::vector<AddressRange>& ranges,
                                  const std::vector<AddressRange>& excluded) {
  std::vector<AddressRange> out;
  for (const AddressRange& range : ranges) {
    const Family family = range.first.family;
    Number from = ToNumber(range.first);
    const Number to = ToNumber(range.last);
    bool used_up = false;
    for (const AddressRange& hole : excluded) {
      if (hole.first.family != family || used_up) continue;
      const Number hole_from = ToNumber(hole.first);
      const Number hole_to = ToNumber(hole.last);
      if (hole_to < from || hole_from > to) continue;
      if (hole_from > from)
        out.push_back({FromNumber(from, family), FromNumber(hole_from - 1, family)});
      used_up = hole_to >= to;
      from = hole_to + 1;
    }
    if (!used_up) out.push_back({FromNumber(from, family), range.last});
  }
  return out;
}

// Appends the fewest CIDRs that make up the range; false if there are too many in all.
bool Split(const AddressRange& range, std::vector<Cidr>& out) {
  const Family family = range.first.family;
  const int bits = range.first.Bits();
  Number from = ToNumber(range.first);
  const Number to = ToNumber(range.last);
  while (true) {
    if (out.size() >= kMostCidrs) return false;
    // The largest block that begins at `from` and does not pass `to`.
    int host_bits = 0;
    while (host_bits < bits) {
      const Number hosts = host_bits + 1 >= 128 ? ~Number{0} : (Number{1} << (host_bits + 1)) - 1;
      if ((from & hosts) != 0 || to - from < hosts) break;
      ++host_bits;
    }
    out.push_back({FromNumber(from, family), bits - host_bits});
    const Number hosts = host_bits >= 128 ? ~Number{0} : (Number{1} << host_bits) - 1;
    if (to - from == hosts) return true;
    from += hosts + 1;
  }
}

absl::StatusOr<std::vector<AddressRange>> ParseRanges(const std::vector<std::string>& texts,
                                                      const std::string& field) {
  std::vector<AddressRange> out;
  for (size_t i = 0; i < texts.size(); ++i) {
    const absl::StatusOr<AddressRange> range = ParseRange(texts[i]);
    if (!range.ok()) return Annotate(range.status(), field + "[" + std::to_string(i) + "]");
    out.push_back(*range);
  }
  return out;
}

}  // namespace

std::optional<IpAddress> Next(IpAddress address) {
  const Number number = ToNumber(address);
  if (number == LastOf(address.family)) return std::nullopt;
  return FromNumber(number + 1, address.family);
}

absl::StatusOr<AddressRange> ParseRange(std::string_view text) {
  const size_t dash = text.find('-');
  if (dash == std::string_view::npos) {
    KUBE_LVS_ASSIGN_OR_RETURN(const Cidr cidr, Cidr::Parse(text));
    return RangeOf(cidr);
  }
  AddressRange out;
  KUBE_LVS_ASSIGN_OR_RETURN(out.first, IpAddress::Parse(text.substr(0, dash)));
  KUBE_LVS_ASSIGN_OR_RETURN(out.last, IpAddress::Parse(text.substr(dash + 1)));
  if (out.first.family != out.last.family || out.last < out.first) {
    return absl::InvalidArgumentError("\"" + std::string(text) +
                                      "\" is not a range FROM-TO of one family, from low to high");
  }
  return out;
}

absl::StatusOr<std::vector<Cidr>> MakeCidrs(std::vector<AddressRange> ranges,
                                            const std::vector<AddressRange>& excluded) {
  std::vector<Cidr> out;
  for (const AddressRange& range : Without(Joined(std::move(ranges)), Joined(excluded))) {
    if (!Split(range, out)) {
      return absl::InvalidArgumentError("the addresses make up more than " +
                                        std::to_string(kMostCidrs) +
                                        " CIDRs: use fewer or better aligned ranges");
    }
  }
  return out;
}

absl::StatusOr<std::vector<Cidr>> PoolCidrs(const LvsAddressPool::Spec& spec) {
  KUBE_LVS_ASSIGN_OR_RETURN(std::vector<AddressRange> ranges,
                            ParseRanges(spec.addresses, "spec.addresses"));
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<AddressRange> excluded,
                            ParseRanges(spec.excluded_addresses, "spec.excludedAddresses"));
  return MakeCidrs(std::move(ranges), excluded);
}

std::vector<Cidr> ParseCidrs(const std::vector<std::string>& texts) {
  std::vector<Cidr> out;
  for (const std::string& text : texts) {
    if (const absl::StatusOr<Cidr> cidr = Cidr::Parse(text); cidr.ok()) out.push_back(*cidr);
  }
  return out;
}

bool Contains(const std::vector<Cidr>& cidrs, const IpAddress& address) {
  return std::ranges::any_of(cidrs, [&](const Cidr& cidr) { return cidr.Contains(address); });
}

bool Contains(const std::vector<Cidr>& cidrs, const Cidr& other) {
  return std::ranges::any_of(cidrs, [&](const Cidr& cidr) { return cidr.Contains(other); });
}

bool Overlap(const Cidr& a, const Cidr& b) { return a.Overlaps(b); }

int64_t CountAddresses(const std::vector<Cidr>& cidrs, Family family) {
  Number count = 0;
  for (const Cidr& cidr : cidrs) {
    if (cidr.address.family != family) continue;
    const int host_bits = cidr.address.Bits() - cidr.length;
    if (host_bits >= 53) return kMostCounted;
    count += Number{1} << host_bits;
  }
  return count > static_cast<Number>(kMostCounted) ? kMostCounted : static_cast<int64_t>(count);
}

std::optional<IpAddress> FirstFree(const std::vector<Cidr>& cidrs, Family family,
                                   const std::function<bool(const IpAddress&)>& taken) {
  for (const Cidr& cidr : cidrs) {
    if (cidr.address.family != family) continue;
    const IpAddress last = RangeOf(cidr).last;
    for (std::optional<IpAddress> address = cidr.address; address && *address <= last;
         address = Next(*address)) {
      if (!taken(*address)) return address;
    }
  }
  return std::nullopt;
}

}  // namespace kube_lvs::api
