// What ends a command that goes on, as something to wait for.
#pragma once

#include <signal.h>

#include <chrono>
#include <optional>

#include "base/unique_fd.h"

namespace kube_lvs::cli {

// Holds back SIGINT, SIGTERM, SIGHUP, SIGWINCH and SIGPIPE while it lives. One thread.
class Signals {
 public:
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  enum class Woken { kTime, kResized, kEnd, kReadable };
  // Until `until`, if it is given, or `fd` is readable, if there is one.
  Woken Wait(std::optional<std::chrono::steady_clock::time_point> until, int fd = -1);

 private:
  sigset_t before_{};
  UniqueFd fd_;
};

}  // namespace kube_lvs::cli
