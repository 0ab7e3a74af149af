#include "node-agent/facts/facts.h"

#include <gtest/gtest.h>

namespace kube_lvs {
namespace {

IpAddress Ip(const char* text) { return *IpAddress::Parse(text); }

NodeFacts TwoLegs() {
  NodeFacts facts;
  facts.interfaces["lo"] = {.name = "lo",
                            .index = 1,
                            .mac = {},
                            .mtu = 65536,
                            .up = true,
                            .loopback = true,
                            .kind = "",
                            .master_kind = "",
                            .addresses = {{Ip("127.0.0.1"), 8}}};
  facts.interfaces["eth0"] = {.name = "eth0",
                              .index = 2,
                              .mac = {},
                              .mtu = 1500,
                              .up = true,
                              .loopback = false,
                              .kind = "veth",
                              .master_kind = "",
                              .addresses = {{Ip("192.0.2.10"), 32}, {Ip("192.0.2.2"), 24}}};
  facts.interfaces["eth1"] = {.name = "eth1",
                              .index = 3,
                              .mac = {},
                              .mtu = 1500,
                              .up = true,
                              .loopback = false,
                              .kind = "veth",
                              .master_kind = "",
                              .addresses = {{Ip("10.0.0.1"), 24}}};
  facts.routes = {{*Cidr::Parse("0.0.0.0/0"), 100, "eth0", Ip("192.0.2.1")},
                  {*Cidr::Parse("192.0.2.0/24"), 0, "eth0", std::nullopt},
                  {*Cidr::Parse("10.0.0.0/24"), 0, "eth1", std::nullopt},
                  {*Cidr::Parse("10.0.0.0/24"), 50, "eth0", std::nullopt}};
  return facts;
}

TEST(Facts, ASubnetHasItsAddressesAndAHostAddressHasNone) {
  const NodeFacts facts = TwoLegs();
  EXPECT_TRUE(HasSubnetOf(facts.interfaces.at("eth1"), Ip("10.0.0.200")));
  EXPECT_TRUE(HasSubnetOf(facts.interfaces.at("eth0"), Ip("192.0.2.11")));
  EXPECT_FALSE(HasSubnetOf(facts.interfaces.at("eth1"), Ip("10.0.1.200")));
  EXPECT_FALSE(HasSubnetOf(facts.interfaces.at("eth0"), Ip("10.0.0.200")));
  EXPECT_FALSE(HasSubnetOf(facts.interfaces.at("eth1"), Ip("::")));
  InterfaceFacts odd = facts.interfaces.at("eth1");
  odd.addresses = {{Ip("2001:db8::5:1"), 127}, {Ip("10.64.0.1"), 10}, {Ip("10.0.0.7"), 32}};
  EXPECT_TRUE(HasSubnetOf(odd, Ip("2001:db8::5:0")));
  EXPECT_FALSE(HasSubnetOf(odd, Ip("2001:db8::5:2")));
  EXPECT_TRUE(HasSubnetOf(odd, Ip("10.127.255.255")));
  EXPECT_FALSE(HasSubnetOf(odd, Ip("10.0.0.7")));
}

std::vector<std::string> Names(const std::vector<const InterfaceFacts*>& interfaces) {
  std::vector<std::string> names;
  for (const InterfaceFacts* interface : interfaces) names.push_back(interface->name);
  return names;
}

using Strings = std::vector<std::string>;

TEST(Facts, TheLongestRouteOfTheLowestMetricCounts) {
  const NodeFacts facts = TwoLegs();
  EXPECT_EQ(Names(InterfacesTowards(facts, Ip("10.0.0.7"))), Strings{"eth1"});
  EXPECT_EQ(Names(InterfacesTowards(facts, Ip("198.51.100.1"))), Strings{"eth0"});
  EXPECT_EQ(Names(InterfacesTowards(facts, Ip("10.0.0.1"))), Strings{"lo"});
  EXPECT_EQ(Names(InterfacesTowards(facts, Ip("2001:db8::1"))), Strings{});
}

TEST(Facts, AMultipathRouteLeavesByAllItsLegs) {
  NodeFacts facts = TwoLegs();
  facts.routes.push_back({*Cidr::Parse("0.0.0.0/0"), 100, "eth1", Ip("10.0.0.254")});
  facts.routes.push_back({*Cidr::Parse("0.0.0.0/0"), 100, "eth1", Ip("10.0.0.253")});
  facts.routes.push_back({*Cidr::Parse("0.0.0.0/0"), 200, "lo", std::nullopt});
  EXPECT_EQ(Names(DefaultRouteInterfaces(facts, Family::kIpv4)), (Strings{"eth0", "eth1"}));
  EXPECT_EQ(Names(InterfacesTowards(facts, Ip("198.51.100.1"))), (Strings{"eth0", "eth1"}));
  EXPECT_EQ(Names(InterfacesTowards(facts, Ip("10.0.0.7"))), Strings{"eth1"});
}

TEST(Facts, TheNodesAddressIsOfTheFirstLegThatHasOne) {
  NodeFacts facts = TwoLegs();
  facts.routes.push_back({*Cidr::Parse("0.0.0.0/0"), 100, "eth1", Ip("10.0.0.254")});
  facts.interfaces["eth0"].addresses = {};
  EXPECT_EQ(PreferredAddress(facts), Ip("10.0.0.1"));
}

TEST(Facts, AVipOnTheUplinkIsNotTheNodesAddress) {
  EXPECT_EQ(PreferredAddress(TwoLegs()), Ip("192.0.2.2"));
}

TEST(Facts, WithoutADefaultRouteAnyAddressServes) {
  NodeFacts facts = TwoLegs();
  facts.routes.clear();
  EXPECT_EQ(PreferredAddress(facts), Ip("192.0.2.2"));
  facts.interfaces.clear();
  EXPECT_EQ(PreferredAddress(facts), std::nullopt);
}

TEST(Facts, TheDefaultRouteIsFoundPerFamily) {
  EXPECT_EQ(Names(DefaultRouteInterfaces(TwoLegs(), Family::kIpv4)), Strings{"eth0"});
  EXPECT_EQ(Names(DefaultRouteInterfaces(TwoLegs(), Family::kIpv6)), Strings{});
}

TEST(Facts, InterfacesAreNamedByShellPatterns) {
  EXPECT_TRUE(MatchesGlob("eth*", "eth0"));
  EXPECT_TRUE(MatchesGlob("eth0", "eth0"));
  EXPECT_FALSE(MatchesGlob("eth?", "eth10"));
}

}  // namespace
}  // namespace kube_lvs
