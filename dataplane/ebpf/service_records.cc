// The records of real servers, and which service an id belongs to.
// The fences order stores for programs in the kernel, which no sanitizer sees.
#if defined(__SANITIZE_THREAD__)
#pragma GCC diagnostic ignored "-Wtsan"
#endif

#include "dataplane/ebpf/service_records.h"

#include <atomic>
#include <cstring>

#include "dataplane/ebpf/service_tables.h"

namespace kube_lvs::ebpf {
namespace {

// Stores a record that programs may be reading: they use the way only while KLVS_REAL_L2 is set,
// and the record only while KLVS_REAL_VALID is.
void StoreReal(klvs_real& shared, klvs_real6& ends6, const RealRecord& record) {
  const klvs_real& next = record.real;
  if (std::memcmp(&shared, &next, sizeof next) == 0 &&
      std::memcmp(&ends6, &record.ends6, sizeof ends6) == 0) {
    return;
  }
  std::atomic_ref<uint8_t> flags(shared.flags);
  flags.store(flags.load() & static_cast<uint8_t>(~KLVS_REAL_L2));
  std::atomic_thread_fence(std::memory_order_seq_cst);
  klvs_real hidden = next;
  hidden.flags = shared.flags;
  std::memcpy(&shared, &hidden, sizeof hidden);
  std::memcpy(&ends6, &record.ends6, sizeof ends6);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  flags.store(next.flags);
}

klvs_service_state IdentityOf(const ServiceKey& key) {
  klvs_service_state out{};
  const IpAddress vip = *VipOf(key);
  out.vip = ToWire(vip);
  out.ipv6 = vip.IsV4() ? 0 : 1;
  out.port = IsWide(key) ? EncodeWideKey(0, key).first : EncodeKey(0, key).port;
  out.protocol = static_cast<uint8_t>(key.protocol);
  return out;
}

klvs_wide_state WideStateOf(const ServiceKey& key) {
  klvs_wide_state out{};
  if (const auto* prefix = std::get_if<Prefix>(&key.match)) {
    out.prefix_length = static_cast<uint8_t>(prefix->vips.length);
  }
  if (!IsWide(key)) return out;
  out.wide = 1;
  out.last = EncodeWideKey(0, key).last;
  return out;
}

}  // namespace

void FitOverload(const klvs_real& record, klvs_real_conns& conns) {
  const uint32_t overloaded = IsOverloaded(record, conns) ? 1 : 0;
  std::atomic_ref<uint32_t> shared(conns.overloaded);
  if (shared.load() != overloaded) shared.store(overloaded);
}

RealRecord ServiceTables::Record(uint32_t id) const { return {reals_[id], ends6_[id]}; }

void ServiceTables::Store(uint32_t id, const RealRecord& record) {
  StoreReal(reals_[id], ends6_[id], record);
}

std::optional<ServiceKey> ServiceTables::KeyOfState(uint32_t id) const {
  const klvs_service_state& state = states_[id];
  if (state.protocol == 0) return std::nullopt;
  Cidr vips = Cidr::Host(state.ipv6 != 0 ? FromWire(vips6_[id]) : FromWire(state.vip));
  if (wide_states_[id].prefix_length != 0) vips.length = wide_states_[id].prefix_length;
  if (wide_states_[id].wide == 0) {
    return DecodeKey(vips, klvs_service_key{0, state.port, state.protocol, 0});
  }
  klvs_wide_key wide{};
  wide.first = state.port;
  wide.last = wide_states_[id].last;
  wide.protocol = state.port == 0 ? 0 : state.protocol;
  return DecodeKey(vips, wide);
}

void ServiceTables::SetState(uint32_t id, const ServiceKey& key, uint64_t cursor) {
  states_[id] = IdentityOf(key);
  states_[id].cursor = cursor;
  wide_states_[id] = WideStateOf(key);
  vips6_[id] = ToWire6(*VipOf(key));
}

void ServiceTables::ClearState(uint32_t id) {
  states_[id] = klvs_service_state{};
  wide_states_[id] = klvs_wide_state{};
  vips6_[id] = klvs_in6{};
}

}  // namespace kube_lvs::ebpf
