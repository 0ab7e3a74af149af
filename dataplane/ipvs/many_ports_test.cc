// Services of many ports: marks, and what is in the kernel by them.
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <random>
#include <set>
#include <string>

#include "base/status.h"
#include "dataplane/ipvs/backend.h"
#include "dataplane/ipvs/fake_kernel.h"
#include "dataplane/ipvs/fake_marks.h"
#include "dataplane/plan/diff.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kube_lvs::ipvs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr auto kOk = absl::StatusCode::kOk;
constexpr auto kAborted = absl::StatusCode::kAborted;

RealServer Real(const std::string& at) {
  return {.at = *Endpoint::Parse(at), .method = ForwardingMethod::kNat, .weight = 1};
}

ServiceConfig Config(const std::string& scheduler) {
  ServiceConfig out;
  out.scheduler = scheduler;
  return out;
}

const ServiceKey kWeb = {Dataplane::kIpvs, *Endpoint::Parse("192.0.2.1:80"), Protocol::kTcp};

ServiceKey Range(uint16_t first, uint16_t last) {
  return {.dataplane = Dataplane::kIpvs,
          .match = PortRange{*IpAddress::Parse("192.0.2.1"), first, last},
          .protocol = Protocol::kUdp};
}

const ServiceKey kMedia = Range(10000, 10100);
const ServiceKey kAll = {.dataplane = Dataplane::kIpvs,
                         .match = AllPorts{*IpAddress::Parse("192.0.2.2")},
                         .protocol = Protocol::kTcp};

const ServiceKey kPrefix = {.dataplane = Dataplane::kIpvs,
                            .match = Prefix{*Cidr::Parse("198.51.100.0/24"), 443, 443},
                            .protocol = Protocol::kTcp};

class ManyPortsTest : public ::testing::Test {
 protected:
  ManyPortsTest() { Restart(); }
  ~ManyPortsTest() override { std::filesystem::remove(path_); }

  void Restart() {
    auto journal = Journal::Open(path_, "boot");
    ASSERT_EQ(journal.status(), absl::OkStatus());
    journal_ = std::make_unique<Journal>(*std::move(journal));
    backend_ = std::make_unique<IpvsBackend>(kernel_, *journal_, marks_,
                                             [](const std::string&) { return absl::OkStatus(); });
  }
  std::vector<absl::StatusCode> Apply(const std::vector<Step>& steps) {
    std::vector<absl::StatusCode> out;
    last_ = backend_->Apply(steps);
    for (const absl::Status& status : last_) out.push_back(status.code());
    return out;
  }
  State Read() {
    const auto state = backend_->Read();
    return state.ok() ? *state : State{};
  }
  static State Desired() {
    State out;
    out.services[kMedia] = {Config("rr"), {Real("10.0.0.1:0"), Real("10.0.0.2:0")}};
    out.services[kAll] = {Config("wrr"), {Real("10.0.0.1:0")}};
    out.services[kPrefix] = {Config("lblc"), {Real("10.0.0.1:8443")}};
    out.services[kWeb] = {Config("wrr"), {Real("10.0.0.1:80")}};
    return out;
  }
  // The kernel's keys.
  std::set<ServiceKey> InKernel() {
    std::set<ServiceKey> out;
    const auto messages = kernel_.Dump(EncodePlain(Command::kGetService));
    for (const ByteView message : *messages) out.insert(DecodeService(message)->key);
    return out;
  }
  static ServiceKey Marked(uint32_t mark) {
    return {Dataplane::kIpvs, FwMark{mark, Family::kIpv4}, Protocol::kTcp};
  }
  void Reach(const State& desired) {
    const Plan plan = Diff(desired, Read());
    for (const absl::StatusCode code : Apply(plan.steps)) EXPECT_EQ(code, kOk) << ToString(plan);
    EXPECT_TRUE(Diff(desired, Read()).steps.empty()) << ToString(Diff(desired, Read()));
  }

  FakeKernel kernel_;
  FakeMarks marks_;
  std::string path_ = "/dev/shm/many-ports-journal-" + std::to_string(getpid()) + "-" +
                      ::testing::UnitTest::GetInstance()->current_test_info()->name();
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<IpvsBackend> backend_;
  std::vector<absl::Status> last_;
};

