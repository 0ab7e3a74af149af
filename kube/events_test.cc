#include "kube/events.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace kube_lvs::kube {
namespace {

using Do = EventFilter::Decision::Do;
using Decision = EventFilter::Decision;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr TimePoint kStart{std::chrono::hours(1)};

Event About(const std::string& name, const std::string& message = "m") {
  return {.about = {"v1", "Service", {"shop", name}, "uid-" + name},
          .type = EventType::kWarning,
          .reason = "Tested",
          .message = message};
}

TEST(EventFilterTest, EqualEventsWithinTenMinutesAreCounted) {
  EventFilter filter;
  const Decision first = filter.Decide(About("a"), kStart, 1);
  EXPECT_EQ(first, (Decision{Do::kCreate, "a.0000000000000001", 1}));
  EXPECT_EQ(filter.Decide(About("a"), kStart + minutes(9), 2),
            (Decision{Do::kCount, first.name, 2}));
  EXPECT_EQ(filter.Decide(About("a"), kStart + minutes(18), 3),
            (Decision{Do::kCount, first.name, 3}));
  EXPECT_EQ(filter.Decide(About("a"), kStart + minutes(28), 4),
            (Decision{Do::kCreate, "a.0000000000000004", 1}));
}

TEST(EventFilterTest, AnotherMessageReasonOrTargetIsAnotherEvent) {
  EventFilter filter;
  EXPECT_EQ(filter.Decide(About("a"), kStart, 1).action, Do::kCreate);
  EXPECT_EQ(filter.Decide(About("a", "other"), kStart, 2).action, Do::kCreate);
  EXPECT_EQ(filter.Decide(About("b"), kStart, 3).action, Do::kCreate);
  Event normal = About("a");
  normal.type = EventType::kNormal;
  EXPECT_EQ(filter.Decide(normal, kStart, 4).action, Do::kCreate);
}

TEST(EventFilterTest, OneTargetIsLimitedAndTheOthersAreNot) {
  EventFilter filter;
  int written = 0;
  for (int i = 0; i < 100; ++i) {
    const Event event = About("a", std::to_string(i));
    if (filter.Decide(event, kStart, i).action != Do::kDrop) ++written;
  }
  EXPECT_EQ(written, 25);
  EXPECT_EQ(filter.Decide(About("b"), kStart, 200).action, Do::kCreate);
  EXPECT_EQ(filter.Decide(About("a", "x"), kStart + seconds(299), 201).action, Do::kDrop);
  EXPECT_EQ(filter.Decide(About("a", "x"), kStart + seconds(301), 202).action, Do::kCreate);
}

TEST(EventFilterTest, WhatIsForgottenIsCreatedAnew) {
  EventFilter filter;
  filter.Decide(About("a"), kStart, 1);
  filter.Forget(About("a"));
  EXPECT_EQ(filter.Decide(About("a"), kStart, 2).action, Do::kCreate);
}

TEST(EventFilterTest, LongNamesLeaveRoomForTheSerial) {
  EventFilter filter;
  EXPECT_EQ(filter.Decide(About(std::string(253, 'x')), kStart, 1).name.size(), 217u);
}

TEST(EventFilterTest, MemoryIsBoundedAndTheNewestStay) {
  EventFilter filter;
  TimePoint now = kStart;
  for (int i = 0; i < 5000; ++i) {
    now += std::chrono::milliseconds(1);
    filter.Decide(About(std::to_string(i)), now, i);
  }
  EXPECT_EQ(filter.Decide(About("4999"), now, 9000).action, Do::kCount);
  EXPECT_EQ(filter.Decide(About("0"), now, 9001).action, Do::kCreate);
}

}  // namespace
}  // namespace kube_lvs::kube
