// The objects that were last seen complete, on disk: what to start from when their source does not
// answer. One file, replaced atomically.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kube/api/decode.h"
#include "node-agent/sources/objects.h"
#include "node-agent/sources/snapshot.h"

namespace kube_lvs {

class LastGood {
 public:
  // `folder` is made when it is first written to.
  explicit LastGood(std::string folder) : path_(folder + "/objects.yaml"), folder_(folder) {}

  // Synced to disk before it takes the place of the former one.
  absl::Status Save(const Snapshot& snapshot) const;

  // kNotFound: there is none. What cannot be read of it is named in `problems`.
  absl::StatusOr<std::map<ObjectId, api::AnyObject>> Load(
      std::vector<SourceProblem>& problems) const;

 private:
  const std::string path_, folder_;
};

}  // namespace kube_lvs
