#include "node-agent/desired/source_ports.h"

#include <algorithm>
#include <bitset>
#include <charconv>
#include <string_view>
#include <utility>

#include "dataplane/model/source_ports.h"

namespace kube_lvs {
namespace {

constexpr size_t kPorts = 65536;
using Ports = std::bitset<kPorts>;

// As many as RFC 6335 has of dynamic ports: with fewer a busy node runs out.
constexpr size_t kFewestLeft = 16384;

// The kernel takes, and tells, no more than a page of text.
constexpr size_t kLongestList = 4000;

std::optional<size_t> ParsePort(std::string_view text) {
  size_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port >= kPorts) {
    return std::nullopt;
  }
  return port;
}

// "8080,30000-32767", as proc_do_large_bitmap() of the kernel writes them (kernel/sysctl.c).
std::optional<Ports> ParsePorts(std::string_view text) {
  Ports ports;
  while (!text.empty()) {
    const std::string_view range = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), range.size() + 1));
    const size_t dash = range.find('-');
    const auto first = ParsePort(range.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : ParsePort(range.substr(dash + 1));
    if (!first.has_value() || !last.has_value() || *last < *first) return std::nullopt;
    for (size_t port = *first; port <= *last; ++port) ports.set(port);
  }
  return ports;
}

std::string ToText(const Ports& ports) {
  std::string text;
  for (size_t first = 0; first < kPorts; ++first) {
    if (!ports.test(first)) continue;
    size_t last = first;
    while (last + 1 < kPorts && ports.test(last + 1)) ++last;
    text += (text.empty() ? "" : ",") + std::to_string(first);
    if (last > first) text += "-" + std::to_string(last);
    first = last;
  }
  return text;
}

}  // namespace

SourcePortGuard GuardSourcePorts(const NodeFacts& facts) {
  if (!facts.local_ports.has_value()) return {};
  const auto [first, last] = *facts.local_ports;
  if (first > kLastSourcePort || last < kFirstSourcePort) return {};
  const std::string range = std::to_string(first) + " to " + std::to_string(last);
  const std::string taken =
      std::to_string(kFirstSourcePort) + " to " + std::to_string(kLastSourcePort);
  const std::string mend =
      "; let them begin above: sysctl -w net.ipv4.ip_local_port_range=\"32768 60999\"";
  std::optional<Ports> reserved = ParsePorts(facts.reserved_ports);
  if (!reserved.has_value()) {
    return {std::nullopt, "net.ipv4.ip_local_reserved_ports is not understood, so that ports " +
                              taken +
                              " are not kept for source NAT, and connections of this node "
                              "from ports " +
                              range + " may get lost" + mend};
  }
  for (size_t port = kFirstSourcePort; port <= kLastSourcePort; ++port) reserved->set(port);
  size_t left = 0;
  for (size_t port = first; port <= last; ++port) left += reserved->test(port) ? 0 : 1;
  std::string text = ToText(*reserved);
  if (left < kFewestLeft || text.size() > kLongestList) {
    return {std::nullopt,
            "this node's own connections use ports " + range + ", and source NAT uses " + taken +
                " of the same addresses, so that connections to one real server may get lost; " +
                (left < kFewestLeft
                     ? "the ports are not reserved, since only " + std::to_string(left) +
                           " would be left"
                     : "net.ipv4.ip_local_reserved_ports is too long a list to add them") +
                mend};
  }
  return {Sysctl{kReservedPorts, std::move(text)}, ""};
}

}  // namespace kube_lvs
