#include "operator/flags.h"

#include <gtest/gtest.h>

#include "base/status.h"

namespace kube_lvs::controller {
namespace {

TEST(FlagsTest, DefaultsAndValues) {
  EXPECT_EQ(*ParseFlags({}), Flags{});
  EXPECT_EQ(ParseFlags({})->metrics_address.ToString(), "0.0.0.0:9475");
  EXPECT_EQ(*ParseFlags({"--namespace=n", "--lease-name", "l", "--kubeconfig=/k",
                         "--metrics-address=[::1]:1", "--log-level=debug", "--create-default-group",
                         "--help", "--version"}),
            (Flags{.name_space = "n",
                   .metrics_address = *Endpoint::Parse("[::1]:1"),
                   .kubeconfig = "/k",
                   .lease_name = "l",
                   .log_level = Level::kDebug,
                   .create_default_group = true,
                   .help = true,
                   .version = true}));
}

TEST(FlagsTest, WhatIsWrongIsNamed) {
  const auto error = [](const char* arg) { return Message(ParseFlags({arg}).status()); };
  EXPECT_EQ(error("--nonsense"), "--nonsense: there is no such flag; see --help");
  EXPECT_EQ(error("--namespace"), "--namespace: needs a value");
  EXPECT_EQ(error("--log-level=loud"), "--log-level: \"loud\" is not debug, info, warn or error");
  EXPECT_EQ(error("--metrics-address=9475").substr(0, 18), "--metrics-address:");
}

}  // namespace
}  // namespace kube_lvs::controller
