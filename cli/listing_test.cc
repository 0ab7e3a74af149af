#include "cli/listing.h"

#include <gtest/gtest.h>
#include <linux/ip_vs.h>

namespace kube_lvs::cli {
namespace {

ipvs::RealEntry Real(const char* at, ForwardingMethod method, uint32_t weight = 1) {
  ipvs::RealEntry out;
  out.real = {.at = *Endpoint::Parse(at), .method = method, .weight = weight};
  out.kernel_method = method == ForwardingMethod::kNat             ? IP_VS_CONN_F_MASQ
                      : method == ForwardingMethod::kDirectRouting ? IP_VS_CONN_F_DROUTE
                                                                   : IP_VS_CONN_F_TUNNEL;
  return out;
}

ListedService Service(ServiceKey key, ServiceConfig config) {
  ListedService out;
  out.service.key = key;
  out.service.config = std::move(config);
  if (out.service.config.persistence) out.service.engine = out.service.config.persistence->engine;
  return out;
}

ServiceKey Key(const char* at, Protocol protocol = Protocol::kTcp) {
  return {Dataplane::kIpvs, *Endpoint::Parse(at), protocol};
}

ServiceConfig Scheduled(const char* scheduler) {
  ServiceConfig out;
  out.scheduler = scheduler;
  return out;
}

// One of each kind.
Table Rules() {
  Table out;
  ListedService tcp = Service(Key("192.0.2.1:80"), Scheduled("wlc"));
  tcp.service.counters = {.packets = 123456789,
                          .bytes = 1234567890123,
                          .connections = 7,
                          .reply_packets = 99999999,
                          .reply_bytes = 100000000000};
  tcp.reals = {Real("10.0.0.1:8080", ForwardingMethod::kNat, 3),
               Real("10.0.0.2:80", ForwardingMethod::kDirectRouting, 2147483647),
               Real("10.0.0.3:80", ForwardingMethod::kTunnel),
               Real("10.0.0.4:80", ForwardingMethod::kTunnel),
               Real("10.0.0.5:80", ForwardingMethod::kTunnel)};
  tcp.reals[0].active_connections = 12;
  tcp.reals[0].inactive_connections = 1;
  tcp.reals[0].persistent_connections = 4;
  tcp.reals[0].real.upper_threshold = 10;
  tcp.reals[0].real.lower_threshold = 5;
  tcp.reals[0].rates = {.packets = 5, .bytes = 200000000, .connections = 2, .reply_packets = 6};
  tcp.reals[3].real.tunnel = {.type = TunnelType::kGue, .port = 6080, .remote_checksum = true};
  tcp.reals[4].real.tunnel = {.type = TunnelType::kGre, .checksum = true};
  out.push_back(tcp);

  ServiceConfig mh = Scheduled("mh");
  mh.hash = {.source_port = true, .fallback = true};
  mh.persistence = Persistence{};
  mh.persistence->prefix_length = 64;
  mh.one_packet = true;
  out.push_back(Service(Key("[2001:db8::1]:53", Protocol::kUdp), mh));
  ServiceConfig marked = Scheduled("rr");
  marked.persistence = Persistence{};
  marked.persistence->prefix_length = 0;
  marked.persistence->mask_with_holes = 0xff00ff00;
  out.push_back(
      Service({Dataplane::kIpvs, FwMark{4294967295, Family::kIpv4}, Protocol::kTcp}, marked));
  ServiceConfig flags = Scheduled("sh");
  flags.unnamed_flags = IP_VS_SVC_F_SCHED3;
  out.push_back(Service({Dataplane::kIpvs, FwMark{8, Family::kIpv6}, Protocol::kTcp}, flags));
  out.push_back(Service(Key("192.0.2.1:5060", Protocol::kSctp), Scheduled("wlc")));
  out.back().service.engine = "sip";  // without persistence
  return out;
}

std::string Shown(Format format) { return Title(format) + Services(Rules(), format, NoNames()); }

TEST(Listing, Plain) {
  EXPECT_EQ(Shown({}),
            "Prot LocalAddress:Port Scheduler Flags\n"
            "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
            "TCP  192.0.2.1:80 wlc\n"
            "  -> 10.0.0.1:8080                Masq    3      12         1         \n"
            "  -> 10.0.0.2:80                  Route   2147483647 0          0         \n"
            "  -> 10.0.0.3:80                  Tunnel  1      0          0         \n"
            "  -> 10.0.0.4:80                  Tunnel  1      0          0         \n"
            "  -> 10.0.0.5:80                  Tunnel  1      0          0         \n"
            "UDP  [2001:db8::1]:53 mh (mh-fallback,mh-port) persistent 360 mask 64 ops\n"
            "FWM  -1 rr persistent 360 mask 255.0.255.0\n"
            "FWM  8 IPv6 sh ()\n"
            "SCTP 192.0.2.1:5060 wlc\n");
}

TEST(Listing, ManyPortsOfTheEbpfDataplane) {
  const IpAddress vip = *IpAddress::Parse("192.0.2.1"), six = *IpAddress::Parse("2001:db8::1");
  Table table = {
      Service({Dataplane::kEbpf, AllPorts{six}, Protocol::kTcp}, Scheduled("rr")),
      Service({Dataplane::kEbpf, PortRange{vip, 10000, 10100}, Protocol::kUdp}, Scheduled("wlc")),
      Service(Key("192.0.2.1:5060", Protocol::kUdp), Scheduled("wlc"))};
  table[1].reals = {Real("10.0.0.1:0", ForwardingMethod::kNat)};
  SortAsIpvsadm(table);
  EXPECT_EQ(Services(table, {}, NoNames()),
            "UDP  192.0.2.1:5060 wlc\n"
            "UDP  192.0.2.1:10000-10100 wlc\n"
            "  -> 10.0.0.1:0                   Masq    1      0          0         \n"
            "ALL  [2001:db8::1]:all rr\n");
}

TEST(Listing, NetworksOfVipsOfTheEbpfDataplane) {
  const Cidr net = *Cidr::Parse("198.51.100.0/24"), six = *Cidr::Parse("2001:db8:5::/112");
  Table table = {Service({Dataplane::kEbpf, Prefix{six}, Protocol::kTcp}, Scheduled("rr")),
                 Service({Dataplane::kEbpf, Prefix{net, 90, 99}, Protocol::kUdp}, Scheduled("dh")),
                 Service({Dataplane::kEbpf, Prefix{net, 80, 80}, Protocol::kTcp}, Scheduled("dh")),
                 Service(Key("198.51.100.0:79"), Scheduled("wlc"))};
  SortAsIpvsadm(table);
  EXPECT_EQ(Services(table, {}, NoNames()),
            "TCP  198.51.100.0:79 wlc\n"
            "TCP  198.51.100.0/24:80 dh\n"
            "UDP  198.51.100.0/24:90-99 dh\n"
            "ALL  [2001:db8:5::/112]:all rr\n");
}

TEST(Listing, RulesAsIpvsadmWritesThem) {
  const std::string wanted =
      "-A -t 192.0.2.1:80 -s wlc\n"
      "-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3\n"
      "-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 2147483647\n"
      "-a -t 192.0.2.1:80 -r 10.0.0.3:80 -i -w 1 --tun-type ipip\n"
      "-a -t 192.0.2.1:80 -r 10.0.0.4:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum\n"
      "-a -t 192.0.2.1:80 -r 10.0.0.5:80 -i -w 1 --tun-type gre --tun-csum\n"
      "-A -u [2001:db8::1]:53 -s mh -p 360 -M 64 -o -b mh-fallback,mh-port\n"
      "-A -f -1 -s rr -p 360 -M 255.0.255.0\n"
      "-A -f 8 -6 -s sh -b \n"
      "-A --sctp-service 192.0.2.1:5060 -s wlc --pe sip\n";
  EXPECT_EQ(Shown({.columns = Columns::kRules}), wanted);
  const std::string full = Shown({.columns = Columns::kRules, .full = true});
  EXPECT_NE(full.find("-m -w 3 -x 10 -y 5\n"), std::string::npos) << full;
  EXPECT_NE(full.find("-A -f 4294967295 -s rr"), std::string::npos) << full;
}

// Of the first service and its first real server.
std::string Beginning(Format format) {
  Table table = Rules();
  table.resize(1);
  table[0].reals.resize(1);
  return Title(format) + Services(table, format, NoNames());
}

TEST(Listing, NumbersShortAndExact) {
  EXPECT_EQ(Beginning({.columns = Columns::kStats}),
            "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n"
            "  -> RemoteAddress:Port\n"
            "TCP  192.0.2.1:80                        7  123456K 99999999    1234G     100G\n"
            "  -> 10.0.0.1:8080                       0        0        0        0        0\n");
  EXPECT_EQ(Beginning({.columns = Columns::kStats, .exact = true}),
            "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n"
            "  -> RemoteAddress:Port\n"
            "TCP  192.0.2.1:80                        7 123456789 99999999 1234567890123 "
            "100000000000\n"
            "  -> 10.0.0.1:8080                       0        0        0        0        0\n");
}

TEST(Listing, RatesThresholdsPersistenceAndTunnels) {
  EXPECT_EQ(Beginning({.columns = Columns::kRate}),
            "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n"
            "  -> RemoteAddress:Port\n"
            "TCP  192.0.2.1:80                        0        0        0        0        0\n"
            "  -> 10.0.0.1:8080                       2        5        6  200000K        0\n");
  EXPECT_EQ(Beginning({.columns = Columns::kThresholds}),
            "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n"
            "  -> RemoteAddress:Port\n"
            "TCP  192.0.2.1:80 wlc\n"
            "  -> 10.0.0.1:8080                10         5          12         1         \n");
  EXPECT_EQ(Beginning({.columns = Columns::kPersistentConn}),
            "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n"
            "  -> RemoteAddress:Port\n"
            "TCP  192.0.2.1:80 wlc\n"
            "  -> 10.0.0.1:8080                3         4           12         1         \n");
  const std::string tunnels = Shown({.columns = Columns::kTunnelInfo});
  EXPECT_NE(tunnels.find("Masq    n/a           3      12"), std::string::npos) << tunnels;
  EXPECT_NE(tunnels.find("Tunnel  gue:6080:r+c  1      0"), std::string::npos) << tunnels;
  EXPECT_NE(tunnels.find("Tunnel  gre:+c        1      0"), std::string::npos) << tunnels;
  EXPECT_NE(tunnels.find("Tunnel  ipip          1      0"), std::string::npos) << tunnels;
}

// Everything has a long name.
class LongNames final : public Names {
 public:
  std::optional<std::array<uint8_t, 4>> HostAddress(const std::string&) const override {
    return {};
  }
  std::optional<uint16_t> ServicePort(const std::string&, uint16_t) const override { return {}; }
  std::optional<std::string> HostName(const IpAddress&) const override {
    return "a.host.whose.name.is.too.long.example";
  }
  std::optional<std::string> ServiceName(uint16_t, uint16_t) const override { return "http"; }
};

TEST(Listing, LongNamesAreCutInIpv4Columns) {
  Table table = Rules();
  table.resize(2);
  table[0].reals.resize(1);
  EXPECT_EQ(Services(table, {}, LongNames()),
            "TCP  a.host.whose.name.is.too.lon wlc\n"
            "  -> a.host.whose.name.is.too.lon Masq    3      12         1         \n"
            "UDP  [a.host.whose.name.is.too.long.example]:http mh (mh-fallback,mh-port) persistent "
            "360 mask 64 ops\n");
  EXPECT_EQ(EndpointText(*Endpoint::Parse("[2001:db8::1]:80"), 6, LongNames()).size(), 44u);
}

TEST(Listing, TimeoutsAndDaemons) {
  EXPECT_EQ(TimeoutsLine({.tcp_seconds = 900, .tcp_fin_seconds = 120, .udp_seconds = 300}),
            "Timeout (tcp tcpfin udp): 900 120 300\n");
  EXPECT_EQ(DaemonLines(
                {{.role = SyncRole::kBackup, .interface = "lo", .sync_id = 7, .max_length = 1472}}),
            "backup sync daemon (mcast=lo, syncid=7, maxlen=1472, group=224.0.0.81, port=8848, "
            "ttl=1)\n");
}

TEST(Listing, TheFirstOfSeveralColumnsWins) {
  Request request;
  const auto give = [&request](Option option) {
    request.given |= uint64_t{1} << static_cast<int>(option);
  };
  give(Option::kTunnelInfo);
  EXPECT_EQ(FormatOf(request).columns, Columns::kTunnelInfo);
  give(Option::kThresholds);
  EXPECT_EQ(FormatOf(request).columns, Columns::kThresholds);
  give(Option::kRate);
  give(Option::kStats);
  EXPECT_EQ(FormatOf(request).columns, Columns::kStats);
}

}  // namespace
}  // namespace kube_lvs::cli
