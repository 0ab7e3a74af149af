#include "dataplane/ipvs/contract_suite.h"

#include <linux/ip_vs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>

#include "base/status.h"
#include "dataplane/ipvs/backend.h"
#include "dataplane/ipvs/codec.h"
#include "dataplane/ipvs/errors.h"
#include "dataplane/ipvs/reading.h"
#include "dataplane/plan/diff.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kube_lvs::ipvs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ServiceKey Key(const std::string& vip, Protocol protocol = Protocol::kTcp) {
  return {.dataplane = Dataplane::kIpvs, .match = *Endpoint::Parse(vip), .protocol = protocol};
}

ServiceKey Mark(uint32_t mark, Family family) {
  return {.dataplane = Dataplane::kIpvs, .match = FwMark{mark, family}, .protocol = Protocol::kTcp};
}

RealServer Real(const std::string& at, uint32_t weight = 1,
                ForwardingMethod method = ForwardingMethod::kNat) {
  return {.at = *Endpoint::Parse(at), .method = method, .weight = weight};
}

ServiceConfig Config(const std::string& scheduler) {
  ServiceConfig out;
  out.scheduler = scheduler;
  return out;
}

class ContractTest : public ::testing::Test {
 protected:
  int Send(const absl::StatusOr<Bytes>& request) {
    EXPECT_EQ(request.status(), absl::OkStatus());
    if (!request.ok()) return -1;
    const std::vector<Bytes> one = {*request};
    const auto answers = channel().Send(one);
    EXPECT_EQ(answers.status(), absl::OkStatus());
    return answers.ok() && answers->size() == 1 ? (*answers)[0] : -1;
  }
  int Add(const ServiceKey& key, const ServiceConfig& config) {
    return Send(EncodeService(Command::kNewService, key, config));
  }
  int Set(const ServiceKey& key, const ServiceConfig& config) {
    return Send(EncodeService(Command::kSetService, key, config));
  }
  int Add(const ServiceKey& key, const RealServer& real) {
    return Send(EncodeReal(Command::kNewReal, key, real));
  }
  int Set(const ServiceKey& key, const RealServer& real) {
    return Send(EncodeReal(Command::kSetReal, key, real));
  }

  absl::StatusOr<ServiceEntry> Get(const ServiceKey& key) {
    const auto answer = channel().Ask(EncodeKey(Command::kGetService, key));
    if (!answer.ok()) return answer.status();
    return DecodeService(*answer);
  }
  std::vector<RealServer> Reals(const ServiceKey& key) {
    std::vector<RealServer> out;
    const auto messages = channel().Dump(EncodeKey(Command::kGetReal, key));
    EXPECT_EQ(messages.status(), absl::OkStatus());
    for (const ByteView message : *messages) {
      const auto real = DecodeReal(message, FamilyOf(key));
      EXPECT_EQ(real.status(), absl::OkStatus());
      EXPECT_FALSE(real->foreign);
      out.push_back(real->real);
    }
    return out;
  }

  Channel& channel() { return kernel_->channel(); }

  std::unique_ptr<Kernel> kernel_ = MakeKernel();
};

TEST_F(ContractTest, EverySettingOfAServiceComesBack) {
  std::vector<std::pair<ServiceKey, ServiceConfig>> services;
  services.emplace_back(Key("192.0.2.1:80"), Config("rr"));
  services.emplace_back(Key("192.0.2.1:80", Protocol::kSctp), Config("wlc"));
  services.emplace_back(Key("[2001:db8::1]:80"), Config("wrr"));
  services.emplace_back(Mark(7, Family::kIpv4), Config("sed"));
  services.emplace_back(Mark(7, Family::kIpv6), Config("nq"));
  ServiceConfig config = Config("rr");
  config.one_packet = true;
  services.emplace_back(Key("192.0.2.1:53", Protocol::kUdp), config);
  config = Config("sh");
  config.hash = {.source_port = true, .fallback = true};
  services.emplace_back(Key("192.0.2.1:81"), config);
  config = Config("mh");
  config.hash = {.source_port = false, .fallback = true};
  services.emplace_back(Key("192.0.2.1:82"), config);
  config = Config("lc");
  config.persistence = Persistence{.timeout_seconds = 77, .prefix_length = 24, .engine = ""};
  services.emplace_back(Key("192.0.2.1:83"), config);
  config.persistence = Persistence{.timeout_seconds = 360, .prefix_length = 56, .engine = ""};
  services.emplace_back(Key("[2001:db8::1]:83"), config);
  config.persistence = Persistence{.timeout_seconds = 60, .prefix_length = 32, .engine = "sip"};
  services.emplace_back(Key("192.0.2.1:5060", Protocol::kUdp), config);
  for (const auto& [key, wanted] : services) {
    EXPECT_EQ(Add(key, wanted), 0) << ToString(key);
    const auto got = Get(key);
    ASSERT_EQ(got.status(), absl::OkStatus()) << ToString(key);
    EXPECT_EQ(got->key, key);
    EXPECT_EQ(got->config, wanted) << ToString(key);
    EXPECT_FALSE(got->foreign) << ToString(key);
    EXPECT_EQ(got->counters, Counters{});
  }
  const auto all = channel().Dump(EncodePlain(Command::kGetService));
  ASSERT_EQ(all.status(), absl::OkStatus());
  EXPECT_EQ(all->size(), services.size());
}

TEST_F(ContractTest, AServiceCanBeChangedInEverySetting) {
  const ServiceKey key = Key("192.0.2.1:80", Protocol::kUdp);
  ServiceConfig config = Config("sh");
  config.hash = {.source_port = true, .fallback = true};
  config.one_packet = true;
  config.persistence = Persistence{.timeout_seconds = 60, .prefix_length = 24, .engine = "sip"};
  ASSERT_EQ(Add(key, config), 0);
  ASSERT_EQ(Set(key, Config("wrr")), 0);
  EXPECT_EQ(Get(key)->config, Config("wrr"));
  ASSERT_EQ(Set(key, config), 0);
  EXPECT_EQ(Get(key)->config, config);
}

