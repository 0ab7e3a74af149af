// What only a fake kernel can show: the order of requests, and failures.
#include "dataplane/ipvs/backend.h"

#include <linux/ip_vs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <random>
#include <set>

#include "base/status.h"
#include "dataplane/ipvs/fake_kernel.h"
#include "dataplane/ipvs/fake_marks.h"
#include "dataplane/ipvs/faulty_channel.h"
#include "dataplane/plan/diff.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kube_lvs::ipvs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

ServiceKey Key(const std::string& vip) {
  return {
      .dataplane = Dataplane::kIpvs, .match = *Endpoint::Parse(vip), .protocol = Protocol::kTcp};
}

RealServer Real(const std::string& at, uint32_t weight = 1) {
  return {.at = *Endpoint::Parse(at), .method = ForwardingMethod::kNat, .weight = weight};
}

ServiceConfig Config(const std::string& scheduler) {
  ServiceConfig out;
  out.scheduler = scheduler;
  return out;
}

class BackendTest : public ::testing::Test {
 protected:
  BackendTest() { Restart(); }
  ~BackendTest() override { std::filesystem::remove(path_); }

  void Restart() {
    auto journal = Journal::Open(path_, "boot");
    ASSERT_EQ(journal.status(), absl::OkStatus());
    journal_ = std::make_unique<Journal>(*std::move(journal));
    backend_ = std::make_unique<IpvsBackend>(kernel_, *journal_, marks_, check_);
  }
  std::vector<absl::StatusCode> Apply(const std::vector<Step>& steps) {
    std::vector<absl::StatusCode> out;
    last_ = backend_->Apply(steps);
    for (const absl::Status& status : last_) out.push_back(status.code());
    return out;
  }
  State Read() {
    const auto state = backend_->Read();
    EXPECT_EQ(state.status(), absl::OkStatus());
    return *state;
  }
  void FailCommand(uint8_t command, int error) {
    kernel_.fault = [=](const Bytes& request) { return request[0] == command ? error : 0; };
  }

  FakeKernel kernel_;
  FakeMarks marks_;
  SchedulerCheck check_ = [](const std::string&) { return absl::OkStatus(); };
  // In memory: thousands of syncs to a busy disk take minutes, and are journal_test's to show.
  std::string path_ = "/dev/shm/backend-journal-" + std::to_string(getpid()) + "-" +
                      ::testing::UnitTest::GetInstance()->current_test_info()->name();
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<IpvsBackend> backend_;
  std::vector<absl::Status> last_;
};

template <typename Map>
std::set<ServiceKey> Keys(const Map& map) {
  std::set<ServiceKey> out;
  for (const auto& [key, value] : map) out.insert(key);
  return out;
}

constexpr auto kOk = absl::StatusCode::kOk;
constexpr auto kAborted = absl::StatusCode::kAborted;

const ServiceKey kWeb = Key("192.0.2.1:80");
const ServiceKey kDns = Key("192.0.2.1:53");

TEST_F(BackendTest, TakesServiceStepsOfIpvsOnly) {
  EXPECT_TRUE(backend_->Takes(RemoveService{kWeb}));
  ServiceKey other = kWeb;
  other.dataplane = Dataplane::kEbpf;
  EXPECT_FALSE(backend_->Takes(RemoveService{other}));
  EXPECT_FALSE(backend_->Takes(AddItem{Sysctl{"net/ipv4/ip_forward", "1"}}));
}

TEST_F(BackendTest, RealServersOfANewServiceAreAddedLastFirst) {
  EXPECT_THAT(Apply({AddService{kWeb, Config("wrr")}, AddReal{kWeb, Real("10.0.0.1:80")},
                     AddReal{kWeb, Real("10.0.0.2:80")}, AddReal{kWeb, Real("10.0.0.3:80")}}),
              ElementsAre(kOk, kOk, kOk, kOk));
  EXPECT_THAT(Read().services[kWeb].reals,
              ElementsAre(Real("10.0.0.1:80"), Real("10.0.0.2:80"), Real("10.0.0.3:80")));
  EXPECT_THAT(kernel_.commands(), ElementsAre(IPVS_CMD_NEW_SERVICE, IPVS_CMD_NEW_DEST,
                                              IPVS_CMD_NEW_DEST, IPVS_CMD_NEW_DEST));
}

