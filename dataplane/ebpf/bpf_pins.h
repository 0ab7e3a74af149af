// What is pinned in a folder of a BPF file system: maps, and the programs of each version in a folder
// of their own. Only for bpf_*.cc.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dataplane/ebpf/bpf_hooks.h"
#include "dataplane/ebpf/bpf_maps.h"

namespace kube_lvs::ebpf {

inline constexpr std::string_view kMapPrefix = "klvs_";
inline constexpr std::string_view kProgramsPrefix = "programs-";

// Makes the folder. kFailedPrecondition: not on a BPF file system.
absl::Status MakePinDir(const std::string& dir);
// What is in it, sorted; nothing when it does not exist.
std::vector<std::string> NamesIn(const std::string& dir);
absl::Status RemoveAll(const std::string& path);

// The programs of one version.
absl::StatusOr<ProgramSet> OpenSet(const std::string& dir);
// What is left of a set; one that was cut short has fewer.
ProgramSet OpenWhatIsThere(const std::string& dir);

absl::StatusOr<std::unique_ptr<BpfMaps>> OpenMaps(const std::string& dir);
// kFailedPrecondition: a newer or older version's, which are not ours to write.
absl::Status CheckLayout(const std::string& dir);
// Maps of a start that was cut short before InitialiseSettings, when nothing is hooked in yet: maybe
// of other sizes than this one's, and not all of one size.
absl::Status RemoveUnfinishedMaps(const std::string& dir);

// What a load pins beside what is there. If it ends before Keep(), that goes again: nobody would
// use it, and it would hold all the memory of its maps. What was there has connections in it, and
// stays.
class NewPins {
 public:
  explicit NewPins(const std::string& dir) : dir_(dir), before_(NamesIn(dir)) {}
  ~NewPins();
  NewPins(const NewPins&) = delete;
  NewPins& operator=(const NewPins&) = delete;

  void Keep() { kept_ = true; }

 private:
  const std::string dir_;
  const std::vector<std::string> before_;  // sorted
  bool kept_ = false;
};

}  // namespace kube_lvs::ebpf
