// The values of options, read as ipvsadm reads them. Pure but for `names`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "cli/names.h"
#include "cli/request.h"

namespace kube_lvs::cli {

// As strtol has it: blanks and a sign before it are allowed, nothing after it.
std::optional<int64_t> ParseNumber(const std::string& text, int64_t min, int64_t max);

enum class Found : uint8_t { kNothing, kAddress, kAddressAndPort };

// HOST[:PORT] into address, port and, for IPv6, netmask of `service`, whose protocol says where
// a port's name is looked up. Of "[...]" a port must follow; IPv6 without brackets has none; an
// address that is no IPv6 loses its port in brackets. kNothing: refused, `service` may be changed.
Found ParseService(const std::string& text, const Names& names, ServiceArgument& service);

// Nothing: refused.
std::optional<uint32_t> ParseMark(const std::string& text);
std::optional<uint32_t> ParseNetmask4(const std::string& text, const Names& names);
std::optional<uint8_t> ParseTunnelType(const std::string& text);
std::optional<Address> ParseMulticastGroup(const std::string& text);

struct SchedulerFlags {
  uint32_t flags = 0;  // IP_VS_SVC_F_...
  uint32_t table_size = kMaglevDefaultSize;
};

// Flags of a scheduler ("" is the default one), separated by commas; or the refusal's text.
std::variant<SchedulerFlags, std::string> ParseSchedulerFlags(const std::string& scheduler,
                                                        const std::string& text);

}  // namespace kube_lvs::cli
