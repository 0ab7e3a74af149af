#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/status.h"
#include "base/unique_fd.h"

namespace kube_lvs {
namespace {

absl::Status WriteAll(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t n = write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError(errno, "write", path);
    content.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status FileError(int error, std::string_view doing, const std::string& path) {
  const std::string message = std::string(doing) + " " + path + ": " + std::strerror(error);
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case EINVAL:
      return absl::InvalidArgumentError(message);
    default:
      return absl::UnavailableError(message);
  }
}

absl::StatusOr<std::string> ReadFile(const std::string& path, size_t limit) {
  return ReadFileAt(AT_FDCWD, path, limit);
}

absl::StatusOr<std::string> ReadFileAt(int folder, const std::string& path, size_t limit) {
  const UniqueFd fd(openat(folder, path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.ok()) return FileError(errno, "open", path);
  std::string out;
  char buffer[16384];
  while (true) {
    const ssize_t n = read(fd.get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError(errno, "read", path);
    if (n == 0) return out;
    out.append(buffer, static_cast<size_t>(n));
    if (out.size() > limit) {
      return absl::OutOfRangeError(path + " is larger than " + std::to_string(limit) + " bytes");
    }
  }
}

absl::Status WriteInPlace(const std::string& path, std::string_view content) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.ok()) return FileError(errno, "open", path);
  return WriteAll(fd.get(), content, path);
}

absl::Status ReplaceFile(const std::string& path, std::string_view content) {
  const std::string beside = path + ".new";
  {
    const UniqueFd fd(open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd.ok()) return FileError(errno, "create", beside);
    KUBE_LVS_RETURN_IF_ERROR(WriteAll(fd.get(), content, beside));
    if (fsync(fd.get()) != 0) return FileError(errno, "sync", beside);
  }
  if (rename(beside.c_str(), path.c_str()) != 0) return FileError(errno, "rename to", path);
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const UniqueFd dir(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir.ok() || fsync(dir.get()) != 0) return FileError(errno, "sync", folder);
  return absl::OkStatus();
}

}  // namespace kube_lvs
