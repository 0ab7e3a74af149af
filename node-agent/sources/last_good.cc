#include "node-agent/sources/last_good.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/status.h"
#include "base/unique_fd.h"

namespace kube_lvs {
namespace {

constexpr size_t kLimit = 1 << 30;

absl::Status ErrnoStatus(const std::string& what) {
  const int error = errno;
  const std::string message = what + ": " + strerror(error);
  if (error == ENOENT) return absl::NotFoundError(message);
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(message);
  return absl::UnavailableError(message);
}

}  // namespace

absl::Status WriteFileAtomically(const std::string& path, const std::string& text) {
  const std::string fresh = path + ".new";
  {
    const UniqueFd fd(open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd.ok()) return ErrnoStatus("making " + fresh);
    size_t written = 0;
    while (written < text.size()) {
      const ssize_t n = write(fd.get(), text.data() + written, text.size() - written);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus("writing " + fresh);
      written += static_cast<size_t>(n);
    }
    if (fsync(fd.get()) != 0) return ErrnoStatus("syncing " + fresh);
  }
  if (rename(fresh.c_str(), path.c_str()) != 0) return ErrnoStatus("replacing " + path);
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path, size_t limit) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.ok()) return ErrnoStatus("opening " + path);
  std::string text;
  char buffer[64 * 1024];
  while (true) {
    const ssize_t n = read(fd.get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus("reading " + path);
    if (n == 0) return text;
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > limit) {
      return absl::OutOfRangeError(path + " has more than " + std::to_string(limit) + " bytes");
    }
  }
}

absl::Status LastGood::Save(const Snapshot& snapshot) const {
  if (mkdir(folder_.c_str(), 0700) != 0 && errno != EEXIST) {
    return ErrnoStatus("making " + folder_);
  }
  return WriteFileAtomically(path_, ToYaml(snapshot));
}

absl::StatusOr<std::map<ObjectId, api::AnyObject>> LastGood::Load(
    std::vector<SourceProblem>& problems) const {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(path_, kLimit));
  std::vector<SourceProblem> found;
  auto objects = FromOwnYaml(text, found);
  for (SourceProblem& problem : found) {
    problems.push_back({path_ + " " + problem.where, std::move(problem.message)});
  }
  return objects;
}

}  // namespace kube_lvs