TEST_F(BackendTest, AnMhServiceIsFilledBeforeItHashes) {
  ServiceConfig config = Config("mh");
  config.hash.fallback = true;
  EXPECT_THAT(Apply({AddService{kWeb, config}, AddReal{kWeb, Real("10.0.0.1:80")},
                     AddReal{kWeb, Real("10.0.0.2:80")}}),
              ElementsAre(kOk, kOk, kOk));
  EXPECT_THAT(kernel_.commands(), ElementsAre(IPVS_CMD_NEW_SERVICE, IPVS_CMD_NEW_DEST,
                                              IPVS_CMD_NEW_DEST, IPVS_CMD_SET_SERVICE));
  EXPECT_EQ(Read().services[kWeb].config, config);
}

TEST_F(BackendTest, AnMhServiceThatCannotHashIsTakenBack) {
  kernel_.schedulers.erase("mh");
  EXPECT_THAT(Apply({AddService{kWeb, Config("mh")}, AddReal{kWeb, Real("10.0.0.1:80")},
                     AddReal{kWeb, Real("10.0.0.2:80")}}),
              ElementsAre(absl::StatusCode::kFailedPrecondition, kAborted, kAborted));
  EXPECT_THAT(Message(last_[0]), HasSubstr("ip_vs_mh"));
  EXPECT_TRUE(kernel_.Dump(EncodePlain(Command::kGetService))->empty());
  EXPECT_FALSE(journal_->Owns(kWeb));
}

TEST_F(BackendTest, AnMhServiceHashesAlsoWhenARealServerFailed) {
  EXPECT_THAT(Apply({AddService{kWeb, Config("mh")}, AddReal{kWeb, Real("224.0.0.1:80")},
                     AddReal{kWeb, Real("10.0.0.2:80")}}),
              ElementsAre(kOk, absl::StatusCode::kInvalidArgument, kOk));
  EXPECT_EQ(Read().services[kWeb].config, Config("mh"));
}

TEST_F(BackendTest, ARealServerThatFailsWithItsServiceIsNamedAndTheOthersAreThere) {
  EXPECT_THAT(Apply({AddService{kWeb, Config("rr")}, AddReal{kWeb, Real("10.0.0.1:80")},
                     AddReal{kWeb, Real("224.0.0.1:80")}, AddReal{kWeb, Real("10.0.0.2:80")},
                     SetService{kWeb, Config("lc")}}),
              ElementsAre(kOk, kOk, absl::StatusCode::kInvalidArgument, kOk, kAborted));
  EXPECT_THAT(Message(last_[2]), HasSubstr("224.0.0.1:80"));
  EXPECT_THAT(Read().services[kWeb].reals, ElementsAre(Real("10.0.0.1:80"), Real("10.0.0.2:80")));
  EXPECT_EQ(Read().services[kWeb].config, Config("rr"));
}

TEST_F(BackendTest, AfterAFailedStepTheServicesLaterOnesAreNotTried) {
  ASSERT_THAT(Apply({AddService{kWeb, Config("wrr")}, AddReal{kWeb, Real("10.0.0.1:80")},
                     AddService{kDns, Config("wrr")}}),
              ElementsAre(kOk, kOk, kOk));
  FailCommand(IPVS_CMD_NEW_DEST, ENOMEM);
  EXPECT_THAT(Apply({AddReal{kWeb, Real("10.0.0.2:80")}, RemoveReal{kWeb, Real("10.0.0.1:80").at},
                     SetService{kDns, Config("rr")}, RemoveService{kWeb}}),
              ElementsAre(absl::StatusCode::kUnavailable, kAborted, kOk, kAborted));
  EXPECT_THAT(Message(last_[1]), HasSubstr("not tried"));
  EXPECT_THAT(Read().services[kWeb].reals, ElementsAre(Real("10.0.0.1:80")));
  EXPECT_EQ(Read().services[kDns].config, Config("rr"));
}

