#include "dataplane/ebpf/address_filter.h"

#include <array>
#include <atomic>
#include <cstdint>

#include "base/status.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/addresses.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/map_names.h"

namespace kube_lvs::ebpf {
namespace {

using Words = std::array<uint64_t, KLVS_FILTER_BITS / 64>;

uint32_t BitOf(const IpAddress& ip) {
  if (ip.IsV4()) return klvs_filter_bit(ToWire(ip));
  const klvs_in6 wire = ToWire6(ip);
  return klvs_filter_bit(wire.word[0] ^ wire.word[1] ^ wire.word[2] ^ wire.word[3]);
}

uint64_t InWord(uint32_t bit) { return uint64_t{1} << (bit % 64); }

}  // namespace

absl::Status AdmitAddress(MapStore& maps, const IpAddress& ip) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto settings, GetArray<klvs_settings>(maps, kSettingsMap));
  const uint32_t bit = BitOf(ip);
  const std::atomic_ref<__u64> word(settings[0].filter.words[bit / 64]);
  if ((word.load() & InWord(bit)) == 0) word.fetch_or(InWord(bit));
  return absl::OkStatus();
}

absl::Status FillFilter(MapStore& maps) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto settings, GetArray<klvs_settings>(maps, kSettingsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto addresses, ReadAddresses(maps));
  Words wanted{};
  for (const auto& [vips, record] : addresses) {
    if (!vips.IsHost() || !HasFilterBit(record)) continue;
    const uint32_t bit = BitOf(vips.address);
    wanted[bit / 64] |= InWord(bit);
  }
  for (size_t i = 0; i < wanted.size(); ++i) {
    std::atomic_ref<__u64>(settings[0].filter.words[i]).store(wanted[i]);
  }
  return absl::OkStatus();
}

}  // namespace kube_lvs::ebpf