TEST_F(ContractTest, EverySettingOfARealServerComesBack) {
  const ServiceKey key = Key("192.0.2.1:80");
  ASSERT_EQ(Add(key, Config("rr")), 0);
  const RealServer nat{.at = *Endpoint::Parse("10.0.0.1:8080"),
                       .method = ForwardingMethod::kNat,
                       .weight = 2147483647,
                       .upper_threshold = 2000,
                       .lower_threshold = 1500};
  const RealServer direct = Real("10.0.0.2:80", 0, ForwardingMethod::kDirectRouting);
  const RealServer tunnel = Real("10.0.0.3:80", 7, ForwardingMethod::kTunnel);
  const RealServer other_family = Real("[2001:db8::9]:80", 7, ForwardingMethod::kTunnel);
  for (const RealServer& real : {nat, direct, tunnel, other_family}) EXPECT_EQ(Add(key, real), 0);
  // The newest first.
  EXPECT_THAT(Reals(key), ElementsAre(other_family, tunnel, direct, nat));
  for (const RealServer& real : {other_family, tunnel, direct, nat}) {
    RealServer quiesced = real;
    quiesced.weight = 0;
    EXPECT_EQ(Set(key, quiesced), 0);
    EXPECT_EQ(Set(key, real), 0);
  }
  EXPECT_THAT(Reals(key), ElementsAre(other_family, tunnel, direct, nat));

  RealServer changed = nat;
  changed.weight = 1;
  changed.upper_threshold = 0;
  changed.lower_threshold = 0;
  changed.method = ForwardingMethod::kDirectRouting;
  changed.at.port = 80;
  EXPECT_EQ(Set(key, changed), ENOENT);  // another port is another real server
  changed.at.port = 8080;
  changed.method = ForwardingMethod::kNat;
  EXPECT_EQ(Set(key, changed), 0);
  EXPECT_EQ(Send(EncodeRemoveReal(key, direct.at)), 0);
  EXPECT_EQ(Send(EncodeRemoveReal(key, other_family.at)), 0);
  EXPECT_THAT(Reals(key), ElementsAre(tunnel, changed));
}

TEST_F(ContractTest, RealServersOfIpv6) {
  const ServiceKey key = Key("[2001:db8::1]:80");
  ASSERT_EQ(Add(key, Config("rr")), 0);
  const RealServer nat = Real("[2001:db8::9]:8080", 3);
  EXPECT_EQ(Add(key, nat), 0);
  EXPECT_THAT(Reals(key), ElementsAre(nat));
}

TEST_F(ContractTest, ErrorNumbers) {
  const ServiceKey key = Key("192.0.2.1:80");
  const ServiceKey none = Key("192.0.2.1:81");
  ASSERT_EQ(Add(key, Config("rr")), 0);
  ASSERT_EQ(Add(key, Real("10.0.0.1:80")), 0);
  EXPECT_EQ(Add(key, Config("rr")), EEXIST);
  EXPECT_EQ(Set(none, Config("rr")), ESRCH);
  EXPECT_EQ(Send(EncodeKey(Command::kRemoveService, none)), ESRCH);
  EXPECT_EQ(Add(none, Config("nosuch")), ENOENT);
  EXPECT_EQ(Set(key, Config("nosuch")), ENOENT);
  EXPECT_EQ(Get(key)->config, Config("rr"));
  EXPECT_EQ(Add(none, Real("10.0.0.1:80")), ESRCH);
  EXPECT_EQ(Add(key, Real("10.0.0.1:80")), EEXIST);
  EXPECT_EQ(Set(key, Real("10.0.0.2:80")), ENOENT);
  EXPECT_EQ(Send(EncodeRemoveReal(key, *Endpoint::Parse("10.0.0.2:80"))), ENOENT);
  EXPECT_EQ(Add(key, Real("224.0.0.1:80")), EINVAL);
  EXPECT_EQ(Add(key, Real("255.255.255.255:80")), EINVAL);
  EXPECT_EQ(Add(key, Real("0.0.0.0:80")), EINVAL);
  ServiceConfig config = Config("rr");
  config.persistence = Persistence{.timeout_seconds = 60, .prefix_length = 32, .engine = "nosuch"};
  EXPECT_EQ(Add(none, config), ENOENT);
  EXPECT_EQ(Get(none).status().code(), absl::StatusCode::kNotFound);
  const ServiceKey six = Key("[2001:db8::1]:80");
  ASSERT_EQ(Add(six, Config("rr")), 0);
  EXPECT_EQ(Add(six, Real("[ff02::1]:80")), EINVAL);
  EXPECT_EQ(Add(six, Real("[fe80::1]:80")), EINVAL);
}

// Bytes that the codec never makes.
TEST_F(ContractTest, DamagedRequestsAreRefused) {
  const ServiceKey key = Key("192.0.2.1:80");
  const Bytes good = *EncodeService(Command::kNewService, key, Config("rr"));
  // A first-level attribute that is longer than the message.
  Bytes bad = good;
  bad[4] += 4;
  EXPECT_EQ(Send(bad), EINVAL);
  // Without the service at all.
  EXPECT_EQ(Send(Bytes(good.begin(), good.begin() + 4)), EINVAL);
  // Without the last attribute, the netmask.
  bad = Bytes(good.begin(), good.end() - 8);
  bad[4] -= 8;
  EXPECT_EQ(Send(bad), EINVAL);
  // With the family, which comes first, cut to one byte; and an unknown one.
  bad = good;
  bad[8] = 5;
  EXPECT_EQ(Send(bad), EINVAL);
  bad = good;
  bad[12] = 99;
  EXPECT_EQ(Send(bad), EAFNOSUPPORT);
  EXPECT_EQ(Get(key).status().code(), absl::StatusCode::kNotFound);
  // Unknown attributes are ignored.
  Bytes more = good;
  AttributeWriter out(more);
  out.PutNumber<uint32_t>(99, 1);
  EXPECT_EQ(Send(more), 0);
}

