// Real packets to services of many ports: a range, all ports, and what others do to the marks.
#include <sys/socket.h>

#include <cstdio>
#include <string>
#include <vector>

#include "dataplane/ipvs/traffic_fixture.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kube_lvs::ipvs {
namespace {

using ::testing::ElementsAre;
using vm::Answer;
using vm::ClientAddress;
using vm::Servers;

constexpr uint16_t kPorts = 10;

std::string Output(const std::string& command) {
  std::string out;
  FILE* pipe = popen(command.c_str(), "r");
  EXPECT_NE(pipe, nullptr);
  if (pipe == nullptr) return out;
  char part[512];
  while (std::fgets(part, sizeof part, pipe) != nullptr) out += part;
  EXPECT_EQ(pclose(pipe), 0) << command;
  return out;
}

// A command of nft in the director's namespace.
std::string Nft(const std::string& command) {
  return Output("nsenter --net=/run/netns/ds nft -n -a " + command);
}

class ManyPortsTraffic : public TrafficTest {
 protected:
  // Ports that no other test had.
  static ServiceKey NewRange(Protocol protocol, Family family) {
    static uint16_t next = 20000;
    const uint16_t first = next;
    next = static_cast<uint16_t>(next + 2 * kPorts);
    return {.dataplane = Dataplane::kIpvs,
            .match = PortRange{vm::Vip(family), first, static_cast<uint16_t>(first + kPorts - 1)},
            .protocol = protocol};
  }
  static ServiceKey All(Family family) {
    return {.dataplane = Dataplane::kIpvs,
            .match = AllPorts{vm::Vip(family)},
            .protocol = Protocol::kTcp};
  }
  static uint16_t NewClientPort() {
    static uint16_t port = 40000;
    return ++port;
  }
  // Who answers `count` clients at a port of the VIP; 0: nobody.
  static std::vector<int> Chosen(Protocol protocol, Family family, uint16_t port, bool direct,
                                 int count) {
    Servers servers(protocol == Protocol::kTcp ? SOCK_STREAM : SOCK_DGRAM, family, port, direct);
    std::vector<int> out;
    const uint16_t from = NewClientPort();
    for (int i = 0; i < count; ++i) {
      const IpAddress client = ClientAddress(i, family);
      const Answer answer = servers.Ask({client, from}, {vm::Vip(family), port});
      EXPECT_TRUE(answer.server == 0 || answer.client == client);
      out.push_back(answer.server);
    }
    return out;
  }
};

class RangeTest
    : public ManyPortsTraffic,
      public ::testing::WithParamInterface<std::tuple<ForwardingMethod, Family, Protocol>> {};

TEST_P(RangeTest, IsBalancedAtEachOfItsPortsAndNoOtherPortIs) {
  const auto [method, family, protocol] = GetParam();
  const bool direct = method != ForwardingMethod::kNat;
  const ServiceKey key = NewRange(protocol, family);
  const auto& range = std::get<PortRange>(key.match);
  State desired;
  desired.services[key] = ThreeServers("rr", method, family, 0, {1, 1, 1});
  Reach(desired);
  const auto middle = static_cast<uint16_t>(range.first + 4);
  EXPECT_THAT(Chosen(protocol, family, range.first, direct, 4), ElementsAre(1, 2, 3, 1));
  EXPECT_THAT(Chosen(protocol, family, middle, direct, 3), ElementsAre(2, 3, 1));
  EXPECT_THAT(Chosen(protocol, family, range.last, direct, 2), ElementsAre(2, 3));
  const Protocol other = protocol == Protocol::kTcp ? Protocol::kUdp : Protocol::kTcp;
  const auto below = static_cast<uint16_t>(range.first - 1);
  const auto above = static_cast<uint16_t>(range.last + 1);
  EXPECT_THAT(Chosen(protocol, family, below, direct, 1), ElementsAre(0));
  EXPECT_THAT(Chosen(protocol, family, above, direct, 1), ElementsAre(0));
  EXPECT_THAT(Chosen(other, family, middle, direct, 1), ElementsAre(0));
}

INSTANTIATE_TEST_SUITE_P(All, RangeTest,
                         ::testing::Combine(::testing::Values(ForwardingMethod::kNat,
                                                              ForwardingMethod::kDirectRouting,
                                                              ForwardingMethod::kTunnel),
                                            ::testing::Values(Family::kIpv4, Family::kIpv6),
                                            ::testing::Values(Protocol::kTcp, Protocol::kUdp)),
                         [](const auto& info) {
                           return ToString(std::get<0>(info.param)) +
                                  (std::get<1>(info.param) == Family::kIpv4 ? "Ipv4" : "Ipv6") +
                                  ToString(std::get<2>(info.param));
                         });

class PrefixTest : public ManyPortsTraffic,
                   public ::testing::WithParamInterface<std::tuple<ForwardingMethod, Family>> {};

// Routed to the director, and local there and at the real servers by a route alone.
TEST_P(PrefixTest, IsBalancedAtEachOfItsAddressesAndNoOtherIs) {
  const auto [method, family] = GetParam();
  const bool four = family == Family::kIpv4, direct = method != ForwardingMethod::kNat;
  const Cidr vips = *Cidr::Parse(four ? "10.9.4.64/26" : "fd09:4::4000/114");
  const std::string text = vips.ToString(), ip = four ? "ip" : "ip -6";
  vm::Run(ip + " -n cl route add " + text + " via " + (four ? "10.1.0.254" : "fd01::fe"));
  const std::string local = "route add local " + text + " dev lo table local";
  vm::Run(ip + " -n ds " + local);
  for (const char* host : {"rs1", "rs2", "rs3"}) vm::Run(ip + " -n " + host + " " + local);
  const IpAddress last = vips.Last();
  IpAddress middle = vips.address;
  middle.bytes[middle.Size() - 1] |= 5;
  for (const uint16_t port : {uint16_t{80}, uint16_t{0}}) {
    const ServiceKey key{.dataplane = Dataplane::kIpvs,
                         .match = port == 0 ? Prefix{vips} : Prefix{vips, port, port},
                         .protocol = Protocol::kTcp};
    const uint16_t at = port == 0 ? 8000 : port;
    State desired;
    desired.services[key] =
        ThreeServers("rr", method, family, port == 0 || direct ? port : 8080, {1, 1, 1});
    Reach(desired);
    const auto ask = [&, f = family](const IpAddress& vip, int index, uint16_t where) {
      Servers servers = direct ? Servers(SOCK_STREAM, {vip, where})
                               : Servers(SOCK_STREAM, f, where == 80 ? 8080 : where, false);
      return servers.Ask({ClientAddress(index, f), NewClientPort()}, {vip, where});
    };
    const std::vector<IpAddress> inside = {vips.address, middle, last};
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(ask(inside[static_cast<size_t>(i)], i, at),
                (Answer{.server = i + 1, .client = ClientAddress(i, family)}))
          << inside[static_cast<size_t>(i)].ToString();
    }
    if (port != 0) {
      EXPECT_EQ(ask(middle, 0, 81).server, 0);
    }
  }
  vm::Run(ip + " -n cl route del " + text);
  for (const char* host : {"ds", "rs1", "rs2", "rs3"}) {
    vm::Run(ip + " -n " + host + " route del local " + text + " dev lo table local");
  }
}

