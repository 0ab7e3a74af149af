#include "cli/json.h"

#include <gtest/gtest.h>
#include <linux/ip_vs.h>

namespace kube_lvs::cli {
namespace {

TEST(Json, AServiceWithEverything) {
  ListedService listed;
  listed.service.key = {Dataplane::kIpvs, *Endpoint::Parse("192.0.2.1:80"), Protocol::kTcp};
  ServiceConfig& config = listed.service.config;
  config.scheduler = "mh";
  config.hash.source_port = true;
  config.persistence = Persistence{};
  config.persistence->timeout_seconds = 60;
  config.persistence->prefix_length = 24;
  listed.service.counters.packets = 9;
  ipvs::RealEntry real;
  real.real = {.at = *Endpoint::Parse("10.0.0.1:80"), .method = ForwardingMethod::kTunnel};
  real.real.tunnel = {.type = TunnelType::kGue, .port = 6080, .checksum = true};
  real.kernel_method = IP_VS_CONN_F_TUNNEL;
  real.active_connections = 3;
  real.rates.bytes = 7;
  listed.reals = {real};
  EXPECT_EQ(ServicesJson({{"ipvs", {listed}}, {"ebpf", {}}}), R"({
  "dataplanes": [
    {
      "name": "ipvs",
      "services": [
        {
          "address": "192.0.2.1",
          "port": 80,
          "protocol": "tcp",
          "family": "IPv4",
          "scheduler": "mh",
          "schedulerFlags": [
            "mh-port"
          ],
          "persistence": {
            "timeoutSeconds": 60,
            "netmask": "255.255.255.0"
          },
          "onePacket": false,
          "sourceNat": false,
          "counters": {
            "connections": 0,
            "packetsIn": 9,
            "packetsOut": 0,
            "bytesIn": 0,
            "bytesOut": 0
          },
          "rates": {
            "connections": 0,
            "packetsIn": 0,
            "packetsOut": 0,
            "bytesIn": 0,
            "bytesOut": 0
          },
          "realServers": [
            {
              "address": "10.0.0.1",
              "port": 80,
              "method": "Tunnel",
              "tunnel": {
                "type": "GUE",
                "port": 6080,
                "checksum": "yes"
              },
              "weight": 1,
              "upperThreshold": 0,
              "lowerThreshold": 0,
              "activeConnections": 3,
              "inactiveConnections": 0,
              "persistentConnections": 0,
              "counters": {
                "connections": 0,
                "packetsIn": 0,
                "packetsOut": 0,
                "bytesIn": 0,
                "bytesOut": 0
              },
              "rates": {
                "connections": 0,
                "packetsIn": 0,
                "packetsOut": 0,
                "bytesIn": 7,
                "bytesOut": 0
              }
            }
          ]
        }
      ]
    },
    {
      "name": "ebpf",
      "services": []
    }
  ]
}
)");
}

TEST(Json, OtherDocuments) {
  EXPECT_EQ(TimeoutsJson({.tcp_seconds = 1, .tcp_fin_seconds = 2, .udp_seconds = 3}), R"({
  "timeouts": {
    "tcpSeconds": 1,
    "tcpFinSeconds": 2,
    "udpSeconds": 3
  }
}
)");
  EXPECT_EQ(ConnectionsJson({}), "{\n  \"connections\": []\n}\n");
  EXPECT_EQ(DaemonsJson({}), "{\n  \"daemons\": []\n}\n");
}

}  // namespace
}  // namespace kube_lvs::cli