TEST_F(ContractTest, AFailedRequestDoesNotStopTheOthers) {
  std::vector<Bytes> requests;
  for (int i = 1; i <= 300; ++i) {
    const int port = i % 3 == 0 ? 1 : i;
    requests.push_back(*EncodeService(Command::kNewService,
                                      Key("192.0.2.1:" + std::to_string(port)), Config("rr")));
  }
  const auto answers = channel().Send(requests);
  ASSERT_EQ(answers.status(), absl::OkStatus());
  ASSERT_EQ(answers->size(), 300u);
  for (int i = 1; i <= 300; ++i) EXPECT_EQ((*answers)[i - 1], i % 3 == 0 ? EEXIST : 0) << i;
  EXPECT_EQ(channel().Dump(EncodePlain(Command::kGetService))->size(), 200u);
}

TEST_F(ContractTest, AServiceOfAProtocolThatWeNeverUseIsNotRead) {
  Bytes icmp = *EncodeService(Command::kNewService, Key("192.0.2.1:80"), Config("rr"));
  icmp[20] = 1;  // the protocol
  ASSERT_EQ(Send(icmp), 0);
  ASSERT_EQ(Add(Key("192.0.2.1:80"), Config("rr")), 0);
  EXPECT_EQ(channel().Dump(EncodePlain(Command::kGetService))->size(), 2u);
  const auto services = ReadServices(channel());
  ASSERT_EQ(services.status(), absl::OkStatus());
  ASSERT_EQ(services->size(), 1u);
  EXPECT_EQ((*services)[0].key, Key("192.0.2.1:80"));
}

TEST_F(ContractTest, TheRealServersOfNoServiceAreNone) {
  EXPECT_TRUE(Reals(Key("192.0.2.1:80")).empty());
}

TEST_F(ContractTest, TellsItsVersion) {
  const auto answer = channel().Ask(EncodePlain(Command::kGetInfo));
  ASSERT_EQ(answer.status(), absl::OkStatus());
  const auto info = DecodeInfo(*answer);
  ASSERT_EQ(info.status(), absl::OkStatus());
  EXPECT_EQ(info->version, 0x010201u);
  EXPECT_EQ(info->connection_table_size, 4096u);
}

// Of a request, the value of a 32-bit attribute inside its second part, replaced.
Bytes With(Bytes request, uint16_t attribute, uint32_t value) {
  Bytes header;
  AttributeWriter(header).PutNumber<uint32_t>(attribute, 0);
  const auto at = std::search(request.begin(), request.end(), header.begin(), header.begin() + 4);
  EXPECT_NE(at, request.end());
  std::memcpy(&*(at + 4), &value, sizeof value);
  return request;
}

TEST_F(ContractTest, EverySchedulerWithEveryFlagOfItsOwn) {
  int there = 0;
  for (const char* name : {"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "mh",
                           "fo", "ovf", "twos", "none"}) {
    SCOPED_TRACE(name);
    const ServiceKey key = Key("192.0.2.1:" + std::to_string(1000 + ++there));
    const int error = Add(key, Config(name));
    if (std::string(name) == "twos" && error == ENOENT) {
      EXPECT_THAT(Message(StatusOf(error, Command::kNewService, Config(name))),
                  HasSubstr("no scheduler twos: load or install the module ip_vs_twos"));
      continue;
    }
    ASSERT_EQ(error, 0);
    EXPECT_EQ(Add(key, Real("10.0.0.1:80", 3)), 0);
    EXPECT_EQ(Add(key, Real("10.0.0.2:80", 0)), 0);
    EXPECT_EQ(Get(key)->config, Config(name));
    if (std::string(name) != "sh" && std::string(name) != "mh") continue;
    for (const bool source_port : {true, false}) {
      for (const bool fallback : {true, false}) {
        ServiceConfig config = Config(name);
        config.hash = {.source_port = source_port, .fallback = fallback};
        EXPECT_EQ(Set(key, config), 0);
        EXPECT_EQ(Get(key)->config, config);
      }
    }
  }
}

TEST_F(ContractTest, FlagsWithoutANameAreKeptAndTakenAway) {
  const ServiceKey key = Key("192.0.2.1:80");
  ServiceConfig config = Config("rr");
  config.unnamed_flags = 8 | 16 | 32 | 0x4000;
  ASSERT_EQ(Add(key, config), 0);
  EXPECT_EQ(Get(key)->config, config);
  ASSERT_EQ(Set(key, Config("rr")), 0);
  EXPECT_EQ(Get(key)->config, Config("rr"));
}

TEST_F(ContractTest, EveryNetmaskOfPersistenceComesBack) {
  const ServiceKey four = Key("192.0.2.1:80"), six = Key("[2001:db8::1]:80");
  ServiceConfig config = Config("wlc");
  ASSERT_EQ(Add(four, config), 0);
  ASSERT_EQ(Add(six, config), 0);
  for (int length = 0; length <= 128; ++length) {
    config.persistence =
        Persistence{.timeout_seconds = 31 * 24 * 3600, .prefix_length = length, .engine = ""};
    if (length <= 32) {
      ASSERT_EQ(Set(four, config), 0) << length;
      EXPECT_EQ(Get(four)->config, config) << length;
    }
    if (length == 0) continue;
    ASSERT_EQ(Set(six, config), 0) << length;
    EXPECT_EQ(Get(six)->config, config) << length;
  }
  config.persistence = Persistence{
      .timeout_seconds = 1, .prefix_length = 0, .engine = "", .mask_with_holes = 0xff00ff00};
  ASSERT_EQ(Set(four, config), 0);
  EXPECT_EQ(Get(four)->config, config);
  const Bytes good = *EncodeService(Command::kSetService, six, Config("wlc"));
  EXPECT_EQ(Send(With(good, IPVS_SVC_ATTR_NETMASK, 0)), EINVAL);
  EXPECT_EQ(Send(With(good, IPVS_SVC_ATTR_NETMASK, 129)), EINVAL);
}

