#include "kube/work_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace kube_lvs::kube {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr TimePoint kStart{std::chrono::hours(1)};

TEST(QueueStateTest, KeysComeInOrderAndOnce) {
  QueueState queue;
  for (const char* key : {"a", "b", "a", "c", "b"}) queue.Add(key);
  EXPECT_EQ(queue.Length(), 3u);
  EXPECT_EQ(queue.Take(kStart), "a");
  EXPECT_EQ(queue.Take(kStart), "b");
  EXPECT_EQ(queue.Take(kStart), "c");
  EXPECT_EQ(queue.Take(kStart), std::nullopt);
}

TEST(QueueStateTest, KeyAddedWhileProcessedIsQueuedAtDone) {
  QueueState queue;
  queue.Add("a");
  EXPECT_EQ(queue.Take(kStart), "a");
  queue.Add("a");
  queue.Add("a");
  EXPECT_EQ(queue.Take(kStart), std::nullopt);  // never two workers on one key
  queue.Done("a");
  EXPECT_EQ(queue.Take(kStart), "a");
  queue.Done("a");
  EXPECT_EQ(queue.Take(kStart), std::nullopt);
}

TEST(QueueStateTest, DoneOfAKeyThatIsNotProcessedChangesNothing) {
  QueueState queue;
  queue.Add("a");
  queue.Done("a");
  queue.Done("b");
  EXPECT_EQ(queue.Length(), 1u);
}

TEST(QueueStateTest, DelayedKeyIsReadyAtItsTimeAndTheEarlierAddCounts) {
  QueueState queue;
  queue.AddAfter("late", seconds(5), kStart);
  queue.AddAfter("a", seconds(3), kStart);
  queue.AddAfter("a", seconds(1), kStart);
  queue.AddAfter("a", seconds(2), kStart);
  EXPECT_EQ(queue.Delayed(), 2u);
  EXPECT_EQ(queue.NextReady(), kStart + seconds(1));
  EXPECT_EQ(queue.Take(kStart + milliseconds(999)), std::nullopt);
  EXPECT_EQ(queue.Take(kStart + seconds(1)), "a");
  queue.Done("a");
  EXPECT_EQ(queue.Take(kStart + seconds(3)), std::nullopt);  // the later adds are gone
  EXPECT_EQ(queue.Take(kStart + seconds(5)), "late");
  EXPECT_EQ(queue.NextReady(), std::nullopt);
}

TEST(QueueStateTest, NoDelayIsAnAdd) {
  QueueState queue;
  queue.AddAfter("a", Duration(0), kStart);
  queue.AddAfter("b", seconds(-1), kStart);
  EXPECT_EQ(queue.Length(), 2u);
  EXPECT_EQ(queue.Delayed(), 0u);
}

TEST(QueueStateTest, BackoffDoublesPerKeyUntilForgotten) {
  QueueState queue({.first = seconds(1), .most = seconds(3)});
  TimePoint now = kStart;
  for (const auto& expected : {seconds(1), seconds(2), seconds(3), seconds(3)}) {
    queue.AddRateLimited("a", now);
    EXPECT_EQ(queue.NextReady(), now + expected);
    now += expected;
    EXPECT_EQ(queue.Take(now), "a");
    queue.Done("a");
  }
  EXPECT_EQ(queue.Failures("a"), 4);
  EXPECT_EQ(queue.Failures("b"), 0);
  queue.Forget("a");
  EXPECT_EQ(queue.Failures("a"), 0);
  queue.AddRateLimited("a", now);
  EXPECT_EQ(queue.NextReady(), now + seconds(1));
}

TEST(BackoffAfterTest, NeverOverflows) {
  EXPECT_EQ(BackoffAfter(0, {}), milliseconds(5));
  EXPECT_EQ(BackoffAfter(1, {}), milliseconds(10));
  EXPECT_EQ(BackoffAfter(1'000'000, {}), seconds(1000));
}

TEST(WorkQueueTest, WorkersTakeEveryKeyAndStopWakesThem) {
  const SystemClock clock;
  WorkQueue queue(clock);
  std::atomic<int> taken{0};
  {
    std::vector<std::jthread> workers;
    for (int i = 0; i < 4; ++i) {
      workers.emplace_back([&queue, &taken](const std::stop_token& stop) {
        while (const auto key = queue.Get(stop)) {
          ++taken;
          queue.Done(*key);
        }
      });
    }
    for (int i = 0; i < 500; ++i) queue.Add("key-" + std::to_string(i));
    for (int i = 0; i < 20; ++i) queue.AddAfter("late-" + std::to_string(i), milliseconds(1 + i));
    while (taken < 520) std::this_thread::yield();
    queue.Stop();
  }
  EXPECT_EQ(taken, 520);
  queue.Add("after");
  EXPECT_EQ(queue.Length(), 0u);
}

TEST(WorkQueueTest, StopTokenEndsGet) {
  const SystemClock clock;
  WorkQueue queue(clock);
  queue.AddAfter("much later", std::chrono::hours(1));
  std::optional<std::string> got = "something";
  std::jthread worker([&](const std::stop_token& stop) { got = queue.Get(stop); });
  worker.request_stop();
  worker.join();
  EXPECT_EQ(got, std::nullopt);
}

TEST(WorkQueueTest, TryGetFollowsTheClock) {
  FakeClock clock;
  WorkQueue queue(clock);
  queue.AddRateLimited("a");
  EXPECT_EQ(queue.TryGet(), std::nullopt);
  clock.Advance(milliseconds(5));
  EXPECT_EQ(queue.TryGet(), "a");
}

}  // namespace
}  // namespace kube_lvs::kube
