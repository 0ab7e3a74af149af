// Small whole files: read them, and replace them so that a crash leaves the old or the new one.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace kube_lvs {

// kNotFound if there is no such file. Files above `limit` bytes are refused (kOutOfRange).
absl::StatusOr<std::string> ReadFile(const std::string& path, size_t limit = 64 << 20);

// The same from a folder that is open, wherever that may have been moved since.
absl::StatusOr<std::string> ReadFileAt(int folder, const std::string& name,
                                       size_t limit = 64 << 20);

// Writes in place, as /proc and /sys want it.
absl::Status WriteInPlace(const std::string& path, std::string_view content);

// Writes beside it, syncs, renames, syncs the folder. The folder must be there.
absl::Status ReplaceFile(const std::string& path, std::string_view content);

// errno as a status that says what was done to which path.
absl::Status FileError(int error, std::string_view doing, const std::string& path);

}  // namespace kube_lvs
