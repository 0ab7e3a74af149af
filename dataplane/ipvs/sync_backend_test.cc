#include "dataplane/ipvs/sync_backend.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <map>

#include "base/status.h"
#include "dataplane/ipvs/fake_kernel.h"
#include "dataplane/ipvs/reading.h"
#include "dataplane/ipvs/settings_codec.h"
#include "dataplane/plan/diff.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kube_lvs::ipvs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

SyncDaemon Daemon(SyncRole role, uint32_t id = 7, const std::string& interface = "eth0") {
  return {.role = role, .interface = interface, .sync_id = id};
}

class SyncBackendTest : public ::testing::Test {
 protected:
  ~SyncBackendTest() override { std::filesystem::remove(path_); }

  SyncBackend Backend(const std::string& boot_id = "boot") { return {kernel_, path_, boot_id}; }
  std::set<NodeItem> Read(const std::string& boot_id = "boot") {
    SyncBackend backend = Backend(boot_id);
    const auto state = backend.Read();
    EXPECT_EQ(state.status(), absl::OkStatus());
    return state->items;
  }
  absl::Status Apply(const Step& step) {
    SyncBackend backend = Backend();
    EXPECT_TRUE(backend.Takes(step));
    return backend.Apply(std::vector<Step>{step}).front();
  }
  // As others start one.
  void StartAsOther(const SyncDaemon& daemon) {
    const std::vector<Bytes> request = {*EncodeDaemon(daemon)};
    ASSERT_EQ(kernel_.Send(request)->front(), 0);
  }
  std::map<SyncRole, SyncDaemon> Running() {
    std::map<SyncRole, SyncDaemon> out;
    const std::vector<SyncDaemon> daemons = *ReadDaemons(kernel_);
    for (SyncDaemon daemon : daemons) {
      daemon.max_length = 0;
      out[daemon.role] = daemon;
    }
    return out;
  }

  FakeKernel kernel_;
  const std::string path_ = "/dev/shm/sync-journal-" + std::to_string(getpid());
};

const SyncDaemon kMaster = Daemon(SyncRole::kMaster);
const SyncDaemon kBackup = Daemon(SyncRole::kBackup);

TEST_F(SyncBackendTest, BothDaemonsAreStartedReadAndStopped) {
  EXPECT_EQ(Read(), (std::set<NodeItem>{}));
  EXPECT_EQ(Apply(AddItem{kMaster}), absl::OkStatus());
  EXPECT_EQ(Apply(AddItem{kBackup}), absl::OkStatus());
  EXPECT_EQ(Read(), (std::set<NodeItem>{kMaster, kBackup}));
  EXPECT_EQ(Running(), (std::map<SyncRole, SyncDaemon>{{SyncRole::kMaster, kMaster},
                                                       {SyncRole::kBackup, kBackup}}));
  EXPECT_EQ(Apply(RemoveItem{kMaster}), absl::OkStatus());
  EXPECT_EQ(Read(), (std::set<NodeItem>{kBackup}));
  EXPECT_EQ(Apply(RemoveItem{kBackup}), absl::OkStatus());
  EXPECT_TRUE(Running().empty());
}

