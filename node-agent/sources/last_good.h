// The objects that were last seen complete, on disk: what to start from when their source does not
// answer. One file, replaced atomically.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/log.h"
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

// Saves the newest complete snapshot, in a thread of its own: with many objects that takes longer
// than the loop may stand still.
class LastGoodWriter {
 public:
  // Borrows both.
  LastGoodWriter(const LastGood& last_good, Logger& log) : last_good_(last_good), log_(log) {}

  // Thread-safe. One that is not complete is ignored.
  void Take(SnapshotPtr snapshot);

  // Saves at most every `interval`, and once more at the end; until `stop`, then OK.
  absl::Status Run(std::stop_token stop, Duration interval = std::chrono::seconds(10));

 private:
  const LastGood& last_good_;
  Logger& log_;
  std::mutex mu_;
  std::condition_variable_any changed_;
  SnapshotPtr newest_;  // guarded by mu_
};

}  // namespace kube_lvs
