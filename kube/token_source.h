// The bearer token of the moment, from a file that somebody else rotates.
#pragma once

#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "kube/config.h"

namespace kube_lvs::kube {

// Thread-safe.
class TokenSource {
 public:
  // Uses config.token_file, else config.token, else there is none. `clock` must outlive it.
  TokenSource(const ClientConfig& config, const Clock& clock)
      : file_(config.token_file), clock_(clock), token_(file_.empty() ? config.token : "") {}

  // Empty if there is none. Reads the file when the last reading is a minute old; if that fails,
  // the old token is used on, and kUnauthenticated is returned only if there never was one that
  // fits into a header.
  absl::StatusOr<std::string> Get();

  // After a 401 for `rejected`: whether there is another token now and a retry makes sense.
  bool Renew(const std::string& rejected);

 private:
  absl::Status Read();  // needs mu_

  const std::string file_;
  const Clock& clock_;
  std::mutex mu_;
  std::string token_;    // guarded by mu_
  TimePoint read_at_{};  // guarded by mu_
};

}  // namespace kube_lvs::kube
