// What loading our objects takes, whoever keeps them. Only for bpf_*.cc.
#pragma once

#include <bpf/libbpf.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <set>
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

// What maps that are yet to be made take, each name once.
class NewMaps {
 public:
  // `size`: 0 as in the object.
  void Add(const bpf_map* map, uint32_t size);
  uint64_t bytes() const { return bytes_; }

 private:
  std::set<std::string> names_;
  uint64_t bytes_ = 0;
};

// Whether this process may have so much. kResourceExhausted: no, with `mend`.
absl::Status CheckMemory(const NewMaps& maps, std::string_view mend);

// Loads what is open; `log` was given to OpenSkeleton. kFailedPrecondition: the kernel refuses a
// program; the message has its name, the cause and, behind the last "; ", the mend.
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
