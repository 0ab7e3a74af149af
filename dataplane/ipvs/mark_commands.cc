#include "dataplane/ipvs/mark_commands.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>
#include <vector>

namespace kube_lvs::ipvs {
namespace {

using nlohmann::json;

constexpr std::array kProtocols = {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp};

std::string Table() { return std::string("inet ") + kMarkTable; }

// One map for a family and a protocol: nftables 1.0.6 makes a concatenation of ranges with `meta
// l4proto` such that Linux 6.12 refuses it.
struct MapOf {
  Family family = Family::kIpv4;
  Protocol protocol = Protocol::kTcp;
  auto operator<=>(const MapOf&) const = default;
  std::string Name() const { return ToString(protocol) + (family == Family::kIpv4 ? "4" : "6"); }
};

std::vector<MapOf> Maps() {
  std::vector<MapOf> out;
  for (const Protocol protocol : kProtocols) {
    for (const Family family : {Family::kIpv4, Family::kIpv6}) out.push_back({family, protocol});
  }
  return out;
}

struct Chain {
  std::string name;
  std::string hook;  // "" if it is only jumped to
  int priority = 0;
  std::vector<std::string> rules;
};

// A look-up that finds nothing ends its rule there. A packet to a local address passes twice, and
// comes with our own mark the second time.
std::vector<Chain> Chains() {
  Chain choose{.name = "choose", .hook = "", .rules = {}};
  for (const MapOf& map : Maps()) {
    const std::string of = "meta l4proto " + std::to_string(static_cast<int>(map.protocol)) + " ";
    const std::string set = "meta mark set " +
                            std::string(map.family == Family::kIpv4 ? "ip" : "ip6") +
                            " daddr . th dport map @" + map.Name();
    choose.rules.push_back(of + "meta mark != 0 meta mark != @ours " + set + " counter accept");
    choose.rules.push_back(of + set);
  }
  return {choose,
          {"requests", "input", 97, {"jump choose"}},
          {"local_requests", "output", -99, {"oif lo jump choose"}},
          {"forwarded", "output", -350, {"meta mark @ours meta mark set 0"}}};
}

// An entry of a map: what a packet must be.
struct Match {
  MapOf map;
  Cidr vips;
  uint16_t first = 0, last = 0;
  auto operator<=>(const Match&) const = default;
  std::string ToString() const {
    return vips.ShortText() + " . " + std::to_string(first) + "-" + std::to_string(last);
  }
};
using Entries = std::map<Match, uint32_t>;

Entries EntriesOf(const Marks& marks) {
  Entries out;
  for (const auto& [key, mark] : marks) {
    const Cidr vips = *VipsOf(key);
    const auto put = [&, m = mark](Protocol protocol, uint16_t first, uint16_t last) {
      out[{{vips.address.family, protocol}, vips, first, last}] = m;
    };
    if (IsOfAllPorts(key)) {
      for (const Protocol protocol : kProtocols) put(protocol, 0, UINT16_MAX);
    } else if (const auto* range = std::get_if<PortRange>(&key.match)) {
      put(key.protocol, range->first, range->last);
    } else if (const auto* prefix = std::get_if<Prefix>(&key.match)) {
      put(key.protocol, prefix->first, prefix->last);
    }
  }
  return out;
}

ServiceKey KeyOf(const Match& match) {
  const bool all = match.first == 0;
  ServiceKey key{.dataplane = Dataplane::kIpvs,
                 .match = Prefix{match.vips, match.first, match.last},
                 .protocol = all ? Protocol::kTcp : match.map.protocol};
  if (match.vips.IsHost()) {
    const IpAddress& vip = match.vips.address;
    if (all) {
      key.match = AllPorts{vip};
    } else {
      key.match = PortRange{vip, match.first, match.last};
    }
  }
  return key;
}

// The reverse; nullopt if no marks have these entries.
std::optional<Marks> MarksOf(const Entries& entries) {
  Marks out;
  for (const auto& [match, mark] : entries) {
    out[KeyOf(match)] = mark;
  }
  return EntriesOf(out) == entries ? std::optional(out) : std::nullopt;
}

std::set<uint32_t> ValuesOf(const Entries& entries) {
  std::set<uint32_t> out;
  for (const auto& [match, mark] : entries) out.insert(mark);
  return out;
}

std::optional<uint16_t> ParsePort(const json& value) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > UINT16_MAX) return std::nullopt;
  return static_cast<uint16_t>(value.get<uint64_t>());
}

