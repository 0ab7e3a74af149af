#include "dataplane/ebpf/address_filter.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <set>

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

void ShowVip(klvs_settings& settings, const IpAddress& ip, uint32_t vip_id) {
  if (!ip.IsV4()) return;
  const std::atomic_ref<__u64> slot(settings.vips[klvs_vip_slot(ToWire(ip))]);
  if (slot.load() == 0) slot.store(klvs_vip_word(ToWire(ip), vip_id));
}

void HideVip(klvs_settings& settings, const IpAddress& ip) {
  if (!ip.IsV4()) return;
  const std::atomic_ref<__u64> slot(settings.vips[klvs_vip_slot(ToWire(ip))]);
  if (static_cast<__be32>(slot.load()) == ToWire(ip)) slot.store(0);
}

absl::Status FillFilter(MapStore& maps) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto settings, GetArray<klvs_settings>(maps, kSettingsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto addresses, ReadAddresses(maps));
  Words wanted{};
  std::set<uint64_t> at_hand;  // as klvs_vip_word
  for (const auto& [vips, record] : addresses) {
    if (!vips.IsHost() || !HasFilterBit(record)) continue;
    const uint32_t bit = BitOf(vips.address);
    wanted[bit / 64] |= InWord(bit);
    if (vips.address.IsV4() && (record.flags & KLVS_ADDRESS_VIP) != 0) {
      at_hand.insert(klvs_vip_word(ToWire(vips.address), record.vip_id));
    }
  }
  for (size_t i = 0; i < wanted.size(); ++i) {
    std::atomic_ref<__u64>(settings[0].filter.words[i]).store(wanted[i]);
  }
  for (__u64& slot : settings[0].vips) {
    const std::atomic_ref<__u64> word(slot);
    if (word.load() != 0 && !at_hand.contains(word.load())) word.store(0);
  }
  for (const uint64_t word : at_hand) {
    const std::atomic_ref<__u64> slot(
        settings[0].vips[klvs_vip_slot(static_cast<__be32>(word))]);
    if (slot.load() == 0) slot.store(word);
  }
  return absl::OkStatus();
}

}  // namespace kube_lvs::ebpf