TEST_F(SyncBackendTest, ANodeThatNeverHadOneDoesNotAskTheKernel) {
  kernel_.has_ipvs = false;
  EXPECT_EQ(Read(), (std::set<NodeItem>{}));
  EXPECT_EQ(Apply(AddItem{kMaster}).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(SyncBackendTest, AnotherOwnersDaemonIsNeitherReadNorStopped) {
  StartAsOther(kMaster);
  EXPECT_EQ(Read(), (std::set<NodeItem>{}));
  const absl::Status status = Apply(AddItem{kMaster});
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(Message(status), HasSubstr("ipvsadm --stop-daemon master"));
  EXPECT_EQ(Apply(RemoveItem{kMaster}), absl::OkStatus());
  EXPECT_EQ(Running().count(SyncRole::kMaster), 1u);
  // The other role is free.
  EXPECT_EQ(Apply(AddItem{kBackup}), absl::OkStatus());
  EXPECT_EQ(Read(), (std::set<NodeItem>{kBackup}));
}

TEST_F(SyncBackendTest, OneThatWasReplacedByAnotherOwnerIsNotOursAnyMore) {
  ASSERT_EQ(Apply(AddItem{kMaster}), absl::OkStatus());
  const std::vector<Bytes> stop = {EncodeRemoveDaemon(SyncRole::kMaster)};
  ASSERT_EQ(kernel_.Send(stop)->front(), 0);
  StartAsOther(Daemon(SyncRole::kMaster, 9));
  EXPECT_EQ(Read(), (std::set<NodeItem>{}));
  EXPECT_EQ(Apply(AddItem{kMaster}).code(), absl::StatusCode::kAlreadyExists);
}

TEST_F(SyncBackendTest, OtherSettingsTakeThePlaceOfOurs) {
  const SyncDaemon other = Daemon(SyncRole::kMaster, 8, "lo");
  ASSERT_EQ(Apply(AddItem{kMaster}), absl::OkStatus());
  const Plan plan = Diff({.services = {}, .items = {other}}, {.services = {}, .items = Read()});
  ASSERT_THAT(plan.steps, ElementsAre(Step(AddItem{other})));
  EXPECT_EQ(Apply(plan.steps[0]), absl::OkStatus());
  EXPECT_EQ(Read(), (std::set<NodeItem>{other}));
  // What was replaced is nobody's now.
  EXPECT_EQ(Apply(RemoveItem{other}), absl::OkStatus());
  StartAsOther(kMaster);
  EXPECT_EQ(Read(), (std::set<NodeItem>{}));
}

TEST_F(SyncBackendTest, WhatCannotStartIsNotOurs) {
  const SyncDaemon nowhere = Daemon(SyncRole::kMaster, 7, "eth9");
  const absl::Status status = Apply(AddItem{nowhere});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(status), HasSubstr("eth9"));
  kernel_.interfaces.insert("eth9");
  StartAsOther(nowhere);
  EXPECT_EQ(Read(), (std::set<NodeItem>{}));
}

TEST_F(SyncBackendTest, AnotherProcessFindsOursAndAnotherBootDoesNot) {
  ASSERT_EQ(Apply(AddItem{kBackup}), absl::OkStatus());
  EXPECT_EQ(Read("boot"), (std::set<NodeItem>{kBackup}));
  EXPECT_EQ(Read("next boot"), (std::set<NodeItem>{}));
}

TEST_F(SyncBackendTest, ACrashBetweenStopAndStartIsFoundAgain) {
  const SyncDaemon other = Daemon(SyncRole::kMaster, 8);
  ASSERT_EQ(Apply(AddItem{kMaster}), absl::OkStatus());
  kernel_.fault = [](const Bytes& request) {
    return request[0] == static_cast<uint8_t>(Command::kNewDaemon) ? ENOMEM : 0;
  };
  EXPECT_EQ(Apply(AddItem{other}).code(), absl::StatusCode::kUnavailable);
  kernel_.fault = nullptr;
  EXPECT_EQ(Read(), (std::set<NodeItem>{}));
  EXPECT_EQ(Apply(AddItem{other}), absl::OkStatus());
  EXPECT_EQ(Read(), (std::set<NodeItem>{other}));
}

TEST(SyncJournal, SaysWhatItWasTold) {
  SyncDaemon six = kMaster;
  six.group = *IpAddress::Parse("ff02::81");
  six.port = 9000;
  six.ttl = 3;
  const std::set<SyncDaemon> both = {six, kBackup};
  const std::string text = SyncJournalText(both, "boot");
  EXPECT_EQ(text, "boot\nmaster eth0 7 ff02::81 9000 3\nbackup eth0 7 224.0.0.81 8848 1\n");
  EXPECT_EQ(*ParseSyncJournal(text, "boot"), both);
  EXPECT_TRUE(ParseSyncJournal(text, "another boot")->empty());
  EXPECT_TRUE(ParseSyncJournal("", "boot")->empty());
  for (const std::string bad :
       {"master eth0 7", "slave eth0 7 224.0.0.81 8848 1", "master eth0 7 224.0.0.81 88480 1"}) {
    EXPECT_EQ(ParseSyncJournal("boot\n" + bad + "\n", "boot").status().code(),
              absl::StatusCode::kDataLoss)
        << bad;
  }
}

}  // namespace
}  // namespace kube_lvs::ipvs
