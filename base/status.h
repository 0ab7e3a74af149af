// Macros and one function to pass absl::Status up without noise.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/cord.h"

namespace kube_lvs {

// The same status with "context: " before its message, payloads kept; OK stays OK. Say on the way
// up what you were doing, once, naming the object.
inline absl::Status Annotate(const absl::Status& status, std::string_view context) {
  if (status.ok()) return status;
  std::string message(context);
  message += ": ";
  message.append(status.message().data(), status.message().size());
  absl::Status annotated(status.code(), absl::string_view(message.data(), message.size()));
  status.ForEachPayload([&annotated](absl::string_view type, const absl::Cord& payload) {
    annotated.SetPayload(type, payload);
  });
  return annotated;
}

// A message of an absl::Status as std::string (absl::string_view is not std's in Debian's build).
inline std::string Message(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

}  // namespace kube_lvs

#define KUBE_LVS_CONCAT_INNER(a, b) a##b
#define KUBE_LVS_CONCAT(a, b) KUBE_LVS_CONCAT_INNER(a, b)

#define KUBE_LVS_RETURN_IF_ERROR(expr)                                                           \
  do {                                                                                           \
    if (absl::Status kube_lvs_status_ = (expr); !kube_lvs_status_.ok()) return kube_lvs_status_; \
  } while (false)

#define KUBE_LVS_ASSIGN_OR_RETURN(lhs, expr) \
  KUBE_LVS_ASSIGN_OR_RETURN_INNER(KUBE_LVS_CONCAT(kube_lvs_or_, __LINE__), lhs, expr)
#define KUBE_LVS_ASSIGN_OR_RETURN_INNER(or_value, lhs, expr) \
  auto or_value = (expr);                                    \
  if (!or_value.ok()) return or_value.status();              \
  lhs = *std::move(or_value)
