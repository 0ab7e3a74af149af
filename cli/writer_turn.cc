#include "cli/writer_turn.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

namespace kube_lvs::cli {
namespace {

constexpr std::chrono::milliseconds kPause(5);

}  // namespace

absl::StatusOr<WriterTurn> WriterTurn::Take(std::chrono::milliseconds patience) {
  static constexpr char kSpace[] = "/proc/thread-self/ns/net";
  UniqueFd space(open(kSpace, O_RDONLY | O_CLOEXEC));
  if (!space.ok()) return absl::UnavailableError(std::string(kSpace) + ": " + strerror(errno));
  // The namespace itself is what is locked, so that its name, or none, does not matter.
  const auto until = std::chrono::steady_clock::now() + patience;
  while (flock(space.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return absl::UnavailableError(std::string("lock of ") + kSpace + ": " + strerror(errno));
    }
    if (std::chrono::steady_clock::now() >= until) {
      return absl::UnavailableError(
          "another process holds the lock of this network namespace (see /proc/locks); nothing was "
          "changed");
    }
    std::this_thread::sleep_for(kPause);
  }
  return WriterTurn(std::move(space));
}

absl::Status WriterTurn::KeepAgentsOut() {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.ok()) return absl::UnavailableError(std::string("socket: ") + strerror(errno));
  // As node-agent/writer_lock.cc.
  static constexpr char kName[] = "kube-lvs/writer";
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, kName, sizeof(kName) - 1);
  const socklen_t length = offsetof(sockaddr_un, sun_path) + sizeof(kName);
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    if (errno != EADDRINUSE) return absl::UnavailableError(std::string("bind: ") + strerror(errno));
    // No other lvsadm, which would hold the lock.
    return absl::AlreadyExistsError(
        "kube-lvs-agent writes the rules of this network namespace, and would put back whatever is "
        "changed here: change the LVSService (or the agent's file) instead");
  }
  socket_ = std::move(socket);
  return absl::OkStatus();
}

}  // namespace kube_lvs::cli
