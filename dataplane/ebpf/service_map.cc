#include "dataplane/ebpf/service_map.h"

#include "base/status.h"
#include "dataplane/ebpf/map_names.h"

namespace kube_lvs::ebpf {
namespace {

std::string_view MapOf(const RecordKey& key) {
  return std::holds_alternative<klvs_wide_key>(key) ? kWideServicesMap : kServicesMap;
}

}  // namespace

RecordKey EncodeRecordKey(uint32_t vip_id, const ServiceKey& key) {
  if (IsWide(key)) return EncodeWideKey(vip_id, key);
  return EncodeKey(vip_id, key);
}

ServiceKey DecodeRecordKey(const Cidr& vips, const RecordKey& key) {
  return std::visit([&vips](const auto& record) { return DecodeKey(vips, record); }, key);
}

uint32_t VipIdOf(const RecordKey& key) {
  return std::visit([](const auto& record) { return record.vip_id; }, key);
}

absl::StatusOr<std::optional<klvs_service>> GetService(MapStore& maps, const RecordKey& key) {
  return std::visit([&](const auto& record) { return Get<klvs_service>(maps, MapOf(key), record); },
                    key);
}

absl::Status PutService(MapStore& maps, const RecordKey& key, const klvs_service& service) {
  return std::visit([&](const auto& record) { return Put(maps, MapOf(key), record, service); },
                    key);
}

absl::Status EraseService(MapStore& maps, const RecordKey& key) {
  return std::visit([&](const auto& record) { return Erase(maps, MapOf(key), record); }, key);
}

absl::StatusOr<std::vector<std::pair<RecordKey, klvs_service>>> GetServices(MapStore& maps) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto single,
                            (GetAll<klvs_service_key, klvs_service>(maps, kServicesMap)));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto wide,
                            (GetAll<klvs_wide_key, klvs_service>(maps, kWideServicesMap)));
  std::vector<std::pair<RecordKey, klvs_service>> out(single.begin(), single.end());
  out.insert(out.end(), wide.begin(), wide.end());
  return out;
}

absl::StatusOr<std::optional<klvs_service>> FindService(MapStore& maps,
                                                        const klvs_service_key& port) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto single, Get<klvs_service>(maps, kServicesMap, port));
  if (single) return single;
  klvs_port_key key{};
  key.prefix_length = KLVS_PORT_PREFIX_PORT;
  key.vip_id = port.vip_id;
  key.protocol = port.protocol;
  key.port = port.port;
  KUBE_LVS_ASSIGN_OR_RETURN(const auto owner, Get<klvs_port_owner>(maps, kPortsMap, key));
  if (!owner) return std::optional<klvs_service>();
  return Get<klvs_service>(maps, kWideServicesMap, owner->service);
}

}  // namespace kube_lvs::ebpf
