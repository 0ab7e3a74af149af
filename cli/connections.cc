#include "cli/connections.h"

#include <netinet/in.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "cli/listing.h"

namespace kube_lvs::cli {
namespace {

std::vector<std::string> Words(std::string_view line) {
  constexpr std::string_view kBlanks = " \t\r\n";
  std::vector<std::string> out;
  for (;;) {
    const size_t begin = line.find_first_not_of(kBlanks);
    if (begin == std::string_view::npos) return out;
    line.remove_prefix(begin);
    const size_t end = std::min(line.find_first_of(kBlanks), line.size());
    out.emplace_back(line.substr(0, end));
    line.remove_prefix(end);
  }
}

std::optional<uint32_t> Hex(const std::string& text, size_t digits) {
  if (text.empty() || text.size() > digits) return std::nullopt;
  uint32_t out = 0;
  for (const char c : text) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                             : -1;
    if (digit < 0) return std::nullopt;
    out = out << 4 | static_cast<uint32_t>(digit);
  }
  return out;
}

// IPv4 is eight hexadecimal digits, IPv6 as usual.
std::optional<Endpoint> EndpointOf(const std::string& address, const std::string& port) {
  const auto number = Hex(port, 4);
  if (!number) return std::nullopt;
  Endpoint out{.ip = {}, .port = static_cast<uint16_t>(*number)};
  if (const auto four = Hex(address, 8)) {
    out.ip = IpAddress::FromV4(*four);
    return out;
  }
  const auto ip = IpAddress::Parse(address);
  if (!ip.ok()) return std::nullopt;
  out.ip = *ip;
  return out;
}

uint16_t ProtocolNumber(const std::string& name) {
  if (name == "TCP") return IPPROTO_TCP;
  if (name == "UDP") return IPPROTO_UDP;
  if (name == "SCTP") return IPPROTO_SCTP;
  return 0;
}

std::string Padded(std::string text, size_t width) {
  if (text.size() < width) text.resize(width, ' ');
  return text;
}

}  // namespace

std::optional<Connection> ParseConnection(std::string_view line) {
  const std::vector<std::string> words = Words(line);
  if (words.size() < 9) return std::nullopt;
  const auto client = EndpointOf(words[1], words[2]), vip = EndpointOf(words[3], words[4]),
             real = EndpointOf(words[5], words[6]);
  const auto expires = kube_lvs::ParseNumber(words[8], UINT32_MAX);
  if (!client || !vip || !real || !expires.ok()) return std::nullopt;
  Connection out{.protocol = words[0],
                 .client = *client,
                 .vip = *vip,
                 .real = *real,
                 .state = words[7],
                 .expires_seconds = static_cast<uint32_t>(*expires),
                 .engine = "",
                 .engine_data = ""};
  if (words.size() > 10) {
    out.engine = words[9];
    out.engine_data = words[10];
  }
  return out;
}

std::vector<Connection> ParseConnections(std::string_view text) {
  std::vector<Connection> out;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const auto connection = ParseConnection(text.substr(begin, end - begin));
    if (connection) out.push_back(*connection);
    begin = end + 1;
  }
  return out;
}

std::string ConnectionTitle(bool engines) {
  std::string out = "IPVS connection entries\npro expire " + Padded("state", 11) + " " +
                    Padded("source", 18) + " " + Padded("virtual", 18) + " ";
  // The widths of the lines below are others.
  if (!engines) return out + "destination\n";
  return out + Padded("destination", 18) + " " + Padded("pe name", 16) + " pe_data\n";
}

std::string ConnectionLine(const Connection& connection, bool engines, const Names& names) {
  const uint16_t protocol = ProtocolNumber(connection.protocol);
  char expires[24];
  std::snprintf(expires, sizeof expires, "%02u:%02u", connection.expires_seconds / 60,
                connection.expires_seconds % 60);
  std::string out = Padded(connection.protocol, 3) + " " + Padded(expires, 6) + " " +
                    Padded(connection.state, 11) + " " +
                    Padded(EndpointText(connection.client, protocol, names), 18) + " " +
                    Padded(EndpointText(connection.vip, protocol, names), 18) + " ";
  const std::string real = EndpointText(connection.real, protocol, names);
  if (!engines || connection.engine.empty()) return out + real + "\n";
  return out + Padded(real, 16) + " " + Padded(connection.engine, 18) + " " +
         connection.engine_data + "\n";
}

}  // namespace kube_lvs::cli
