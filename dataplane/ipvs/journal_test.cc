#include "dataplane/ipvs/journal.h"

#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace kube_lvs::ipvs {
namespace {

using ::testing::HasSubstr;

ServiceKey Key(const std::string& vip, Protocol protocol = Protocol::kTcp) {
  return {.dataplane = Dataplane::kIpvs, .match = *Endpoint::Parse(vip), .protocol = protocol};
}

ServiceKey Mark(uint32_t mark, Family family) {
  return {.dataplane = Dataplane::kIpvs, .match = FwMark{mark, family}, .protocol = Protocol::kTcp};
}

ServiceKey Range(const std::string& vip, uint16_t first, uint16_t last) {
  return {.dataplane = Dataplane::kIpvs,
          .match = PortRange{*IpAddress::Parse(vip), first, last},
          .protocol = Protocol::kUdp};
}

ServiceKey All(const std::string& vip) {
  return {.dataplane = Dataplane::kIpvs,
          .match = AllPorts{*IpAddress::Parse(vip)},
          .protocol = Protocol::kTcp};
}

ServiceKey Of(const std::string& prefix, uint16_t first, uint16_t last) {
  return {.dataplane = Dataplane::kIpvs,
          .match = Prefix{*Cidr::Parse(prefix), first, last},
          .protocol = first == 0 ? Protocol::kTcp : Protocol::kUdp};
}

class JournalTest : public ::testing::Test {
 protected:
  ~JournalTest() override { std::filesystem::remove_all(directory_); }

  Journal Open(const std::string& boot = "boot-1") {
    auto journal = Journal::Open(path_, boot);
    EXPECT_EQ(journal.status(), absl::OkStatus());
    return *std::move(journal);
  }
  std::string Text() {
    std::stringstream out;
    out << std::ifstream(path_).rdbuf();
    return out.str();
  }
  void Write(const std::string& text) { std::ofstream(path_, std::ios::trunc) << text; }

