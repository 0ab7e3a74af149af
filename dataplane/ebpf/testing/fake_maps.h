// All maps of abi.h in memory, small, with settings as a fresh load leaves them.
#pragma once

#include "dataplane/ebpf/testing/fake_map_store.h"

namespace kube_lvs::ebpf {

struct FakeMapSizes {
  uint32_t services = 64;
  uint32_t reals = 256;
  uint32_t lists = 1024;
  uint32_t tables = 40960;
  uint32_t addresses = 256;
};

void MakeMaps(FakeMapStore& store, const FakeMapSizes& sizes = {});

}  // namespace kube_lvs::ebpf
