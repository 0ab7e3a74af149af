#include "kube/store.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
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
