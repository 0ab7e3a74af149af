// Each file of scenarios/ is one situation a person can read: what is there, what is desired, and
// the plan. "# " lines at the top say what it shows.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "dataplane/plan/diff.h"
#include "dataplane/plan/text.h"

namespace kube_lvs {
namespace {

std::vector<std::string> Words(const std::string& line) {
  std::istringstream in(line);
  return {std::istream_iterator<std::string>(in), {}};
}

Protocol ParseProtocol(const std::string& text) {
  return text == "tcp" ? Protocol::kTcp : text == "udp" ? Protocol::kUdp : Protocol::kSctp;
}

struct Listener {
  Endpoint first;
  uint16_t last_port = 0;  // of a range
  Protocol protocol = Protocol::kTcp;
};

Listener ParseListener(const std::string& text) {
  const size_t slash = text.rfind('/');
  std::string at = text.substr(0, slash);
  Listener out{.first = {}, .protocol = ParseProtocol(text.substr(slash + 1))};
  if (const size_t dash = at.rfind('-'); dash != std::string::npos) {
    out.last_port = static_cast<uint16_t>(std::stoi(at.substr(dash + 1)));
    at.resize(dash);
  }
  out.first = *Endpoint::Parse(at);
  return out;
}

// "198.51.100.0/24:80-89/tcp", "198.51.100.0/24:all"; nullopt for text of a single VIP.
std::optional<ServiceKey> ParsePrefixKey(Dataplane dataplane, const std::string& text) {
  const size_t slash = text.find('/'), colon = text.find(':');
  if (slash > colon) return std::nullopt;
  const Cidr vips = *Cidr::Parse(text.substr(0, colon));
  if (text.ends_with(":all")) return ServiceKey{dataplane, Prefix{vips}, Protocol::kTcp};
  const Listener on = ParseListener(text.substr(0, slash) + text.substr(colon));
  const uint16_t last = on.last_port == 0 ? on.first.port : on.last_port;
  return ServiceKey{dataplane, Prefix{vips, on.first.port, last}, on.protocol};
}

ServiceKey ParseKey(Dataplane dataplane, const std::string& text) {
  if (const auto key = ParsePrefixKey(dataplane, text)) return *key;
  if (text.ends_with(":all")) {
    return {dataplane, AllPorts{*IpAddress::Parse(text.substr(0, text.size() - 4))},
            Protocol::kTcp};
  }
  const Listener on = ParseListener(text);
  if (on.last_port == 0) return {dataplane, on.first, on.protocol};
  return {dataplane, PortRange{on.first.ip, on.first.port, on.last_port}, on.protocol};
}

Dataplane ParseDataplane(const std::string& text) {
  return text == "IPVS" ? Dataplane::kIpvs : Dataplane::kEbpf;
}

RealServer ParseReal(const std::vector<std::string>& words) {
  RealServer real{.at = *Endpoint::Parse(words.at(0))};
  real.method = words.at(1) == "NAT"      ? ForwardingMethod::kNat
                : words.at(1) == "Tunnel" ? ForwardingMethod::kTunnel
                                          : ForwardingMethod::kDirectRouting;
  real.weight = static_cast<uint32_t>(std::stoul(words.at(3)));
  return real;
}

// Takes "/24" off an address; 0 if there is none.
int TakeLength(std::string& address) {
  const size_t slash = address.find('/');
  if (slash == std::string::npos) return 0;
  const int length = std::stoi(address.substr(slash + 1));
  address.resize(slash);
  return length;
}

NodeItem ParseItem(const std::vector<std::string>& words) {
  if (words[0] == "sysctl") {
    const size_t equals = words.at(1).find('=');
    return Sysctl{words[1].substr(0, equals), words[1].substr(equals + 1)};
  }
  if (words[0] == "local" && words.at(1) == "link") {
    return LocalLink{static_cast<uint32_t>(std::stoul(words.at(3)))};
  }
  if (words[0] == "local") {
    std::string vip = words.at(2);
    const int length = TakeLength(vip);
    return LocalVip{*IpAddress::Parse(vip), *IpAddress::Parse(words.at(4)), length};
  }
  if (words[0] == "programs") return Attachment{words.at(2)};
  if (words[0] == "tunnel") {
    return TunnelPeer{*IpAddress::Parse(words.at(2)), *IpAddress::Parse(words.at(4))};
  }
  if (words[0] == "mss") {
    return MssClamp{*IpAddress::Parse(words.at(3)), static_cast<uint16_t>(std::stoi(words.at(1)))};
  }
  if (words[0] == "silent") {
    std::string vip = words.at(2);
    const int length = TakeLength(vip);
    return SilentVip{*IpAddress::Parse(vip), length};
  }
  if (words[0] == "masquerade") {
    const Listener on = ParseListener(words.at(1));
    return Masquerade{on.first, on.protocol, on.last_port};
  }
  std::string vip = words.at(3);
  const int length = TakeLength(vip);
  return AnsweredVip{ParseDataplane(words.at(2)), *IpAddress::Parse(vip), words.at(5), length};
}

// The reverse of ToText; aborts the test on text that ToText would not print.
State ParseState(const std::string& text) {
  State state;
  VirtualService* service = nullptr;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    const std::vector<std::string> words = Words(line);
    if (words.empty()) continue;
    if (line.starts_with("  ")) {
      service->reals.push_back(ParseReal(words));
    } else if (words[0] == "IPVS" || words[0] == "eBPF") {
      service = &state.services[ParseKey(ParseDataplane(words[0]), words.at(1))];
      service->config.scheduler = words.at(2);
      service->config.source_nat = words.size() > 3 && words[3] == "source-nat";
      service->config.unreached = words.back() == "unreached";
    } else {
      state.items.insert(ParseItem(words));
    }
  }
  return state;
}

std::map<std::string, std::string> ReadSections(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::map<std::string, std::string> sections;
  std::string section;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("#") || line.empty()) continue;
    if (line.starts_with("-- ")) {
      section = Words(line).at(1);
      sections[section];
    } else {
      sections[section] += line + "\n";
    }
  }
  return sections;
}

class Scenario : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(Scenario, HasThisPlan) {
  auto sections = ReadSections(GetParam());
  const State actual = ParseState(sections.at("actual"));
  const State desired = ParseState(sections.at("desired"));
  ASSERT_EQ(ToText(actual), sections["actual"]);
  ASSERT_EQ(ToText(desired), sections["desired"]);
  EXPECT_EQ(ToString(Diff(desired, actual)), sections.at("plan"));
}

std::vector<std::filesystem::path> Files() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator("dataplane/plan/scenarios")) {
    files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

INSTANTIATE_TEST_SUITE_P(Files, Scenario, testing::ValuesIn(Files()), [](const auto& info) {
  std::string name = info.param.stem().string();
  std::ranges::replace(name, '-', '_');
  return name;
});

}  // namespace
}  // namespace kube_lvs
