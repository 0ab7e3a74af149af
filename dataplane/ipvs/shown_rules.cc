#include "dataplane/ipvs/shown_rules.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "base/status.h"

namespace kube_lvs::ipvs {
namespace {

constexpr std::string_view kHeading = "IP Virtual Server version ";

template <typename T>
std::optional<T> Number(std::string_view text, int base) {
  T out;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

// Takes the next word off `text`; empty at its end.
std::string_view TakeWord(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  const size_t end = std::min(text.find(' '), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(end);
  return word;
}

std::string_view TakeLine(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

// "C0000201:0050", "[2001:0db8:0000:0000:0000:0000:0000:0001]:0050".
std::optional<Endpoint> ShownEndpoint(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto port = Number<uint16_t>(text.substr(colon + 1), 16);
  if (!port) return std::nullopt;
  const std::string_view host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    const auto ip = IpAddress::Parse(host.substr(1, host.size() - 2));
    if (!ip.ok()) return std::nullopt;
    return Endpoint{*ip, *port};
  }
  const auto four = Number<uint32_t>(host, 16);
  if (!four) return std::nullopt;
  return Endpoint{IpAddress::FromV4(*four), *port};
}

std::optional<Protocol> ShownProtocol(std::string_view text) {
  if (text == "TCP") return Protocol::kTcp;
  if (text == "UDP") return Protocol::kUdp;
  if (text == "SCTP") return Protocol::kSctp;
  return std::nullopt;
}

// What follows the protocol in a service's line. False: it is no such line.
bool ParseRest(std::string_view protocol, std::string_view line, ShownService& out) {
  const std::string_view at = TakeWord(line);
  if (protocol == "FWM") {
    const auto mark = Number<uint32_t>(at, 16);
    if (!mark) return false;
    out.key.match = FwMark{.mark = *mark, .family = Family::kIpv4};
  } else {
    const auto vip = ShownEndpoint(at);
    if (!vip) return false;
    out.key.match = *vip;
  }
  out.scheduler = TakeWord(line);
  if (out.scheduler.empty()) return false;
  for (std::string_view word = TakeWord(line); !word.empty(); word = TakeWord(line)) {
    if (word == "ops") {
      out.one_packet = true;
    } else if (word == "persistent") {
      TakeWord(line);  // ticks
      const auto mask = Number<uint32_t>(TakeWord(line), 16);
      if (!mask) return false;
      out.persistent = true;
      out.mask = *mask;
    } else {
      return false;
    }
  }
  return true;
}

std::optional<ShownReal> ParseReal(std::string_view line) {
  if (TakeWord(line) != "->") return std::nullopt;
  const auto at = ShownEndpoint(TakeWord(line));
  ShownReal out{.at = at.value_or(Endpoint{}), .method = TakeWord(line), .weight = 0};
  const auto weight = Number<int32_t>(TakeWord(line), 10);
  if (!at || !weight) return std::nullopt;
  out.weight = static_cast<uint32_t>(*weight);
  return out;
}

std::string_view ShownMethod(ForwardingMethod method) {
  switch (method) {
    case ForwardingMethod::kNat:
      return "Masq";
    case ForwardingMethod::kDirectRouting:
      return "Route";
    case ForwardingMethod::kTunnel:
      return "Tunnel";
  }
  return "";
}

// As the kernel prints it: of IPv6 the prefix length, turned as if it were in network order.
uint32_t ShownMask(const Persistence& persistence, bool four) {
  const auto length = static_cast<uint32_t>(persistence.prefix_length);
  if (!four) return ntohl(length);
  if (persistence.mask_with_holes != 0) return persistence.mask_with_holes;
  return length == 0 ? 0 : ~uint32_t{0} << (32 - length);
}

bool SameReals(const std::vector<ShownReal>& shown, const std::vector<RealServer>& wanted) {
  if (shown.size() != wanted.size()) return false;
  // Mostly in the same order, so each is looked for where the last one was found.
  size_t next = 0;
  for (const RealServer& real : wanted) {
    size_t tried = 0;
    while (tried < shown.size() && shown[next].at != real.at) {
      ++tried;
      if (++next == shown.size()) next = 0;
    }
    if (tried == shown.size() || shown[next].weight != real.weight ||
        shown[next].method != ShownMethod(real.method)) {
      return false;
    }
    if (++next == shown.size()) next = 0;
  }
  return true;
}

}  // namespace

absl::Status ForEachShown(std::string_view text,
                          const std::function<void(const ShownService&)>& take) {
  if (!text.starts_with(kHeading)) {
    return absl::InternalError("/proc/net/ip_vs: does not begin with \"" + std::string(kHeading) +
                               "\"");
  }
  for (int heading = 0; heading < 3; ++heading) TakeLine(text);
  ShownService service;
  bool wanted = false;  // the service whose real servers come now
  while (!text.empty()) {
    const std::string_view line = TakeLine(text);
    if (line.starts_with(' ')) {
      if (!wanted) continue;
      const std::optional<ShownReal> real = ParseReal(line);
      if (!real) return absl::InternalError("/proc/net/ip_vs: \"" + std::string(line) + "\"");
      service.reals.push_back(*real);
      continue;
    }
    if (wanted) take(service);
    std::string_view rest = line;
    const std::string_view protocol = TakeWord(rest);
    const std::optional<Protocol> known = ShownProtocol(protocol);
    wanted = known || protocol == "FWM";
    if (!wanted) continue;
    // Keeps the memory of the list.
    service.reals.clear();
    service = {.key = {.dataplane = Dataplane::kIpvs,
                       .match = {},
                       .protocol = known.value_or(Protocol::kTcp)},
               .scheduler = {},
               .reals = std::move(service.reals)};
    if (!ParseRest(protocol, rest, service)) {
      return absl::InternalError("/proc/net/ip_vs: \"" + std::string(line) + "\"");
    }
  }
  if (wanted) take(service);
  return absl::OkStatus();
}

bool ShowsAs(const ShownService& shown, const VirtualService& wanted) {
  const auto* vip = std::get_if<Endpoint>(&shown.key.match);
  if (vip == nullptr) return false;
  const ServiceConfig& config = wanted.config;
  const bool four = vip->ip.IsV4();
  if (shown.scheduler != config.scheduler || (four && shown.one_packet != config.one_packet) ||
      shown.persistent != config.persistence.has_value()) {
    return false;
  }
  if (config.persistence && shown.mask != ShownMask(*config.persistence, four)) return false;
  return SameReals(shown.reals, wanted.reals);
}

}  // namespace kube_lvs::ipvs
