#include "dataplane/ipvs/codec.h"

#include <algorithm>
#include <functional>
#include <random>
#include <string>

#include "dataplane/ipvs/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kube_lvs::ipvs {
namespace {

using ::testing::HasSubstr;

// Bytes written as hex, with blanks and line ends for the eye. On this machine's byte order, which
// is little-endian wherever these tests run.
Bytes Hex(std::string_view text) {
  Bytes out;
  std::string digits;
  for (const char c : text) {
    if (c == ' ' || c == '\n') continue;
    digits += c;
    if (digits.size() < 2) continue;
    out.push_back(static_cast<uint8_t>(std::stoi(digits, nullptr, 16)));
    digits.clear();
  }
  return out;
}

ServiceKey Key(const std::string& vip, Protocol protocol = Protocol::kTcp) {
  return {.dataplane = Dataplane::kIpvs, .match = *Endpoint::Parse(vip), .protocol = protocol};
}

ServiceKey Mark(uint32_t mark, Family family) {
  return {.dataplane = Dataplane::kIpvs, .match = FwMark{mark, family}, .protocol = Protocol::kTcp};
}

TEST(Codec, NewServiceByteForByte) {
  ServiceConfig config;
  config.scheduler = "wlc";
  EXPECT_EQ(*EncodeService(Command::kNewService, Key("192.0.2.1:80"), config), Hex(R"(
      01 01 0000
      5400 0100
        0600 0100 0200 0000
        0600 0200 0600 0000
        1400 0300 c0000201 00000000 00000000 00000000
        0600 0400 0050 0000
        0800 0600 776c6300
        0c00 0700 00000000 ffffffff
        0800 0800 00000000
        0800 0900 ffffffff)"));
}

TEST(Codec, SetServiceWithEverySettingByteForByte) {
  ServiceConfig config;
  config.scheduler = "mh";
  config.hash = {.source_port = true, .fallback = true};
  config.one_packet = true;
  config.persistence = Persistence{.timeout_seconds = 300, .prefix_length = 20, .engine = "sip"};
  config.source_nat = true;  // not the kernel's
  EXPECT_EQ(*EncodeService(Command::kSetService, Key("192.0.2.1:5060", Protocol::kUdp), config),
            Hex(R"(
      02 01 0000
      5c00 0100
        0600 0100 0200 0000
        0600 0200 1100 0000
        1400 0300 c0000201 00000000 00000000 00000000
        0600 0400 13c4 0000
        0700 0600 6d6800 00
        0800 0b00 73697000
        0c00 0700 1d000000 ffffffff
        0800 0800 2c010000
        0800 0900 fffff000)"));
}

TEST(Codec, ServiceOfIpv6ByMarkByteForByte) {
  ServiceConfig config;
  config.scheduler = "rr";
  config.persistence = Persistence{.timeout_seconds = 60, .prefix_length = 64, .engine = ""};
  EXPECT_EQ(*EncodeService(Command::kNewService, Mark(258, Family::kIpv6), config), Hex(R"(
      01 01 0000
      3800 0100
        0600 0100 0a00 0000
        0800 0500 02010000
        0700 0600 727200 00
        0c00 0700 01000000 ffffffff
        0800 0800 3c000000
        0800 0900 40000000)"));
}

TEST(Codec, RealServersByteForByte) {
  const std::string service = R"(
      3000 0100
        0600 0100 0200 0000
        0600 0200 8400 0000
        1400 0300 c0000201 00000000 00000000 00000000
        0600 0400 0050 0000)";
  const ServiceKey key = Key("192.0.2.1:80", Protocol::kSctp);
  const RealServer nat{.at = *Endpoint::Parse("10.0.0.1:8080"),
                       .method = ForwardingMethod::kNat,
                       .weight = 3,
                       .upper_threshold = 1000,
                       .lower_threshold = 800};
  EXPECT_EQ(*EncodeReal(Command::kNewReal, key, nat), Hex("05 01 0000" + service + R"(
      4800 0200
        0600 0b00 0200 0000
        1400 0100 0a000001 00000000 00000000 00000000
        0600 0200 1f90 0000
        0800 0300 00000000
        0800 0400 03000000
        0800 0500 e8030000
        0800 0600 20030000)"));
  const RealServer tunnel{
      .at = *Endpoint::Parse("[2001:db8::9]:80"), .method = ForwardingMethod::kTunnel, .weight = 0};
  EXPECT_EQ(*EncodeReal(Command::kSetReal, key, tunnel), Hex("06 01 0000" + service + R"(
      4800 0200
        0600 0b00 0a00 0000
        1400 0100 20010db8 00000000 00000000 00000009
        0600 0200 0050 0000
        0800 0300 02000000
        0800 0400 00000000
        0800 0500 00000000
        0800 0600 00000000)"));
  EXPECT_EQ(EncodeRemoveReal(key, nat.at), Hex("07 01 0000" + service + R"(
      2800 0200
        0600 0b00 0200 0000
        1400 0100 0a000001 00000000 00000000 00000000
        0600 0200 1f90 0000)"));
  EXPECT_EQ(EncodeKey(Command::kGetReal, key), Hex("08 01 0000" + service));
  EXPECT_EQ(EncodeKey(Command::kRemoveService, key), Hex("03 01 0000" + service));
}

TEST(Codec, DirectRoutingIsNumberThree) {
  const RealServer real{.at = *Endpoint::Parse("10.0.0.1:80"),
                        .method = ForwardingMethod::kDirectRouting};
  const Bytes bytes = *EncodeReal(Command::kNewReal, Key("192.0.2.1:80"), real);
  const Bytes wanted = Hex("0800 0300 03000000");
  EXPECT_NE(std::search(bytes.begin(), bytes.end(), wanted.begin(), wanted.end()), bytes.end());
}

TEST(Codec, PlainRequests) {
  EXPECT_EQ(EncodePlain(Command::kGetService), Hex("04 01 0000"));
  EXPECT_EQ(EncodePlain(Command::kGetInfo), Hex("0f 01 0000"));
}

TEST(Codec, WhatTheKernelOrIpvsWouldRefuseIsRefusedByName) {
  const auto why = [](const ServiceKey& key, const std::function<void(ServiceConfig&)>& change) {
    ServiceConfig config;
    change(config);
    const auto bytes = EncodeService(Command::kNewService, key, config);
    EXPECT_EQ(bytes.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(bytes.status().message().data(), bytes.status().message().size());
  };
  const ServiceKey key = Key("192.0.2.1:80");
  const ServiceKey six = Key("[2001:db8::1]:80");
  EXPECT_EQ(why(key, [](auto& c) { c.scheduler = "sixteen-letters!"; }),
            "IPVS 192.0.2.1:80/tcp: 'sixteen-letters!' is no scheduler's name");
  EXPECT_THAT(why(key, [](auto& c) { c.scheduler = ""; }), HasSubstr("'' is no scheduler's name"));
  EXPECT_THAT(why(key, [](auto& c) { c.unnamed_flags = 2; }), HasSubstr("a name of its own"));
  EXPECT_THAT(why(key, [](auto& c) { c.hash.fallback = true; }), HasSubstr("sh and mh, not wrr"));
  EXPECT_THAT(why(key, [](auto& c) { c.one_packet = true; }), HasSubstr("for UDP"));
  EXPECT_THAT(why(key, [](auto& c) { c.persistence.emplace().timeout_seconds = 0; }),
              HasSubstr("a persistence of 0 s"));
  EXPECT_THAT(why(key, [](auto& c) { c.persistence.emplace().timeout_seconds = 2678401; }),
              HasSubstr("a persistence of 2678401 s"));
  EXPECT_THAT(why(key, [](auto& c) { c.persistence.emplace().prefix_length = 33; }),
              HasSubstr("33 bits is not within 0 and 32"));
  EXPECT_THAT(why(six, [](auto& c) { c.persistence.emplace().prefix_length = 0; }),
              HasSubstr("0 bits is not within 1 and 128"));
  EXPECT_THAT(why(key, [](auto& c) { c.persistence.emplace().engine = "sixteen-letters!"; }),
              HasSubstr("no persistence engine's name"));
  EXPECT_THAT(why(Mark(0, Family::kIpv4), [](auto&) {}), HasSubstr("mark 0 means no mark"));

  const auto why_real = [](const ServiceKey& key, const RealServer& real) {
    const auto bytes = EncodeReal(Command::kNewReal, key, real);
    EXPECT_EQ(bytes.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(bytes.status().message().data(), bytes.status().message().size());
  };
  const Endpoint at = *Endpoint::Parse("10.0.0.1:81");
  EXPECT_EQ(why_real(key, {.at = at, .weight = 2147483648}),
            "IPVS 192.0.2.1:80/tcp: real server 10.0.0.1:81: weight 2147483648 is above "
            "2147483647");
  EXPECT_THAT(why_real(key, {.at = at, .upper_threshold = 2147483648}),
              HasSubstr("upper threshold 2147483648"));
  EXPECT_THAT(why_real(key, {.at = at, .upper_threshold = 5, .lower_threshold = 6}),
              HasSubstr("lower threshold 6 is above the upper one, 5"));
  EXPECT_THAT(why_real(key, {.at = at, .method = ForwardingMethod::kDirectRouting}),
              HasSubstr("DirectRouting cannot change the port"));
  const auto tunnel = [&](const Tunnel& t) {
    return RealServer{
        .at = *Endpoint::Parse("10.0.0.1:80"), .method = ForwardingMethod::kTunnel, .tunnel = t};
  };
  EXPECT_THAT(why_real(key, tunnel({.type = TunnelType::kGue})), HasSubstr("GUE with a port"));
  EXPECT_THAT(why_real(key, tunnel({.type = TunnelType::kGre, .port = 1})),
              HasSubstr("port goes with GUE"));
  EXPECT_THAT(why_real(key, tunnel({.checksum = true})), HasSubstr("IPIP has no checksum"));
  EXPECT_THAT(why_real(key, tunnel({.type = TunnelType::kGre, .remote_checksum = true})),
              HasSubstr("remote checksum offload is GUE's"));
  EXPECT_THAT(why_real(key, {.at = at, .tunnel = {.type = TunnelType::kGre}}),
              HasSubstr("GRE is for method Tunnel"));
  EXPECT_THAT(why_real(six, {.at = at}), HasSubstr("only Tunnel forwards to the other IP family"));
}

// A service as a kernel told it: wlc, persistent, with both kinds of counters.
const char kServiceAnswer[] = R"(
    01 01 0000
    d000 0100
      0600 0100 0200 0000
      0600 0200 0600 0000
      1400 0300 c0000201 00000000 00000000 00000000
      0600 0400 0050 0000
      0800 0600 776c6300
      0c00 0700 03000000 ffffffff
      0800 0800 68010000
      0800 0900 ffffff00
      3400 0a00
        0800 0100 01000000 0800 0200 02000000 0800 0300 00000000
        0c00 0400 0300000000000000 0c00 0500 0000000000000000
      4000 0c00
        0c00 0100 0400000001000000 0c00 0200 0500000001000000 0c00 0300 0000000000000000
        0c00 0400 0600000001000000 0c00 0500 0000000000000000
      0800 6300 deadbeef)";

TEST(Codec, DecodesAServiceAndPrefersTheWideCounters) {
  const auto entry = DecodeService(Hex(kServiceAnswer));
  ASSERT_EQ(entry.status(), absl::OkStatus());
  ServiceEntry wanted;
  wanted.key = Key("192.0.2.1:80");
  wanted.config.scheduler = "wlc";
  wanted.config.persistence =
      Persistence{.timeout_seconds = 360, .prefix_length = 24, .engine = ""};
  wanted.counters = {.packets = 0x100000005, .bytes = 0x100000006, .connections = 0x100000004};
  EXPECT_EQ(*entry, wanted);
}

TEST(Codec, DecodesTheNarrowCountersOfOldKernels) {
  Bytes bytes = Hex(kServiceAnswer);
  const Bytes wide = Hex("4000 0c00");
  const auto at = std::search(bytes.begin(), bytes.end(), wide.begin(), wide.end());
  ASSERT_NE(at, bytes.end());
  at[2] = 0x62;  // now an unknown attribute
  EXPECT_EQ(DecodeService(bytes)->counters, (Counters{.packets = 2, .bytes = 3, .connections = 1}));
}

const char kRealAnswer[] = R"(
      05 01 0000
      9800 0200
        1400 0100 0a000001 00000000 00000000 00000000
        0600 0200 1f90 0000
        0800 0300 03000000
        0800 0400 07000000
        0500 0d00 00 000000
        0600 0e00 0000 0000
        0600 0f00 0000 0000
        0800 0500 e8030000
        0800 0600 20030000
        0800 0700 01000000
        0800 0800 02000000
        0800 0900 03000000
        0600 0b00 0200 0000
        2000 0c00
          0c00 0100 0700000000000000 0800 6200 00000000 0800 6300 00000000)";

TEST(Codec, DecodesARealServer) {
  const auto entry = DecodeReal(Hex(kRealAnswer), Family::kIpv6);
  ASSERT_EQ(entry.status(), absl::OkStatus());
  RealEntry wanted;
  wanted.real = {.at = *Endpoint::Parse("10.0.0.1:8080"),
                 .method = ForwardingMethod::kDirectRouting,
                 .weight = 7,
                 .upper_threshold = 1000,
                 .lower_threshold = 800};
  wanted.counters.connections = 7;
  wanted.active_connections = 1;
  wanted.inactive_connections = 2;
  wanted.persistent_connections = 3;
  wanted.tells_tunnel = true;
  wanted.kernel_method = 3;
  EXPECT_EQ(*entry, wanted);
}

TEST(Codec, WhatWeNeverSetIsKeptOrForeign) {
  const auto with = [](std::string_view from, std::string_view to) {
    Bytes bytes = Hex(kServiceAnswer);
    const Bytes old = Hex(from), fresh = Hex(to);
    const auto at = std::search(bytes.begin(), bytes.end(), old.begin(), old.end());
    EXPECT_NE(at, bytes.end());
    std::copy(fresh.begin(), fresh.end(), at);
    return DecodeService(bytes);
  };
  const auto mask = with("0800 0900 ffffff00", "0800 0900 ff00ff00");
  EXPECT_EQ(mask->config.persistence->mask_with_holes, 0xff00ff00u);
  EXPECT_EQ(mask->config.persistence->prefix_length, 0);
  EXPECT_EQ(with("0c00 0700 03000000", "0c00 0700 43000000")->config.unnamed_flags, 0x40u);
  EXPECT_EQ(with("0c00 0700 03000000", "0c00 0700 0b000000")->config.unnamed_flags, 8u);
  EXPECT_EQ(with("0600 0200 0600", "0600 0200 0100").status().code(),  // ICMP
            absl::StatusCode::kUnimplemented);
}

TEST(Codec, ARealServerThatTheModelCannotSayIsForeign) {
  const auto with = [](std::string_view from, std::string_view to) {
    Bytes bytes = Hex(kRealAnswer);
    const Bytes old = Hex(from), fresh = Hex(to);
    const auto at = std::search(bytes.begin(), bytes.end(), old.begin(), old.end());
    EXPECT_NE(at, bytes.end());
    std::copy(fresh.begin(), fresh.end(), at);
    return DecodeReal(bytes, Family::kIpv4)->foreign;
  };
  EXPECT_FALSE(with("0500 0d00 00", "0500 0d00 00"));
  EXPECT_FALSE(with("0500 0d00 00", "0500 0d00 01"));             // GUE
  EXPECT_TRUE(with("0500 0d00 00", "0500 0d00 03"));              // of a later kernel
  EXPECT_TRUE(with("0600 0f00 0000", "0600 0f00 0400"));          // a flag of one
  EXPECT_TRUE(with("0800 0300 03000000", "0800 0300 04000000"));  // bypass
}

TEST(Codec, EveryCutIsAnErrorOrTheSameService) {
  const Bytes whole = Hex(kServiceAnswer);
  for (size_t size = 0; size < whole.size(); ++size) {
    Bytes cut(whole.begin(), whole.begin() + static_cast<long>(size));
    EXPECT_EQ(DecodeService(cut).status().code(), absl::StatusCode::kInternal) << size;
    // With the outer length mended too, so that the cut is inside.
    if (size < 8) continue;
    const size_t outer = size - 4;
    cut[4] = static_cast<uint8_t>(outer);
    cut[5] = static_cast<uint8_t>(outer >> 8);
    const auto entry = DecodeService(cut);
    EXPECT_TRUE(entry.ok() || entry.status().code() == absl::StatusCode::kInternal) << size;
  }
}

TEST(Codec, EveryWrongSizeIsAnError) {
  // Every attribute that has a size of its own, one byte shorter than it must be.
  for (const std::string attribute : {"0600 0100", "0600 0200", "1400 0300", "0600 0400",
                                      "0c00 0700", "0800 0800", "0800 0900"}) {
    Bytes bytes = Hex(kServiceAnswer);
    const Bytes wanted = Hex(attribute);
    const auto at = std::search(bytes.begin(), bytes.end(), wanted.begin(), wanted.end());
    ASSERT_NE(at, bytes.end());
    --*at;
    const auto entry = DecodeService(bytes);
    EXPECT_EQ(entry.status().code(), absl::StatusCode::kInternal) << attribute;
  }
  Bytes no_nul = Hex(kServiceAnswer);
  const Bytes name = Hex("776c6300");
  *(std::search(no_nul.begin(), no_nul.end(), name.begin(), name.end()) + 3) = 'x';
  EXPECT_EQ(DecodeService(no_nul).status().code(), absl::StatusCode::kInternal);
}

TEST(Codec, RandomDamageNeverCrashes) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const Bytes whole = Hex(kServiceAnswer);
  for (int round = 0; round < 20000; ++round) {
    Bytes bytes = whole;
    for (int i = 0; i < 3; ++i) bytes[random() % bytes.size()] = static_cast<uint8_t>(random());
    bytes.resize(bytes.size() - random() % 8);
    const auto service = DecodeService(bytes);
    bytes[0] = 5;
    const auto real = DecodeReal(bytes, Family::kIpv4);
    // ParseAttributes never gives more than it got.
    const auto attributes = ParseAttributes(bytes);
    if (attributes.ok()) {
      for (const Attribute& a : *attributes) ASSERT_LE(a.value.size(), bytes.size());
    }
  }
}

// What is sent is what a kernel that gave it back would tell: NewService's request and answer have
// the same attributes.
TEST(Codec, RoundTrips) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto address = [&](Family family) {
    IpAddress out{.family = family, .bytes = {}};
    for (size_t i = 0; i < out.Size(); ++i) out.bytes[i] = static_cast<uint8_t>(random());
    return out;
  };
  for (int round = 0; round < 2000; ++round) {
    const Family family = random() % 2 ? Family::kIpv4 : Family::kIpv6;
    ServiceKey key{.dataplane = Dataplane::kIpvs, .match = {}, .protocol = Protocol::kUdp};
    if (random() % 4 == 0) {
      key.match = FwMark{static_cast<uint32_t>(random() | 1), family};
      key.protocol = Protocol::kTcp;
    } else {
      key.match = Endpoint{address(family), static_cast<uint16_t>(random())};
    }
    ServiceConfig config;
    config.scheduler = random() % 2 ? "sh" : "wlc";
    if (config.scheduler == "sh") {
      config.hash = {.source_port = random() % 2 == 0, .fallback = random() % 2 == 0};
    }
    config.one_packet = random() % 2 == 0;
    if (random() % 2) {
      config.persistence = Persistence{
          .timeout_seconds = static_cast<uint32_t>(1 + random() % 1000),
          .prefix_length = static_cast<int>(1 + random() % (family == Family::kIpv4 ? 32 : 128)),
          .engine = random() % 2 ? "sip" : ""};
    }
    const auto service = DecodeService(*EncodeService(Command::kNewService, key, config));
    ASSERT_EQ(service.status(), absl::OkStatus());
    EXPECT_EQ(service->key, key);
    EXPECT_EQ(service->config, config);
    EXPECT_FALSE(service->foreign);

    RealServer real{.at = {address(family), static_cast<uint16_t>(random())},
                    .method = ForwardingMethod::kNat,
                    .weight = static_cast<uint32_t>(random() >> 1),
                    .upper_threshold = static_cast<uint32_t>(random() % 1000),
                    .lower_threshold = 0};
    if (random() % 2) {
      real.method = random() % 2 ? ForwardingMethod::kTunnel : ForwardingMethod::kDirectRouting;
      if (const auto* vip = std::get_if<Endpoint>(&key.match)) real.at.port = vip->port;
    }
    const auto entry = DecodeReal(*EncodeReal(Command::kNewReal, key, real), family);
    ASSERT_EQ(entry.status(), absl::OkStatus());
    EXPECT_EQ(entry->real, real);
    EXPECT_FALSE(entry->foreign);
  }
}

TEST(Errors, SayWhatTheCallerDoesNext) {
  using enum absl::StatusCode;
  EXPECT_EQ(StatusOf(0, Command::kNewReal).code(), kOk);
  EXPECT_EQ(StatusOf(EEXIST, Command::kNewService).code(), kAlreadyExists);
  EXPECT_EQ(StatusOf(EEXIST, Command::kNewReal).code(), kAborted);
  EXPECT_EQ(StatusOf(ESRCH, Command::kSetReal).code(), kAborted);
  EXPECT_EQ(StatusOf(ENOENT, Command::kSetReal).code(), kAborted);
  EXPECT_EQ(StatusOf(EINVAL, Command::kNewReal).code(), kInvalidArgument);
  EXPECT_EQ(StatusOf(EPERM, Command::kNewReal).code(), kPermissionDenied);
  EXPECT_EQ(StatusOf(ENOMEM, Command::kNewReal).code(), kUnavailable);
  EXPECT_EQ(StatusOf(EAFNOSUPPORT, Command::kNewReal).code(), kFailedPrecondition);
  ServiceConfig config;
  config.scheduler = "twos";
  const auto status = StatusOf(ENOENT, Command::kNewService, config);
  EXPECT_EQ(status.code(), kFailedPrecondition);
  EXPECT_THAT(std::string(status.message().data(), status.message().size()),
              HasSubstr("ip_vs_twos"));
}

}  // namespace
}  // namespace kube_lvs::ipvs
