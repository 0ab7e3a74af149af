#include "base/log.h"

#include <gtest/gtest.h>

namespace kube_lvs {
namespace {

TEST(LogLine, IsOneJsonLineWithTheFieldsInOrder) {
  EXPECT_EQ(LogLine(Level::kInfo, "T", "plan applied", {{"service", "a\"b\n"}, {"steps", "3"}}),
            R"({"time":"T","level":"info","msg":"plan applied","service":"a\"b\n","steps":"3"})");
}

TEST(LogLine, ReplacesBytesThatAreNotUtf8) {
  EXPECT_EQ(LogLine(Level::kWarn, "T", "\xff", {}),
            "{\"time\":\"T\",\"level\":\"warn\",\"msg\":\"\xEF\xBF\xBD\"}");
}

}  // namespace
}  // namespace kube_lvs