TEST_F(ContractTest, EveryTunnelOfBothFamiliesComesBackAndCanBeChanged) {
  const std::vector<Tunnel> tunnels = {
      {},
      {.type = TunnelType::kGue, .port = 6080},
      {.type = TunnelType::kGue, .port = 65535, .checksum = true},
      {.type = TunnelType::kGue, .port = 1, .checksum = false, .remote_checksum = true},
      {.type = TunnelType::kGue, .port = 1, .checksum = true, .remote_checksum = true},
      {.type = TunnelType::kGre},
      {.type = TunnelType::kGre, .port = 0, .checksum = true},
  };
  for (const ServiceKey& key : {Key("192.0.2.1:80"), Key("[2001:db8::1]:80"),
                                Mark(3, Family::kIpv4), Mark(3, Family::kIpv6)}) {
    ASSERT_EQ(Add(key, Config("rr")), 0);
    for (const char* at : {"10.0.0.1:80", "[2001:db8::9]:80"}) {
      RealServer real = Real(at, 5, ForwardingMethod::kTunnel);
      ASSERT_EQ(Add(key, real), 0) << ToString(key) << " " << at;
      for (const Tunnel& tunnel : tunnels) {
        real.tunnel = tunnel;
        EXPECT_EQ(Set(key, real), 0);
        EXPECT_THAT(Reals(key), ElementsAre(real)) << ToString(key);
      }
      ASSERT_EQ(Send(EncodeRemoveReal(key, real.at)), 0);
      // As it is added, too.
      ASSERT_EQ(Add(key, real), 0);
      EXPECT_THAT(Reals(key), ElementsAre(real));
      ASSERT_EQ(Send(EncodeRemoveReal(key, real.at)), 0);
    }
  }
}

TEST_F(ContractTest, OnlyTunnelsLeadToTheOtherFamily) {
  const ServiceKey four = Key("192.0.2.1:80"), six = Key("[2001:db8::1]:80");
  ASSERT_EQ(Add(four, Config("rr")), 0);
  ASSERT_EQ(Add(six, Config("rr")), 0);
  const auto tunnel_as = [](const ServiceKey& key, const char* at, uint32_t method) {
    const Bytes good = *EncodeReal(Command::kNewReal, key, Real(at, 1, ForwardingMethod::kTunnel));
    return With(good, IPVS_DEST_ATTR_FWD_METHOD, method);
  };
  for (const uint32_t method : {IP_VS_CONN_F_MASQ, IP_VS_CONN_F_DROUTE, IP_VS_CONN_F_LOCALNODE}) {
    EXPECT_EQ(Send(tunnel_as(four, "[2001:db8::9]:80", method)), EINVAL);
    EXPECT_EQ(Send(tunnel_as(six, "10.0.0.1:80", method)), EINVAL);
  }
  EXPECT_EQ(Send(tunnel_as(four, "[2001:db8::9]:80", IP_VS_CONN_F_TUNNEL)), 0);
  EXPECT_EQ(Send(tunnel_as(six, "10.0.0.1:80", IP_VS_CONN_F_TUNNEL)), 0);
}

TEST_F(ContractTest, EveryThresholdComesBackAndBadNumbersAreRefused) {
  const ServiceKey key = Key("192.0.2.1:80");
  ASSERT_EQ(Add(key, Config("wlc")), 0);
  RealServer real = Real("10.0.0.1:80");
  ASSERT_EQ(Add(key, real), 0);
  for (const auto& [upper, lower] : std::vector<std::pair<uint32_t, uint32_t>>{
           {1000, 0}, {1000, 800}, {1, 1}, {2147483647, 2147483647}, {2147483647, 0}, {0, 0}}) {
    real.upper_threshold = upper;
    real.lower_threshold = lower;
    ASSERT_EQ(Set(key, real), 0);
    EXPECT_THAT(Reals(key), ElementsAre(real));
  }
  const Bytes set = *EncodeReal(Command::kSetReal, key, real);
  const Bytes add = *EncodeReal(Command::kNewReal, key, Real("10.0.0.2:80"));
  for (const Bytes& good : {set, add}) {
    EXPECT_EQ(Send(With(good, IPVS_DEST_ATTR_WEIGHT, 0x80000000)), ERANGE);
    EXPECT_EQ(Send(With(good, IPVS_DEST_ATTR_WEIGHT, 0xffffffff)), ERANGE);
    EXPECT_EQ(Send(With(good, IPVS_DEST_ATTR_L_THRESH, 1)), ERANGE);
    EXPECT_EQ(Send(With(good, IPVS_DEST_ATTR_U_THRESH, 0x80000000)), EINVAL);
  }
  const ServiceKey mark = Mark(1, Family::kIpv4);
  ASSERT_EQ(Add(mark, Config("rr")), 0);
  RealServer gue = Real("10.0.0.1:80", 1, ForwardingMethod::kTunnel);
  gue.tunnel = {.type = TunnelType::kGue, .port = 256};
  Bytes without_port = *EncodeReal(Command::kNewReal, mark, gue);
  Bytes port;
  AttributeWriter(port).PutPort(IPVS_DEST_ATTR_TUN_PORT, 256);
  const auto at = std::search(without_port.begin(), without_port.end(), port.begin(), port.end());
  ASSERT_NE(at, without_port.end());
  at[4] = 0;
  EXPECT_EQ(Send(without_port), EINVAL);
  EXPECT_THAT(Reals(key), ElementsAre(real));
}

TEST_F(ContractTest, TimeoutsAreSetOneByOne) {
  EXPECT_EQ(*ReadTimeouts(channel()),
            (IpvsTimeouts{.tcp_seconds = 900, .tcp_fin_seconds = 120, .udp_seconds = 300}));
  EXPECT_EQ(Send(EncodeTimeouts({.tcp_fin_seconds = 1})), 0);
  EXPECT_EQ(*ReadTimeouts(channel()),
            (IpvsTimeouts{.tcp_seconds = 900, .tcp_fin_seconds = 1, .udp_seconds = 300}));
  const IpvsTimeouts most{
      .tcp_seconds = 2678400, .tcp_fin_seconds = 2678400, .udp_seconds = 2678400};
  EXPECT_EQ(Send(EncodeTimeouts(most)), 0);
  EXPECT_EQ(*ReadTimeouts(channel()), most);
  const Bytes good = *EncodeTimeouts({.tcp_seconds = 5, .tcp_fin_seconds = 5, .udp_seconds = 5});
  for (const uint16_t timeout :
       {IPVS_CMD_ATTR_TIMEOUT_TCP, IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, IPVS_CMD_ATTR_TIMEOUT_UDP}) {
    EXPECT_EQ(Send(With(good, timeout, 0x7fffffff)), EINVAL);
    EXPECT_EQ(Send(With(good, timeout, 0xffffffff)), EINVAL);
  }
  EXPECT_EQ(*ReadTimeouts(channel()), most);
}