std::optional<uint32_t> ParseMark(const json& value) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > UINT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(value.get<uint64_t>());
}

// "192.0.2.1", {"prefix": {"addr": "198.51.100.0", "len": 24}}
std::optional<Cidr> ParseVips(const json& value) {
  if (value.is_string()) {
    const auto vip = IpAddress::Parse(value.get<std::string>());
    return vip.ok() ? std::optional(Cidr::Host(*vip)) : std::nullopt;
  }
  const json prefix = value.is_object() ? value.value("prefix", json()) : json();
  if (!prefix.is_object() || !prefix.value("addr", json()).is_string() ||
      !prefix.value("len", json()).is_number_unsigned()) {
    return std::nullopt;
  }
  const auto vips = Cidr::Parse(prefix["addr"].get<std::string>() + "/" +
                                std::to_string(prefix["len"].get<uint64_t>()));
  return vips.ok() ? std::optional(*vips) : std::nullopt;
}

// [{"concat": ["192.0.2.1", {"range": [10000, 10100]}]}, 74565]
std::optional<std::pair<Match, uint32_t>> ParseEntry(const MapOf& map, const json& element) {
  if (!element.is_array() || element.size() != 2 || !element[0].is_object()) return std::nullopt;
  const json parts = element[0].value("concat", json());
  const auto mark = ParseMark(element[1]);
  if (!mark || !parts.is_array() || parts.size() != 2) return std::nullopt;
  json range = parts[1].is_object() ? parts[1].value("range", json()) : parts[1];
  if (range.is_number()) range = json::array({range, range});  // a range of one port
  if (!range.is_array() || range.size() != 2) return std::nullopt;
  const auto vips = ParseVips(parts[0]);
  const auto first = ParsePort(range[0]), last = ParsePort(range[1]);
  if (!vips || vips->address.family != map.family || !first || !last) return std::nullopt;
  return std::pair(Match{map, *vips, *first, *last}, *mark);
}

bool IsAsMade(const json& chain, const Chain& made) {
  return chain.value("hook", std::string()) == made.hook && chain.value("prio", 0) == made.priority;
}

// Packets that the rule counted; the rules that count are those that replace a mark.
uint64_t CountedBy(const json& rule) {
  uint64_t packets = 0;
  for (const json& part : rule.value("expr", json::array())) {
    if (!part.is_object() || !part.contains("counter") || !part["counter"].is_object()) continue;
    packets += part["counter"].value("packets", uint64_t{0});
  }
  return packets;
}

std::string Frame() {
  std::string out = "add table " + Table() + "\n";
  for (const MapOf& map : Maps()) {
    out += "add map " + Table() + " " + map.Name() + " { type " +
           (map.family == Family::kIpv4 ? "ipv4" : "ipv6") +
           "_addr . inet_service : mark; flags interval; }\n";
  }
  out += "add set " + Table() + " ours { type mark; }\n";
  for (const Chain& chain : Chains()) {
    out += "add chain " + Table() + " " + chain.name;
    if (!chain.hook.empty()) {
      out += " { type filter hook " + chain.hook + " priority " + std::to_string(chain.priority) +
             "; policy accept; }";
    }
    out += "\n";
    for (const std::string& rule : chain.rules) {
      out += "add rule " + Table() + " " + chain.name + " " + rule + "\n";
    }
  }
  return out;
}

std::string Braced(const std::string& elements) { return " { " + elements + " }\n"; }

void Append(std::string& list, const std::string& element) {
  list += (list.empty() ? "" : ", ") + element;
}