TEST_F(ManyPortsTest, AreInTheKernelByTheirMarksAndReadBackAsDesired) {
  Reach(Desired());
  EXPECT_EQ(Read(), Desired());
  ASSERT_EQ(marks_.marks.size(), 3u);
  EXPECT_EQ(InKernel(),
            (std::set<ServiceKey>{kWeb, Marked(marks_.marks[kMedia]), Marked(marks_.marks[kAll]),
                                  Marked(marks_.marks[kPrefix])}));
  const auto some = backend_->ReadServices({kMedia, kWeb});
  EXPECT_EQ(some->services, (ServiceTable{{kMedia, Desired().services.at(kMedia)},
                                          {kWeb, Desired().services.at(kWeb)}}));
  EXPECT_EQ(backend_->ReadStats()->services.size(), 4u);
  EXPECT_TRUE(backend_->ReadStats()->reals.contains({kMedia, Real("10.0.0.2:0").at}));
}

TEST_F(ManyPortsTest, ArePutInPlaceByOneWriteAfterTheirRealServersAndARestartSendsNothing) {
  size_t requests_before_marks = 0;
  marks_.on_write = [&] { requests_before_marks = kernel_.commands().size(); };
  Reach(Desired());
  EXPECT_EQ(marks_.writes, 1u);
  EXPECT_EQ(requests_before_marks, 4u + 5u);
  const uint64_t sent = kernel_.changes_sent();
  Restart();
  Reach(Desired());
  EXPECT_EQ(kernel_.changes_sent(), sent);
  EXPECT_EQ(marks_.writes, 1u);
}

TEST_F(ManyPortsTest, AreUnmarkedBeforeTheyGoAndTheKeyIsFreeAgain) {
  Reach(Desired());
  const Marks before = marks_.marks;
  bool there = false;
  marks_.on_write = [&] { there = InKernel().contains(Marked(before.at(kMedia))); };
  State next = Desired();
  next.services.erase(kMedia);
  Reach(next);
  EXPECT_TRUE(there);
  EXPECT_EQ(marks_.marks, (Marks{{kAll, before.at(kAll)}, {kPrefix, before.at(kPrefix)}}));
  EXPECT_FALSE(journal_->Owns(kMedia));
  Reach(Desired());
  EXPECT_EQ(marks_.marks, before);
  Reach(State{});
  EXPECT_TRUE(marks_.marks.empty());
  EXPECT_TRUE(InKernel().empty());
}

TEST_F(ManyPortsTest, WhosePacketsAreNoMoreMarkedReadAsUnreachedAndAreMarkedAgain) {
  Reach(Desired());
  const Marks before = marks_.marks;
  marks_.marks.clear();
  State unreached = Desired();
  unreached.services[kMedia].config.unreached = true;
  unreached.services[kAll].config.unreached = true;
  unreached.services[kPrefix].config.unreached = true;
  EXPECT_EQ(Read(), unreached);
  EXPECT_EQ(ToString(Diff(Desired(), Read())),
            "set IPVS 192.0.2.1:10000-10100/udp rr\nset IPVS 192.0.2.2:all wrr\n"
            "set IPVS 198.51.100.0/24:443/tcp lblc\n");
  Reach(Desired());
  EXPECT_EQ(marks_.marks, before);
  marks_.marks[kMedia] = 7;
  Reach(Desired());
  EXPECT_EQ(marks_.marks, before);
}

TEST_F(ManyPortsTest, ThatCannotBeMarkedSayWhyAndOthersGoOn) {
  marks_.failure = absl::FailedPreconditionError("no nf_tables; load them");
  const Plan plan = Diff(Desired(), {});
  last_ = backend_->Apply(plan.steps);
  for (size_t i = 0; i < last_.size(); ++i) {
    const auto* add = std::get_if<AddService>(&plan.steps[i]);
    const bool cannot = add != nullptr && NeedsMark(add->key);
    EXPECT_EQ(last_[i].code(), cannot ? absl::StatusCode::kFailedPrecondition : kOk) << last_[i];
  }
  EXPECT_FALSE(Read().services[kWeb].config.unreached);
  EXPECT_TRUE(Read().services[kMedia].config.unreached);
  marks_.failure = absl::OkStatus();
  Reach(Desired());
}

