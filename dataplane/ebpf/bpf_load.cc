#include "dataplane/ebpf/bpf_load.h"

#include <algorithm>
#include <cstdio>

#include "base/status.h"

namespace kube_lvs::ebpf {
namespace {

// The end of the verifier's word: its last lines tell what it refused.
std::string Tail(const std::string& log) {
  const size_t end = log.find('\0');
  const std::string text = log.substr(0, end);
  return text.size() > 1500 ? "..." + text.substr(text.size() - 1500) : text;
}

}  // namespace

absl::Status Load(bpf_object* object, std::string& log) {
  std::ranges::fill(log, '\0');
  const int result = bpf_object__load(object);
  if (result == 0) return absl::OkStatus();
  const absl::Status status = BpfError(std::string("loading ") + bpf_object__name(object), -result);
  if (status.code() == absl::StatusCode::kResourceExhausted && log[0] == '\0') return status;
  if (status.code() == absl::StatusCode::kPermissionDenied && log[0] == '\0') return status;
  return absl::FailedPreconditionError(
      Message(status) + "; a kernel of 6.1 or newer with BTF is needed. " + Tail(log));
}

void Fingerprint::Add(const void* data, size_t size) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  for (size_t i = 0; i < size; ++i) hash_ = (hash_ ^ bytes[i]) * 1099511628211ULL;
}

std::string Fingerprint::Text() const {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash_));
  return text;
}

}  // namespace kube_lvs::ebpf
