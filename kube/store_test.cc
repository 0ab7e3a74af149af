#include "kube/store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace kube_lvs::kube {
namespace {

using Keys = std::vector<std::string>;

ObjectSink::Object Value(int value) { return std::make_shared<const int>(value); }

TEST(StoreTest, ReplaceNamesWhatWasAddedChangedAndRemoved) {
  std::vector<Keys> calls;
  Store<int> store([&calls](const Keys& keys) { calls.push_back(keys); });
  const auto same = Value(2);
  EXPECT_FALSE(store.HasSynced());
  store.Replace({{"a", Value(1)}, {"b", same}, {"c", Value(3)}});
  EXPECT_TRUE(store.HasSynced());
  store.Replace({{"b", same}, {"c", Value(4)}, {"d", Value(5)}});
  store.Replace({{"b", same}, {"c", store.Find("c")}, {"d", store.Find("d")}});  // nothing new
  EXPECT_EQ(calls, (std::vector<Keys>{{"a", "b", "c"}, {"a", "c", "d"}}));
}

TEST(StoreTest, FirstReplaceIsToldEvenIfItIsEmpty) {
  std::vector<Keys> calls;
  Store<int> store([&calls](const Keys& keys) { calls.push_back(keys); });
  store.Replace({});
  store.Replace({});
  EXPECT_EQ(calls, (std::vector<Keys>{{}}));
}

TEST(StoreTest, SnapshotNeverChanges) {
  Store<int> store;
  store.Set("a", Value(1));
  const auto before = store.Snapshot();
  store.Set("b", Value(2));
  store.Set("a", Value(9));
  store.Remove("a");
  store.Replace({});
  EXPECT_EQ(before->size(), 1u);
  EXPECT_EQ(*before->at("a"), 1);
  EXPECT_TRUE(store.Snapshot()->empty());
}

TEST(StoreTest, WhatNobodyHoldsAnyMoreIsWrittenAnew) {
  Store<int> store;
  store.Set("a", Value(1));
  const auto* first = store.Snapshot().get();
  store.Set("b", Value(2));
  const auto second = store.Snapshot();
  EXPECT_NE(second.get(), first);
  store.Set("c", Value(3));
  EXPECT_EQ(store.Snapshot().get(), first);
  EXPECT_EQ(store.Snapshot()->size(), 3u);
  EXPECT_EQ(second->size(), 2u);
}

// A number's last digit, and twice whether it is even.
std::vector<std::string> NamesIn(int value) {
  const std::string even = value % 2 == 0 ? "even" : "odd";
  return {even, std::to_string(value % 10), even};
}

// What a walk over the map would find.
Keys NamingByWalk(const Store<int>::Map& map, const std::string& name) {
  Keys keys;
  for (const auto& [key, value] : map) {
    const auto names = NamesIn(*value);
    if (std::ranges::find(names, name) != names.end()) keys.push_back(key);
  }
  return keys;
}

TEST(StoreTest, EverySnapshotIsOfItsMoment) {
  using Map = Store<int>::Map;
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto below = [&random](uint32_t limit) { return random() % limit; };
  Store<int> store(nullptr, &NamesIn);
  Map model;
  std::vector<std::pair<std::shared_ptr<const Map>, Map>> held;
  int told = 0;
  for (int i = 0; i < 20000; ++i) {
    const std::string key = std::to_string(below(20));
    switch (below(1000) == 0 ? 4 : below(4)) {
      case 0:
        store.Set(key, Value(i));
        model[key] = store.Get(key);
        break;
      case 1:
        store.Remove(key);
        model.erase(key);
        break;
      case 2:
        held.emplace_back(store.Snapshot(), model);
        break;
      case 3:
        if (!held.empty()) held.erase(held.begin() + below(static_cast<uint32_t>(held.size())));
        break;
      case 4:
        store.Replace({{key, Value(i)}});
        model = {{key, store.Get(key)}};
        break;
    }
    const auto now = store.Snapshot();
    ASSERT_EQ(*now, model) << i;
    for (const auto& [snapshot, then] : held) {
      ASSERT_EQ(*snapshot, then) << i;
      for (const std::string name : {"even", "odd", "3", "7", "none"}) {
        const auto naming = snapshot->Naming(name);
        ASSERT_TRUE(naming.has_value()) << i;
        ASSERT_EQ(Keys(naming->begin(), naming->end()), NamingByWalk(then, name)) << i;
      }
      const auto changed = now->ChangedSince(*snapshot);
      told += changed.has_value();
      if (!changed) continue;
      Map caught_up = then;
      for (const std::string& changed_key : *changed) {
        caught_up.erase(changed_key);
        if (model.contains(changed_key)) caught_up[changed_key] = model.at(changed_key);
      }
      ASSERT_EQ(caught_up, model) << i;
    }
    if (held.size() > 5) held.clear();
  }
  EXPECT_GT(told, 1000);
}

TEST(StoreTest, WhoNamesWhatIsKnownOfStoresThatSeeIt) {
  Store<int> sees(nullptr, &NamesIn), sees_not;
  sees.Set("a", Value(2));
  sees_not.Set("a", Value(2));
  EXPECT_TRUE(sees.Snapshot()->Naming("odd"));
  EXPECT_FALSE(sees_not.Snapshot()->Naming("even"));
  // Who changes a copy does not say so.
  EXPECT_FALSE(Store<int>::Map(*sees.Snapshot()).Naming("even"));
}

TEST(StoreTest, OnlyMomentsOfOneStoreAreToldApartByTheirChanges) {
  Store<int> store, other;
  store.Set("a", Value(1));
  other.Set("a", Value(1));
  const auto before = store.Snapshot();
  store.Set("b", Value(2));
  const auto after = store.Snapshot();
  ASSERT_TRUE(after->ChangedSince(*before));
  EXPECT_EQ(after->ChangedSince(*before)->size(), 1u);
  EXPECT_FALSE(before->ChangedSince(*after));
  EXPECT_FALSE(after->ChangedSince(*other.Snapshot()));
  EXPECT_FALSE(Store<int>::Map(*after).ChangedSince(*before));
  store.Replace({});
  EXPECT_FALSE(store.Snapshot()->ChangedSince(*after));
}

// More changes than are remembered.
TEST(StoreTest, AnOldSnapshotThatIsLetGoIsOfNoUse) {
  Store<int> store;
  store.Set("a", Value(1));
  auto old = store.Snapshot();
  for (int i = 0; i < 3000; ++i) store.Set("b" + std::to_string(i), Value(i));
  const auto now = store.Snapshot();
  old.reset();
  store.Set("a", Value(2));
  EXPECT_EQ(store.Snapshot()->size(), 3001u);
  EXPECT_EQ(*store.Snapshot()->at("a"), 2);
  EXPECT_EQ(*now->at("a"), 1);
}

TEST(StoreTest, ChangeCanBeSeenWhenItIsTold) {
  std::vector<size_t> sizes;
  Store<int>* self = nullptr;
  Store<int> store([&](const Keys&) { sizes.push_back(self->Snapshot()->size()); });
  self = &store;
  store.Set("a", Value(1));
  store.Set("b", Value(1));
  store.Remove("a");
  store.Remove("a");  // not there: not told
  EXPECT_EQ(sizes, (std::vector<size_t>{1, 2, 1}));
}

TEST(StoreTest, ReadersAndOneWriterDoNotMeet) {
  Store<int> store;
  std::jthread reader([&store](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const auto snapshot = store.Snapshot();
      for (const auto& [key, value] : *snapshot) {
        if (key != std::to_string(*value)) std::abort();
      }
    }
  });
  for (int i = 0; i < 3000; ++i) {
    store.Set(std::to_string(i % 50), Value(i % 50));
    if (i % 7 == 0) store.Remove(std::to_string(i % 50));
    if (i % 500 == 0) store.Replace({{"1", Value(1)}});
  }
}

}  // namespace
}  // namespace kube_lvs::kube