TEST_F(BackendTest, ValuesThatCannotBeSentFailTheirStepAlone) {
  RealServer wrong = Real("10.0.0.1:8080");
  wrong.method = ForwardingMethod::kTunnel;
  EXPECT_THAT(Apply({AddService{kWeb, Config("wrr")}, AddReal{kWeb, wrong},
                     AddService{kDns, Config("")}, AddReal{kDns, Real("10.0.0.1:53")}}),
              ElementsAre(kOk, absl::StatusCode::kInvalidArgument,
                          absl::StatusCode::kInvalidArgument, kAborted));
  EXPECT_FALSE(journal_->Owns(kDns));
}

TEST_F(BackendTest, AnothersKeyThatAppearsBetweenLookAndAdditionIsAConflict) {
  FailCommand(IPVS_CMD_NEW_SERVICE, EEXIST);
  EXPECT_THAT(Apply({AddService{kWeb, Config("wrr")}, AddReal{kWeb, Real("10.0.0.1:80")}}),
              ElementsAre(absl::StatusCode::kAlreadyExists, kAborted));
  EXPECT_THAT(Message(last_[0]), HasSubstr("another owner's"));
  EXPECT_THAT(kernel_.commands(), ElementsAre(IPVS_CMD_NEW_SERVICE));
  EXPECT_FALSE(journal_->Owns(kWeb));
  Restart();
  EXPECT_FALSE(journal_->Owns(kWeb));
}

TEST_F(BackendTest, OfAServiceThatWasOursAndIsThereAgainWeReadAgain) {
  ASSERT_THAT(Apply({AddService{kWeb, Config("wrr")}}), ElementsAre(kOk));
  EXPECT_THAT(Apply({AddService{kWeb, Config("wrr")}}), ElementsAre(kAborted));
  EXPECT_TRUE(journal_->Owns(kWeb));
}

