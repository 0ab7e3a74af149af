// What the loop waits on: others say why it should look again, and it takes all they said at once.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stop_token>

#include "base/clock.h"

namespace kube_lvs {

enum class WakeReason : uint8_t {
  kSource = 1,   // the objects changed
  kPeers = 2,    // who answers for a VIP changed
  kNetlink = 4,  // links, addresses or routes changed
  kWays = 8,     // how real servers are reached may have changed: no pass is needed for that
};

// Thread-safe.
class Wakeup {
 public:
  void Wake(WakeReason reason) {
    {
      const std::lock_guard<std::mutex> lock(mu_);
      reasons_ |= static_cast<uint8_t>(reason);
    }
    changed_.notify_all();
  }

  // Waits for a reason, `until`, or `stop`; returns and forgets the reasons, 0 if there is none.
  uint8_t Wait(std::stop_token stop, TimePoint until) {
    std::unique_lock<std::mutex> lock(mu_);
    changed_.wait_until(lock, stop, until, [this] { return reasons_ != 0; });
    const uint8_t reasons = reasons_;
    reasons_ = 0;
    return reasons;
  }

 private:
  std::mutex mu_;
  std::condition_variable_any changed_;
  uint8_t reasons_ = 0;  // guarded by mu_
};

}  // namespace kube_lvs
