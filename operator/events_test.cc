#include "operator/events.h"

#include <gtest/gtest.h>

namespace kube_lvs::controller {
namespace {

api::Condition Condition(const std::string& type, const std::string& status,
                         const std::string& reason) {
  api::Condition out;
  out.type = type;
  out.status = status;
  out.reason = reason;
  out.message = "why";
  return out;
}

// "Warning PoolExhausted" for each.
std::vector<std::string> Shown(const std::vector<kube::Event>& events) {
  std::vector<std::string> out;
  for (const kube::Event& event : events) {
    out.push_back((event.type == kube::EventType::kWarning ? "Warning " : "Normal ") +
                  event.reason);
  }
  return out;
}
using Texts = std::vector<std::string>;

TEST(EventsTest, OfAServiceWhatFailsAndItsAddressAreTold) {
  api::LvsService service;
  api::LvsServiceStatus status;
  status.conditions = {Condition("Accepted", "False", "InvalidSpec"),
                       Condition("AddressesAssigned", "True", "Assigned"),
                       Condition("BackendsReady", "False", "NoBackends"),
                       Condition("Programmed", "Unknown", "Pending"),
                       Condition("Ready", "False", "InvalidSpec")};
  EXPECT_EQ(Shown(ServiceEvents(service, status)),
            Texts({"Warning InvalidSpec", "Normal AddressAssigned"}));
  service.status = status;
  EXPECT_EQ(Shown(ServiceEvents(service, status)), Texts());
  status.conditions[1].reason = "NotPermitted";
  EXPECT_EQ(Shown(ServiceEvents(service, status)), Texts({"Warning NotPermitted"}));
}

TEST(EventsTest, AnEventNamesItsObject) {
  api::LvsService service;
  service.meta.name_space = "shop";
  service.meta.name = "web";
  service.meta.uid = "u";
  api::LvsServiceStatus status;
  status.conditions = {Condition("Accepted", "False", "InvalidSpec")};
  EXPECT_EQ(ServiceEvents(service, status),
            (std::vector<kube::Event>{{.about = {.api_version = "kube-lvs.io/v1alpha1",
                                                 .kind = "LVSService",
                                                 .object = {"shop", "web"},
                                                 .uid = "u"},
                                       .type = kube::EventType::kWarning,
                                       .reason = "InvalidSpec",
                                       .message = "why"}}));
}

TEST(EventsTest, APoolThatCeasesToGrantIsTold) {
  api::LvsAddressPool pool;
  api::LvsAddressPool::Status status;
  status.conditions = {Condition("Ready", "True", "Ready")};
  EXPECT_FALSE(PoolEvent(pool, status));
  status.conditions = {Condition("Ready", "False", "OverlapsPool")};
  EXPECT_EQ(PoolEvent(pool, status)->reason, "OverlapsPool");
  pool.status = status;
  EXPECT_FALSE(PoolEvent(pool, status));
}

TEST(EventsTest, OfAGroupItsMembersAndWhatFailsAreTold) {
  api::LvsDirectorGroup group;
  api::LvsDirectorGroup::Status status;
  status.conditions = {Condition("Ready", "True", "Ready")};
  status.epoch = 2;
  status.members.resize(3);
  EXPECT_EQ(GroupEvent(group, status)->message, "3 members in epoch 2");
  group.status = status;
  EXPECT_FALSE(GroupEvent(group, status));
  status.conditions = {Condition("Ready", "False", "NoMembers")};
  status.epoch = 3;
  EXPECT_EQ(GroupEvent(group, status)->reason, "NoMembers");
}

}  // namespace
}  // namespace kube_lvs::controller