INSTANTIATE_TEST_SUITE_P(All, PrefixTest,
                         ::testing::Combine(::testing::Values(ForwardingMethod::kNat,
                                                              ForwardingMethod::kDirectRouting,
                                                              ForwardingMethod::kTunnel),
                                            ::testing::Values(Family::kIpv4, Family::kIpv6)),
                         [](const auto& info) {
                           return ToString(std::get<0>(info.param)) +
                                  (std::get<1>(info.param) == Family::kIpv4 ? "Ipv4" : "Ipv6");
                         });

TEST_F(ManyPortsTraffic, AllPortsIsOneServiceForEveryPortAndProtocol) {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    State desired;
    desired.services[All(family)] =
        ThreeServers("rr", ForwardingMethod::kNat, family, 0, {1, 1, 1});
    Reach(desired);
    EXPECT_THAT(Chosen(Protocol::kTcp, family, 1, false, 2), ElementsAre(1, 2));
    EXPECT_THAT(Chosen(Protocol::kUdp, family, 65535, false, 2), ElementsAre(3, 1));
    EXPECT_THAT(Chosen(Protocol::kTcp, family, 65535, false, 2), ElementsAre(2, 3));
    Reach({});
    EXPECT_THAT(Chosen(Protocol::kTcp, family, 65534, false, 1), ElementsAre(0));
  }
}

TEST_F(ManyPortsTraffic, PersistenceHoldsAClientOverAllPortsOfARange) {
  const ServiceKey key = NewRange(Protocol::kTcp, Family::kIpv4);
  const auto& range = std::get<PortRange>(key.match);
  State desired;
  desired.services[key] = ThreeServers("rr", ForwardingMethod::kNat, Family::kIpv4, 0, {1, 1, 1});
  desired.services[key].config.persistence = Persistence{};
  Reach(desired);
  EXPECT_THAT(Chosen(Protocol::kTcp, Family::kIpv4, range.first, false, 3), ElementsAre(1, 2, 3));
  EXPECT_THAT(Chosen(Protocol::kTcp, Family::kIpv4, range.last, false, 3), ElementsAre(1, 2, 3));
  EXPECT_THAT(Chosen(Protocol::kTcp, Family::kIpv4, range.first, false, 2), ElementsAre(1, 2));
}

