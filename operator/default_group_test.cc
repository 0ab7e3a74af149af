#include "operator/default_group.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/clock.h"
#include "kube/api/kinds.h"
#include "kube/rest_transport.h"
#include "kube/testing/fake_api_server.h"

namespace kube_lvs::controller {
namespace {

using nlohmann::json;

class DefaultGroupTest : public testing::Test {
 protected:
  DefaultGroupTest()
      : server_(*kube::FakeApiServer::Start({.resources = {api::kLvsDirectorGroups}})),
        transport_(*kube::NewRestTransport(server_->Config(), clock_)),
        client_(*transport_) {}

  bool Asked(const std::string& verb) const {
    return std::ranges::any_of(server_->Requests(),
                               [&](const std::string& r) { return r.starts_with(verb + " "); });
  }

  SystemClock clock_;
  std::unique_ptr<kube::FakeApiServer> server_;
  std::unique_ptr<kube::HttpTransport> transport_;
  kube::Client client_;
};

TEST_F(DefaultGroupTest, IsMadeOnceWithAnEmptySpec) {
  EXPECT_EQ(*CreateDefaultGroup(client_, {}), true);
  const absl::StatusOr<json> group = server_->Read(api::kLvsDirectorGroups, {"", "default"});
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_EQ((*group)["spec"], json::object());
  EXPECT_EQ((*group)["kind"], "LVSDirectorGroup");
  EXPECT_EQ(*CreateDefaultGroup(client_, {}), false);
}

TEST_F(DefaultGroupTest, AnyOtherGroupEvenOneThatCannotBeReadIsEnough) {
  server_->Put(api::kLvsDirectorGroups, {{"apiVersion", api::kApiVersion},
                                         {"kind", "LVSDirectorGroup"},
                                         {"metadata", {{"name", "edge"}}},
                                         {"spec", "all of them"}});
  EXPECT_EQ(*CreateDefaultGroup(client_, {}), false);
  EXPECT_FALSE(Asked("POST"));
}

TEST_F(DefaultGroupTest, WhoeverWasFasterIsNoError) {
  server_->Inject({.type = kube::FaultType::kStatus,
                   .method = "POST",
                   .http_status = 409,
                   .reason = "AlreadyExists"});
  const absl::StatusOr<bool> made = CreateDefaultGroup(client_, {});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_FALSE(*made);
}

TEST_F(DefaultGroupTest, WhatFailsSaysWhat) {
  server_->Inject({.type = kube::FaultType::kStatus,
                   .method = "POST",
                   .http_status = 403,
                   .reason = "Forbidden"});
  const absl::Status refused = CreateDefaultGroup(client_, {}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(refused.message().find("create LVSDirectorGroup default") != refused.message().npos)
      << refused;
  server_->RemoveResource(api::kLvsDirectorGroups);
  EXPECT_EQ(CreateDefaultGroup(client_, {}).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace kube_lvs::controller
