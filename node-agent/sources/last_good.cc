#include "node-agent/sources/last_good.h"

#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "base/file.h"
#include "base/status.h"

namespace kube_lvs {
namespace {

constexpr size_t kLimit = 1 << 30;

}  // namespace

absl::Status LastGood::Save(const Snapshot& snapshot) const {
  if (mkdir(folder_.c_str(), 0700) != 0 && errno != EEXIST) {
    return FileError(errno, "making", folder_);
  }
  return ReplaceFile(path_, ToYaml(snapshot));
}

absl::StatusOr<std::map<ObjectId, api::AnyObject>> LastGood::Load(
    std::vector<SourceProblem>& problems) const {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path_, kLimit));
  std::vector<SourceProblem> found;
  auto objects = FromOwnYaml(text, found);
  for (SourceProblem& problem : found) {
    problems.push_back({path_ + " " + problem.where, std::move(problem.message)});
  }
  return objects;
}

void LastGoodWriter::Take(SnapshotPtr snapshot) {
  if (!snapshot->complete) return;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    newest_ = std::move(snapshot);
  }
  changed_.notify_all();
}

absl::Status LastGoodWriter::Run(std::stop_token stop, Duration interval) {
  SnapshotPtr saved;
  for (;;) {
    SnapshotPtr next;
    {
      std::unique_lock<std::mutex> lock(mu_);
      changed_.wait(lock, stop, [&] { return newest_ != saved; });
      next = newest_;
    }
    if (next != saved) {
      saved = next;
      if (const absl::Status status = last_good_.Save(*next); !status.ok()) {
        log_.Log(Level::kWarn, "cannot save the objects for the next start",
                 {{"error", Message(status)}});
      }
    } else if (stop.stop_requested()) {
      return absl::OkStatus();
    }
    std::mutex mu;
    std::condition_variable_any never;
    std::unique_lock<std::mutex> lock(mu);
    never.wait_for(lock, stop, interval, [] { return false; });
  }
}

}  // namespace kube_lvs
