#include "node-agent/sources/file_source.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/file.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace kube_lvs {
namespace {

constexpr size_t kMaxFileBytes = 16 << 20;
constexpr size_t kMaxFiles = 10000;
constexpr int kQuietMilliseconds = 20;  // after the last event, for changes that come together
constexpr int kPollMilliseconds = 30000;

bool EndsWith(const std::string& text, const char* end) {
  const size_t length = strlen(end);
  return text.size() >= length && text.compare(text.size() - length, length, end) == 0;
}

struct CloseDir {
  void operator()(DIR* dir) const { closedir(dir); }
};

absl::StatusOr<FileTexts> ReadFolder(const std::string& folder) {
  const std::unique_ptr<DIR, CloseDir> dir(opendir(folder.c_str()));
  if (dir == nullptr) {
    return absl::UnavailableError("cannot read the folder " + folder + ": " + strerror(errno));
  }
  FileTexts files;
  errno = 0;
  while (const dirent* entry = readdir(dir.get())) {
    const std::string name = entry->d_name;
    if (name.front() == '.' || !(EndsWith(name, ".yaml") || EndsWith(name, ".yml"))) continue;
    struct stat info = {};
    // A link without a target, or a file that was just removed. Not by path: the folder may be
    // moved away meanwhile.
    if (fstatat(dirfd(dir.get()), name.c_str(), &info, 0) != 0) {
      if (fstatat(dirfd(dir.get()), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
      files.emplace(name, absl::NotFoundError("is a link to nowhere"));
      continue;
    }
    if (!S_ISREG(info.st_mode)) continue;
    if (files.size() >= kMaxFiles) {
      return absl::ResourceExhaustedError(folder + " has more than " + std::to_string(kMaxFiles) +
                                          " files; put the objects into fewer");
    }
    files.emplace(name, ReadFileAt(dirfd(dir.get()), name, kMaxFileBytes));
  }
  return files;
}

bool SameTexts(const FileTexts& a, const FileTexts& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.first == y.first && x.second.status() == y.second.status() &&
           (!x.second.ok() || *x.second == *y.second);
  });
}

// A file that was just made is still being written: its closing will be told, too.
bool Matters(const std::string& folder, const inotify_event& event) {
  if ((event.mask & IN_CREATE) == 0 || event.len == 0) return true;
  struct stat info = {};
  const std::string path = folder + "/" + event.name;
  return lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_nlink > 1;
}

}  // namespace

FileSource::FileSource(std::string folder, std::map<ObjectId, api::AnyObject> cached)
    : folder_(std::move(folder)),
      manifests_(std::move(cached)),
      snapshot_(std::make_shared<const Snapshot>()) {
  Reload();
}

SnapshotPtr FileSource::Get() {
  const std::lock_guard<std::mutex> lock(mu_);
  return snapshot_;
}

bool FileSource::Reload() {
  const std::lock_guard<std::mutex> reload_lock(reload_mu_);
  absl::StatusOr<FileTexts> texts = ReadFolder(folder_);
  auto snapshot = std::make_shared<Snapshot>();
  if (!texts.ok()) {
    // Not one object is gone because we cannot look.
    *snapshot = *Get();
    if (!read_once_) {
      manifests_.Update({{folder_, texts.status()}});
      *snapshot = SnapshotOf(manifests_.objects());
    }
    snapshot->problems = {{folder_, Message(texts.status())}};
    if (snapshot->problems == Get()->problems) return false;
  } else {
    if (read_once_ && SameTexts(*texts, texts_) && Get()->problems == manifests_.problems()) {
      return false;
    }
    read_once_ = true;
    texts_ = *std::move(texts);
    manifests_.Update(texts_);
    *snapshot = SnapshotOf(manifests_.objects());
    snapshot->complete = true;
    snapshot->problems = manifests_.problems();
  }
  const std::lock_guard<std::mutex> lock(mu_);
  snapshot_ = std::move(snapshot);
  return true;
}

absl::Status FileSource::Run(std::stop_token stop, std::function<void()> changed) {
  const UniqueFd inotify(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  const UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!inotify.ok() || !wake.ok()) {
    return absl::ResourceExhaustedError(std::string("cannot watch ") + folder_ + ": " +
                                        strerror(errno) + "; raise fs.inotify.max_user_instances");
  }
  const std::stop_callback on_stop(stop, [&wake] {
    const uint64_t one = 1;
    if (write(wake.get(), &one, sizeof(one)) < 0) return;  // cannot fail with an empty counter
  });
  std::string parent = folder_;
  while (parent.size() > 1 && parent.back() == '/') parent.pop_back();
  const size_t slash = parent.rfind('/');
  parent = slash == std::string::npos ? "." : slash == 0 ? "/" : parent.substr(0, slash);
  while (!stop.stop_requested()) {
    // The same folder gives the same watch; another one in its place, a new one. Where a watch
    // fails, the timer has to do.
    inotify_add_watch(inotify.get(), folder_.c_str(),
                      IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE |
                          IN_DELETE_SELF | IN_MOVE_SELF);
    inotify_add_watch(inotify.get(), parent.c_str(), IN_MOVED_TO | IN_CREATE | IN_ONLYDIR);
    // What happened before the watch was there.
    if (Reload()) changed();
    bool waiting = true;
    int timeout = kPollMilliseconds;
    while (waiting && !stop.stop_requested()) {
      pollfd fds[2] = {{inotify.get(), POLLIN, 0}, {wake.get(), POLLIN, 0}};
      const int ready = poll(fds, 2, timeout);
      if (ready < 0 && errno != EINTR) {
        return absl::UnavailableError(std::string("watching ") + folder_ + ": " + strerror(errno));
      }
      if (ready == 0) waiting = false;
      if ((fds[0].revents & POLLIN) == 0) continue;
      alignas(inotify_event) char buffer[16 * 1024];
      ssize_t size = 0;
      while ((size = read(inotify.get(), buffer, sizeof(buffer))) > 0) {
        for (ssize_t at = 0; at < size;) {
          const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
          if (Matters(folder_, *event)) timeout = kQuietMilliseconds;
          at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
        }
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace kube_lvs
