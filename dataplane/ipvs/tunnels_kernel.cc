// Tunnels of every type and mix of IP families, as real servers take them off again.
#include <string>
#include <tuple>

#include "dataplane/ipvs/traffic_fixture.h"
#include "gtest/gtest.h"

namespace kube_lvs::ipvs {
namespace {

class GueTest : public InTurnTest,
                public ::testing::WithParamInterface<std::tuple<Family, bool, bool>> {};

TEST_P(GueTest, ReachesThreeServersInTurn) {
  const auto [family, checksum, remote] = GetParam();
  vm::Run("modprobe -a fou fou6");
  const std::string port = family == Family::kIpv4 ? "port 6080" : "port 6080 -6";
  const AtRealServers listening("ip fou add " + port + " gue", "ip fou del " + port);
  const Tunnel gue{
      .type = TunnelType::kGue, .port = 6080, .checksum = checksum, .remote_checksum = remote};
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
    ExpectThreeServersInTurn(protocol, family, ForwardingMethod::kTunnel, gue);
  }
}

INSTANTIATE_TEST_SUITE_P(All, GueTest,
                         ::testing::Combine(::testing::Values(Family::kIpv4, Family::kIpv6),
                                            ::testing::Bool(), ::testing::Bool()));

struct Families {
  Family service, reals;
};

class FamiliesTest : public InTurnTest, public ::testing::WithParamInterface<Families> {};

INSTANTIATE_TEST_SUITE_P(All, FamiliesTest,
                         ::testing::Values(Families{Family::kIpv4, Family::kIpv4},
                                           Families{Family::kIpv4, Family::kIpv6},
                                           Families{Family::kIpv6, Family::kIpv4},
                                           Families{Family::kIpv6, Family::kIpv6}),
                         [](const auto& info) {
                           const auto name = [](Family family) {
                             return family == Family::kIpv4 ? "Ipv4" : "Ipv6";
                           };
                           return std::string(name(info.param.service)) + "Over" +
                                  name(info.param.reals);
                         });

TEST_P(FamiliesTest, GreReachesThreeServers) {
  const auto [service, reals] = GetParam();
  const bool four = reals == Family::kIpv4;
  vm::Run(four ? "modprobe ip_gre" : "modprobe ip6_gre");
  const std::string device =
      four ? "ip link add name g0 type gre local {4}" : "ip link add name g0 type ip6gre local {6}";
  for (const bool checksum : {false, true}) {
    if (checksum && service != reals) continue;  // would show nothing new, and takes its time
    const AtRealServers decapsulating(
        device + " remote any" + (checksum ? " icsum" : "") + "; ip link set g0 up",
        "ip link del g0");
    const Tunnel gre{.type = TunnelType::kGre, .port = 0, .checksum = checksum};
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
      ExpectThreeServersInTurn(protocol, service, ForwardingMethod::kTunnel, gre, reals);
    }
  }
}

// A service of IPv6 whose real servers are reached over IPv4, and the other way round.
TEST_F(InTurnTest, ATunnelLeadsToTheOtherFamily) {
  vm::Run("modprobe sit");
  const AtRealServers device("ip link add name s4 type sit local {4} remote any; ip link set s4 up",
                             "ip link del s4");
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
    ExpectThreeServersInTurn(protocol, Family::kIpv6, ForwardingMethod::kTunnel, {}, Family::kIpv4);
    ExpectThreeServersInTurn(protocol, Family::kIpv4, ForwardingMethod::kTunnel, {}, Family::kIpv6);
  }
}

}  // namespace
}  // namespace kube_lvs::ipvs
