#include "node-agent/writer_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

namespace kube_lvs {

absl::StatusOr<WriterLock> WriterLock::Take(const std::string& state_dir) {
  static constexpr char kName[] = "kube-lvs/writer";
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.ok()) return absl::UnavailableError(std::string("socket: ") + strerror(errno));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  // A first byte of zero makes it abstract: known to this network namespace, in no file system.
  std::memcpy(address.sun_path + 1, kName, sizeof(kName) - 1);
  const socklen_t length = offsetof(sockaddr_un, sun_path) + sizeof(kName);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    if (errno != EADDRINUSE) return absl::UnavailableError(std::string("bind: ") + strerror(errno));
    return absl::AlreadyExistsError(
        "another kube-lvs agent (or lvsadm) writes the rules of this network namespace: it holds "
        "the socket @kube-lvs/writer; end it first");
  }
  const std::string path = state_dir + "/lock";
  UniqueFd file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file.ok()) return absl::UnavailableError(path + ": " + strerror(errno));
  if (flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    return absl::AlreadyExistsError("another kube-lvs agent uses " + state_dir +
                                    "; give each its own --state-dir");
  }
  return WriterLock(std::move(fd), std::move(file));
}

}  // namespace kube_lvs