// Elements that `from` has and `to` has not are the ones to take out, and so on.
std::string Changes(const Entries& from, const Entries& to) {
  std::string out;
  const auto same = [](const Entries& in, const auto& entry) {
    const auto found = in.find(entry.first);
    return found != in.end() && found->second == entry.second;
  };
  for (const MapOf& map : Maps()) {
    std::string gone, fresh;
    for (const auto& entry : from) {
      if (entry.first.map == map && !same(to, entry)) Append(gone, entry.first.ToString());
    }
    for (const auto& entry : to) {
      if (entry.first.map == map && !same(from, entry)) {
        Append(fresh, entry.first.ToString() + " : " + std::to_string(entry.second));
      }
    }
    const std::string element = " element " + Table() + " " + map.Name();
    if (!gone.empty()) out += "delete" + element + Braced(gone);
    if (!fresh.empty()) out += "add" + element + Braced(fresh);
  }
  const std::set<uint32_t> before = ValuesOf(from), after = ValuesOf(to);
  std::string gone, fresh;
  for (const uint32_t mark : before) {
    if (!after.contains(mark)) Append(gone, std::to_string(mark));
  }
  for (const uint32_t mark : after) {
    if (!before.contains(mark)) Append(fresh, std::to_string(mark));
  }
  if (!gone.empty()) out += "delete element " + Table() + " ours" + Braced(gone);
  if (!fresh.empty()) out += "add element " + Table() + " ours" + Braced(fresh);
  return out;
}

}  // namespace

std::optional<MarkReading> ParseMarkTable(const json& listing) {
  MarkReading out;
  Entries entries;
  std::set<uint32_t> ours;
  const std::vector<MapOf> maps = Maps();
  const std::vector<Chain> chains = Chains();
  std::set<std::string> parts;
  std::map<std::string, size_t> rules;
  if (!listing.is_array()) return std::nullopt;
  for (const json& object : listing) {
    if (!object.is_object() || object.size() != 1) return std::nullopt;
    const std::string kind = object.begin().key();
    const json& value = object.begin().value();
    if (!value.is_object()) return std::nullopt;
    const std::string name = value.value("name", std::string());
    if (kind == "map") {
      const auto map = std::ranges::find_if(maps, [&](const MapOf& m) { return name == m.Name(); });
      if (map == maps.end()) return std::nullopt;
      parts.insert(name);
      for (const json& element : value.value("elem", json::array())) {
        const auto entry = ParseEntry(*map, element);
        if (!entry) return std::nullopt;
        entries.insert(*entry);
      }
    } else if (kind == "set") {
      parts.insert(name);
      for (const json& element : value.value("elem", json::array())) {
        const auto mark = ParseMark(element);
        if (!mark) return std::nullopt;
        ours.insert(*mark);
      }
    } else if (kind == "chain") {
      const auto made = std::ranges::find_if(
          chains, [&](const Chain& chain) { return name == chain.name && IsAsMade(value, chain); });
      if (made == chains.end()) return std::nullopt;
      parts.insert(name);
    } else if (kind == "rule") {
      ++rules[value.value("chain", std::string())];
      out.replaced += CountedBy(value);
    }
  }
  std::set<std::string> wanted = {"ours"};
  for (const MapOf& map : maps) wanted.insert(map.Name());
  for (const Chain& chain : chains) {
    wanted.insert(chain.name);
    if (rules[chain.name] != chain.rules.size()) return std::nullopt;
  }
  auto marks = MarksOf(entries);
  if (parts != wanted || !marks || ours != ValuesOf(entries)) return std::nullopt;
  out.marks = *std::move(marks);
  return out;
}

std::string MarkCommands(const std::optional<Marks>& there, bool exists, const Marks& wanted) {
  const std::string remove = "delete table " + Table() + "\n";
  if (wanted.empty()) return exists ? remove : "";
  if (there.has_value()) return Changes(EntriesOf(*there), EntriesOf(wanted));
  return (exists ? remove : "") + Frame() + Changes({}, EntriesOf(wanted));
}

}  // namespace kube_lvs::ipvs
