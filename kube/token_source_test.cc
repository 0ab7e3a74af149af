#include "kube/token_source.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>

namespace kube_lvs::kube {
namespace {

using std::chrono::seconds;

class TokenSourceTest : public testing::Test {
 protected:
  ~TokenSourceTest() override { std::remove(file_.c_str()); }
  void Write(const std::string& text) { std::ofstream(file_) << text; }
  ClientConfig Config() {
    ClientConfig config;
    config.token_file = file_;
    return config;
  }

  const std::string file_ = testing::TempDir() + "/token-source-" + std::to_string(getpid());
  FakeClock clock_;
};

TEST_F(TokenSourceTest, FixedTokenOrNone) {
  ClientConfig config;
  EXPECT_EQ(*TokenSource(config, clock_).Get(), "");
  config.token = "t";
  TokenSource source(config, clock_);
  EXPECT_EQ(*source.Get(), "t");
  EXPECT_FALSE(source.Renew("t"));
  config.token = "a\r\nX-Injected: 1";
  EXPECT_TRUE(absl::IsUnauthenticated(TokenSource(config, clock_).Get().status()));
}

TEST_F(TokenSourceTest, FileIsReadAgainAfterAMinute) {
  Write("one\n");
  TokenSource source(Config(), clock_);
  EXPECT_EQ(*source.Get(), "one");
  Write("two\n");
  clock_.Advance(seconds(59));
  EXPECT_EQ(*source.Get(), "one");
  clock_.Advance(seconds(1));
  EXPECT_EQ(*source.Get(), "two");
}

TEST_F(TokenSourceTest, RenewReadsAtOnceAndTellsWhetherItHelps) {
  Write("one");
  TokenSource source(Config(), clock_);
  EXPECT_EQ(*source.Get(), "one");
  EXPECT_FALSE(source.Renew("one"));
  Write("two");
  EXPECT_TRUE(source.Renew("one"));
  EXPECT_EQ(*source.Get(), "two");
}

TEST_F(TokenSourceTest, UnreadableFileKeepsTheOldToken) {
  Write("one");
  TokenSource source(Config(), clock_);
  EXPECT_EQ(*source.Get(), "one");
  std::remove(file_.c_str());
  clock_.Advance(seconds(120));
  EXPECT_EQ(*source.Get(), "one");
  EXPECT_FALSE(source.Renew("one"));
}

TEST_F(TokenSourceTest, NoFileOrNonsenseIsUnauthenticated) {
  TokenSource source(Config(), clock_);
  EXPECT_TRUE(absl::IsUnauthenticated(source.Get().status()));
  for (const char* text : {"", "\n", "a b", "a\nX-Injected: 1", "\x01"}) {
    Write(text);
    EXPECT_TRUE(absl::IsUnauthenticated(source.Get().status())) << text;
  }
  Write("good");
  EXPECT_EQ(*source.Get(), "good");
}

}  // namespace
}  // namespace kube_lvs::kube
