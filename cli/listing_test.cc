#include "cli/listing.h"

#include <gtest/gtest.h>

namespace kube_lvs::cli {
namespace {

TEST(Listing, LooksLikeIpvsadm) {
  const ServiceKey tcp{Dataplane::kIpvs, *Endpoint::Parse("192.0.2.1:80"), Protocol::kTcp};
  const ServiceKey v6{Dataplane::kIpvs, *Endpoint::Parse("[2001:db8::1]:53"), Protocol::kUdp};
  const RealServer real{.at = *Endpoint::Parse("10.0.0.1:8080"), .weight = 3};
  ServiceTable table;
  table[tcp].config.scheduler = "wlc";
  table[tcp].reals = {real};
  ServiceConfig& config = table[v6].config;
  config.scheduler = "mh";
  config.hash = {.source_port = true, .fallback = true};
  config.persistence = Persistence{};
  config.one_packet = true;
  Stats stats;
  stats.reals[{tcp, real.at}].active_connections = 12;
  EXPECT_EQ(Listing("IP Virtual Server version 1.2.1 (size=4096)", table, stats),
            "IP Virtual Server version 1.2.1 (size=4096)\n"
            "Prot LocalAddress:Port Scheduler Flags\n"
            "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
            "TCP  192.0.2.1:80 wlc\n"
            "  -> 10.0.0.1:8080                Masq    3      12         0         \n"
            "UDP  [2001:db8::1]:53 mh (mh-fallback,mh-port) persistent 360 mask 32 ops\n");
}

}  // namespace
}  // namespace kube_lvs::cli
