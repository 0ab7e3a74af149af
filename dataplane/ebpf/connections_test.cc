#include "dataplane/ebpf/connections.h"

#include <vector>

#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/conn_tables.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/testing/fake_maps.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

constexpr uint64_t kNow = 1000000;

uint64_t Ctl(uint32_t flags, uint32_t state) {
  return uint64_t{1} << 32 | uint64_t{flags} << 8 | state;
}

klvs_conn Entry(uint8_t protocol, uint64_t ctl, uint64_t expires) {
  klvs_conn out{};
  out.key = {.src = ToWire(*IpAddress::Parse("10.1.0.1")),
             .dst = ToWire(*IpAddress::Parse("192.0.2.1")),
             .sport = ToWirePort(40000),
             .dport = ToWirePort(80),
             .protocol = protocol,
             .reserved = {}};
  out.ctl = ctl;
  out.expires = expires;
  out.real = 3;
  return out;
}

TEST(Connections, OfTheTableWhatIsThere) {
  FakeMapStore maps;
  MakeMaps(maps);
  GetArray<klvs_settings>(maps, kSettingsMap).value()[0].hz = 100;
  klvs_real& real = GetArray<klvs_real>(maps, kRealsMap).value()[3];
  real.address = ToWire(*IpAddress::Parse("10.0.0.1"));
  real.port = ToWirePort(8080);
  const ConnTables tables = GetConnTables(maps).value();
  const auto put = [&](size_t set, int way, const klvs_conn& entry) {
    tables.tags[set].way[way] = 7;
    tables.sets[set].ways[way] = entry;
  };
  put(0, 2, Entry(6, Ctl(KLVS_CONN_LIVE, KLVS_ESTABLISHED), kNow + 899 * 100 + 50));
  put(0, 3, Entry(6, Ctl(KLVS_CONN_LIVE, KLVS_ESTABLISHED), kNow - 1));  // expired
  put(0, 4, Entry(6, Ctl(KLVS_CONN_LIVE | KLVS_CONN_REPLY, 0), kNow + 100));
  put(0, 5, Entry(6, Ctl(KLVS_CONN_LIVE | KLVS_CONN_PENDING, KLVS_SYN_RECV), kNow + 100));
  put(0, 6, Entry(6, Ctl(0, KLVS_ESTABLISHED), kNow + 100));  // removed
  put(9, 0, Entry(17, Ctl(KLVS_CONN_LIVE | KLVS_CONN_NAT, KLVS_UDP), kNow));
  klvs_real& real6 = GetArray<klvs_real>(maps, kRealsMap).value()[4];
  real6.flags = KLVS_REAL_IPV6;
  real6.port = ToWirePort(8080);
  GetArray<klvs_real6>(maps, kReals6Map).value()[4].address = ToWire6(*IpAddress::Parse("fd00::1"));
  klvs_conn6 six{};
  six.key = {.src = ToWire6(*IpAddress::Parse("fd00:c::2")),
             .dst = ToWire6(*IpAddress::Parse("2001:db8::1")),
             .sport = ToWirePort(40000),
             .dport = ToWirePort(80),
             .protocol = 6,
             .reserved = {}};
  six.ctl = Ctl(KLVS_CONN_LIVE, KLVS_FIN_WAIT);
  six.expires = kNow + 1000;
  six.real = 4;
  tables.tags6[1].way[7] = 7;
  tables.sets6[1].ways[7] = six;

  // Service 2, of persistence: clients that stay, one after its time, and one that is over.
  klvs_service_state& service = GetArray<klvs_service_state>(maps, kServiceStateMap).value()[2];
  service.vip = ToWire(*IpAddress::Parse("192.0.2.1"));
  service.port = ToWirePort(80);
  service.protocol = 6;
  const auto stay = [&](const char* who, uint64_t expires, uint32_t controlled) {
    const klvs_template_key key = {.service = 2, .client = ToWire(*IpAddress::Parse(who))};
    const klvs_template value = {.word = uint64_t{3} << 32 | 1U << 24 | controlled,
                                 .expires = expires,
                                 .timeout = 6000,
                                 .reserved = 0};
    ASSERT_TRUE(Put(maps, kTemplatesMap, key, value).ok());
  };
  stay("10.1.0.0", kNow + 30 * 100, 0);
  stay("10.2.0.0", kNow - 100 * 100, 1);
  stay("10.3.0.0", kNow - 1, 0);

  const Endpoint client = *Endpoint::Parse("10.1.0.1:40000");
  const Endpoint vip = *Endpoint::Parse("192.0.2.1:80");
  const Endpoint at = *Endpoint::Parse("10.0.0.1:8080");
  EXPECT_EQ(ReadConnections(maps, kNow).value(),
            (std::vector<Connection>{
                {Protocol::kTcp, client, vip, at, "ESTABLISHED", 899},
                {Protocol::kUdp, client, vip, at, "UDP", 0},
                {Protocol::kTcp, *Endpoint::Parse("[fd00:c::2]:40000"),
                 *Endpoint::Parse("[2001:db8::1]:80"), *Endpoint::Parse("[fd00::1]:8080"),
                 "FIN_WAIT", 10},
                {Protocol::kTcp, {*IpAddress::Parse("10.1.0.0"), 0}, vip, at, "NONE", 30},
                {Protocol::kTcp, {*IpAddress::Parse("10.2.0.0"), 0}, vip, at, "NONE", 20}}));
}

}  // namespace
}  // namespace kube_lvs::ebpf