  std::string directory_ = [] {
    std::string out = std::string(::testing::TempDir()) + "/journal-XXXXXX";
    EXPECT_NE(mkdtemp(out.data()), nullptr);
    return out;
  }();
  std::string path_ = directory_ + "/ipvs.journal";
};

TEST_F(JournalTest, KeepsClaimsOverARestart) {
  const Claims wanted = {
      {Key("192.0.2.1:80"), {}},
      {Key("192.0.2.1:80", Protocol::kSctp), {.source_nat = true}},
      {Key("[2001:db8::1]:53", Protocol::kUdp), {.source_nat = true}},
      {Range("192.0.2.1", 10000, 10100), {.source_nat = true, .mark = 4294967295}},
      {Range("2001:db8::1", 1, 65535), {.mark = 5}},
      {All("192.0.2.2"), {.mark = 6}},
      {All("2001:db8::2"), {.source_nat = true, .mark = 7}},
      {Of("198.51.100.0/24", 80, 80), {.mark = 8}},
      {Of("198.51.100.0/24", 81, 99), {.source_nat = true, .mark = 9}},
      {Of("203.0.113.0/24", 0, 65535), {.mark = 10}},
      {Of("2001:db8:1::/48", 1, 65535), {.mark = 11}},
      {Of("2001:db8:2::/48", 0, 65535), {.mark = 12}},
      {Mark(4294967295, Family::kIpv6), {}},
      {Mark(7, Family::kIpv4), {.source_nat = true}}};
  {
    Journal journal = Open();
    for (const auto& [key, kept] : wanted) {
      const std::vector<Claim> one = {{key, kept.source_nat, kept.mark}};
      EXPECT_EQ(journal.Add(one), absl::OkStatus());
    }
    EXPECT_EQ(journal.claims(), wanted);
  }
  EXPECT_EQ(Open().claims(), wanted);
}

TEST_F(JournalTest, RemovalsAndChangesAreKeptToo) {
  {
    Journal journal = Open();
    const std::vector<Claim> two = {{Key("192.0.2.1:80"), false}, {Key("192.0.2.2:80"), false}};
    ASSERT_EQ(journal.Add(two), absl::OkStatus());
    ASSERT_EQ(journal.SetSourceNat(Key("192.0.2.1:80"), true), absl::OkStatus());
    ASSERT_EQ(journal.Remove(Key("192.0.2.2:80")), absl::OkStatus());
    EXPECT_EQ(journal.SetSourceNat(Key("192.0.2.9:80"), true).code(), absl::StatusCode::kNotFound);
  }
  EXPECT_EQ(Open().claims(), (Claims{{Key("192.0.2.1:80"), {.source_nat = true}}}));
}

TEST_F(JournalTest, IsCompactedWhenOpened) {
  {
    Journal journal = Open();
    for (int i = 0; i < 100; ++i) {
      const std::vector<Claim> one = {{Key("192.0.2.1:80"), false}};
      ASSERT_EQ(journal.Add(one), absl::OkStatus());
      ASSERT_EQ(journal.Remove(Key("192.0.2.1:80")), absl::OkStatus());
    }
    const std::vector<Claim> last = {{Key("192.0.2.3:80"), true}};
    ASSERT_EQ(journal.Add(last), absl::OkStatus());
  }
  const size_t before = Text().size();
  const Claims wanted = {{Key("192.0.2.3:80"), {.source_nat = true}}};
  EXPECT_EQ(Open().claims(), wanted);
  EXPECT_LT(Text().size(), before / 10);
  EXPECT_EQ(Text(), JournalText(wanted, "boot-1"));
  EXPECT_FALSE(std::filesystem::exists(path_ + ".new"));
}

TEST_F(JournalTest, WhatWasWrittenBeforeThisBootIsNotOurs) {
  {
    Journal journal = Open("boot-1\n");
    const std::vector<Claim> one = {{Key("192.0.2.1:80"), false}};
    ASSERT_EQ(journal.Add(one), absl::OkStatus());
  }
  EXPECT_EQ(Open("boot-1").claims().size(), 1u);
  EXPECT_TRUE(Open("boot-2\n").claims().empty());
  EXPECT_TRUE(Open("boot-1").claims().empty());
}

// Cut at every byte, a journal holds exactly the records that were whole, and takes new ones.
TEST_F(JournalTest, IsSoundAfterACrashAtAnyByte) {
  std::vector<std::pair<size_t, Claims>> states;  // size of the file, claims
  {
    Journal journal = Open();
    states.emplace_back(0, Claims{});
    const auto note = [&] { states.emplace_back(Text().size(), journal.claims()); };
    note();
    for (int i = 1; i <= 4; ++i) {
      const std::vector<Claim> one = {{Key("192.0.2." + std::to_string(i) + ":80"), i % 2 == 0}};
      ASSERT_EQ(journal.Add(one), absl::OkStatus());
      note();
    }
    ASSERT_EQ(journal.Remove(Key("192.0.2.2:80")), absl::OkStatus());
    note();
    ASSERT_EQ(journal.SetSourceNat(Key("192.0.2.1:80"), true), absl::OkStatus());
    note();
    const std::vector<Claim> last = {{Mark(3, Family::kIpv6), false}};
    ASSERT_EQ(journal.Add(last), absl::OkStatus());
    note();
  }
  const std::string whole = Text();
  for (size_t size = 0; size <= whole.size(); ++size) {
    Claims wanted;
    for (const auto& [at, claims] : states) {
      if (at <= size) wanted = claims;
    }
    Write(whole.substr(0, size));
    Journal journal = Open();
    ASSERT_EQ(journal.claims(), wanted) << size;
    const std::vector<Claim> more = {{Key("192.0.2.77:80"), true}};
    ASSERT_EQ(journal.Add(more), absl::OkStatus());
    wanted[Key("192.0.2.77:80")] = {.source_nat = true};
    ASSERT_EQ(Open().claims(), wanted) << size;
  }
}

TEST_F(JournalTest, DamageThatNoCrashExplainsIsSaidWithItsLine) {
  const Claims claims = {{Key("192.0.2.1:80"), {}}, {Range("192.0.2.2", 80, 89), {.mark = 7}}};
  const std::string good = JournalText(claims, "boot");
  for (size_t i = 0; i < good.size() - 1; ++i) {
    std::string bad = good;
    bad[i] = bad[i] == 'x' ? 'y' : 'x';
    EXPECT_EQ(ParseJournal(bad, "boot").status().code(), absl::StatusCode::kDataLoss) << i;
  }
  Write(good.substr(0, good.size() - 3) + "00\n");
  const std::string before = Text();
  const auto journal = Journal::Open(path_, "boot");
  EXPECT_EQ(journal.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(Message(journal.status()), HasSubstr(path_ + ": line 3 is damaged. Remove the file"));
  EXPECT_EQ(Text(), before);
}

TEST_F(JournalTest, AFileThatIsNoJournalIsLeftAlone) {
  for (const std::string text : {"root:x:0:0:root:/root:/bin/bash\n", "kube-lvs\n", "\n", "x"}) {
    Write(text);
    EXPECT_EQ(Journal::Open(path_, "boot").status().code(), absl::StatusCode::kDataLoss) << text;
    EXPECT_EQ(Text(), text);
  }
}

TEST_F(JournalTest, AMissingDirectoryIsNamed) {
  const auto journal = Journal::Open(directory_ + "/none/journal", "boot");
  EXPECT_EQ(journal.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Message(journal.status()), HasSubstr("/none/journal: opening"));
}

// A write that the disk cuts short leaves no torn line in the middle.
TEST_F(JournalTest, AFailedWriteIsTakenBack) {
  Journal journal = Open();
  const std::vector<Claim> first = {{Key("192.0.2.1:80"), false}};
  ASSERT_EQ(journal.Add(first), absl::OkStatus());
  const size_t size = Text().size();

  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit full{size + 10, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &full), 0);
  const std::vector<Claim> second = {{Key("192.0.2.2:80"), false}};
  EXPECT_EQ(journal.Add(second).code(), absl::StatusCode::kUnavailable);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);

  EXPECT_FALSE(journal.Owns(Key("192.0.2.2:80")));
  EXPECT_EQ(Text().size(), size);
  const std::vector<Claim> third = {{Key("192.0.2.3:80"), true}};
  ASSERT_EQ(journal.Add(third), absl::OkStatus());
  EXPECT_EQ(Open().claims(),
            (Claims{{Key("192.0.2.1:80"), {}}, {Key("192.0.2.3:80"), {.source_nat = true}}}));
}

}  // namespace
}  // namespace kube_lvs::ipvs
