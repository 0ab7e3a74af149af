#include "base/ip.h"

#include <arpa/inet.h>

#include <cstdio>

#include "base/status.h"

namespace kube_lvs {
namespace {

absl::Status Invalid(std::string_view what, std::string_view text) {
  std::string message = "\"" + std::string(text) + "\" is not " + std::string(what);
  return absl::InvalidArgumentError(message);
}

bool IsV4Mapped(const IpAddress& a) {
  for (int i = 0; i < 10; ++i) {
    if (a.bytes[i] != 0) return false;
  }
  return a.bytes[10] == 0xff && a.bytes[11] == 0xff;
}

// `address` with the bits beyond `length` cleared.
IpAddress Masked(IpAddress address, int length) {
  for (size_t i = 0; i < address.Size(); ++i) {
    const int keep = length - static_cast<int>(i) * 8;
    if (keep >= 8) continue;
    address.bytes[i] &= keep <= 0 ? 0 : static_cast<uint8_t>(0xff << (8 - keep));
  }
  return address;
}

}  // namespace

absl::StatusOr<uint64_t> ParseNumber(std::string_view text, uint64_t max) {
  if (text.empty() || text.size() > 20) return Invalid("a number", text);
  uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return Invalid("a number", text);
    const uint64_t digit = static_cast<uint64_t>(c - '0');
    if (value > (UINT64_MAX - digit) / 10) return Invalid("a number in range", text);
    value = value * 10 + digit;
  }
  if (value > max) return Invalid("a number up to " + std::to_string(max), text);
  return value;
}

absl::StatusOr<IpAddress> IpAddress::Parse(std::string_view text) {
  const std::string zero_terminated(text);
  if (text.size() > 45 || text.find('\0') != std::string_view::npos) {
    return Invalid("an IP address", text.substr(0, 64));
  }
  IpAddress out;
  if (inet_pton(AF_INET, zero_terminated.c_str(), out.bytes.data()) == 1) return out;
  out.family = Family::kIpv6;
  if (inet_pton(AF_INET6, zero_terminated.c_str(), out.bytes.data()) != 1) {
    return Invalid("an IP address", text);
  }
  if (IsV4Mapped(out)) return Invalid("an IP address that is used: write it as IPv4", text);
  return out;
}

IpAddress IpAddress::FromV4(uint32_t host_order) {
  IpAddress out;
  for (int i = 0; i < 4; ++i) out.bytes[i] = static_cast<uint8_t>(host_order >> (24 - 8 * i));
  return out;
}

uint32_t IpAddress::V4() const {
  return static_cast<uint32_t>(bytes[0]) << 24 | static_cast<uint32_t>(bytes[1]) << 16 |
         static_cast<uint32_t>(bytes[2]) << 8 | bytes[3];
}

std::string IpAddress::ToString() const {
  if (IsV4()) {
    std::string out;
    for (int i = 0; i < 4; ++i) {
      if (i > 0) out += '.';
      const int byte = bytes[i];
      if (byte >= 100) out += static_cast<char>('0' + byte / 100);
      if (byte >= 10) out += static_cast<char>('0' + byte / 10 % 10);
      out += static_cast<char>('0' + byte % 10);
    }
    return out;
  }
  char buffer[INET6_ADDRSTRLEN];
  inet_ntop(AF_INET6, bytes.data(), buffer, sizeof(buffer));
  return buffer;
}

absl::StatusOr<Cidr> Cidr::Parse(std::string_view text) {
  const size_t slash = text.find('/');
  KUBE_LVS_ASSIGN_OR_RETURN(const IpAddress address, IpAddress::Parse(text.substr(0, slash)));
  if (slash == std::string_view::npos) return Host(address);
  KUBE_LVS_ASSIGN_OR_RETURN(
      const uint64_t length,
      ParseNumber(text.substr(slash + 1), static_cast<uint64_t>(address.Bits())));
  const Cidr out{address, static_cast<int>(length)};
  if (Masked(address, out.length) != address) {
    return Invalid("a CIDR without host bits", text);
  }
  return out;
}

bool Cidr::Contains(const IpAddress& other) const {
  return other.family == address.family && Masked(other, length) == address;
}

bool Cidr::Contains(const Cidr& other) const {
  return length <= other.length && Contains(other.address);
}

IpAddress Cidr::Last() const {
  IpAddress out = address;
  for (int bit = length; bit < address.Bits(); ++bit) {
    out.bytes[static_cast<size_t>(bit / 8)] |= static_cast<uint8_t>(0x80 >> (bit % 8));
  }
  return out;
}

std::string Cidr::ShortText() const { return IsHost() ? address.ToString() : ToString(); }

std::string Cidr::ToString() const { return address.ToString() + "/" + std::to_string(length); }

absl::StatusOr<Endpoint> Endpoint::Parse(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return Invalid("an ADDRESS:PORT", text);
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  KUBE_LVS_ASSIGN_OR_RETURN(const IpAddress ip, IpAddress::Parse(host));
  if (bracketed == ip.IsV4()) return Invalid("an ADDRESS:PORT ([ADDRESS]:PORT for IPv6)", text);
  KUBE_LVS_ASSIGN_OR_RETURN(const uint64_t port, ParseNumber(text.substr(colon + 1), 65535));
  return Endpoint{ip, static_cast<uint16_t>(port)};
}

std::string Endpoint::ToString() const {
  return (ip.IsV4() ? ip.ToString() : "[" + ip.ToString() + "]") + ":" + std::to_string(port);
}

std::string MacAddress::ToString() const {
  char buffer[18];
  std::snprintf(buffer, sizeof(buffer), "%02x:%02x:%02x:%02x:%02x:%02x", bytes[0], bytes[1],
                bytes[2], bytes[3], bytes[4], bytes[5]);
  return buffer;
}

}  // namespace kube_lvs
