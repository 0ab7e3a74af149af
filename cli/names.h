// Names of hosts and ports, asked of the system: /etc/hosts, DNS, /etc/services.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "base/ip.h"

namespace kube_lvs::cli {

class Names {
 public:
  virtual ~Names() = default;
  // The first IPv4 address of a host.
  virtual std::optional<std::array<uint8_t, 4>> HostAddress(const std::string& name) const = 0;
  // `protocol` as everywhere here IPPROTO_TCP, _UDP or _SCTP; others have no names.
  virtual std::optional<uint16_t> ServicePort(const std::string& name, uint16_t protocol) const = 0;
  virtual std::optional<std::string> HostName(const IpAddress& ip) const = 0;
  virtual std::optional<std::string> ServiceName(uint16_t port, uint16_t protocol) const = 0;
};

// Knows no names.
class NoNames final : public Names {
 public:
  std::optional<std::array<uint8_t, 4>> HostAddress(const std::string&) const override {
    return {};
  }
  std::optional<uint16_t> ServicePort(const std::string&, uint16_t) const override { return {}; }
  std::optional<std::string> HostName(const IpAddress&) const override { return {}; }
  std::optional<std::string> ServiceName(uint16_t, uint16_t) const override { return {}; }
};

class SystemNames final : public Names {
 public:
  std::optional<std::array<uint8_t, 4>> HostAddress(const std::string& name) const override;
  std::optional<uint16_t> ServicePort(const std::string& name, uint16_t protocol) const override;
  std::optional<std::string> HostName(const IpAddress& ip) const override;
  std::optional<std::string> ServiceName(uint16_t port, uint16_t protocol) const override;
};

}  // namespace kube_lvs::cli