TEST_F(ManyPortsTraffic, ARestartSendsNothingAndARangeThatGrowsIsServedAtOnce) {
  const ServiceKey key = NewRange(Protocol::kTcp, Family::kIpv4);
  const auto& range = std::get<PortRange>(key.match);
  Servers servers(SOCK_STREAM, Family::kIpv4, range.first, false);
  State desired;
  desired.services[key] = ThreeServers("rr", ForwardingMethod::kNat, Family::kIpv4, 0, {1, 1, 1});
  Reach(desired);
  const auto connection =
      servers.Connect({ClientAddress(0, Family::kIpv4), NewClientPort()}, {range.vip, range.first});
  ASSERT_NE(connection.answer.server, 0);
  const std::string before = Nft("list ruleset");
  Restart();
  Reach(desired);
  EXPECT_EQ(channel_->changes_sent(), 0u);
  EXPECT_EQ(Nft("list ruleset"), before);
  EXPECT_TRUE(Servers::Echo(connection));

  State grown;
  ServiceKey larger = key;
  std::get<PortRange>(larger.match).last = static_cast<uint16_t>(range.last + 1);
  grown.services[larger] = desired.services[key];
  Reach(grown);
  EXPECT_THAT(
      Chosen(Protocol::kTcp, Family::kIpv4, static_cast<uint16_t>(range.last + 1), false, 3),
      ElementsAre(1, 2, 3));
}

TEST_F(ManyPortsTraffic, WhatSomebodyFlushedIsPutBackAndConnectionsGoOn) {
  const ServiceKey key = NewRange(Protocol::kTcp, Family::kIpv4);
  const auto& range = std::get<PortRange>(key.match);
  Servers servers(SOCK_STREAM, Family::kIpv4, range.first, false);
  State desired;
  desired.services[key] = ThreeServers("rr", ForwardingMethod::kNat, Family::kIpv4, 0, {1, 1, 1});
  Reach(desired);
  const Endpoint vip{range.vip, range.first};
  const auto connection = servers.Connect({ClientAddress(0, Family::kIpv4), NewClientPort()}, vip);
  ASSERT_NE(connection.answer.server, 0);
  Nft("flush ruleset");
  EXPECT_TRUE(Servers::Echo(connection));
  EXPECT_EQ(servers.Ask({ClientAddress(1, Family::kIpv4), NewClientPort()}, vip).server, 0);
  Reach(desired);
  EXPECT_TRUE(Servers::Echo(connection));
  EXPECT_EQ(servers.Ask({ClientAddress(2, Family::kIpv4), NewClientPort()}, vip).server, 2);
}

// What marks packets for another purpose neither keeps them from us nor sees our marks; deletion
// leaves it as it was.
TEST_F(ManyPortsTraffic, AnotherProgramsMarksAreReplacedAndCountedAndOursEndWithIpvs) {
  Nft("add table ip other");
  Nft("'add chain ip other before { type filter hook prerouting priority -150; }'");
  Nft("'add rule ip other before ip daddr 10.9.0.1 meta mark set 0x4000'");
  Nft("'add chain ip other after { type filter hook postrouting priority 90; }'");
  Nft("'add rule ip other after meta mark != 0 counter'");
  const std::string theirs = Nft("list table ip other");
  for (const ForwardingMethod method : {ForwardingMethod::kNat, ForwardingMethod::kDirectRouting}) {
    const ServiceKey key = NewRange(Protocol::kTcp, Family::kIpv4);
    const auto& range = std::get<PortRange>(key.match);
    State desired;
    desired.services[key] = ThreeServers("rr", method, Family::kIpv4, 0, {1, 1, 1});
    Reach(desired);
    const bool direct = method != ForwardingMethod::kNat;
    EXPECT_THAT(Chosen(Protocol::kTcp, Family::kIpv4, range.last, direct, 3), ElementsAre(1, 2, 3));
    EXPECT_GE(backend_->ReadStats()->replaced_marks, 3u * 3);
    Reach({});
    // Its counter too: it saw no mark.
    EXPECT_EQ(Nft("list ruleset"), theirs) << ToString(method);
  }
  Nft("delete table ip other");
}

}  // namespace
}  // namespace kube_lvs::ipvs
