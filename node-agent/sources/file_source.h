// Objects from the YAML files of one folder, read again when they change.
#pragma once

#include <functional>
#include <mutex>
#include <stop_token>
#include <string>

#include "base/clock.h"
#include "node-agent/sources/manifests.h"
#include "node-agent/sources/source.h"

namespace kube_lvs {

// Reads DIR/*.yaml and *.yml, following symbolic links, not in subfolders and not hidden ones. Sees
// writes, renames over a file, links that are swapped, and the folder itself being replaced; what
// happens behind a link's back is seen within 30 s.
class FileSource final : public DesiredSource {
 public:
  // Reads the folder at once, so that Get() is complete from the start. `cached` as for Manifests.
  FileSource(std::string folder, std::map<ObjectId, api::AnyObject> cached);

  SnapshotPtr Get() override;
  absl::Status Run(std::stop_token stop, std::function<void()> changed) override;

  // Reads all files; true if the snapshot is another now. Thread-safe.
  bool Reload();

 private:
  const std::string folder_;
  std::mutex reload_mu_;
  FileTexts texts_;         // guarded by reload_mu_: of the last reading
  bool read_once_ = false;  // guarded by reload_mu_
  Manifests manifests_;     // guarded by reload_mu_
  std::mutex mu_;
  SnapshotPtr snapshot_;  // guarded by mu_
};

}  // namespace kube_lvs
