#include "cli/arguments.h"

#include <gtest/gtest.h>

namespace kube_lvs::cli {
namespace {

TEST(Arguments, ListOfOneDataplane) {
  const auto parsed = ParseArguments({"-L", "-n", "--dataplane", "ebpf", "--bpf-dir", "/x"});
  ASSERT_TRUE(parsed.ok());
  EXPECT_FALSE(parsed->ipvs);
  EXPECT_TRUE(parsed->ebpf);
  EXPECT_EQ(parsed->bpf_dir, "/x");
}

TEST(Arguments, WhatIsNotSupportedIsRefusedByName) {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"-A", "-t", "1.2.3.4:80"},
                                             {"-Ln", "--stats"},
                                             {"-Ln", "--dataplane", "both"},
                                             {"-Ln", "--bpf-dir"},
                                             {}}) {
    const auto parsed = ParseArguments(words);
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace kube_lvs::cli
