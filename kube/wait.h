// Waiting that ends early when it is asked to.
#pragma once

#include <condition_variable>
#include <mutex>
#include <stop_token>

#include "base/clock.h"

namespace kube_lvs::kube {

// Returns after `how_long`, or at once when `stop` is triggered.
inline void WaitFor(Duration how_long, const std::stop_token& stop) {
  std::mutex alone;
  std::unique_lock<std::mutex> lock(alone);
  std::condition_variable_any never;
  never.wait_for(lock, stop, how_long, [] { return false; });
}

}  // namespace kube_lvs::kube
