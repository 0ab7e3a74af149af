#include "cli/values.h"

#include <arpa/inet.h>
#include <linux/ip_vs.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace kube_lvs::cli {
namespace {

bool OnlyDigits(const std::string& text) {
  return std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// inet_aton: also 127.1, 0x7f000001 and 017700000001.
std::optional<std::array<uint8_t, 4>> Numeric4(const std::string& text) {
  in_addr address{};
  if (inet_aton(text.c_str(), &address) == 0) return std::nullopt;
  std::array<uint8_t, 4> out;
  std::memcpy(out.data(), &address, out.size());
  return out;
}

void SetV4(const std::array<uint8_t, 4>& bytes, Address& address) {
  address.family = AF_INET;
  // The other twelve bytes stay, as in a union.
  std::copy(bytes.begin(), bytes.end(), address.bytes.begin());
}

}  // namespace

std::optional<int64_t> ParseNumber(const std::string& text, int64_t min, int64_t max) {
  errno = 0;
  char* end = nullptr;
  const long number = std::strtol(text.c_str(), &end, 10);
  if (*end != '\0' || end == text.c_str() || errno == ERANGE) return std::nullopt;
  if (number < min || number > max) return std::nullopt;
  return number;
}

Found ParseService(const std::string& text, const Names& names, ServiceArgument& service) {
  if (OnlyDigits(text)) return Found::kNothing;
  std::string host = text;
  std::optional<std::string> port;
  if (text[0] == '[') {
    const size_t end = text.find(']');
    if (end == std::string::npos || end + 1 == text.size() || text[end + 1] != ':') {
      return Found::kNothing;
    }
    host = text.substr(1, end - 1);
    port = text.substr(end + 2);
  }
  in6_addr six{};
  if (inet_pton(AF_INET6, host.c_str(), &six) == 1) {
    service.address.family = AF_INET6;
    std::memcpy(service.address.bytes.data(), &six, 16);
    service.netmask = 128;
  } else {
    port.reset();
    if (const size_t colon = host.rfind(':'); colon != std::string::npos) {
      port = host.substr(colon + 1);
      host.resize(colon);
    }
    auto four = Numeric4(host);
    if (!four) four = names.HostAddress(host);
    if (!four) return Found::kNothing;
    SetV4(*four, service.address);
  }
  if (!port) return Found::kAddress;
  if (const auto number = ParseNumber(*port, 0, 65535)) {
    service.port = static_cast<uint16_t>(*number);
  } else if (const auto named = names.ServicePort(*port, service.protocol)) {
    service.port = *named;
  } else {
    return Found::kNothing;
  }
  return Found::kAddressAndPort;
}

std::optional<uint32_t> ParseMark(const std::string& text) {
  const auto number = ParseNumber(text, 1, UINT32_MAX);
  if (!number) return std::nullopt;
  return static_cast<uint32_t>(*number);
}

std::optional<uint32_t> ParseNetmask4(const std::string& text, const Names& names) {
  auto four = Numeric4(text);
  if (!four) four = names.HostAddress(text);
  if (!four) return std::nullopt;
  uint32_t out = 0;
  std::memcpy(&out, four->data(), 4);
  return out;
}

std::optional<uint8_t> ParseTunnelType(const std::string& text) {
  if (text == "ipip") return IP_VS_CONN_F_TUNNEL_TYPE_IPIP;
  if (text == "gue") return IP_VS_CONN_F_TUNNEL_TYPE_GUE;
  if (text == "gre") return IP_VS_CONN_F_TUNNEL_TYPE_GRE;
  return std::nullopt;
}

std::optional<Address> ParseMulticastGroup(const std::string& text) {
  Address out;
  if (text.find(':') != std::string::npos) {
    out.family = AF_INET6;
    if (inet_pton(AF_INET6, text.c_str(), out.bytes.data()) != 1) return std::nullopt;
    if (out.bytes[0] != 0xff) return std::nullopt;
    return out;
  }
  out.family = AF_INET;
  if (inet_pton(AF_INET, text.c_str(), out.bytes.data()) != 1) return std::nullopt;
  if ((out.bytes[0] & 0xf0) != 0xe0) return std::nullopt;
  return out;
}

std::variant<SchedulerFlags, std::string> ParseSchedulerFlags(const std::string& scheduler,
                                                        const std::string& text) {
  struct Named {
    const char* name;
    const char* scheduler;  // nullptr: any
    uint32_t flag;
  };
  static constexpr Named kNamed[] = {
      {"flag-1", nullptr, IP_VS_SVC_F_SCHED1},
      {"flag-2", nullptr, IP_VS_SVC_F_SCHED2},
      {"flag-3", nullptr, IP_VS_SVC_F_SCHED3},
      {"sh-fallback", "sh", IP_VS_SVC_F_SCHED_SH_FALLBACK},
      {"sh-port", "sh", IP_VS_SVC_F_SCHED_SH_PORT},
      {"mh-fallback", "mh", IP_VS_SVC_F_SCHED1},
      {"mh-port", "mh", IP_VS_SVC_F_SCHED2},
  };
  const std::string& used = scheduler.empty() ? std::string("wlc") : scheduler;
  static constexpr std::string_view kTableSize = "mh-table-size=";
  SchedulerFlags out;
  bool any = false;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    begin = end + 1;
    if (word.empty()) continue;
    any = true;
    if (word.starts_with(kTableSize)) {
      const auto size = ParseNumber(word.substr(kTableSize.size()), 1, UINT32_MAX);
      if (!size || !IsMaglevSize(static_cast<uint32_t>(*size))) {
        return "invalid scheduler flag `" + word + "': a table has " + MaglevSizes() + " slots";
      }
      if (used != "mh") return "incompatible scheduler flag `" + word + "'";
      out.table_size = static_cast<uint32_t>(*size);
      continue;
    }
    const auto* found =
        std::ranges::find_if(kNamed, [&](const Named& n) { return word == n.name; });
    if (found == std::end(kNamed)) return "invalid scheduler flag `" + word + "'";
    if (found->scheduler != nullptr && used != found->scheduler) {
      return "incompatible scheduler flag `" + word + "'";
    }
    out.flags |= found->flag;
  }
  // ipvsadm 1.31 crashes here.
  if (!any) return "invalid scheduler flag `" + text + "'";
  return out;
}

}  // namespace kube_lvs::cli
