// The records of services, of one port or of many, which are in two maps.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/map_store.h"
#include "dataplane/model/service.h"

namespace kube_lvs::ebpf {

using RecordKey = std::variant<klvs_service_key, klvs_wide_key>;

// `key` passed CheckSupported.
RecordKey EncodeRecordKey(uint32_t vip_id, const ServiceKey& key);
ServiceKey DecodeRecordKey(const Cidr& vips, const RecordKey& key);
uint32_t VipIdOf(const RecordKey& key);

// nullopt: it is not there.
absl::StatusOr<std::optional<klvs_service>> GetService(MapStore& maps, const RecordKey& key);
absl::Status PutService(MapStore& maps, const RecordKey& key, const klvs_service& service);
absl::Status EraseService(MapStore& maps, const RecordKey& key);
absl::StatusOr<std::vector<std::pair<RecordKey, klvs_service>>> GetServices(MapStore& maps);

// The service that a new connection to this port of the VIP belongs to, as the programs find it.
absl::StatusOr<std::optional<klvs_service>> FindService(MapStore& maps,
                                                        const klvs_service_key& port);

}  // namespace kube_lvs::ebpf
