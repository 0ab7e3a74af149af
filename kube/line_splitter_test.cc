#include "kube/line_splitter.h"

#include <gtest/gtest.h>

#include <vector>

namespace kube_lvs::kube {
namespace {

TEST(LineSplitterTest, AnyCutOfTheBytesGivesTheSameLines) {
  const std::string text = "one\n\ntwo\r\nthree\nrest";
  const std::vector<std::string> expected = {"one", "", "two", "three"};
  for (size_t step = 1; step <= text.size(); ++step) {
    LineSplitter splitter(100);
    std::vector<std::string> lines;
    for (size_t at = 0; at < text.size(); at += step) {
      ASSERT_TRUE(splitter
                      .Feed(text.substr(at, step),
                            [&lines](std::string_view line) {
                              lines.emplace_back(line);
                              return absl::OkStatus();
                            })
                      .ok());
    }
    EXPECT_EQ(lines, expected) << step;
    EXPECT_FALSE(splitter.Empty());
  }
}

TEST(LineSplitterTest, TooLongLineIsRefusedHoweverItComes) {
  const auto ok = [](std::string_view) { return absl::OkStatus(); };
  LineSplitter whole(4);
  EXPECT_TRUE(whole.Feed("1234\n", ok).ok());
  EXPECT_TRUE(absl::IsDataLoss(whole.Feed("12345\n", ok)));
  LineSplitter bytes(4);
  EXPECT_TRUE(bytes.Feed("123", ok).ok());
  EXPECT_TRUE(bytes.Feed("4", ok).ok());
  EXPECT_TRUE(absl::IsDataLoss(bytes.Feed("5", ok)));
}

TEST(LineSplitterTest, TheSinksErrorEndsIt) {
  LineSplitter splitter(100);
  int calls = 0;
  const absl::Status ended = splitter.Feed("a\nb\nc\n", [&calls](std::string_view) {
    return ++calls == 2 ? absl::AbortedError("enough") : absl::OkStatus();
  });
  EXPECT_EQ(ended, absl::AbortedError("enough"));
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace kube_lvs::kube