TEST_F(ContractTest, SyncDaemonsComeBackAsStarted) {
  const std::string interface = kernel_->Interface();
  EXPECT_TRUE(ReadDaemons(channel())->empty());
  SyncDaemon master{.role = SyncRole::kMaster, .interface = interface, .sync_id = 7};
  SyncDaemon backup{.role = SyncRole::kBackup,
                    .interface = interface,
                    .sync_id = 255,
                    .max_length = 1400,
                    .group = *IpAddress::Parse("239.1.2.3"),
                    .port = 18848,
                    .ttl = 9};
  EXPECT_EQ(Send(EncodeDaemon(master)), 0);
  EXPECT_EQ(Send(EncodeDaemon(backup)), 0);
  EXPECT_EQ(Send(EncodeDaemon(backup)), EEXIST);
  auto there = *ReadDaemons(channel());
  ASSERT_EQ(there.size(), 2u);
  EXPECT_TRUE(Satisfies(there[0], master)) << ToString(there[0]);
  EXPECT_EQ(there[0].max_length, 1472);
  EXPECT_EQ(there[1], backup) << ToString(there[1]);
  EXPECT_EQ(Send(EncodeRemoveDaemon(SyncRole::kMaster)), 0);
  EXPECT_EQ(Send(EncodeRemoveDaemon(SyncRole::kMaster)), ESRCH);
  EXPECT_THAT(*ReadDaemons(channel()), ElementsAre(backup));
  master.group = *IpAddress::Parse("ff02::81");
  master.max_length = 1;
  EXPECT_EQ(Send(EncodeDaemon(master)), 0);
  EXPECT_THAT(*ReadDaemons(channel()), ElementsAre(master, backup));
  master.interface = "nosuch0";
  EXPECT_EQ(Send(EncodeDaemon(master)), ENODEV);
  EXPECT_EQ(Send(EncodeRemoveDaemon(SyncRole::kBackup)), 0);
  EXPECT_EQ(Send(EncodeRemoveDaemon(SyncRole::kMaster)), 0);
  EXPECT_TRUE(ReadDaemons(channel())->empty());
}

TEST_F(ContractTest, DaemonsThatTheKernelRefuses) {
  const std::string interface = kernel_->Interface();
  const SyncDaemon daemon{.role = SyncRole::kMaster, .interface = interface, .sync_id = 1};
  const Bytes good = *EncodeDaemon(daemon);
  EXPECT_EQ(Send(With(good, IPVS_DAEMON_ATTR_STATE, 3)), EINVAL);
  EXPECT_EQ(Send(With(good, IPVS_DAEMON_ATTR_MCAST_GROUP, 0x0100000a)), EINVAL);
  EXPECT_EQ(Send(With(EncodeRemoveDaemon(SyncRole::kMaster), IPVS_DAEMON_ATTR_STATE, 0)), EINVAL);
  EXPECT_EQ(Send(EncodePlain(Command::kNewDaemon)), EINVAL);
  EXPECT_TRUE(ReadDaemons(channel())->empty());
  // Connections to the other family cannot be copied: neither may come to the other.
  const ServiceKey key = Key("192.0.2.1:80");
  const RealServer mixed = Real("[2001:db8::9]:80", 1, ForwardingMethod::kTunnel);
  ASSERT_EQ(Add(key, Config("rr")), 0);
  ASSERT_EQ(Add(key, mixed), 0);
  EXPECT_EQ(Send(good), EINVAL);
  ASSERT_EQ(Send(EncodeRemoveReal(key, mixed.at)), 0);
  ASSERT_EQ(Send(good), 0);
  EXPECT_EQ(Add(key, mixed), EINVAL);
}

TEST_F(ContractTest, ZeroingAndFlushing) {
  const ServiceKey key = Key("192.0.2.1:80");
  EXPECT_EQ(Send(EncodePlain(Command::kZero)), 0);
  EXPECT_EQ(Send(EncodeKey(Command::kZero, key)), ESRCH);
  ASSERT_EQ(Add(key, Config("rr")), 0);
  ASSERT_EQ(Add(key, Real("10.0.0.1:80")), 0);
  ASSERT_EQ(Add(Mark(7, Family::kIpv6), Config("rr")), 0);
  EXPECT_EQ(Send(EncodeKey(Command::kZero, key)), 0);
  EXPECT_EQ(Send(EncodePlain(Command::kZero)), 0);
  EXPECT_EQ(Get(key)->config, Config("rr"));
  EXPECT_EQ(Send(EncodePlain(Command::kFlush)), 0);
  EXPECT_TRUE(channel().Dump(EncodePlain(Command::kGetService))->empty());
}

TEST_F(ContractTest, RequestsThatHaveNoAnswer) {
  EXPECT_NE(channel().Ask(EncodePlain(Command::kInfo)).status(), absl::OkStatus());
  EXPECT_NE(channel().Ask(EncodePlain(Command::kGetService)).status(), absl::OkStatus());
  EXPECT_NE(channel().Dump(EncodePlain(Command::kGetInfo)).status(), absl::OkStatus());
  EXPECT_EQ(Send(Bytes{99, 1, 0, 0}), EOPNOTSUPP);
}

class BackendContractTest : public ContractTest {
 protected:
  BackendContractTest() {
    std::filesystem::remove(path_);
    Restart();
  }
  ~BackendContractTest() override { std::filesystem::remove(path_); }

  // As a new process of the agent finds it.
  void Restart() {
    auto journal = Journal::Open(path_, "boot");
    ASSERT_EQ(journal.status(), absl::OkStatus());
    journal_ = std::make_unique<Journal>(*std::move(journal));
    backend_ = std::make_unique<IpvsBackend>(channel(), *journal_, kernel_->marks(),
                                             kernel_->Check(), [this] { return kernel_->Show(); });
  }