TEST_F(ManyPortsTest, ARangeThatGrowsTakesItsPacketsInOneStep) {
  Reach(Desired());
  State next = Desired();
  next.services.erase(kMedia);
  next.services[Range(10000, 10200)] = Desired().services.at(kMedia);
  bool both_there = false;
  marks_.on_write = [&] { both_there = InKernel().size() == 5; };
  marks_.writes = 0;
  Reach(next);
  EXPECT_TRUE(both_there);
  EXPECT_EQ(marks_.writes, 1u);
  EXPECT_TRUE(marks_.marks.contains(Range(10000, 10200)));
  EXPECT_FALSE(marks_.marks.contains(kMedia));
}

TEST_F(ManyPortsTest, NeverTakeAForeignMarkNorAForeignServicesPackets) {
  const uint32_t first_choice = ChooseMark(kMedia, {});
  const std::vector<Bytes> foreign = {
      *EncodeService(Command::kNewService, Marked(first_choice), Config("lc"))};
  ASSERT_EQ(kernel_.Send(foreign)->front(), 0);
  Reach(Desired());
  EXPECT_NE(marks_.marks[kMedia], first_choice);
  EXPECT_TRUE(InKernel().contains(Marked(first_choice)));
  Reach(State{});

  ServiceKey theirs = kMedia;
  theirs.match = Endpoint{*IpAddress::Parse("192.0.2.1"), 10050};
  const std::vector<Bytes> inside = {*EncodeService(Command::kNewService, theirs, Config("lc"))};
  ASSERT_EQ(kernel_.Send(inside)->front(), 0);
  EXPECT_THAT(Apply({AddService{kMedia, Config("rr")}}),
              ElementsAre(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(Message(last_[0]),
              HasSubstr("IPVS 192.0.2.1:10000-10100/udp would take packets from IPVS "
                        "192.0.2.1:10050/udp, which is another owner's"));
  EXPECT_TRUE(marks_.marks.empty());
}

TEST_F(ManyPortsTest, APrefixTakesNoForeignServicesPackets) {
  ServiceKey theirs = kPrefix;
  theirs.match = Endpoint{*IpAddress::Parse("198.51.100.200"), 443};
  const std::vector<Bytes> inside = {*EncodeService(Command::kNewService, theirs, Config("lc"))};
  ASSERT_EQ(kernel_.Send(inside)->front(), 0);
  EXPECT_THAT(Apply({AddService{kPrefix, Config("rr")}}),
              ElementsAre(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(Message(last_[0]), HasSubstr("198.51.100.0/24:443/tcp would take packets from IPVS "
                                           "198.51.100.200:443/tcp"));
  ServiceKey another_port = kPrefix;
  std::get<Prefix>(another_port.match) = {*Cidr::Parse("198.51.100.0/24"), 80, 80};
  EXPECT_THAT(Apply({AddService{another_port, Config("rr")}}), ElementsAre(kOk));
}

TEST_F(ManyPortsTest, RemovingOrChangingWhatIsNotThereTouchesNothing) {
  EXPECT_THAT(Apply({RemoveService{kMedia}, SetService{kAll, Config("rr")}}),
              ElementsAre(kAborted, kAborted));
  EXPECT_TRUE(kernel_.commands().empty());
  EXPECT_EQ(marks_.writes, 0u);
}

TEST_F(ManyPortsTest, AnMhServiceIsMarkedWhenItHashes) {
  State desired;
  desired.services[kMedia] = {Config("mh"), {Real("10.0.0.1:0"), Real("10.0.0.2:0")}};
  std::string scheduler;
  marks_.on_write = [&] { scheduler = Read().services[kMedia].config.scheduler; };
  Reach(desired);
  EXPECT_EQ(scheduler, "mh");
}

TEST_F(ManyPortsTest, HealWithAnyShareOfFailingCalls) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  kernel_.fault = [&](const Bytes&) { return random() % 3 == 0 ? ENOMEM : 0; };
  marks_.on_write = [&] {
    marks_.failure = random() % 3 == 0 ? absl::UnavailableError("busy") : absl::OkStatus();
  };
  const std::vector<State> goals = {Desired(), {}, Desired()};
  for (const State& goal : goals) {
    int tries = 0;
    while (!Diff(goal, Read()).steps.empty() && ++tries < 200) {
      Apply(Diff(goal, Read()).steps);
      marks_.failure = absl::OkStatus();
    }
    EXPECT_LT(tries, 200);
  }
}

}  // namespace
}  // namespace kube_lvs::ipvs
