#include "dataplane/ebpf/bpf_load.h"

#include <linux/capability.h>

#include <algorithm>
#include <cstdio>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "dataplane/ebpf/map_memory.h"
#include "dataplane/ebpf/verifier_log.h"

namespace kube_lvs::ebpf {
namespace {

// For the verifier's word about one program. Large, and touched only where it is written: before
// 6.4 kernels do not say what they refuse in one that is too short.
constexpr size_t kVerifierLog = 16 << 20;

struct ProgramLog {
  const char* program;
  std::unique_ptr<char[]> text;
};

absl::StatusOr<std::vector<ProgramLog>> HearOfPrograms(bpf_object* object) {
  std::vector<ProgramLog> out;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object) {
    ProgramLog log = {bpf_program__name(program),
                      std::make_unique_for_overwrite<char[]>(kVerifierLog)};
    log.text[0] = '\0';
    if (const int result = bpf_program__set_log_buf(program, log.text.get(), kVerifierLog);
        result != 0) {
      return BpfError(std::string("log of ") + log.program, -result);
    }
    out.push_back(std::move(log));
  }
  return out;
}

// Of those that loading programs takes, what this thread lacks; "" for none.
std::string MissingCapabilities() {
  const auto status = ReadFile("/proc/thread-self/status");
  const size_t at = status.ok() ? status->find("CapEff:") : std::string::npos;
  unsigned long long bits = 0;
  if (at == std::string::npos || std::sscanf(status->c_str() + at, "CapEff: %llx", &bits) != 1) {
    return "";
  }
  const auto has = [bits](int capability) { return (bits >> capability & 1) != 0; };
  if (has(CAP_SYS_ADMIN)) return "";
  std::string out;
  for (const auto& [capability, name] : {std::pair(CAP_BPF, "CAP_BPF"),
                                         std::pair(CAP_NET_ADMIN, "CAP_NET_ADMIN"),
                                         std::pair(CAP_PERFMON, "CAP_PERFMON")}) {
    if (!has(capability)) out += (out.empty() ? "" : ", ") + std::string(name);
  }
  return out;
}

std::string MendOfRefusal() {
  if (const std::string missing = MissingCapabilities(); !missing.empty()) {
    return "run it with " + missing;
  }
  return "Linux 6.1 and 6.12 take it: boot one of these, or have the services served by dataplane "
         "IPVS, and report this";
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
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<ProgramLog> programs, HearOfPrograms(object));
  const int result = bpf_object__load(object);
  for (const ProgramLog& program : programs) {
    if (result == 0 || program.text[0] == '\0') continue;
    return absl::FailedPreconditionError(
        RefusalOf(program.program, -result, program.text.get()) + "; " + MendOfRefusal());
  }
  if (result == 0) return absl::OkStatus();
  const absl::Status status = BpfError(std::string("loading ") + bpf_object__name(object), -result);
  if (log[0] == '\0' && (absl::IsResourceExhausted(status) || absl::IsPermissionDenied(status))) {
    return status;
  }
  return absl::FailedPreconditionError(Message(status) + ": " + CauseOf(log.c_str()) +
                                       "; a kernel of 6.1 or newer with BTF is needed");
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
