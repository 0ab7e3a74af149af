// Sysctls that we hold at a value, and what they were before.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dataplane/model/state.h"

namespace kube_lvs::host {

// The values from before us are kept in `journal`, one line "name<TAB>value" each, written and
// synced before a sysctl is first changed, so that a crash at any point can still be undone.
// Not thread-safe.
class Sysctls {
 public:
  // `root` is /proc/sys, or a folder that stands in for it.
  Sysctls(std::string root, std::string journal);

  // Those we changed, at the value they have now.
  absl::StatusOr<std::vector<Sysctl>> Read() const;

  // kNotFound: this kernel has no such sysctl. kPermissionDenied: /proc/sys is read-only for us.
  absl::Status Hold(const Sysctl& sysctl);

  // Puts back the value from before us. OK if we do not hold it.
  absl::Status Release(const std::string& name);

  // Its value now, whoever set it. kNotFound: this kernel has no such sysctl.
  absl::StatusOr<std::string> Get(const std::string& name) const;

 private:
  absl::StatusOr<std::vector<Sysctl>> Originals() const;
  absl::Status Save(const std::vector<Sysctl>& originals) const;
  absl::Status Set(const Sysctl& sysctl) const;

  const std::string root_;
  const std::string journal_;
};

}  // namespace kube_lvs::host