  void ApplyAll(const Plan& plan) {
    const auto results = backend_->Apply(plan.steps);
    ASSERT_EQ(results.size(), plan.steps.size());
    for (size_t i = 0; i < results.size(); ++i) {
      EXPECT_EQ(results[i], absl::OkStatus()) << ToString(plan.steps[i]);
    }
  }
  State Read() {
    const auto state = backend_->Read();
    EXPECT_EQ(state.status(), absl::OkStatus());
    return state.ok() ? *state : State{};
  }
  std::set<ServiceKey> Suspects(const State& expected) {
    const auto suspects = backend_->Suspects(expected.services);
    EXPECT_EQ(suspects.status(), absl::OkStatus());
    return suspects.ok() ? *suspects : std::set<ServiceKey>{};
  }
  uint64_t changes() const { return kernel_->changes_sent(); }

  std::string path_ = std::string(::testing::TempDir()) + "/contract-journal-" +
                      std::to_string(getpid()) + "-" +
                      ::testing::UnitTest::GetInstance()->current_test_info()->name();
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<IpvsBackend> backend_;
};

State Desired() {
  State out;
  out.services[Key("192.0.2.1:80")] = {
      Config("mh"), {Real("10.0.0.1:8080", 3), Real("10.0.0.2:8080", 1), Real("10.0.0.3:8080", 2)}};
  out.services[Key("192.0.2.1:53", Protocol::kUdp)] = {
      Config("rr"), {Real("10.0.0.1:53", 1, ForwardingMethod::kDirectRouting)}};
  VirtualService six{Config("wlc"), {Real("[2001:db8::8]:80"), Real("[2001:db8::9]:80")}};
  six.config.source_nat = true;
  out.services[Key("[2001:db8::1]:80")] = six;
  out.services[Mark(9, Family::kIpv4)] = {Config("sh"), {}};
  return out;
}

TEST_F(BackendContractTest, ArrivesInTheGivenOrderAndStops) {
  ApplyAll(Diff(Desired(), Read()));
  EXPECT_EQ(Read(), Desired());
  EXPECT_TRUE(Diff(Desired(), Read()).steps.empty());
}

// Any state that the model can say: what is written is read back as it was meant, so that there is
// nothing left to do.
class Arbitrary {
 public:
  explicit Arbitrary(uint32_t seed) : random_(seed) {}

  State Make() {
    State out;
    for (int i = 0; i < 12; ++i) {
      const ServiceKey key = MakeKey();
      VirtualService& service = out.services[key];
      service.config = Config(key);
      service.reals.clear();
      for (int n = 1; n <= 6; ++n) {
        if (Chance(2)) service.reals.push_back(MakeReal(key, n));
      }
      SortCanonically(service.reals);
    }
    return out;
  }

 private:
  uint32_t Up(uint32_t most) { return random_() % (most + 1); }
  bool Chance(uint32_t of) { return random_() % of == 0; }

  ServiceKey MakeKey() {
    const Family family = Chance(2) ? Family::kIpv4 : Family::kIpv6;
    if (Chance(4)) return Mark(1 + Up(5), family);
    const Protocol protocols[] = {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp};
    return Key(
        (family == Family::kIpv4 ? "192.0.2.1:" : "[2001:db8::1]:") + std::to_string(1000 + Up(3)),
        protocols[Up(2)]);
  }

  ServiceConfig Config(const ServiceKey& key) {
    const char* names[] = {"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh",
                           "sh", "sed", "nq", "mh",  "fo",   "ovf"};
    ServiceConfig out;
    out.scheduler = names[Up(12)];
    if (out.scheduler == "sh" || out.scheduler == "mh") {
      out.hash = {.source_port = Chance(2), .fallback = Chance(2)};
    }
    const bool marked = std::holds_alternative<FwMark>(key.match);
    if (Chance(2)) {
      const int bits = FamilyOf(key) == Family::kIpv4 ? 32 : 128;
      out.persistence =
          Persistence{.timeout_seconds = 1 + Up(100000),
                      .prefix_length = 1 + static_cast<int>(Up(static_cast<uint32_t>(bits - 1))),
                      .engine = key.protocol == Protocol::kUdp && Chance(2) ? "sip" : ""};
    } else if (marked || key.protocol == Protocol::kUdp) {
      out.one_packet = Chance(2);
    }
    out.source_nat = Chance(2);
    return out;
  }

  RealServer MakeReal(const ServiceKey& key, int n) {
    RealServer out;
    const auto* vip = std::get_if<Endpoint>(&key.match);
    const bool other = Chance(5);
    const bool four = (FamilyOf(key) == Family::kIpv4) != other;
    out.at.ip = *IpAddress::Parse((four ? "10.0.0." : "2001:db8::") + std::to_string(n));
    out.method = other ? ForwardingMethod::kTunnel : static_cast<ForwardingMethod>(Up(2));
    out.at.port = vip != nullptr && out.method != ForwardingMethod::kNat ? vip->port : 8080;
    out.weight = Chance(3) ? 2147483647 : Up(5);
    if (Chance(2)) {
      out.upper_threshold = 1 + Up(1000);
      out.lower_threshold = Up(out.upper_threshold);
    }
    if (out.method != ForwardingMethod::kTunnel) return out;
    out.tunnel.type = static_cast<TunnelType>(Up(2));
    out.tunnel.checksum = out.tunnel.type != TunnelType::kIpip && Chance(2);
    if (out.tunnel.type == TunnelType::kGue) {
      out.tunnel.port = static_cast<uint16_t>(1 + Up(65534));
      out.tunnel.remote_checksum = Chance(2);
    }
    return out;
  }

  std::mt19937 random_;
};

