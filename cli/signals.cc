#include "cli/signals.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>

namespace kube_lvs::cli {

Signals::Signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGPIPE}) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, &before_);
  fd_ = UniqueFd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

Signals::~Signals() { sigprocmask(SIG_SETMASK, &before_, nullptr); }

Signals::Woken Signals::Wait(std::optional<std::chrono::steady_clock::time_point> until, int fd) {
  for (;;) {
    int patience = -1;
    if (until) {
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(*until - std::chrono::steady_clock::now());
      if (left.count() <= 0) return Woken::kTime;
      patience = static_cast<int>(std::min<int64_t>(left.count(), INT_MAX));
    }
    std::array<pollfd, 2> waited = {{{.fd = fd_.get(), .events = POLLIN, .revents = 0},
                                     {.fd = fd, .events = POLLIN, .revents = 0}}};
    if (poll(waited.data(), waited.size(), patience) <= 0) continue;
    signalfd_siginfo info{};
    if (read(fd_.get(), &info, sizeof info) == sizeof info) {
      if (info.ssi_signo == SIGWINCH) return Woken::kResized;
      if (info.ssi_signo != SIGPIPE) return Woken::kEnd;
    } else if (waited[1].revents != 0) {
      return Woken::kReadable;
    }
  }
}

}  // namespace kube_lvs::cli
