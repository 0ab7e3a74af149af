#include "dataplane/ebpf/codec.h"

#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "base/status.h"
#include "dataplane/model/schedulers.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }
Endpoint At(const std::string& text) { return *Endpoint::Parse(text); }
ServiceKey Key(const std::string& at, Protocol protocol = Protocol::kTcp) {
  return {Dataplane::kEbpf, At(at), protocol};
}
RealServer Real(const std::string& at, uint32_t weight = 1) {
  RealServer real;
  real.at = At(at);
  real.weight = weight;
  return real;
}

TEST(Codec, KeysGoBothWays) {
  const ServiceKey key = Key("192.0.2.1:8080", Protocol::kUdp);
  const klvs_service_key record = EncodeKey(7, key);
  EXPECT_EQ(record.vip_id, 7U);
  EXPECT_EQ(record.protocol, 17);
  const auto* port = reinterpret_cast<const uint8_t*>(&record.port);
  EXPECT_EQ(port[0] << 8 | port[1], 8080);  // as on the wire
  EXPECT_EQ(DecodeKey(Cidr::Host(Ip("192.0.2.1")), record), key);
}

TEST(Codec, KeysOfManyPortsGoBothWays) {
  for (const ServiceKey& key :
       {ServiceKey{Dataplane::kEbpf, PortRange{Ip("192.0.2.1"), 80, 89}, Protocol::kUdp},
        ServiceKey{Dataplane::kEbpf, PortRange{Ip("192.0.2.1"), 1, 65535}, Protocol::kTcp},
        ServiceKey{Dataplane::kEbpf, AllPorts{Ip("192.0.2.1")}, Protocol::kTcp}}) {
    EXPECT_TRUE(IsWide(key));
    EXPECT_EQ(EncodeWideKey(7, key).vip_id, 7U);
    EXPECT_EQ(DecodeKey(Cidr::Host(Ip("192.0.2.1")), EncodeWideKey(7, key)), key) << ToString(key);
    EXPECT_TRUE(CheckSupported(key, ServiceConfig{}).ok());
  }
  EXPECT_FALSE(IsWide(Key("192.0.2.1:80")));
}

TEST(Codec, KeysOfNetworksGoBothWays) {
  for (const char* text : {"192.0.2.0/24", "2001:db8::5:0/112"}) {
    const Cidr vips = *Cidr::Parse(text);
    for (const ServiceKey& key :
         {ServiceKey{Dataplane::kEbpf, Prefix{vips}, Protocol::kTcp},
          ServiceKey{Dataplane::kEbpf, Prefix{vips, 80, 89}, Protocol::kUdp},
          ServiceKey{Dataplane::kEbpf, Prefix{vips, 1, 65535}}}) {
      EXPECT_TRUE(IsWide(key));
      EXPECT_EQ(DecodeKey(vips, EncodeWideKey(7, key)), key) << ToString(key);
      EXPECT_TRUE(CheckSupported(key, ServiceConfig{}).ok());
    }
    const ServiceKey one{Dataplane::kEbpf, Prefix{vips, 80, 80}, Protocol::kUdp};
    EXPECT_FALSE(IsWide(one));
    EXPECT_EQ(DecodeKey(vips, EncodeKey(7, one)), one);
    EXPECT_TRUE(CheckSupported(one, ServiceConfig{}).ok());
  }
}