TEST_F(BackendContractTest, WhateverIsWrittenReadsBackSoThatNothingIsLeftToDo) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Arbitrary arbitrary(seed);
  for (int round = 0; round < 20; ++round) {
    const State desired = arbitrary.Make();
    ApplyAll(Diff(desired, Read()));
    const Plan left = Diff(desired, Read());
    ASSERT_TRUE(left.steps.empty()) << ToString(left);
    std::set<ServiceKey> marks;
    for (const auto& [key, service] : desired.services) {
      if (std::holds_alternative<FwMark>(key.match)) marks.insert(key);
    }
    ASSERT_EQ(Suspects(desired), marks) << *kernel_->Show();
  }
}

TEST_F(BackendContractTest, ACheapLookSeesWhatAnotherProgramDidToOurServices) {
  const ServiceKey web = Key("192.0.2.1:80"), dns = Key("192.0.2.1:53", Protocol::kUdp);
  const ServiceKey six = Key("[2001:db8::1]:80"), mark = Mark(9, Family::kIpv4);
  // Without rules of ours there is nothing to look at, and perhaps no ip_vs.
  EXPECT_EQ(Suspects({}), std::set<ServiceKey>{});
  EXPECT_EQ(Suspects(Desired()), (std::set<ServiceKey>{web, dns, six, mark}));
  ApplyAll(Diff(Desired(), Read()));
  ASSERT_EQ(Add(Key("192.0.2.99:80"), Config("rr")), 0);
  EXPECT_EQ(Suspects(Desired()), std::set<ServiceKey>{mark});
  const auto repaired = [&] {
    ApplyAll(Diff(Desired(), Read()));
    return Suspects(Desired()) == std::set<ServiceKey>{mark};
  };
  ASSERT_EQ(Set(web, Real("10.0.0.1:8080", 4)), 0);
  EXPECT_EQ(Suspects(Desired()), (std::set<ServiceKey>{web, mark}));
  EXPECT_TRUE(repaired());
  ASSERT_EQ(Set(dns, Config("wrr")), 0);
  ASSERT_EQ(Add(six, Real("[2001:db8::10]:80")), 0);
  EXPECT_EQ(Suspects(Desired()), (std::set<ServiceKey>{dns, six, mark}));
  EXPECT_TRUE(repaired());
  ASSERT_EQ(Send(EncodeRemoveReal(web, *Endpoint::Parse("10.0.0.2:8080"))), 0);
  ServiceConfig one_packet = Config("rr");
  one_packet.one_packet = true;
  ASSERT_EQ(Set(dns, one_packet), 0);
  EXPECT_EQ(Suspects(Desired()), (std::set<ServiceKey>{web, dns, mark}));
  EXPECT_TRUE(repaired());
  ServiceConfig sticky = Config("wlc");
  sticky.persistence = Persistence{.timeout_seconds = 60, .prefix_length = 64, .engine = ""};
  ASSERT_EQ(Set(six, sticky), 0);
  ASSERT_EQ(Send(EncodeKey(Command::kRemoveService, web)), 0);
  EXPECT_EQ(Suspects(Desired()), (std::set<ServiceKey>{web, six, mark}));
  EXPECT_TRUE(repaired());
  // Ours, and not expected.
  State fewer = Desired();
  fewer.services.erase(dns);
  fewer.services.erase(mark);
  EXPECT_EQ(Suspects(fewer), (std::set<ServiceKey>{dns, mark}));
  // What the text does not tell.
  RealServer limited = Real("10.0.0.1:8080", 3);
  limited.upper_threshold = 9;
  ASSERT_EQ(Set(web, limited), 0);
  EXPECT_EQ(Suspects(Desired()), std::set<ServiceKey>{mark});
}

TEST_F(BackendContractTest, AdoptsWhatAnEarlierProcessLeftWithoutAChange) {
  ApplyAll(Diff(Desired(), Read()));
  const uint64_t before = changes();
  Restart();
  EXPECT_EQ(Read(), Desired());
  ApplyAll(Diff(Desired(), Read()));
  EXPECT_EQ(changes(), before);
}

TEST_F(BackendContractTest, ChangesAndRemoves) {
  ApplyAll(Diff(Desired(), Read()));
  State next = Desired();
  next.services.erase(Mark(9, Family::kIpv4));
  VirtualService& web = next.services[Key("192.0.2.1:80")];
  web.config = Config("wrr");
  web.config.persistence = Persistence{};
  web.reals = {Real("10.0.0.2:8080", 5), Real("10.0.0.4:8080", 1)};
  next.services[Key("[2001:db8::1]:80")].config.source_nat = false;
  ApplyAll(Diff(next, Read()));
  State there = Read();
  // One that came later stands at the head.
  EXPECT_THAT(there.services[Key("192.0.2.1:80")].reals,
              ElementsAre(Real("10.0.0.4:8080", 1), Real("10.0.0.2:8080", 5)));
  EXPECT_TRUE(Diff(next, there).steps.empty()) << ToString(Diff(next, there));
  Restart();
  EXPECT_TRUE(Diff(next, Read()).steps.empty());
  ApplyAll(Diff(State{}, Read()));
  EXPECT_TRUE(channel().Dump(EncodePlain(Command::kGetService))->empty());
  EXPECT_TRUE(journal_->claims().empty());
}

