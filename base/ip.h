// IP addresses, prefixes and endpoints as plain values, in host terms: no sockets, no byte order.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace kube_lvs {

enum class Family : uint8_t { kIpv4 = 4, kIpv6 = 6 };

// An IPv4 or IPv6 address. IPv4 lives in bytes[0..3], the rest is zero; bytes are in the order
// they are written ("192.0.2.1" -> {192, 0, 2, 1}), so comparison is numeric within a family.
// A default-made one is 0.0.0.0.
struct IpAddress {
  Family family = Family::kIpv4;
  std::array<uint8_t, 16> bytes = {};

  auto operator<=>(const IpAddress&) const = default;
  bool operator==(const IpAddress&) const = default;

  // "192.0.2.1", "2001:db8::1". An IPv4-mapped IPv6 address, a zone or a port is refused
  // (kInvalidArgument), as is anything inet_pton refuses.
  static absl::StatusOr<IpAddress> Parse(std::string_view text);
  static IpAddress FromV4(uint32_t host_order);
  uint32_t V4() const;  // host order; only for kIpv4

  bool IsV4() const { return family == Family::kIpv4; }
  int Bits() const { return IsV4() ? 32 : 128; }
  size_t Size() const { return IsV4() ? 4 : 16; }
  std::string ToString() const;
};

// A prefix. `address` has no bits set beyond `length` (Parse refuses such text).
struct Cidr {
  IpAddress address;
  int length = 0;

  auto operator<=>(const Cidr&) const = default;
  bool operator==(const Cidr&) const = default;

  static absl::StatusOr<Cidr> Parse(std::string_view text);  // "10.0.0.0/8", or an address alone
  static Cidr Host(const IpAddress& address) { return {address, address.Bits()}; }
  bool Contains(const IpAddress& other) const;
  bool Contains(const Cidr& other) const;
  bool Overlaps(const Cidr& other) const { return Contains(other) || other.Contains(*this); }
  bool IsHost() const { return length == address.Bits(); }
  IpAddress Last() const;         // the highest address of it
  std::string ShortText() const;  // of one address without its length
  std::string ToString() const;
};

// Where a real server listens, or a VIP's address and port. Port 0 means "any" where allowed.
struct Endpoint {
  IpAddress ip;
  uint16_t port = 0;

  auto operator<=>(const Endpoint&) const = default;
  bool operator==(const Endpoint&) const = default;

  static absl::StatusOr<Endpoint> Parse(
      std::string_view text);  // "10.0.0.1:80", "[2001:db8::1]:80"
  std::string ToString() const;
};

// A 48-bit link-layer address; all zero means "not known".
struct MacAddress {
  std::array<uint8_t, 6> bytes = {};
  auto operator<=>(const MacAddress&) const = default;
  bool operator==(const MacAddress&) const = default;
  bool IsZero() const { return bytes == std::array<uint8_t, 6>{}; }
  std::string ToString() const;
};

// A decimal number without sign, spaces or leading '+', at most `max`.
absl::StatusOr<uint64_t> ParseNumber(std::string_view text, uint64_t max);

}  // namespace kube_lvs
