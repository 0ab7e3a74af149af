// The fences order stores for programs in the kernel, which no sanitizer sees.
#if defined(__SANITIZE_THREAD__)
#pragma GCC diagnostic ignored "-Wtsan"
#endif

#include "dataplane/ebpf/service_tables.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "base/status.h"
#include "dataplane/plan/hash_buckets.h"
#include "dataplane/plan/maglev.h"

namespace kube_lvs::ebpf {
namespace {

// How long what a program may still be reading is left alone.
constexpr Duration kRest = std::chrono::seconds(1);

// How long templates of a removed real server wait for it, as the kernel's trash does
// (IP_VS_DEST_TRASH_PERIOD).
constexpr Duration kTemplatesWait = std::chrono::seconds(120);

constexpr uint32_t kMaxListLength = UINT16_MAX;  // start_position counts in 16 bits

absl::StatusOr<uint32_t> FullTableSays(const absl::StatusOr<uint32_t>& id, const ServiceKey& key) {
  if (id.ok()) return id;
  return Annotate(id.status(), ToString(key));
}

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

void EmptyLocality(klvs_locality& locality) {
  std::atomic_ref<uint32_t>(locality.real).store(0);
  std::atomic_ref<uint32_t>(locality.first)
      .store(std::atomic_ref<uint32_t>(locality.joined).load() + 1);
}

// For thresholds that may be new.
void FitOverload(const klvs_real& record, klvs_real_conns& conns) {
  const uint32_t overloaded = IsOverloaded(record, conns) ? 1 : 0;
  std::atomic_ref<uint32_t> shared(conns.overloaded);
  if (shared.load() != overloaded) shared.store(overloaded);
}

uint16_t NextGeneration(uint16_t generation) {
  ++generation;
  return generation == 0 ? 1 : generation;
}

Endpoint At(const RealRecord& record) { return {record.Address(), FromWirePort(record.real.port)}; }

bool IsRemoved(const klvs_real& record) { return (record.flags & KLVS_REAL_REMOVED) != 0; }
bool IsValid(const klvs_real& record) { return (record.flags & KLVS_REAL_VALID) != 0; }

klvs_service_state IdentityOf(const ServiceKey& key) {
  klvs_service_state out{};
  const Endpoint& at = std::get<Endpoint>(key.match);
  out.vip = ToWire(at.ip);
  out.ipv6 = at.ip.IsV4() ? 0 : 1;
  out.port = ToWirePort(at.port);
  out.protocol = static_cast<uint8_t>(key.protocol);
  return out;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServiceTables>> ServiceTables::Adopt(MapStore& maps,
                                                                    Addresses& addresses,
                                                                    WayTo way_to, TimePoint now) {
  std::unique_ptr<ServiceTables> out(new ServiceTables(maps, addresses, std::move(way_to)));
  KUBE_LVS_RETURN_IF_ERROR(out->Map());
  KUBE_LVS_RETURN_IF_ERROR(out->AdoptServices(now));
  return out;
}

RealRecord ServiceTables::Record(uint32_t id) const { return {reals_[id], ends6_[id]}; }

void ServiceTables::Store(uint32_t id, const RealRecord& record) {
  StoreReal(reals_[id], ends6_[id], record);
}

std::optional<ServiceKey> ServiceTables::KeyOfState(uint32_t id) const {
  const klvs_service_state& state = states_[id];
  if (state.protocol == 0) return std::nullopt;
  ServiceKey out;
  const IpAddress vip = state.ipv6 != 0 ? FromWire(vips6_[id]) : FromWire(state.vip);
  out.match = Endpoint{vip, FromWirePort(state.port)};
  out.protocol = static_cast<Protocol>(state.protocol);
  return out;
}

void ServiceTables::SetState(uint32_t id, const ServiceKey& key, uint64_t cursor) {
  states_[id] = IdentityOf(key);
  states_[id].cursor = cursor;
  vips6_[id] = ToWire6(std::get<Endpoint>(key.match).ip);
}

void ServiceTables::ClearState(uint32_t id) {
  states_[id] = klvs_service_state{};
  vips6_[id] = klvs_in6{};
}

absl::Status ServiceTables::Map() {
  KUBE_LVS_ASSIGN_OR_RETURN(states_, GetArray<klvs_service_state>(maps_, kServiceStateMap));
  KUBE_LVS_ASSIGN_OR_RETURN(vips6_, GetArray<klvs_in6>(maps_, kServiceVips6Map));
  KUBE_LVS_ASSIGN_OR_RETURN(localities_, GetArray<klvs_locality>(maps_, kLocalityMap));
  if (localities_.size() < states_.size() || vips6_.size() < states_.size()) {
    return absl::DataLossError(
        "klvs_locality or klvs_service_vips6 is smaller than klvs_service_state");
  }
  KUBE_LVS_ASSIGN_OR_RETURN(lists_, GetArray<klvs_list_entry>(maps_, kListsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(tables_, GetArray<TableCell>(maps_, kTablesMap));
  KUBE_LVS_ASSIGN_OR_RETURN(reals_, GetArray<klvs_real>(maps_, kRealsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(ends6_, GetArray<klvs_real6>(maps_, kReals6Map));
  KUBE_LVS_ASSIGN_OR_RETURN(conns_, GetArray<klvs_real_conns>(maps_, kRealConnsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(templates_, GetArray<TemplateCount>(maps_, kRealTemplatesMap));
  if (conns_.size() < reals_.size() || ends6_.size() < reals_.size() ||
      templates_.size() < reals_.size()) {
    return absl::DataLossError(
        "klvs_real_conns, klvs_reals6 or klvs_real_templates is smaller than klvs_reals");
  }
  KUBE_LVS_ASSIGN_OR_RETURN(service_capacity_, maps_.Capacity(kServicesMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t sets, maps_.Capacity(kConnsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t sets6, maps_.Capacity(kConns6Map));
  KUBE_LVS_ASSIGN_OR_RETURN(template_capacity_, maps_.Capacity(kTemplatesMap));
  KUBE_LVS_ASSIGN_OR_RETURN(template_capacity6_, maps_.Capacity(kTemplates6Map));
  connection_capacity_ = uint64_t{sets} * KLVS_CONN_WAYS;
  connection_capacity6_ = uint64_t{sets6} * KLVS_CONN_WAYS;
  service_ids_.emplace("services", static_cast<uint32_t>(states_.size()));
  real_ids_.emplace("real servers", static_cast<uint32_t>(reals_.size()));
  list_extents_.emplace(0, static_cast<uint32_t>(lists_.size()), kRest);
  table_extents_.emplace(0, static_cast<uint32_t>(tables_.size()), kRest);
  return absl::OkStatus();
}

absl::Status ServiceTables::AdoptServices(TimePoint now) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto addresses, addresses_.All());
  std::map<uint32_t, IpAddress> vips;
  for (const auto& [ip, record] : addresses) {
    if ((record.flags & KLVS_ADDRESS_VIP) == 0) continue;
    vips.emplace(record.vip_id, ip);
    addresses_.SkipVipId(record.vip_id);
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto entries,
                            (GetAll<klvs_service_key, klvs_service>(maps_, kServicesMap)));
  std::vector<std::pair<ServiceKey, klvs_service>> services;
  for (const auto& [record_key, service] : entries) {
    addresses_.SkipVipId(record_key.vip_id);
    const auto vip = vips.find(record_key.vip_id);
    if (vip == vips.end()) {
      // A removal that was cut short: nobody can reach it.
      KUBE_LVS_RETURN_IF_ERROR(Erase(maps_, kServicesMap, record_key));
      continue;
    }
    const ServiceKey key = DecodeKey(vip->second, record_key);
    KUBE_LVS_RETURN_IF_ERROR(
        Annotate(service_ids_->Adopt(key, service.id, /*live=*/true), ToString(key)));
    if (KeyOfState(service.id) != key) SetState(service.id, key, states_[service.id].cursor);
    ++services_of_vip_[vip->second];
    services.emplace_back(key, service);
  }
  KUBE_LVS_RETURN_IF_ERROR(AdoptLists(services));
  KUBE_LVS_RETURN_IF_ERROR(AdoptRemoved(now));
  for (const auto& [ip, record] : addresses) {
    // A VIP that was made just before its first service was cut short.
    if ((record.flags & KLVS_ADDRESS_VIP) != 0 && (record.flags & KLVS_ADDRESS_ANSWER_ARP) == 0 &&
        !HasServices(ip)) {
      KUBE_LVS_RETURN_IF_ERROR(addresses_.RemoveVip(ip));
    }
  }
  nat_changed_ = true;
  return absl::OkStatus();
}

absl::Status ServiceTables::AdoptLists(
    const std::vector<std::pair<ServiceKey, klvs_service>>& services) {
  for (const auto& [key, service] : services) {
    const std::string name = ToString(key);
    KUBE_LVS_RETURN_IF_ERROR(
        Annotate(list_extents_->Adopt({service.list_base, service.list_count}), name));
    KUBE_LVS_RETURN_IF_ERROR(
        Annotate(table_extents_->Adopt({service.table_base, service.table_size}), name));
    KUBE_LVS_ASSIGN_OR_RETURN(const auto list, ListOf(service));
    for (const klvs_list_entry& entry : list) {
      if (entry.real >= reals_.size() || !IsValid(reals_[entry.real]) ||
          reals_[entry.real].service != service.id) {
        return absl::DataLossError(name + ": its list names real server " +
                                   std::to_string(entry.real) + ", which is not its");
      }
      RealRecord record = Record(entry.real);
      KUBE_LVS_RETURN_IF_ERROR(
          Annotate(real_ids_->Adopt({service.id, At(record)}, entry.real, /*live=*/true), name));
      // The list is what counts: a change that was cut short did not get to the record.
      record.real.flags &= static_cast<uint8_t>(~(KLVS_REAL_REMOVED | KLVS_REAL_FORGOTTEN));
      record.real.weight = entry.weight;
      if (entry.weight != 0) record.real.last_weight = entry.weight;
      Store(entry.real, record);
    }
    KUBE_LVS_RETURN_IF_ERROR(AdoptThresholds(key, service));
  }
  return absl::OkStatus();
}

absl::Status ServiceTables::AdoptThresholds(const ServiceKey& key, const klvs_service& service) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto list, ListOf(service));
  bool limited = false;
  for (const klvs_list_entry& entry : list) {
    const klvs_real& record = reals_[entry.real];
    limited = limited || record.upper_threshold != 0;
    FitOverload(record, conns_[entry.real]);
  }
  if (!limited || (service.flags & KLVS_SERVICE_THRESHOLDS) != 0) return absl::OkStatus();
  // A change that was cut short: the thresholds are in the records, but nobody looks at them.
  KUBE_LVS_ASSIGN_OR_RETURN(const auto found, Lookup(key));
  if (!found) return absl::OkStatus();
  klvs_service repaired = service;
  repaired.flags |= KLVS_SERVICE_THRESHOLDS;
  return Annotate(Put(maps_, kServicesMap, found->key, repaired), ToString(key));
}

absl::Status ServiceTables::AdoptRemoved(TimePoint now) {
  std::set<uint32_t> referred;
  for (uint32_t id = 1; id < reals_.size(); ++id) {
    RealRecord record = Record(id);
    if (!IsValid(record.real)) continue;
    const RealKey key{record.real.service, At(record)};
    if (real_ids_->Find(key) == id) continue;
    record.real.flags |= KLVS_REAL_REMOVED;
    Store(id, record);
    KUBE_LVS_RETURN_IF_ERROR(real_ids_->Adopt(key, id, /*live=*/false));
    real_rests_since_[key] = now;
    referred.insert(record.real.service);
  }
  for (uint32_t id = 1; id < states_.size(); ++id) {
    const std::optional<ServiceKey> key = KeyOfState(id);
    if (!key || service_ids_->Find(*key) == id) continue;
    if (!referred.contains(id)) {
      ClearState(id);
      continue;
    }
    KUBE_LVS_RETURN_IF_ERROR(service_ids_->Adopt(*key, id, /*live=*/false));
    service_rests_since_[*key] = now;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::span<klvs_list_entry>> ServiceTables::ListOf(
    const klvs_service& service) const {
  if (uint64_t{service.list_base} + service.list_count > lists_.size()) {
    return absl::DataLossError("the list of service " + std::to_string(service.id) +
                               " ends outside klvs_lists");
  }
  return lists_.subspan(service.list_base, service.list_count);
}

absl::StatusOr<VirtualService> ServiceTables::Decode(const ServiceKey& key,
                                                     const klvs_service& service) const {
  VirtualService out;
  auto config = DecodeConfig(service);
  if (!config.ok()) return Annotate(config.status(), ToString(key));
  out.config = *std::move(config);
  KUBE_LVS_ASSIGN_OR_RETURN(const auto list, ListOf(service));
  for (const klvs_list_entry& entry : list) {
    if (entry.real >= reals_.size()) {
      return absl::DataLossError(ToString(key) + ": its list names real server " +
                                 std::to_string(entry.real));
    }
    auto real = DecodeReal(Record(entry.real), entry.weight);
    if (!real.ok()) return Annotate(real.status(), ToString(key));
    out.reals.push_back(*std::move(real));
  }
  return out;
}

absl::StatusOr<ServiceTable> ServiceTables::Read() {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto addresses, addresses_.All());
  std::map<uint32_t, IpAddress> vips;
  for (const auto& [ip, record] : addresses) {
    if ((record.flags & KLVS_ADDRESS_VIP) != 0) vips.emplace(record.vip_id, ip);
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto entries,
                            (GetAll<klvs_service_key, klvs_service>(maps_, kServicesMap)));
  ServiceTable out;
  for (const auto& [record_key, service] : entries) {
    const auto vip = vips.find(record_key.vip_id);
    if (vip == vips.end()) continue;
    const ServiceKey key = DecodeKey(vip->second, record_key);
    KUBE_LVS_ASSIGN_OR_RETURN(out[key], Decode(key, service));
  }
  return out;
}

absl::StatusOr<std::optional<ServiceTables::Found>> ServiceTables::Lookup(const ServiceKey& key) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto vip, addresses_.Find(std::get<Endpoint>(key.match).ip));
  if (!vip || (vip->flags & KLVS_ADDRESS_VIP) == 0) return std::optional<Found>();
  const klvs_service_key record_key = EncodeKey(vip->vip_id, key);
  KUBE_LVS_ASSIGN_OR_RETURN(const auto value, Get<klvs_service>(maps_, kServicesMap, record_key));
  if (!value) return std::optional<Found>();
  return std::optional<Found>(Found{record_key, *value});
}

absl::StatusOr<std::optional<VirtualService>> ServiceTables::Find(const ServiceKey& key) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto found, Lookup(key));
  if (!found) return std::optional<VirtualService>();
  KUBE_LVS_ASSIGN_OR_RETURN(VirtualService service, Decode(key, found->value));
  return std::optional<VirtualService>(std::move(service));
}

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
  return PopulateMaglev(list, kMaglevDefaultSize);
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
    if (klvs_real& record = whole.real; IsValid(record)) {
      // One that comes back is as a new one: what it weighed before is forgotten.
      if ((record.flags & KLVS_REAL_REMOVED) != 0) record.last_weight = real.weight;
      record.flags &= static_cast<uint8_t>(~(KLVS_REAL_REMOVED | KLVS_REAL_FORGOTTEN));
      record.method = static_cast<uint8_t>(real.method);
      record.upper_threshold = real.upper_threshold;
      record.lower_threshold = real.lower_threshold;
      // A weight that becomes 0 waits until the new list is visible: make before break.
      if (real.weight != 0) record.weight = record.last_weight = real.weight;
    } else {
      whole = EncodeReal(claim.service_id, real);
      SetWay(way_to_(real.at.ip), whole);
    }
    if (real.method == ForwardingMethod::kNat) {
      KUBE_LVS_RETURN_IF_ERROR(wanted.config.source_nat
                                   ? addresses_.AddNat(whole.Source(), KLVS_ADDRESS_SNAT)
                                   : addresses_.AddNat(real.at.ip, KLVS_ADDRESS_NAT_REAL));
    }
    out.push_back(whole);
  }
  return out;
}

void ServiceTables::Retire(const RealKey& key, TimePoint now) {
  const uint32_t id = real_ids_->Find(key);
  if (id == 0) return;
  real_ids_->Retire(key);
  real_rests_since_[key] = now;
  RealRecord record = Record(id);
  if (!IsValid(record.real)) return;
  record.real.flags |= KLVS_REAL_REMOVED;
  Store(id, record);
}

bool ServiceTables::IsNeeded(uint32_t id, Duration rested) {
  if (conns_[id].active != 0 || conns_[id].inactive != 0 || rested < kRest) return true;
  if (std::atomic_ref<uint32_t>(templates_[id].templates).load() == 0) return false;
  if (rested >= kTemplatesWait && IsValid(reals_[id])) {
    std::atomic_ref<uint8_t>(reals_[id].flags).fetch_or(KLVS_REAL_FORGOTTEN);
  }
  return true;
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

absl::Status ServiceTables::Write(const ServiceKey& key, const VirtualService& wanted,
                                  TimePoint now) {
  if (wanted.reals.size() > kMaxListLength) {
    return absl::ResourceExhaustedError(ToString(key) + ": " + std::to_string(wanted.reals.size()) +
                                        " real servers, the limit is " +
                                        std::to_string(kMaxListLength));
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto before, Lookup(key));
  if (before) {
    KUBE_LVS_ASSIGN_OR_RETURN(const VirtualService actual, Decode(key, before->value));
    if (actual == wanted) return absl::OkStatus();
  }
  Claim claim;
  const IpAddress vip = std::get<Endpoint>(key.match).ip;
  bool made_vip = false;
  const auto fail = [&](const absl::Status& status) {
    GiveBack(key, claim, now);
    nat_changed_ = true;
    const bool shared =
        before && before->value.table_size != 0 && before->value.table_base == claim.table.base;
    if (!shared) table_extents_->Free(claim.table, now);
    if (made_vip) stale_vips_.insert(vip);
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
  if (absl::Status s = Put(maps_, kServicesMap, EncodeKey(*vip_id, key), next); !s.ok()) {
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
    if (IsValid(was) && was.method != (*records)[i].real.method) nat_changed_ = true;
  }
  if (before && ((old.flags ^ next.flags) & KLVS_SERVICE_SOURCE_NAT) != 0) nat_changed_ = true;
  return absl::OkStatus();
}

absl::Status ServiceTables::Remove(const ServiceKey& key, TimePoint now) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto found, Lookup(key));
  if (!found) return absl::NotFoundError(ToString(key) + " is not there");
  KUBE_LVS_ASSIGN_OR_RETURN(const auto list, ListOf(found->value));
  KUBE_LVS_RETURN_IF_ERROR(Annotate(Erase(maps_, kServicesMap, found->key), ToString(key)));
  for (const klvs_list_entry& entry : list) {
    if (entry.real < reals_.size()) Retire({found->value.id, At(Record(entry.real))}, now);
  }
  list_extents_->Free({found->value.list_base, found->value.list_count}, now);
  table_extents_->Free({found->value.table_base, found->value.table_size}, now);
  service_ids_->Retire(key);
  service_rests_since_[key] = now;
  nat_changed_ = true;
  const IpAddress vip = std::get<Endpoint>(key.match).ip;
  if (const auto count = services_of_vip_.find(vip);
      count != services_of_vip_.end() && --count->second == 0) {
    services_of_vip_.erase(count);
    stale_vips_.insert(vip);
  }
  return absl::OkStatus();
}

absl::Status ServiceTables::RemoveStaleVips() {
  for (auto vip = stale_vips_.begin(); vip != stale_vips_.end();) {
    if (!HasServices(*vip)) {
      KUBE_LVS_ASSIGN_OR_RETURN(const auto address, addresses_.Find(*vip));
      if (address && (address->flags & KLVS_ADDRESS_ANSWER_ARP) == 0) {
        KUBE_LVS_RETURN_IF_ERROR(addresses_.RemoveVip(*vip));
      }
    }
    vip = stale_vips_.erase(vip);
  }
  return absl::OkStatus();
}

absl::Status ServiceTables::Sweep(TimePoint now) {
  KUBE_LVS_RETURN_IF_ERROR(RemoveStaleVips());
  std::set<uint32_t> referred;
  for (auto rest = real_rests_since_.begin(); rest != real_rests_since_.end();) {
    const auto& [key, since] = *rest;
    const uint32_t id = real_ids_->FindResting(key);
    if (id != 0 && IsNeeded(id, now - since)) {
      referred.insert(key.first);
      ++rest;
      continue;
    }
    if (id != 0 && IsValid(reals_[id])) {
      std::atomic_ref<uint8_t>(reals_[id].flags).store(0);
      reals_[id] = klvs_real{};
      ends6_[id] = klvs_real6{};
      nat_changed_ = true;
    }
    real_ids_->Release(key);  // no effect on one that is live again
    rest = real_rests_since_.erase(rest);
  }
  for (auto rest = service_rests_since_.begin(); rest != service_rests_since_.end();) {
    const auto& [key, since] = *rest;
    const uint32_t id = service_ids_->FindResting(key);
    if (id != 0 && (referred.contains(id) || now - since < kRest)) {
      ++rest;
      continue;
    }
    if (id != 0) ClearState(id);
    service_ids_->Release(key);
    rest = service_rests_since_.erase(rest);
  }
  if (!nat_changed_) return absl::OkStatus();

  KUBE_LVS_ASSIGN_OR_RETURN(const auto entries,
                            (GetAll<klvs_service_key, klvs_service>(maps_, kServicesMap)));
  std::map<uint32_t, bool> source_nat;
  for (const auto& [key, service] : entries) {
    source_nat[service.id] = (service.flags & KLVS_SERVICE_SOURCE_NAT) != 0;
  }
  std::map<IpAddress, uint32_t> wanted;
  std::map<IpAddress, uint32_t> allowed;
  for (uint32_t id = 1; id < reals_.size(); ++id) {
    const klvs_real& record = reals_[id];
    if (!IsValid(record)) continue;
    const IpAddress source = Record(id).Source();
    const IpAddress address = Record(id).Address();
    // Connections go on as they began, whatever the service says now.
    if (IsRemoved(record) || conns_[id].active != 0 || conns_[id].inactive != 0) {
      allowed[source] |= KLVS_ADDRESS_SNAT;
      allowed[address] |= KLVS_ADDRESS_NAT_REAL;
    }
    const auto service = source_nat.find(record.service);
    if (IsRemoved(record) || record.method != KLVS_METHOD_NAT || service == source_nat.end()) {
      continue;
    }
    if (service->second) {
      wanted[source] |= KLVS_ADDRESS_SNAT;
    } else {
      wanted[address] |= KLVS_ADDRESS_NAT_REAL;
    }
  }
  KUBE_LVS_ASSIGN_OR_RETURN(nat_changed_, addresses_.KeepNat(wanted, allowed));
  return absl::OkStatus();
}

absl::StatusOr<bool> ServiceTables::CountsMatter() {
  if (!real_rests_since_.empty()) return true;
  KUBE_LVS_ASSIGN_OR_RETURN(const auto entries,
                            (GetAll<klvs_service_key, klvs_service>(maps_, kServicesMap)));
  return std::ranges::any_of(entries, [](const auto& entry) {
    return CountsConnections(entry.second) || (entry.second.flags & KLVS_SERVICE_PERSISTENT) != 0;
  });
}

absl::Status ServiceTables::RefreshWays() {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto entries,
                            (GetAll<klvs_service_key, klvs_service>(maps_, kServicesMap)));
  std::set<uint32_t> source_nat;
  for (const auto& [key, service] : entries) {
    if ((service.flags & KLVS_SERVICE_SOURCE_NAT) != 0) source_nat.insert(service.id);
  }
  for (uint32_t id = 1; id < reals_.size(); ++id) {
    if (!IsValid(reals_[id])) continue;
    const RealRecord before = Record(id);
    RealRecord record = before;
    SetWay(way_to_(record.Address()), record);
    if (record.real.method == KLVS_METHOD_NAT && record.Source() != before.Source() &&
        source_nat.contains(record.real.service)) {
      KUBE_LVS_RETURN_IF_ERROR(addresses_.AddNat(record.Source(), KLVS_ADDRESS_SNAT));
      nat_changed_ = true;
    }
    Store(id, record);
  }
  return absl::OkStatus();
}

absl::Status ServiceTables::ReadStats(Stats& stats) {
  KUBE_LVS_ASSIGN_OR_RETURN(const ServiceTable services, Read());
  for (const auto& [key, service] : services) {
    KUBE_LVS_RETURN_IF_ERROR(ReadStats(key, service, stats));
  }
  return absl::OkStatus();
}

absl::Status ServiceTables::ReadStats(const ServiceKey& key, const VirtualService& service,
                                      Stats& stats) {
  const auto sum = [this](std::string_view map, uint32_t id) -> absl::StatusOr<Counters> {
    KUBE_LVS_ASSIGN_OR_RETURN(const auto per_cpu, maps_.LookupPerCpu(map, AsBytes(id)));
    Counters out;
    for (const Bytes& bytes : per_cpu) {
      KUBE_LVS_ASSIGN_OR_RETURN(const auto one, FromBytes<klvs_counters>(bytes));
      out.packets += one.packets;
      out.bytes += one.bytes;
      out.connections += one.connections;
      out.reply_packets += one.reply_packets;
      out.reply_bytes += one.reply_bytes;
    }
    return out;
  };
  const uint32_t id = service_ids_->Find(key);
  if (id == 0) return absl::OkStatus();
  KUBE_LVS_ASSIGN_OR_RETURN(stats.services[key], sum(kServiceCountersMap, id));
  for (const RealServer& real : service.reals) {
    const uint32_t real_id = real_ids_->Find({id, real.at});
    if (real_id == 0) continue;
    RealServerStats& out = stats.reals[{key, real.at}];
    KUBE_LVS_ASSIGN_OR_RETURN(out.counters, sum(kRealCountersMap, real_id));
    out.weight = real.weight;
    out.active_connections = conns_[real_id].active;
    out.inactive_connections = conns_[real_id].inactive;
    out.persistent_connections = templates_[real_id].templates;
  }
  return absl::OkStatus();
}

std::map<std::string, double> ServiceTables::Fill() const {
  uint64_t connections = 0;
  uint64_t connections6 = 0;
  uint64_t templates = 0;
  uint64_t templates6 = 0;
  for (size_t id = 0; id < reals_.size(); ++id) {
    const bool v6 = (reals_[id].flags & KLVS_REAL_IPV6) != 0;
    (v6 ? connections6 : connections) += uint64_t{conns_[id].active} + conns_[id].inactive;
    (v6 ? templates6 : templates) += templates_[id].templates;
  }
  const auto ratio = [](uint64_t taken, uint64_t capacity) {
    return capacity == 0 ? 1.0 : static_cast<double>(taken) / static_cast<double>(capacity);
  };
  return {
      {"services", ratio(service_ids_->taken(), service_ids_->capacity())},
      {"real_servers", ratio(real_ids_->taken(), real_ids_->capacity())},
      {"lists", ratio(list_extents_->taken(), list_extents_->size())},
      {"tables", ratio(table_extents_->taken(), table_extents_->size())},
      {"connections", ratio(connections, connection_capacity_)},
      {"connections_ipv6", ratio(connections6, connection_capacity6_)},
      {"templates", ratio(templates, template_capacity_)},
      {"templates_ipv6", ratio(templates6, template_capacity6_)},
  };
}

}  // namespace kube_lvs::ebpf
