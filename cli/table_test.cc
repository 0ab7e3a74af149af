#include "cli/table.h"

#include <gtest/gtest.h>

namespace kube_lvs::cli {
namespace {

ListedService At(const char* at, Protocol protocol = Protocol::kTcp) {
  ListedService out;
  out.service.key = {Dataplane::kIpvs, *Endpoint::Parse(at), protocol};
  return out;
}

ListedService Marked(uint32_t mark, Family family = Family::kIpv4) {
  ListedService out;
  out.service.key = {Dataplane::kIpvs, FwMark{mark, family}, Protocol::kTcp};
  return out;
}

std::vector<std::string> Names(const Table& table) {
  std::vector<std::string> out;
  for (const ListedService& listed : table) out.push_back(ToString(listed.service.key));
  return out;
}

TEST(Table, OrderOfIpvsadm) {
  Table table = {Marked(7),          At("[2001:db8::1]:80"), At("10.0.0.2:80", Protocol::kUdp),
                 At("10.0.0.2:80"),  At("10.0.0.1:81"),      At("10.0.0.1:80"),
                 At("192.0.2.1:80"), Marked(4294967295),     Marked(7, Family::kIpv6)};
  SortAsIpvsadm(table);
  EXPECT_EQ(Names(table),
            (std::vector<std::string>{
                "IPVS fwmark 4294967295/IPv4", "IPVS 192.0.2.1:80/tcp", "IPVS 10.0.0.1:80/tcp",
                "IPVS 10.0.0.1:81/tcp", "IPVS 10.0.0.2:80/tcp", "IPVS 10.0.0.2:80/udp",
                "IPVS [2001:db8::1]:80/tcp", "IPVS fwmark 7/IPv4", "IPVS fwmark 7/IPv6"}));
}

TEST(Table, RatesAreWhatPassedBetweenTwoReadings) {
  Table before = {At("10.0.0.1:80"), At("10.0.0.2:80")};
  before[0].service.counters = {.packets = 100, .bytes = 1000, .connections = 5};
  before[1].service.counters = {.packets = 100};
  Table now = {At("10.0.0.2:80"), At("10.0.0.1:80"), At("10.0.0.3:80")};
  now[0].service.counters = {.packets = 10};  // zeroed meanwhile
  now[1].service.counters = {.packets = 300, .bytes = 1500, .connections = 6};
  now[2].service.counters = {.packets = 9};
  FillRates(before, std::chrono::seconds(2), now);
  EXPECT_EQ(now[0].service.rates, Rates{});
  EXPECT_EQ(now[1].service.rates, (Rates{.packets = 100, .bytes = 250, .connections = 1}));
  EXPECT_EQ(now[2].service.rates, Rates{});
}

}  // namespace
}  // namespace kube_lvs::cli
