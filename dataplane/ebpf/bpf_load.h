// What loading our objects takes, whoever keeps them. Only for bpf_*.cc.
#pragma once

#include <bpf/libbpf.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dataplane/ebpf/bpf_maps.h"
#include "dataplane/ebpf/bpf_objects.h"

namespace kube_lvs::ebpf {

// libbpf's own messages are off: what goes wrong is in the statuses.
void Silence();

// The maps of abi.h that user space knows, of directors first.
std::span<const std::string_view> MapNames();
uint32_t CapacityOf(const MapSizes& sizes, std::string_view map);  // 0: as in bpf/maps.h

// Fills in fresh settings; leaves those of this layout alone.
absl::Status InitialiseSettings(BpfMaps& maps);

// Loads what is open; `log` was given to OpenSkeleton. kFailedPrecondition: the kernel refuses the
// programs, the message has the verifier's last lines.
absl::Status Load(bpf_object* object, std::string& log);

// Closes a skeleton by the function that its generator made for it.
template <typename Skeleton>
using SkeletonPtr = std::unique_ptr<Skeleton, void (*)(Skeleton*)>;

template <typename Skeleton>
absl::StatusOr<SkeletonPtr<Skeleton>> OpenSkeleton(Skeleton* (*open)(const bpf_object_open_opts*),
                                                   void (*destroy)(Skeleton*), std::string& log) {
  bpf_object_open_opts options{};
  options.sz = sizeof options;
  options.kernel_log_buf = log.data();
  options.kernel_log_size = log.size();
  Skeleton* skeleton = open(&options);
  if (skeleton == nullptr) return BpfError("opening a BPF object", errno);
  return SkeletonPtr<Skeleton>(skeleton, destroy);
}

// FNV-1a over objects: the same programs have the same name.
class Fingerprint {
 public:
  void Add(const void* data, size_t size);
  uint64_t Number() const { return hash_; }
  std::string Text() const;

 private:
  uint64_t hash_ = 14695981039346656037ULL;
};

}  // namespace kube_lvs::ebpf