TEST_F(BackendContractTest, ServicesOfManyPortsComeAndGoAndAreAdopted) {
  const auto range = [](const std::string& vip, uint16_t first, uint16_t last) {
    return ServiceKey{.dataplane = Dataplane::kIpvs,
                      .match = PortRange{*IpAddress::Parse(vip), first, last},
                      .protocol = Protocol::kUdp};
  };
  const ServiceKey all = {.dataplane = Dataplane::kIpvs,
                          .match = AllPorts{*IpAddress::Parse("192.0.2.2")}};
  State desired = Desired();
  desired.services[range("192.0.2.1", 10000, 10100)] = {
      Config("mh"), {Real("10.0.0.1:0"), Real("10.0.0.2:0", 1, ForwardingMethod::kDirectRouting)}};
  desired.services[range("2001:db8::1", 1, 65535)] = {Config("wlc"), {Real("[2001:db8::9]:0")}};
  desired.services[all] = {Config("rr"), {Real("10.0.0.1:0")}};
  desired.services[all].config.persistence = Persistence{};
  desired.services[all].config.source_nat = true;
  const auto prefix = [](const std::string& vips, uint16_t first, uint16_t last) {
    return ServiceKey{.dataplane = Dataplane::kIpvs,
                      .match = Prefix{*Cidr::Parse(vips), first, last},
                      .protocol = Protocol::kTcp};
  };
  desired.services[prefix("198.51.100.0/24", 443, 443)] = {Config("lblc"), {Real("10.0.0.1:8443")}};
  desired.services[prefix("2001:db8:1::/48", 0, 65535)] = {Config("dh"), {Real("[2001:db8::9]:0")}};
  ApplyAll(Diff(desired, Read()));
  EXPECT_EQ(Read(), desired);
  EXPECT_EQ(kernel_->marks().Read()->marks.size(), 5u);
  const uint64_t before = changes();
  Restart();
  EXPECT_EQ(Read(), desired);
  EXPECT_TRUE(Diff(desired, Read()).steps.empty());
  EXPECT_EQ(changes(), before);
  ASSERT_EQ(kernel_->marks().Write({}), absl::OkStatus());
  EXPECT_TRUE(Read().services[all].config.unreached);
  ApplyAll(Diff(desired, Read()));
  EXPECT_EQ(Read(), desired);
  desired.services.erase(all);
  desired.services.erase(range("192.0.2.1", 10000, 10100));
  desired.services[range("192.0.2.1", 10000, 10200)] = {Config("rr"), {Real("10.0.0.1:0")}};
  desired.services.erase(prefix("198.51.100.0/24", 443, 443));
  desired.services[prefix("198.51.100.0/25", 443, 443)] = {Config("lblc"), {Real("10.0.0.1:8443")}};
  ApplyAll(Diff(desired, Read()));
  EXPECT_EQ(Read(), desired);
  ApplyAll(Diff(Desired(), Read()));
  EXPECT_EQ(Read(), Desired());
  EXPECT_TRUE(kernel_->marks().Read()->marks.empty());
}

TEST_F(BackendContractTest, LeavesAnothersServicesAlone) {
  const ServiceKey theirs = Key("192.0.2.1:80");
  ASSERT_EQ(Add(theirs, Config("lc")), 0);
  ASSERT_EQ(Add(theirs, Real("10.9.9.9:80")), 0);
  EXPECT_EQ(Read(), State{});
  const Plan plan = Diff(Desired(), Read());
  const auto results = backend_->Apply(plan.steps);
  int refused = 0;
  for (size_t i = 0; i < results.size(); ++i) {
    if (*KeyOf(plan.steps[i]) != theirs) {
      EXPECT_EQ(results[i], absl::OkStatus()) << ToString(plan.steps[i]);
    } else if (std::holds_alternative<AddService>(plan.steps[i])) {
      EXPECT_EQ(results[i].code(), absl::StatusCode::kAlreadyExists);
      EXPECT_THAT(std::string(results[i].message().data(), results[i].message().size()),
                  HasSubstr("IPVS 192.0.2.1:80/tcp is another owner's"));
      ++refused;
    } else {
      EXPECT_EQ(results[i].code(), absl::StatusCode::kAborted);
    }
  }
  EXPECT_EQ(refused, 1);
  EXPECT_EQ(Get(theirs)->config, Config("lc"));
  EXPECT_THAT(Reals(theirs), ElementsAre(Real("10.9.9.9:80")));
  EXPECT_FALSE(Read().services.contains(theirs));
  // Once it is gone, the key is free.
  ASSERT_EQ(Send(EncodeKey(Command::kRemoveService, theirs)), 0);
  ApplyAll(Diff(Desired(), Read()));
  EXPECT_EQ(Read(), Desired());
}

TEST_F(BackendContractTest, ANewServiceWithoutItsSchedulerIsRefusedWhole) {
  State desired;
  const ServiceKey key = Key("192.0.2.1:80");
  desired.services[key] = {Config("nosuch"), {Real("10.0.0.1:80"), Real("10.0.0.2:80")}};
  const auto results = backend_->Apply(Diff(desired, {}).steps);
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(results[0].code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(results[0].message().data(), results[0].message().size()),
              HasSubstr("no scheduler nosuch: load or install the module ip_vs_nosuch"));
  EXPECT_EQ(results[1].code(), absl::StatusCode::kAborted);
  EXPECT_EQ(results[2].code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Read(), State{});
  EXPECT_FALSE(journal_->Owns(key));
}

TEST_F(BackendContractTest, SomeServicesAreReadAsTheyAreAmongAll) {
  ApplyAll(Diff(Desired(), Read()));
  const ServiceKey theirs = Key("192.0.2.99:80");
  ASSERT_EQ(Add(theirs, Config("rr")), 0);
  const ServiceKey key = Key("192.0.2.1:80");
  const auto some = backend_->ReadServices({key, theirs, Key("192.0.2.98:80")});
  ASSERT_EQ(some.status(), absl::OkStatus());
  EXPECT_EQ(some->services, (ServiceTable{{key, Read().services.at(key)}}));
  const Stats all = *backend_->ReadStats();
  EXPECT_EQ(some->stats.services, (std::map<ServiceKey, Counters>{{key, all.services.at(key)}}));
  EXPECT_EQ(some->stats.reals.size(), some->services.at(key).reals.size());
  for (const auto& [real, stats] : some->stats.reals) EXPECT_EQ(stats, all.reals.at(real));
}

TEST_F(BackendContractTest, CountersOfAQuietServiceAreZero) {
  ApplyAll(Diff(Desired(), Read()));
  const auto stats = backend_->ReadStats();
  ASSERT_EQ(stats.status(), absl::OkStatus());
  EXPECT_EQ(stats->services.size(), 4u);
  EXPECT_EQ(stats->reals.size(), 6u);
  const auto real = stats->reals.find({Key("192.0.2.1:80"), *Endpoint::Parse("10.0.0.1:8080")});
  ASSERT_NE(real, stats->reals.end());
  EXPECT_EQ(real->second, (RealServerStats{.counters = {}, .weight = 3}));
}

}  // namespace
}  // namespace kube_lvs::ipvs
