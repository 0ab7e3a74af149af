#include "node-agent/sources/last_good.h"

#include <sys/stat.h>

#include <cerrno>

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

}  // namespace kube_lvs
