#include "operator/unreadable.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "operator/conditions.h"

namespace kube_lvs::controller {
namespace {

TEST(UnreadableTest, KeepsWhatItHasAndSaysWhy) {
  const auto service = DecodeStatusOnly(nlohmann::json::parse(R"({
      "metadata": {"name": "odd", "namespace": "shop", "generation": 2},
      "spec": {"ports": "all of them"},
      "status": {"addresses": [{"type": "IP", "value": "192.0.2.1", "ipFamily": "IPv4"}],
                 "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted",
                                 "lastTransitionTime": "then"},
                                {"type": "Announced", "status": "True", "reason": "Announced"}]}})"));
  ASSERT_TRUE(service.ok()) << service.status();
  const api::LvsServiceStatus status = UnreadableStatus(*service, "spec.ports: no list", "now");
  EXPECT_EQ(status.addresses, service->status.addresses);
  for (const char* type : {"Accepted", "Ready"}) {
    const api::Condition* condition = FindCondition(status.conditions, type);
    ASSERT_NE(condition, nullptr) << type;
    EXPECT_EQ(condition->status, "False");
    EXPECT_EQ(condition->reason, "InvalidSpec");
    EXPECT_EQ(condition->message, "spec.ports: no list");
    EXPECT_EQ(condition->last_transition_time, "now");
    EXPECT_EQ(condition->observed_generation, 2);
  }
  EXPECT_EQ(FindCondition(status.conditions, "Announced")->status, "True");
}

TEST(UnreadableTest, SaysItOnce) {
  auto service = *DecodeStatusOnly(nlohmann::json::parse(R"({"metadata": {"name": "odd"}})"));
  service.status = UnreadableStatus(service, "why", "now");
  EXPECT_EQ(UnreadableStatus(service, "why", "later"), service.status);
}

}  // namespace
}  // namespace kube_lvs::controller
