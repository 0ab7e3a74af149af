#include "dataplane/ebpf/bpf_load.h"

#include <algorithm>
#include <cstdio>

#include "base/file.h"
#include "base/status.h"
#include "dataplane/ebpf/map_memory.h"

namespace kube_lvs::ebpf {
namespace {

// The end of the verifier's word: its last lines tell what it refused.
std::string Tail(const std::string& log) {
  const size_t end = log.find('\0');
  const std::string text = log.substr(0, end);
  return text.size() > 1500 ? "..." + text.substr(text.size() - 1500) : text;
}

}  // namespace

void NewMaps::Add(const bpf_map* map, uint32_t size) {
  if (bpf_map__is_internal(map) || !names_.insert(bpf_map__name(map)).second) return;
  const MapShape shape = {.type = static_cast<uint32_t>(bpf_map__type(map)),
                          .key_size = bpf_map__key_size(map),
                          .value_size = bpf_map__value_size(map),
                          .max_entries = size != 0 ? size : bpf_map__max_entries(map),
                          .flags = bpf_map__map_flags(map)};
  bytes_ += BytesOf(shape, static_cast<uint32_t>(std::max(libbpf_num_possible_cpus(), 1)));
}

absl::Status CheckMemory(const NewMaps& maps, std::string_view mend) {
  if (maps.bytes() == 0) return absl::OkStatus();
  const auto read = [](const std::string& path) { return ReadFile(path); };
  return CheckRoom(maps.bytes(), FindMemoryRoom(read), mend);
}

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
