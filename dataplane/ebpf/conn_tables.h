// The connection tables of both families, as user space reads them while programs run.
#pragma once

#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/status.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/map_store.h"

namespace kube_lvs::ebpf {

// Of each family as many tags as sets.
struct ConnTables {
  std::span<klvs_conn_set> sets;
  std::span<klvs_set_tags> tags;
  std::span<klvs_conn_set6> sets6;
  std::span<klvs_set_tags> tags6;
};

// As long as the store lives. kDataLoss: the maps do not belong together.
inline absl::StatusOr<ConnTables> GetConnTables(MapStore& maps) {
  ConnTables out;
  KUBE_LVS_ASSIGN_OR_RETURN(out.sets, GetArray<klvs_conn_set>(maps, kConnsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(out.tags, GetArray<klvs_set_tags>(maps, kConnTagsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(out.sets6, GetArray<klvs_conn_set6>(maps, kConns6Map));
  KUBE_LVS_ASSIGN_OR_RETURN(out.tags6, GetArray<klvs_set_tags>(maps, kConnTags6Map));
  if (out.tags.size() != out.sets.size() || out.tags6.size() != out.sets6.size()) {
    return absl::DataLossError("the connections' tags are not as many as their sets");
  }
  return out;
}

}  // namespace kube_lvs::ebpf
