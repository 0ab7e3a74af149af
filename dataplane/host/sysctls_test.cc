#include "dataplane/host/sysctls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"

namespace kube_lvs::host {
namespace {

class SysctlsTest : public testing::Test {
 protected:
  SysctlsTest() {
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_ + "/net");
    std::ofstream(root_ + "/net/a") << "0\n";
  }
  // The kernel ends a value with a newline, a file that we wrote has none.
  std::string Value() {
    std::string value = *ReadFile(root_ + "/net/a");
    return value.substr(0, value.find('\n'));
  }
  Sysctls Open() { return Sysctls(root_, root_ + "/journal"); }

  const std::string root_ = testing::TempDir() + "/sysctls_test";
};

TEST_F(SysctlsTest, ReleasePutsBackWhatWasThereBeforeTheFirstHold) {
  ASSERT_TRUE(Open().Hold({"net/a", "1"}).ok());
  ASSERT_TRUE(Open().Hold({"net/a", "2"}).ok());
  EXPECT_EQ(Value(), "2");
  ASSERT_TRUE(Open().Release("net/a").ok());
  EXPECT_EQ(Value(), "0");
  EXPECT_TRUE(Open().Read()->empty());
}

TEST_F(SysctlsTest, ReadShowsWhatItIsNow) {
  ASSERT_TRUE(Open().Hold({"net/a", "1"}).ok());
  std::ofstream(root_ + "/net/a") << "7\n";
  EXPECT_THAT(*Open().Read(), testing::ElementsAre(Sysctl{"net/a", "7"}));
}

TEST_F(SysctlsTest, AValueThatWasRightAlreadyIsHeldAndKept) {
  ASSERT_TRUE(Open().Hold({"net/a", "0"}).ok());
  EXPECT_THAT(*Open().Read(), testing::ElementsAre(Sysctl{"net/a", "0"}));
  ASSERT_TRUE(Open().Release("net/a").ok());
  EXPECT_EQ(Value(), "0");
}

TEST_F(SysctlsTest, WhatWasEmptyIsEmptyAgain) {
  std::ofstream(root_ + "/net/a") << "\n";
  ASSERT_TRUE(Open().Hold({"net/a", "1024-32767"}).ok());
  EXPECT_EQ(Value(), "1024-32767");
  ASSERT_TRUE(Open().Release("net/a").ok());
  EXPECT_EQ(Value(), "");
  EXPECT_TRUE(Open().Read()->empty());
}

TEST_F(SysctlsTest, AMissingOneIsNotFoundAndNotRemembered) {
  EXPECT_TRUE(absl::IsNotFound(Open().Hold({"net/b", "1"})));
  EXPECT_TRUE(Open().Read()->empty());
}

TEST_F(SysctlsTest, WhatWeDoNotHoldIsLeftAlone) {
  ASSERT_TRUE(Open().Release("net/a").ok());
  EXPECT_EQ(Value(), "0");
}

}  // namespace
}  // namespace kube_lvs::host
