// Connections that outlive what they began with, and those that are refused or end.
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/ebpf/conn_tables.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/testing/sockets.h"
#include "dataplane/ebpf/traffic/traffic_test.h"

namespace kube_lvs::ebpf {
namespace {

// A connection of the client that was opened.
UniqueFd Held(const Site& site, const IpAddress& vip) {
  UniqueFd out = NewSocket(site.client(), vip.family, SOCK_STREAM);
  LimitWaits(out, 3);
  const SocketAddress to({vip, kPort});
  EXPECT_EQ(connect(out.get(), to.Get(), to.size), 0) << std::strerror(errno);
  return out;
}

TEST_P(TrafficTest, AConnectionOutlivesTheAgentAndItsRealServersRemoval) {
  Unpack(Cidr::Host(vip_), true);
  const ServiceKey key = KeyOf();
  Serve(key, RealPort(), {1});
  const UniqueFd held = Held(site_, vip_);

  site_.ReopenDataplane();
  Apply(site_.director(), Director(),
        {AddReal{key, RealOf(2, RealPort())}, RemoveReal{key, RealOf(1, RealPort()).at}});
  EXPECT_EQ(Ask("x\n").substr(0, 5), "real2");
  ASSERT_EQ(send(held.get(), "still\n", 6, MSG_NOSIGNAL), 6);
  std::array<char, 256> buffer;
  const ssize_t got = recv(held.get(), buffer.data(), buffer.size(), 0);
  ASSERT_GT(got, 0);
  EXPECT_EQ(std::string(buffer.data(), 5), "real1");
}

TEST_P(TrafficTest, AServiceWhoseRealServersHaveNoWeightRefusesAtOnce) {
  const ServiceKey key = ServeAlone();
  for (const int n : {1, 2}) {
    RealServer real = RealOf(n, RealPort());
    real.weight = 0;
    Apply(site_.director(), Director(), {SetReal{key, real}});
  }
  const UniqueFd connection = NewSocket(site_.client(), FamilyOf(), SOCK_STREAM);
  LimitWaits(connection, 10);
  const SocketAddress to({vip_, kPort});
  EXPECT_EQ(connect(connection.get(), to.Get(), to.size), -1);
  EXPECT_EQ(errno, ECONNREFUSED) << std::strerror(errno);
  // A namespace has the answer before connect() has let go of the socket: Linux then heeds the next
  // one, a second later.
  auto drops = Drops();
  EXPECT_LE(drops["no_real_server"], 2U);
  EXPECT_EQ(drops.size(), 1U);
}

TEST_P(TrafficTest, ManyShortConnectionsShareFewSourcePorts) {
  if (!SourceNat()) return;
  ServeAlone();
  klvs_settings& settings =
      GetArray<klvs_settings>(*Director().objects.maps, kSettingsMap).value()[0];
  const uint16_t ports = std::exchange(settings.snat_port_count, uint16_t{16});
  for (int i = 0; i < 60; ++i) EXPECT_NE(Ask("x\n"), "") << i;
  settings.snat_port_count = ports;
  EXPECT_EQ(Drops(), (std::map<std::string, uint64_t>{}));
}

// As with a director that takes over.
TEST_P(TrafficTest, WhatIsDroppedIsShownToOneReader) {
  ServeAlone();
  const auto open_drops = [&] {
    return site_.director().In([&] { return OpenPinnedDrops(site_.bpf_dir()); });
  };
  {
    const auto drops = open_drops();
    ASSERT_TRUE(drops.ok()) << drops.status();
    EXPECT_EQ(open_drops().status().code(), absl::StatusCode::kUnavailable);
    const UniqueFd socket = NewSocket(site_.client(), FamilyOf(), SOCK_DGRAM);
    const SocketAddress to({vip_, 9});
    ASSERT_EQ(sendto(socket.get(), "drop", 4, 0, to.Get(), to.size), 4) << std::strerror(errno);
    pollfd wait{.fd = drops->ring->fd(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(poll(&wait, 1, 3000), 1);
    std::vector<DropSample> samples;
    const auto taken = drops->ring->Take([&](const DropSample& sample) {
      samples.push_back(sample);
      return true;
    });
    ASSERT_TRUE(taken.ok()) << taken;
    ASSERT_EQ(samples.size(), 1U);
    EXPECT_EQ(samples[0].reason, "no_service");
    EXPECT_EQ(samples[0].stage, Xdp() ? "xdp" : "tc");
    EXPECT_EQ(std::string(samples[0].frame.end() - 4, samples[0].frame.end()), "drop");
  }
  EXPECT_TRUE(open_drops().ok()) << "a reader that ended makes room";
}

TEST_P(TrafficTest, AConnectionThatTheDirectorDoesNotKnowIsReset) {
  ServeAlone();
  const UniqueFd held = Held(site_, vip_);
  MapStore& maps = *Director().objects.maps;
  const ConnTables tables = GetConnTables(maps).value();
  std::ranges::fill(tables.sets, klvs_conn_set{});
  std::ranges::fill(tables.tags, klvs_set_tags{});
  std::ranges::fill(tables.sets6, klvs_conn_set6{});
  std::ranges::fill(tables.tags6, klvs_set_tags{});
  // The end of the handshake may have had the answer already.
  char byte = 0;
  EXPECT_TRUE(send(held.get(), "still\n", 6, MSG_NOSIGNAL) < 0 ||
              recv(held.get(), &byte, 1, 0) < 0);
  EXPECT_EQ(errno, ECONNRESET) << std::strerror(errno);
  // What the table lost is not counted any more either.
  const auto repaired = site_.director().In([&] { return Director().backend->RepairCounts(); });
  EXPECT_TRUE(repaired.ok()) << repaired.status();
}

}  // namespace
}  // namespace kube_lvs::ebpf
