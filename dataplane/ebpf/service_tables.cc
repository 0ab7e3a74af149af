// The fences order stores for programs in the kernel, which no sanitizer sees.
#if defined(__SANITIZE_THREAD__)
#pragma GCC diagnostic ignored "-Wtsan"
#endif

#include "dataplane/ebpf/service_tables.h"

#include <algorithm>
#include <atomic>

#include "base/status.h"
#include "dataplane/ebpf/service_records.h"
#include "dataplane/ebpf/wide_ports.h"
#include "dataplane/plan/hash_buckets.h"
#include "dataplane/plan/maglev.h"

namespace kube_lvs::ebpf {
namespace {

constexpr uint32_t kMaxListLength = UINT16_MAX;  // start_position counts in 16 bits

absl::StatusOr<uint32_t> FullTableSays(const absl::StatusOr<uint32_t>& id, const ServiceKey& key) {
  if (id.ok()) return id;
  return Annotate(id.status(), ToString(key));
}

void EmptyLocality(klvs_locality& locality) {
  std::atomic_ref<uint32_t>(locality.real).store(0);
  std::atomic_ref<uint32_t>(locality.first)
      .store(std::atomic_ref<uint32_t>(locality.joined).load() + 1);
}

uint16_t NextGeneration(uint16_t generation) {
  ++generation;
  return generation == 0 ? 1 : generation;
}

}  // namespace

absl::Status ServiceTables::TakeIds(const ServiceKey& key, const VirtualService& wanted,
                                    Claim& claim) {
  claim.new_service = service_ids_->Find(key) == 0;
  KUBE_LVS_ASSIGN_OR_RETURN(claim.service_id, FullTableSays(service_ids_->Acquire(key), key));
  const bool known = KeyOfState(claim.service_id) == key;
  if (claim.new_service && !known) {
    KUBE_LVS_RETURN_IF_ERROR(maps_.ClearPerCpu(kServiceCountersMap, AsBytes(claim.service_id)));
    SetState(claim.service_id, key, /*cursor=*/0);
  }
  for (const RealServer& real : wanted.reals) {
    const RealKey real_key{claim.service_id, real.at};
    const bool live = real_ids_->Find(real_key) != 0;
    KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t id, FullTableSays(real_ids_->Acquire(real_key), key));
    claim.reals.push_back(id);
    if (live) continue;
    if (IsValid(reals_[id])) {
      claim.revived.push_back(real_key);
      continue;
    }
    claim.new_reals.push_back(real_key);
    KUBE_LVS_RETURN_IF_ERROR(maps_.ClearPerCpu(kRealCountersMap, AsBytes(id)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<uint32_t>> ServiceTables::TableSlots(
    const VirtualService& wanted, std::span<const uint32_t> ids) const {
  const std::string& scheduler = wanted.config.scheduler;
  std::vector<uint32_t> slots;
  if (scheduler == "sh") {
    std::vector<uint32_t> weights;
    for (const RealServer& real : wanted.reals) weights.push_back(real.weight);
    slots = PopulateSourceHash(weights);
  } else if (scheduler == "dh") {
    slots = PopulateDestinationHash(static_cast<uint32_t>(ids.size()));
  }
  static_assert(kEmptyHashBucket == kMaglevEmptySlot && kHashBuckets == KLVS_HASH_BUCKETS);
  if (scheduler == "mh") {
    KUBE_LVS_ASSIGN_OR_RETURN(slots, MaglevSlots(wanted, ids));
  }
  for (uint32_t& slot : slots) slot = slot == kMaglevEmptySlot ? 0 : ids[slot];
  return slots;
}

absl::StatusOr<std::vector<uint32_t>> ServiceTables::MaglevSlots(
    const VirtualService& wanted, std::span<const uint32_t> ids) const {
  std::vector<MaglevReal> list;
  for (size_t i = 0; i < ids.size(); ++i) {
    const uint32_t weight = wanted.reals[i].weight;
    // A quiesced one keeps its slots, so that its clients come back to it.
    const klvs_real& record = reals_[ids[i]];
    const bool stays = IsValid(record) && (record.flags & KLVS_REAL_REMOVED) == 0;
    const uint32_t last = stays ? record.last_weight : 0;
    list.push_back({wanted.reals[i].at, weight != 0 ? weight : last});
  }
  return PopulateMaglev(list, wanted.config.hash.table_size);
}

absl::Status ServiceTables::TakeExtents(const ServiceKey& key, const VirtualService& wanted,
                                        const std::optional<Found>& before, TimePoint now,
                                        Claim& claim) {
  const auto list = list_extents_->Allocate(static_cast<uint32_t>(wanted.reals.size()), now);
  if (!list.ok()) return Annotate(list.status(), ToString(key) + ": the table of lists is full");
  claim.list = *list;
  for (size_t i = 0; i < wanted.reals.size(); ++i) {
    lists_[claim.list.base + i] = {claim.reals[i], wanted.reals[i].weight};
  }
  auto slots = TableSlots(wanted, claim.reals);
  if (!slots.ok()) return Annotate(slots.status(), ToString(key));
  if (slots->empty()) return absl::OkStatus();
  if (before && before->value.table_size == slots->size() &&
      std::ranges::equal(tables_.subspan(before->value.table_base, slots->size()), *slots, {},
                         &TableCell::real)) {
    claim.table = {before->value.table_base, before->value.table_size};
    return absl::OkStatus();
  }
  const auto table = table_extents_->Allocate(static_cast<uint32_t>(slots->size()), now);
  if (!table.ok()) {
    return Annotate(table.status(),
                    ToString(key) + ": the table of Maglev and hash tables is full");
  }
  claim.table = *table;
  for (size_t i = 0; i < slots->size(); ++i) tables_[claim.table.base + i].real = (*slots)[i];
  return absl::OkStatus();
}

absl::StatusOr<std::vector<RealRecord>> ServiceTables::PrepareReals(const VirtualService& wanted,
                                                                    const Claim& claim) {
  std::vector<RealRecord> out;
  for (size_t i = 0; i < wanted.reals.size(); ++i) {
    const RealServer& real = wanted.reals[i];
    RealRecord whole = Record(claim.reals[i]);
    const bool fresh = !IsValid(whole.real);
    // This node is reached by another way once its replies must come to us.
    const bool here = (whole.real.flags & KLVS_REAL_LOCAL) != 0 ||
                      whole.Source() == LocalLinkSource(real.at.ip.family);
    if (klvs_real& record = whole.real; !fresh) {
      // One that comes back is as a new one: what it weighed before is forgotten.
      if ((record.flags & KLVS_REAL_REMOVED) != 0) record.last_weight = real.weight;
      record.flags &= static_cast<uint8_t>(~(KLVS_REAL_REMOVED | KLVS_REAL_FORGOTTEN));
      record.method = static_cast<uint8_t>(real.method);
      record.gue_port = ToWirePort(real.tunnel.port);
      record.upper_threshold = real.upper_threshold;
      record.lower_threshold = real.lower_threshold;
      // A weight that becomes 0 waits until the new list is visible: make before break.
      if (real.weight != 0) record.weight = record.last_weight = real.weight;
    } else {
      whole = EncodeReal(claim.service_id, real);
    }
    if (fresh || here) {
      const bool source_nat = wanted.config.source_nat && real.method == ForwardingMethod::kNat;
      SetWay(way_to_(real.at.ip, source_nat), whole);
    }
    if (real.method == ForwardingMethod::kTunnel) {
      KUBE_LVS_RETURN_IF_ERROR(addresses_.AddEnd(whole.Source(), KLVS_ADDRESS_TUNNEL));
    }
    if (real.method == ForwardingMethod::kNat) {
      KUBE_LVS_RETURN_IF_ERROR(wanted.config.source_nat
                                   ? addresses_.AddEnd(whole.Source(), KLVS_ADDRESS_SNAT)
                                   : addresses_.AddEnd(real.at.ip, KLVS_ADDRESS_NAT_REAL));
    }
    out.push_back(whole);
  }
  return out;
}

void ServiceTables::GiveBack(const ServiceKey& key, const Claim& claim, TimePoint now) {
  for (const auto& keys : {claim.new_reals, claim.revived}) {
    for (const RealKey& real : keys) Retire(real, now);
  }
  list_extents_->Free(claim.list, now);
  if (claim.new_service && claim.service_id != 0) {
    service_ids_->Retire(key);
    service_rests_since_[key] = now;
  }
}

void ServiceTables::SetDelivery(const klvs_service& before, uint32_t local, klvs_service& next) {
  const bool began = before.delivers != KLVS_DELIVERS_NOTHING;
  next.local = local != 0 ? local : before.local;
  next.delivers = local != 0 ? KLVS_DELIVERS : began ? KLVS_DELIVERED : KLVS_DELIVERS_NOTHING;
}

absl::Status ServiceTables::Write(const ServiceKey& key, const VirtualService& wanted,
                                  TimePoint now) {
  if (wanted.reals.size() > kMaxListLength) {
    return absl::ResourceExhaustedError(ToString(key) + ": " + std::to_string(wanted.reals.size()) +
                                        " real servers, the limit is " +
                                        std::to_string(kMaxListLength));
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto before, Lookup(key));
  if (before) {
    KUBE_LVS_ASSIGN_OR_RETURN(const VirtualService actual, Decode(key, *before));
    if (actual == wanted) return absl::OkStatus();
  }
  Claim claim;
  const Cidr vip = *VipsOf(key);
  bool made_vip = false;
  const auto fail = [&](const absl::Status& status) {
    GiveBack(key, claim, now);
    ends_changed_ = true;
    const bool shared =
        before && before->value.table_size != 0 && before->value.table_base == claim.table.base;
    if (!shared) table_extents_->Free(claim.table, now);
    if (made_vip) stale_vips_.insert(vip);
    if (IsWide(key)) stale_ports_ = true;
    return status;
  };
  if (absl::Status s = TakeIds(key, wanted, claim); !s.ok()) return fail(s);
  if (absl::Status s = TakeExtents(key, wanted, before, now, claim); !s.ok()) return fail(s);
  const auto records = PrepareReals(wanted, claim);
  if (!records.ok()) return fail(records.status());
  const auto old_list = ListOf(before ? before->value : klvs_service{});
  if (!old_list.ok()) return fail(old_list.status());
  const auto address = addresses_.Find(vip);
  if (!address.ok()) return fail(address.status());
  made_vip = !*address || ((*address)->flags & KLVS_ADDRESS_VIP) == 0;
  const auto vip_id = addresses_.AddVip(vip);
  if (!vip_id.ok()) return fail(vip_id.status());
  const RecordKey record_key = EncodeRecordKey(*vip_id, key);
  const auto* wide = std::get_if<klvs_wide_key>(&record_key);
  if (wide != nullptr) {
    absl::Status led = LeadPorts(maps_, *wide, /*take=*/false);
    if (!led.ok()) return fail(Annotate(led, ToString(key)));
  }

  klvs_service next = EncodeConfig(wanted.config);
  next.id = claim.service_id;
  next.list_base = claim.list.base;
  next.list_count = claim.list.length;
  next.table_base = claim.table.base;
  next.table_size = claim.table.length;
  const klvs_service old = before ? before->value : klvs_service{};
  const uint64_t cursor = std::atomic_ref<__u64>(states_[claim.service_id].cursor).load();
  next.generation = NextGeneration(before ? old.generation : static_cast<uint16_t>(cursor >> 48));
  const auto list = lists_.subspan(claim.list.base, claim.list.length);
  if (std::ranges::any_of(*records,
                          [](const RealRecord& r) { return r.real.upper_threshold != 0; })) {
    next.flags |= KLVS_SERVICE_THRESHOLDS;
  }
  uint32_t local = 0;
  for (size_t i = 0; i < records->size() && local == 0; ++i) {
    if (IsDelivered((*records)[i].real)) local = claim.reals[i];
  }
  SetDelivery(old, local, next);
  SetWrr(list, next);
  ContinueRoundRobin(old, cursor, *old_list, list, next);

  if (old.scheduler != next.scheduler) EmptyLocality(localities_[claim.service_id]);
  std::vector<RealRecord> replaced;
  for (size_t i = 0; i < records->size(); ++i) {
    const uint32_t id = claim.reals[i];
    if (!IsValid(reals_[id])) conns_[id] = klvs_real_conns{};
    replaced.push_back(Record(id));
    Store(id, (*records)[i]);
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (absl::Status s = PutService(maps_, record_key, next); !s.ok()) {
    for (size_t i = 0; i < replaced.size(); ++i) {
      if (IsValid(replaced[i].real)) Store(claim.reals[i], replaced[i]);
    }
    return fail(Annotate(s, ToString(key)));
  }

  // Visible. What follows cannot fail.
  if (!before) ++services_of_vip_[vip];
  for (size_t i = 0; i < wanted.reals.size(); ++i) {
    std::atomic_ref<uint32_t>(reals_[claim.reals[i]].weight).store(wanted.reals[i].weight);
    FitOverload((*records)[i].real, conns_[claim.reals[i]]);
  }
  for (const klvs_list_entry& entry : *old_list) {
    if (std::ranges::find(claim.reals, entry.real) == claim.reals.end()) {
      Retire({claim.service_id, At(Record(entry.real))}, now);
    }
  }
  list_extents_->Free({old.list_base, old.list_count}, now);
  if (claim.table.length == 0 || old.table_base != claim.table.base) {
    table_extents_->Free({old.table_base, old.table_size}, now);
  }
  for (size_t i = 0; i < replaced.size(); ++i) {
    const klvs_real& was = replaced[i].real;
    if (IsValid(was) && was.method != (*records)[i].real.method) ends_changed_ = true;
  }
  if (before && ((old.flags ^ next.flags) & KLVS_SERVICE_SOURCE_NAT) != 0) ends_changed_ = true;
  // Of ports that it could not take, reading says so: it is not all reached.
  return wide == nullptr ? absl::OkStatus()
                         : Annotate(LeadPorts(maps_, *wide, /*take=*/true), ToString(key));
}

absl::Status ServiceTables::Remove(const ServiceKey& key, TimePoint now) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto found, Lookup(key));
  if (!found) return absl::NotFoundError(ToString(key) + " is not there");
  KUBE_LVS_ASSIGN_OR_RETURN(const auto list, ListOf(found->value));
  if (const auto* wide = std::get_if<klvs_wide_key>(&found->key)) {
    KUBE_LVS_RETURN_IF_ERROR(Annotate(ReleasePorts(maps_, *wide), ToString(key)));
  }
  KUBE_LVS_RETURN_IF_ERROR(Annotate(EraseService(maps_, found->key), ToString(key)));
  for (const klvs_list_entry& entry : list) {
    if (entry.real < reals_.size()) Retire({found->value.id, At(Record(entry.real))}, now);
  }
  list_extents_->Free({found->value.list_base, found->value.list_count}, now);
  table_extents_->Free({found->value.table_base, found->value.table_size}, now);
  service_ids_->Retire(key);
  service_rests_since_[key] = now;
  ends_changed_ = true;
  const Cidr vip = *VipsOf(key);
  if (const auto count = services_of_vip_.find(vip);
      count != services_of_vip_.end() && --count->second == 0) {
    services_of_vip_.erase(count);
    stale_vips_.insert(vip);
  }
  return absl::OkStatus();
}

}  // namespace kube_lvs::ebpf