TEST(Codec, WhatANetworkCannotBeIsRefused) {
  const auto refusal = [](const std::string& vips, uint16_t first, uint16_t last,
                          const std::string& scheduler) {
    Cidr cidr{Ip(vips.substr(0, vips.find('/'))), std::stoi(vips.substr(vips.find('/') + 1))};
    ServiceConfig config;
    config.scheduler = scheduler;
    return CheckSupported({Dataplane::kEbpf, Prefix{cidr, first, last}, Protocol::kTcp}, config)
        .code();
  };
  EXPECT_EQ(refusal("192.0.2.0/24", 80, 80, "dh"), absl::StatusCode::kOk);
  for (const char* scheduler : {"lblc", "lblcr"}) {
    EXPECT_EQ(refusal("192.0.2.0/24", 80, 80, scheduler), absl::StatusCode::kUnimplemented);
  }
  EXPECT_EQ(refusal("192.0.2.1/24", 80, 80, "rr"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refusal("192.0.2.1/32", 80, 80, "rr"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refusal("192.0.2.0/24", 0, 80, "rr"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refusal("192.0.2.0/24", 81, 80, "rr"), absl::StatusCode::kInvalidArgument);

  const auto real_refusal = [](uint16_t first, uint16_t last, const std::string& at,
                               ForwardingMethod method, Protocol protocol) {
    RealServer real = Real(at);
    real.method = method;
    return CheckSupported(
               {Dataplane::kEbpf, Prefix{*Cidr::Parse("192.0.2.0/24"), first, last}, protocol},
               real)
        .code();
  };
  using enum ForwardingMethod;
  EXPECT_EQ(real_refusal(80, 80, "10.0.0.1:0", kNat, Protocol::kTcp), absl::StatusCode::kOk);
  EXPECT_EQ(real_refusal(80, 80, "10.0.0.1:8080", kNat, Protocol::kTcp), absl::StatusCode::kOk);
  EXPECT_EQ(real_refusal(80, 80, "10.0.0.1:80", kTunnel, Protocol::kTcp), absl::StatusCode::kOk);
  EXPECT_EQ(real_refusal(80, 80, "10.0.0.1:8080", kTunnel, Protocol::kTcp),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(real_refusal(80, 80, "10.0.0.1:8080", kNat, Protocol::kSctp),
            absl::StatusCode::kUnimplemented);
  EXPECT_EQ(real_refusal(80, 89, "10.0.0.1:80", kNat, Protocol::kTcp),
            absl::StatusCode::kInvalidArgument);
}

TEST(Codec, AddressesLieAsOnTheWire) {
  const __be32 wire = ToWire(Ip("192.0.2.1"));
  const auto* bytes = reinterpret_cast<const uint8_t*>(&wire);
  EXPECT_EQ(std::vector<uint8_t>(bytes, bytes + 4), (std::vector<uint8_t>{192, 0, 2, 1}));
  EXPECT_EQ(FromWire(wire), Ip("192.0.2.1"));
  const klvs_in6 wire6 = ToWire6(Ip("2001:db8::102"));
  const auto* bytes6 = reinterpret_cast<const uint8_t*>(&wire6);
  EXPECT_EQ(std::vector<uint8_t>(bytes6, bytes6 + 16),
            (std::vector<uint8_t>{0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2}));
  EXPECT_EQ(FromWire(wire6), Ip("2001:db8::102"));
  EXPECT_EQ(ToWire(Ip("2001:db8::1")), 0U);
  EXPECT_TRUE(IsUnspecified(Ip("::")) && IsUnspecified(Ip("0.0.0.0")));
  EXPECT_FALSE(IsUnspecified(Ip("::1")) || IsUnspecified(Ip("10.0.0.1")));
}

TEST(Codec, ConfigsGoBothWays) {
  const std::map<std::string_view, uint32_t> tables = {{"mh", 4093}, {"sh", 256}, {"dh", 256}};
  for (const std::string_view scheduler : kSchedulers) {
    for (int flags = 0; flags < (TakesHashFlags(scheduler) ? 8 : 2); ++flags) {
      ServiceConfig config;
      config.scheduler = scheduler;
      config.source_nat = (flags & 1) != 0;
      config.hash.source_port = (flags & 2) != 0;
      config.hash.fallback = (flags & 4) != 0;
      ASSERT_TRUE(CheckSupported(Key("192.0.2.1:80"), config).ok());
      const klvs_service record = EncodeConfig(config);
      EXPECT_EQ(*DecodeConfig(record), config);
      EXPECT_EQ(record.table_size, tables.contains(scheduler) ? tables.at(scheduler) : 0U);
    }
  }
  klvs_service unknown{};
  unknown.scheduler = 99;
  EXPECT_EQ(DecodeConfig(unknown).status().code(), absl::StatusCode::kDataLoss);
}

TEST(Codec, MaglevTablesHaveTheSizesOfTheKernel) {
  ServiceConfig config;
  config.scheduler = "mh";
  config.hash.table_size = 65521;
  ASSERT_TRUE(CheckSupported(Key("192.0.2.1:80"), config).ok());
  EXPECT_EQ(EncodeConfig(config).table_size, 65521U);
  EXPECT_EQ(*DecodeConfig(EncodeConfig(config)), config);
  config.hash.table_size = 65537;
  EXPECT_NE(Message(CheckSupported(Key("192.0.2.1:80"), config)).find("65521"), std::string::npos);
  config.hash.table_size = 65521;
  config.scheduler = "sh";
  EXPECT_EQ(CheckSupported(Key("192.0.2.1:80"), config).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Codec, RealServersGoBothWays) {
  for (const auto method :
       {ForwardingMethod::kNat, ForwardingMethod::kDirectRouting, ForwardingMethod::kTunnel}) {
    for (const char* at : {"10.0.0.7:8080", "[2001:db8::7]:8080"}) {
      RealServer real = Real(at, 12);
      real.method = method;
      real.upper_threshold = 90;
      real.lower_threshold = 30;
      const RealRecord record = EncodeReal(3, real);
      EXPECT_EQ(record.real.service, 3U);
      EXPECT_EQ(*DecodeReal(record, 12), real);
    }
  }
  EXPECT_FALSE(DecodeReal({}, 1).ok());
}

TEST(Codec, TunnelsGoBothWaysOrAreRefused) {
  const auto check = [](ForwardingMethod method, const Tunnel& tunnel) {
    RealServer real = Real("10.0.0.7:80");
    real.method = method;
    real.tunnel = tunnel;
    const absl::Status status = CheckSupported(Key("192.0.2.1:80"), real);
    if (status.ok()) {
      EXPECT_EQ(*DecodeReal(EncodeReal(3, real), 1), real);
    }
    return status.code();
  };
  using enum ForwardingMethod;
  using enum TunnelType;
  EXPECT_EQ(check(kTunnel, {}), absl::StatusCode::kOk);
  EXPECT_EQ(check(kTunnel, {.type = kGue, .port = 6080}), absl::StatusCode::kOk);
  EXPECT_EQ(check(kTunnel, {.type = kGue}), absl::StatusCode::kInvalidArgument);
  for (const Tunnel& tunnel :
       {Tunnel{.type = kGue, .port = 6080, .checksum = true},
        Tunnel{.type = kGue, .port = 6080, .remote_checksum = true}, Tunnel{.type = kGre}}) {
    EXPECT_EQ(check(kTunnel, tunnel), absl::StatusCode::kUnimplemented);
  }
  EXPECT_EQ(check(kNat, {.type = kGue, .port = 6080}), absl::StatusCode::kUnimplemented);
}

TEST(Codec, APortOfSctpStays) {
  const ServiceKey key = Key("192.0.2.1:80", Protocol::kSctp);
  EXPECT_TRUE(CheckSupported(key, ServiceConfig{}).ok());
  RealServer real;
  real.at = *Endpoint::Parse("10.0.0.1:80");
  EXPECT_TRUE(CheckSupported(key, real).ok());
  real.at.port = 81;
  EXPECT_EQ(Message(CheckSupported(key, real)),
            ToString(key) +
                " -> 10.0.0.1:81: with eBPF the port of SCTP stays; use port 80 or "
                "dataplane IPVS");
}

TEST(Codec, ServicesOfManyPortsMayBePersistent) {
  ServiceConfig config;
  config.persistence = Persistence{};
  const IpAddress vip = Ip("192.0.2.1"), vip6 = Ip("2001:db8::1");
  for (const ServiceKey& key :
       {ServiceKey{Dataplane::kEbpf, PortRange{vip, 80, 89}, Protocol::kTcp},
        ServiceKey{Dataplane::kEbpf, AllPorts{vip}, Protocol::kTcp}}) {
    EXPECT_TRUE(CheckSupported(key, config).ok()) << ToString(key);
  }
  config.persistence->prefix_length = 64;
  EXPECT_TRUE(CheckSupported({Dataplane::kEbpf, AllPorts{vip6}, Protocol::kTcp}, config).ok());
  EXPECT_FALSE(CheckSupported({Dataplane::kEbpf, AllPorts{vip}, Protocol::kTcp}, config).ok());
}

TEST(Codec, WhatEbpfCannotDoIsRefusedAndTheMessageNamesTheService) {
  const auto config = [](const std::function<void(ServiceConfig&)>& change) {
    ServiceConfig out;
    change(out);
    return out;
  };
  const std::vector<std::pair<ServiceKey, ServiceConfig>> refused = {
      {{Dataplane::kEbpf, FwMark{7, Family::kIpv4}, Protocol::kTcp}, {}},
      {Key("192.0.2.1:0"), {}},
      {Key("192.0.2.1:80"), config([](auto& c) { c.scheduler = "none"; })},
      {Key("192.0.2.1:80", Protocol::kUdp), config([](auto& c) {
         c.persistence = Persistence{};
         c.persistence->engine = "sip";
       })},
      {Key("192.0.2.1:80"), config([](auto& c) {
         c.persistence = Persistence{};
         c.persistence->prefix_length = 0;
         c.persistence->mask_with_holes = 0xff00ff00;
       })},
  };
  for (const auto& [key, settings] : refused) {
    const absl::Status status = CheckSupported(key, settings);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << ToString(key);
    EXPECT_EQ(Message(status).find(ToString(key)), 0U) << Message(status);
  }
}

TEST(Codec, PersistenceGoesBothWaysWithinItsBounds) {
  ServiceConfig config;
  const auto check = [&](const char* vip, uint32_t seconds, int prefix) {
    config.persistence = Persistence{};
    config.persistence->timeout_seconds = seconds;
    config.persistence->prefix_length = prefix;
    return CheckSupported(Key(vip), config).code();
  };
  const char* const v4 = "192.0.2.1:80";
  const char* const v6 = "[2001:db8::1]:80";
  for (const auto& [vip, seconds, prefix] :
       {std::tuple(v4, 1U, 0), std::tuple(v4, 360U, 32), std::tuple(v6, 2678400U, 1),
        std::tuple(v6, 5U, 128)}) {
    EXPECT_EQ(check(vip, seconds, prefix), absl::StatusCode::kOk) << vip << " " << prefix;
    EXPECT_EQ(*DecodeConfig(EncodeConfig(config)), config);
  }
  for (const auto& [vip, seconds, prefix] :
       {std::tuple(v4, 0U, 32), std::tuple(v4, 2678401U, 32), std::tuple(v4, 360U, 33),
        std::tuple(v4, 360U, -1), std::tuple(v6, 360U, 0), std::tuple(v6, 360U, 129)}) {
    EXPECT_EQ(check(vip, seconds, prefix), absl::StatusCode::kInvalidArgument) << seconds << prefix;
  }
}

TEST(Codec, OnePacketSchedulingIsForUdpWithoutNat) {
  ServiceConfig config;
  config.one_packet = true;
  const ServiceKey dns = Key("192.0.2.1:53", Protocol::kUdp);
  EXPECT_TRUE(CheckSupported(dns, config).ok());
  EXPECT_EQ(*DecodeConfig(EncodeConfig(config)), config);
  EXPECT_EQ(CheckSupported(Key("192.0.2.1:53"), config).code(), absl::StatusCode::kInvalidArgument);
  RealServer real = Real("10.0.0.1:53");
  const absl::Status refused = CheckSupported(dns, config, real);
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnimplemented);
  EXPECT_NE(Message(refused).find("10.0.0.1:53"), std::string::npos);
  real.method = ForwardingMethod::kTunnel;
  EXPECT_TRUE(CheckSupported(dns, config, real).ok());
  config.one_packet = false;
  EXPECT_TRUE(CheckSupported(dns, config, Real("10.0.0.1:53")).ok());
}

TEST(Codec, HashFlagsAreForHashSchedulers) {
  ServiceConfig config;
  config.scheduler = "wrr";
  config.hash.fallback = true;
  const absl::Status status = CheckSupported(Key("192.0.2.1:80"), config);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(Message(status).find("wrr"), std::string::npos);
}

TEST(Codec, RealServersThatMakeNoSenseAreRefused) {
  const ServiceKey key = Key("192.0.2.1:80");
  const auto with = [](RealServer real, const std::function<void(RealServer&)>& change) {
    change(real);
    return real;
  };
  EXPECT_TRUE(CheckSupported(key, Real("10.0.0.1:8080", 0)).ok());
  EXPECT_TRUE(CheckSupported(Key("[2001:db8::1]:80"), Real("[2001:db8::2]:80")).ok());
  EXPECT_EQ(CheckSupported(Key("[2001:db8::1]:80"), Real("10.0.0.1:80")).code(),
            absl::StatusCode::kUnimplemented);
  EXPECT_FALSE(CheckSupported(Key("[2001:db8::1]:80"), Real("[::]:80")).ok());
  const std::vector<RealServer> refused = {
      Real("[2001:db8::2]:80"),
      Real("10.0.0.1:0"),
      Real("0.0.0.0:80"),
      Real("10.0.0.1:80", 65536),
      with(Real("10.0.0.1:8080"), [](auto& r) { r.method = ForwardingMethod::kTunnel; }),
      with(Real("10.0.0.1:8080"), [](auto& r) { r.method = ForwardingMethod::kDirectRouting; }),
      with(Real("10.0.0.1:80"), [](auto& r) { r.lower_threshold = 5; }),
      with(Real("10.0.0.1:80"),
           [](auto& r) {
             r.upper_threshold = 5;
             r.lower_threshold = 6;
           }),
  };
  for (const RealServer& real : refused) {
    const absl::Status status = CheckSupported(key, real);
    EXPECT_FALSE(status.ok()) << ToString(real);
    EXPECT_NE(Message(status).find(real.at.ToString()), std::string::npos) << Message(status);
  }
}

TEST(Codec, WrrIsPreparedAsTheKernelDoes) {
  struct Case {
    std::vector<uint32_t> weights;
    uint32_t max, gcd;
  };
  for (const Case& c : std::vector<Case>{
           {{4, 3, 2}, 4, 1}, {{6, 4, 2}, 5, 2}, {{3, 0, 9}, 7, 3}, {{0, 0}, 0, 1}, {{}, 0, 1}}) {
    std::vector<klvs_list_entry> list;
    for (uint32_t weight : c.weights) list.push_back({1, weight});
    klvs_service service{};
    SetWrr(list, service);
    EXPECT_EQ(service.wrr_max, c.max);
    EXPECT_EQ(service.wrr_gcd, c.gcd);
  }
}

uint64_t Cursor(uint64_t generation, uint64_t position, uint64_t weight) {
  return generation << 48 | position << 32 | weight;
}

TEST(Codec, RoundRobinGoesOnBehindItsLastChoice) {
  klvs_service before{};
  before.scheduler = KLVS_SCHEDULER_RR;
  before.generation = 5;
  before.start_position = 1;
  klvs_service next = before;
  const std::vector<klvs_list_entry> old_list = {{11, 1}, {12, 1}, {13, 1}};
  const auto start = [&](uint64_t cursor, const std::vector<klvs_list_entry>& new_list) {
    ContinueRoundRobin(before, cursor, old_list, new_list, next);
    return int{next.start_position};
  };
  // Last choice 12. It may move; when it is gone its predecessor stands for it.
  EXPECT_EQ(start(Cursor(5, 2, 0), {{10, 1}, {11, 1}, {12, 1}, {13, 1}}), 3);
  EXPECT_EQ(start(Cursor(5, 2, 0), {{11, 1}, {13, 1}}), 1);
  EXPECT_EQ(start(Cursor(5, 2, 0), {{13, 1}}), 0);
  EXPECT_EQ(start(Cursor(5, 2, 0), {}), 0);
  // No choice was made since the list before: its own start counts.
  EXPECT_EQ(start(Cursor(4, 3, 0), {{10, 1}, {11, 1}}), 2);
  // Nonsense from the map does no harm.
  EXPECT_EQ(start(Cursor(5, 60000, 0), {{13, 1}}), 1);
}

TEST(Codec, WeightedRoundRobinStartsAtTheHeadWithItsWeightFitted) {
  klvs_service before{};
  before.scheduler = KLVS_SCHEDULER_WRR;
  before.generation = 5;
  before.start_weight = 9;
  const auto start = [&](uint64_t cursor, const std::vector<klvs_list_entry>& list) {
    klvs_service next{};
    next.scheduler = KLVS_SCHEDULER_WRR;
    SetWrr(list, next);
    ContinueRoundRobin(before, cursor, {}, list, next);
    EXPECT_EQ(next.start_position, 0);
    return next.start_weight;
  };
  EXPECT_EQ(start(Cursor(5, 1, 2), {{1, 4}, {2, 3}}), 2U);   // goes on
  EXPECT_EQ(start(Cursor(5, 1, 9), {{1, 4}, {2, 3}}), 4U);   // above the greatest: the greatest
  EXPECT_EQ(start(Cursor(5, 1, 0), {{1, 4}, {2, 3}}), 4U);   // spent
  EXPECT_EQ(start(Cursor(5, 1, 4), {{1, 9}, {2, 3}}), 4U);   // gcd 3: 4 / 3 * 3 + 1
  EXPECT_EQ(start(Cursor(4, 1, 1), {{1, 20}, {2, 3}}), 9U);  // no choice since: the start counts
  EXPECT_EQ(start(Cursor(5, 1, 2), {}), 0U);
}

TEST(Codec, TheWayDecidesWhetherXdpMayTransmit) {
  RealRecord whole = EncodeReal(1, Real("10.0.0.1:80"));
  const klvs_real& record = whole.real;
  NextHop hop;
  SetWay(hop, whole);  // no way at all
  EXPECT_EQ(record.flags, KLVS_REAL_VALID);
  EXPECT_EQ(record.ifindex, 0U);

  hop.ifindex = 4;
  hop.neighbour = Ip("10.0.0.254");
  hop.source = Ip("10.0.0.9");
  hop.mtu = 70000;
  hop.source_mac.bytes = {2, 0, 0, 0, 0, 1};
  SetWay(hop, whole);  // neighbour not resolved
  EXPECT_EQ(record.flags, KLVS_REAL_VALID);
  EXPECT_EQ(record.mtu, 65535);

  hop.neighbour_mac.bytes = {2, 0, 0, 0, 0, 2};
  SetWay(hop, whole);
  EXPECT_EQ(record.flags, KLVS_REAL_VALID | KLVS_REAL_L2);
  EXPECT_EQ(ToString(whole),
            "10.0.0.1:80 NAT weight 1 of service 1 via 10.0.0.254 if 4 from 10.0.0.9 mtu 65535 "
            "mac 02:00:00:00:00:02");

  NextHop local;
  local.local = true;
  SetWay(local, whole);
  EXPECT_EQ(record.flags, KLVS_REAL_VALID | KLVS_REAL_LOCAL);
  EXPECT_EQ(record.ifindex, 0U);
}

TEST(Codec, TheWayOfIpv6LiesBesideTheRecord) {
  RealRecord record = EncodeReal(1, Real("[2001:db8::7]:80"));
  NextHop hop;
  hop.ifindex = 4;
  hop.neighbour = Ip("fe80::1");
  hop.source = Ip("2001:db8::9");
  hop.mtu = 1500;
  SetWay(hop, record);
  EXPECT_EQ(record.real.flags, KLVS_REAL_VALID | KLVS_REAL_IPV6);
  EXPECT_EQ(record.real.address | record.real.next_hop | record.real.source, 0U);
  EXPECT_EQ(record.Address(), Ip("2001:db8::7"));
  EXPECT_EQ(record.NextHopAddress(), Ip("fe80::1"));
  EXPECT_EQ(record.Source(), Ip("2001:db8::9"));
  EXPECT_EQ(ToString(record),
            "[2001:db8::7]:80 NAT weight 1 of service 1 via fe80::1 if 4 from 2001:db8::9 mtu "
            "1500");
}

TEST(Codec, ThresholdsThatChangeDecideAnew) {
  const auto overloaded = [](uint32_t upper, uint32_t lower, uint32_t active, uint32_t inactive,
                             bool before) {
    klvs_real record{};
    record.upper_threshold = upper;
    record.lower_threshold = lower;
    return IsOverloaded(record, {active, inactive, before ? 1U : 0U, 0});
  };
  EXPECT_FALSE(overloaded(0, 0, 100, 100, true));
  EXPECT_TRUE(overloaded(10, 5, 6, 4, false));
  EXPECT_FALSE(overloaded(10, 5, 6, 3, false));
  EXPECT_TRUE(overloaded(10, 5, 0, 5, true));  // in between it stays
  EXPECT_FALSE(overloaded(10, 5, 0, 4, true));
  EXPECT_TRUE(overloaded(10, 0, 0, 8, true));  // three quarters, rounded up
  EXPECT_FALSE(overloaded(10, 0, 0, 7, true));
}

TEST(Codec, ServicesThatChooseByCountsAreKnown) {
  const std::set<std::string_view> counting = {"lc",  "wlc",  "sed",  "nq",
                                               "ovf", "twos", "lblc", "lblcr"};
  for (const std::string_view scheduler : kSchedulers) {
    ServiceConfig config;
    config.scheduler = scheduler;
    klvs_service record = EncodeConfig(config);
    EXPECT_EQ(CountsConnections(record), counting.contains(scheduler)) << scheduler;
    record.flags |= KLVS_SERVICE_THRESHOLDS;
    EXPECT_TRUE(CountsConnections(record));
  }
}

}  // namespace
}  // namespace kube_lvs::ebpf
