// A test of one variant: services at a VIP of its own, on the site that all tests of the variant
// share. What it does to the site it takes back, which is checked.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/ebpf/traffic/site.h"
#include "dataplane/model/step.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {

class TrafficTest : public testing::TestWithParam<Variant> {
 protected:
  TrafficTest();
  void TearDown() override;

  static bool IsNat() { return GetParam().IsNat(); }
  static bool IsV4() { return GetParam().IsV4(); }
  static bool Xdp() { return GetParam().xdp; }
  static bool Tunnel() { return GetParam().method == ForwardingMethod::kTunnel; }
  static bool SourceNat() { return GetParam().source_nat; }
  static Family FamilyOf() { return GetParam().family; }
  static uint16_t RealPort() { return IsNat() ? kNatPort : kPort; }

  const Addresses4Or6& At() const { return site_.at(); }
  EbpfDataplane& Director() { return site_.dataplane(); }
  // What real servers see of the client.
  std::string Seen() const { return SourceNat() ? At().director_in : At().client; }
  ServiceKey KeyOf(Protocol protocol = Protocol::kTcp) const {
    return {Dataplane::kEbpf, Endpoint{vip_, kPort}, protocol};
  }
  RealServer RealOf(int n, uint16_t port) const;

  // Runs `command` there now, and `undo` after the test.
  void Do(const Namespace& where, const std::string& command, const std::string& undo);

  // The VIP is an address of the real server, for sockets that are bound to it.
  void OwnVip(int n);

  // Applies it to the director now; what it adds is removed after the test.
  void Direct(const std::vector<Step>& steps);

  // From now on tunnels are by GUE.
  void TunnelByGue() { tunnel_ = {.type = TunnelType::kGue, .port = kGuePort}; }
  // What a tunnel adds to a packet.
  uint32_t Overhead() const;

  // Tunnel: the real servers take `vips` from the director and, with `clamp`, have clients send
  // what fits.
  void Unpack(const Cidr& vips, bool clamp);

  // A service with these real servers, whose packets XDP may leave to tc.
  void Serve(const ServiceKey& key, uint16_t real_port, const std::vector<int>& reals = {1, 2});
  // With XDP there is no tc that does the work.
  void ServeAlone(const ServiceKey& key, uint16_t real_port,
                  const std::vector<int>& reals = {1, 2});
  // At the VIP, with both; tunnels are unpacked.
  ServiceKey ServeAlone(Protocol protocol = Protocol::kTcp);

  // How many real servers XDP may transmit to, as their neighbours are known.
  size_t RealsOfXdp();

  Stats ReadStats();
  // What the director dropped since the test began, without zeros.
  std::map<std::string, uint64_t> Drops();

  // By one connection of the client; "" when there is no answer.
  std::string Ask(const std::string& request) const {
    return AskTcp(site_.client(), {vip_, kPort}, request);
  }

  Site& site_;
  const IpAddress vip_;
  static constexpr uint16_t kGuePort = 6080;

 private:
  struct Undo {
    const Namespace* where;
    std::string command;
  };

  State Read(const Namespace& where, EbpfDataplane& dataplane);
  // Of the director and the real servers.
  std::vector<State> ReadAll();
  std::map<std::string, uint64_t> AllDrops();
  // Until XDP may transmit to them.
  void AwaitNeighbours(size_t reals);

  const std::vector<State> before_;
  const std::map<std::string, uint64_t> drops_before_;
  std::vector<Undo> undos_;
  std::vector<Step> to_remove_;  // from the director, the last first
  std::vector<std::pair<int, NodeItem>> of_reals_to_remove_;  // by the real server's number
  kube_lvs::Tunnel tunnel_;
};

}  // namespace kube_lvs::ebpf