TEST_F(BackendTest, WithoutAnAdditionAnothersServiceIsAConflictToo) {
  const std::vector<Bytes> theirs = {*EncodeService(Command::kNewService, kWeb, Config("lc"))};
  ASSERT_EQ((*kernel_.Send(theirs))[0], 0);
  EXPECT_THAT(Apply({RemoveService{kWeb}}), ElementsAre(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(Apply({RemoveService{kDns}}), ElementsAre(kAborted));
  EXPECT_EQ(kernel_.Dump(EncodePlain(Command::kGetService))->size(), 1u);
}

TEST_F(BackendTest, WithoutIpvsReadingsAndAdditionsSayWhatToLoad) {
  kernel_.has_ipvs = false;
  EXPECT_EQ(backend_->Read().status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(backend_->Read().status()), HasSubstr("no ip_vs"));
  EXPECT_EQ(backend_->ReadStats().status(), absl::OkStatus());
  EXPECT_THAT(Apply({AddService{kWeb, Config("wrr")}, AddReal{kWeb, Real("10.0.0.1:80")}}),
              ElementsAre(absl::StatusCode::kFailedPrecondition, kAborted));
  EXPECT_THAT(Message(last_[0]), HasSubstr("no ip_vs"));
  EXPECT_FALSE(journal_->Owns(kWeb));
}

TEST_F(BackendTest, SourceNatIsKeptBesideTheKernel) {
  ServiceConfig config = Config("wrr");
  config.source_nat = true;
  ASSERT_THAT(Apply({AddService{kWeb, config}}), ElementsAre(kOk));
  EXPECT_EQ(Read().services[kWeb].config, config);
  Restart();
  EXPECT_EQ(Read().services[kWeb].config, config);
  config.source_nat = false;
  ASSERT_THAT(Apply({SetService{kWeb, config}}), ElementsAre(kOk));
  Restart();
  EXPECT_EQ(Read().services[kWeb].config, config);
}

TEST_F(BackendTest, AServiceThatAnotherProgramRemovedIsAddedAgainWithItsNewSettings) {
  ServiceConfig config = Config("wrr");
  ASSERT_THAT(Apply({AddService{kWeb, config}}), ElementsAre(kOk));
  const std::vector<Bytes> removal = {EncodeKey(Command::kRemoveService, kWeb)};
  ASSERT_EQ((*kernel_.Send(removal))[0], 0);
  EXPECT_EQ(Read(), State{});
  config.source_nat = true;
  ASSERT_THAT(Apply({AddService{kWeb, config}}), ElementsAre(kOk));
  EXPECT_EQ(Read().services[kWeb].config, config);
}

TEST_F(BackendTest, WhatAnotherProgramDidToOurServiceIsRepaired) {
  State desired;
  desired.services[kWeb] = {Config("wrr"), {Real("10.0.0.1:80", 3)}};
  ASSERT_THAT(Apply(Diff(desired, {}).steps), ElementsAre(kOk, kOk));
  // A flag of no meaning for wrr, and a GUE tunnel.
  Bytes service = *EncodeService(Command::kSetService, kWeb, Config("wrr"));
  const Bytes flags = {12, 0, IPVS_SVC_ATTR_FLAGS, 0, 0, 0, 0, 0};
  auto at = std::search(service.begin(), service.end(), flags.begin(), flags.end());
  ASSERT_NE(at, service.end());
  at[4] = IP_VS_SVC_F_SCHED3;
  ASSERT_EQ((*kernel_.Send(std::vector<Bytes>{service}))[0], 0);
  Bytes real = *EncodeReal(Command::kSetReal, kWeb, Real("10.0.0.1:80", 3));
  const Bytes method = {8, 0, IPVS_DEST_ATTR_FWD_METHOD, 0};
  at = std::search(real.begin(), real.end(), method.begin(), method.end());
  ASSERT_NE(at, real.end());
  at[4] = IP_VS_CONN_F_BYPASS;
  ASSERT_EQ((*kernel_.Send(std::vector<Bytes>{real}))[0], 0);

  const Plan repair = Diff(desired, Read());
  EXPECT_EQ(repair.steps.size(), 2u) << ToString(repair);
  Apply(repair.steps);
  EXPECT_EQ(Read(), desired);
}

TEST_F(BackendTest, CountsTheServicesOfOthers) {
  const auto add = [this](const std::string& vip) {
    const std::vector<Bytes> request = {
        *EncodeService(Command::kNewService, Key(vip), Config("lc"))};
    ASSERT_EQ(kernel_.Send(request)->front(), 0);
  };
  Read();
  EXPECT_EQ(backend_->other_services(), 0u);
  add("192.0.2.200:80");
  Read();
  EXPECT_EQ(backend_->other_services(), 1u);
  Apply({AddService{kWeb, Config("wrr")}});
  add("192.0.2.201:80");
  Read();
  EXPECT_EQ(backend_->other_services(), 2u);
}

TEST_F(BackendTest, CountsOurServicesAndTheirRealServers) {
  ASSERT_THAT(Apply({AddService{kWeb, Config("wrr")}, AddReal{kWeb, Real("10.0.0.1:80", 5)}}),
              ElementsAre(kOk, kOk));
  const Counters counters{
      .packets = 5, .bytes = 6, .connections = uint64_t{1} << 40, .reply_packets = 7};
  kernel_.Count(kWeb, *Endpoint::Parse("10.0.0.1:80"), counters, 2, 3);
  const auto stats = backend_->ReadStats();
  ASSERT_EQ(stats.status(), absl::OkStatus());
  EXPECT_THAT(stats->services, UnorderedElementsAre(std::pair(kWeb, counters)));
  EXPECT_THAT(stats->reals,
              UnorderedElementsAre(std::pair(std::pair(kWeb, *Endpoint::Parse("10.0.0.1:80")),
                                             RealServerStats{.counters = counters,
                                                             .weight = 5,
                                                             .active_connections = 2,
                                                             .inactive_connections = 3})));
}

// Sends nothing, and says that it may have.
class LostChannel final : public Channel {
 public:
  explicit LostChannel(Channel& real) : real_(real) {}
  absl::StatusOr<std::vector<int>> Send(std::span<const Bytes>) override {
    return absl::UnavailableError("no answer within 30 s");
  }
  absl::StatusOr<Messages> Dump(const Bytes& request) override { return real_.Dump(request); }
  absl::StatusOr<Bytes> Ask(const Bytes& request) override { return real_.Ask(request); }

 private:
  Channel& real_;
};

TEST_F(BackendTest, AKeyWhoseAdditionWasLostIsForgottenUnlessItIsThereOrDesired) {
  LostChannel lost(kernel_);
  backend_ = std::make_unique<IpvsBackend>(lost, *journal_, marks_, check_);
  EXPECT_THAT(Apply({AddService{kWeb, Config("wrr")}, AddService{kDns, Config("wrr")}}),
              ElementsAre(absl::StatusCode::kUnavailable, absl::StatusCode::kUnavailable));
  EXPECT_EQ(Keys(journal_->claims()), (std::set<ServiceKey>{kWeb, kDns}));
  // One of them did arrive.
  ASSERT_THAT(
      *kernel_.Send(std::vector<Bytes>{*EncodeService(Command::kNewService, kDns, Config("wrr"))}),
      ElementsAre(0));
  EXPECT_EQ(backend_->ForgetAllBut({{kWeb, {}}}), absl::OkStatus());
  EXPECT_EQ(Keys(journal_->claims()), (std::set<ServiceKey>{kWeb, kDns}));
  EXPECT_EQ(backend_->ForgetAllBut({}), absl::OkStatus());
  EXPECT_EQ(Keys(journal_->claims()), std::set<ServiceKey>{kDns});
  // So it is another's who adds it now.
  Restart();
  ASSERT_THAT(
      *kernel_.Send(std::vector<Bytes>{*EncodeService(Command::kNewService, kWeb, Config("lc"))}),
      ElementsAre(0));
  EXPECT_THAT(Keys(Read().services), UnorderedElementsAre(kDns));
}

// With any share of failing requests below one, repetition arrives, and nothing of another's is
// ever touched.
TEST_F(BackendTest, Heals) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const ServiceKey theirs = Key("192.0.2.200:80");
  ASSERT_EQ((*kernel_.Send(
                std::vector<Bytes>{*EncodeService(Command::kNewService, theirs, Config("lc"))}))[0],
            0);
  kernel_.fault = [&](const Bytes&) { return random() % 3 == 0 ? ENOMEM : 0; };
  const std::vector<std::string> schedulers = {"rr", "wrr", "mh", "wlc"};
  for (int round = 0; round < 60; ++round) {
    State desired;
    for (int s = 1; s <= 4; ++s) {
      if (random() % 4 == 0) continue;
      VirtualService service{Config(schedulers[random() % schedulers.size()]), {}};
      service.config.source_nat = random() % 2 == 0;
      for (int r = 1; r <= 5; ++r) {
        if (random() % 2) continue;
        service.reals.push_back(Real("10.0.0." + std::to_string(r) + ":80", random() % 4));
      }
      desired.services[Key("192.0.2." + std::to_string(s) + ":80")] = service;
    }
    int tries = 0;
    for (; tries < 200; ++tries) {
      if (random() % 5 == 0) Restart();
      const Plan plan = Diff(desired, Read());
      if (plan.steps.empty()) break;
      Apply(plan.steps);
    }
    ASSERT_LT(tries, 200) << ToString(Diff(desired, Read()));
  }
  EXPECT_EQ(DecodeService(*kernel_.Ask(EncodeKey(Command::kGetService, theirs)))->config,
            Config("lc"));
}

TEST_F(BackendTest, AKernelThatTakesEveryTunnelForIpipIsFoundOutAndRefused) {
  kernel_.knows_tunnels = false;
  RealServer gue = Real("10.0.0.1:80");
  gue.method = ForwardingMethod::kTunnel;
  gue.tunnel = {.type = TunnelType::kGue, .port = 6080};
  RealServer ipip = Real("10.0.0.2:80");
  ipip.method = ForwardingMethod::kTunnel;
  const auto missing = absl::StatusCode::kFailedPrecondition;
  EXPECT_THAT(Apply({AddService{kWeb, Config("wrr")}, AddReal{kWeb, gue}, AddReal{kWeb, ipip}}),
              ElementsAre(kOk, missing, kOk));
  EXPECT_THAT(Message(last_[1]), HasSubstr("no GUE tunnels"));
  EXPECT_THAT(Message(last_[1]), HasSubstr("10.0.0.1:80"));
  EXPECT_THAT(Read().services[kWeb].reals, ElementsAre(ipip));
  // Now that it is known, none is sent.
  const uint64_t sent = kernel_.changes_sent();
  RealServer gre = gue;
  gre.tunnel = {.type = TunnelType::kGre};
  EXPECT_THAT(Apply({AddReal{kWeb, gre}}), ElementsAre(missing));
  EXPECT_THAT(Message(last_[0]), HasSubstr("no GRE tunnels"));
  EXPECT_EQ(kernel_.changes_sent(), sent);
}

TEST_F(BackendTest, AKernelThatKnowsTunnelsIsAskedOnce) {
  std::vector<Step> steps = {AddService{kWeb, Config("wrr")}};
  for (int n = 1; n <= 3; ++n) {
    RealServer gre = Real("10.0.0." + std::to_string(n) + ":80");
    gre.method = ForwardingMethod::kTunnel;
    gre.tunnel = {.type = TunnelType::kGre, .port = 0, .checksum = true};
    steps.push_back(AddReal{kWeb, gre});
  }
  EXPECT_THAT(Apply(steps), ElementsAre(kOk, kOk, kOk, kOk));
  EXPECT_EQ(kernel_.changes_sent(), 4u);
  EXPECT_EQ(Read().services[kWeb].reals.front(), std::get<AddReal>(steps[1]).real);
}

TEST_F(BackendTest, ASchedulerThatThisNodeMustNotLoadIsNeverAskedFor) {
  check_ = [](const std::string& name) {
    return name == "lblc" ? absl::FailedPreconditionError("load ip_vs_lblc") : absl::OkStatus();
  };
  Restart();
  EXPECT_THAT(Apply({AddService{kWeb, Config("lblc")}, AddService{kDns, Config("wrr")}}),
              ElementsAre(absl::StatusCode::kFailedPrecondition, kOk));
  EXPECT_THAT(Apply({SetService{kDns, Config("lblc")}}),
              ElementsAre(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(kernel_.commands(), ElementsAre(IPVS_CMD_NEW_SERVICE));
  EXPECT_FALSE(journal_->Owns(kWeb));
}

TEST_F(BackendTest, WithoutWideStatisticsTheNarrowOnesCount) {
  kernel_.knows_wide_statistics = false;
  ASSERT_THAT(Apply({AddService{kWeb, Config("wrr")}, AddReal{kWeb, Real("10.0.0.1:80")}}),
              ElementsAre(kOk, kOk));
  const Counters counters{.packets = 5,
                          .bytes = uint64_t{1} << 40,
                          .connections = 7,
                          .reply_packets = 4,
                          .reply_bytes = uint64_t{1} << 41};
  kernel_.Count(kWeb, *Endpoint::Parse("10.0.0.1:80"), counters, 2, 3);
  EXPECT_EQ(backend_->ReadStats()->services[kWeb], counters);
}

// As above, over a socket on which everything goes wrong that can: requests are applied and their
// answers lost. Once it is mended, the first reading that differs in nothing sends nothing.
TEST_F(BackendTest, HealsOverABadSocket) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const ServiceKey theirs = Key("192.0.2.200:80");
  const std::vector<Bytes> addition = {*EncodeService(Command::kNewService, theirs, Config("lc")),
                                       *EncodeReal(Command::kNewReal, theirs, Real("10.9.9.9:80"))};
  ASSERT_THAT(*kernel_.Send(addition), ElementsAre(0, 0));
  const std::vector<std::string> schedulers = {"rr", "wrr", "mh", "wlc"};
  uint64_t faults = 0, left_behind = 0;
  for (int round = 0; round < 25; ++round) {
    State desired;
    for (int s = 1; s <= 4; ++s) {
      if (random() % 4 == 0) continue;
      VirtualService service{Config(schedulers[random() % schedulers.size()]), {}};
      service.config.source_nat = random() % 2 == 0;
      for (int r = 1; r <= 5; ++r) {
        if (random() % 2) continue;
        RealServer real = Real("10.0.0." + std::to_string(r) + ":80", random() % 4);
        if (random() % 2) {
          real.method = ForwardingMethod::kTunnel;
          real.tunnel = {.type = TunnelType::kGue, .port = static_cast<uint16_t>(1 + random() % 9)};
        }
        service.reals.push_back(real);
      }
      desired.services[Key("192.0.2." + std::to_string(s) + ":80")] = service;
    }
    FaultyChannel channel(kernel_, random(), 8);
    backend_ = std::make_unique<IpvsBackend>(channel, *journal_, marks_, check_);
    // Of what was begun for other wishes, some is never finished.
    State other = desired;
    other.services[Key("192.0.2.9:" + std::to_string(80 + round))] = {Config("rr"), {}};
    if (const auto state = backend_->Read(); state.ok()) Apply(Diff(other, *state).steps);
    int tries = 0;
    for (; tries < 200; ++tries) {
      if (random() % 9 == 0) {
        Restart();
        backend_ = std::make_unique<IpvsBackend>(channel, *journal_, marks_, check_);
      }
      const auto state = backend_->Read();
      if (!state.ok()) {
        ASSERT_EQ(state.status().code(), absl::StatusCode::kUnavailable);
        continue;
      }
      const Plan plan = Diff(desired, *state);
      if (plan.steps.empty()) break;
      Apply(plan.steps);
    }
    ASSERT_LT(tries, 200) << ToString(Diff(desired, *backend_->Read()));
    faults += channel.faults();
    channel.StopFaults();
    const uint64_t sent = kernel_.changes_sent();
    Restart();
    EXPECT_TRUE(Diff(desired, Read()).steps.empty());
    // What was lost on the way to a key that nobody desires any more leaves nothing behind.
    left_behind += journal_->claims().size() - desired.services.size();
    EXPECT_EQ(backend_->ForgetAllBut(desired.services), absl::OkStatus());
    EXPECT_EQ(Keys(journal_->claims()), Keys(desired.services));
    EXPECT_EQ(kernel_.changes_sent(), sent);
  }
  EXPECT_GT(faults, 50u);
  EXPECT_GT(left_behind, 0u);
  EXPECT_EQ(DecodeService(*kernel_.Ask(EncodeKey(Command::kGetService, theirs)))->config,
            Config("lc"));
  EXPECT_EQ(kernel_.Dump(EncodeKey(Command::kGetReal, theirs))->size(), 1u);
}

}  // namespace
}  // namespace kube_lvs::ipvs
