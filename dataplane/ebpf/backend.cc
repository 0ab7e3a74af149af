#include "dataplane/ebpf/backend.h"

#include <algorithm>
#include <chrono>

#include "base/status.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/counters.h"
#include "dataplane/ebpf/layout.h"

namespace kube_lvs::ebpf {
namespace {

constexpr Duration kSweepEvery = std::chrono::seconds(1);  // it reads some 40 MB
constexpr Duration kRecountEvery = std::chrono::minutes(10);
constexpr Duration kAskAgain = std::chrono::seconds(1);  // for a neighbour that is silent

// Whether a service of the key can be in the maps at all.
bool HasPorts(const ServiceKey& key) { return !std::holds_alternative<FwMark>(key.match); }

// One step onto a service, as strict as a kernel: nullopt is "not there".
struct ToModel {
  std::optional<VirtualService>& service;

  absl::Status operator()(const AddService& s) const {
    if (service) return absl::AlreadyExistsError(ToString(s.key) + " is there already");
    KUBE_LVS_RETURN_IF_ERROR(CheckSupported(s.key, s.config));
    service = VirtualService{s.config, {}};
    return absl::OkStatus();
  }
  absl::Status operator()(const SetService& s) const {
    if (!service) return Missing(s.key);
    KUBE_LVS_RETURN_IF_ERROR(CheckSupported(s.key, s.config));
    for (const RealServer& real : service->reals) {
      KUBE_LVS_RETURN_IF_ERROR(CheckSupported(s.key, s.config, real));
    }
    service->config = s.config;
    return absl::OkStatus();
  }
  absl::Status operator()(const RemoveService& s) const {
    if (!service) return Missing(s.key);
    service.reset();
    return absl::OkStatus();
  }
  absl::Status operator()(const AddReal& s) const {
    if (!service) return Missing(s.key);
    KUBE_LVS_RETURN_IF_ERROR(CheckSupported(s.key, s.real));
    KUBE_LVS_RETURN_IF_ERROR(CheckSupported(s.key, service->config, s.real));
    if (Find(s.real.at) != service->reals.end()) {
      return absl::AlreadyExistsError(ToString(s.key) + " -> " + s.real.at.ToString() +
                                      " is there already");
    }
    service->reals.push_back(s.real);
    return absl::OkStatus();
  }
  absl::Status operator()(const SetReal& s) const {
    if (!service) return Missing(s.key);
    KUBE_LVS_RETURN_IF_ERROR(CheckSupported(s.key, s.real));
    KUBE_LVS_RETURN_IF_ERROR(CheckSupported(s.key, service->config, s.real));
    const auto real = Find(s.real.at);
    if (real == service->reals.end()) return Missing(s.key, s.real.at);
    *real = s.real;
    return absl::OkStatus();
  }
  absl::Status operator()(const RemoveReal& s) const {
    if (!service) return Missing(s.key);
    const auto real = Find(s.at);
    if (real == service->reals.end()) return Missing(s.key, s.at);
    service->reals.erase(real);
    return absl::OkStatus();
  }
  absl::Status operator()(const AddItem&) const { return NoService(); }
  absl::Status operator()(const RemoveItem&) const { return NoService(); }

  static absl::Status NoService() { return absl::InternalError("a node item is no service"); }
  static absl::Status Missing(const ServiceKey& key) {
    return absl::NotFoundError(ToString(key) + " is not there");
  }
  static absl::Status Missing(const ServiceKey& key, const Endpoint& at) {
    return absl::NotFoundError(ToString(key) + " -> " + at.ToString() + " is not there");
  }
  std::vector<RealServer>::iterator Find(const Endpoint& at) const {
    return std::ranges::find(service->reals, at, &RealServer::at);
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<EbpfBackend>> EbpfBackend::Adopt(MapStore& maps, Programs& programs,
                                                                Network& network,
                                                                const Clock& clock) {
  std::unique_ptr<EbpfBackend> out(new EbpfBackend(maps, programs, network, clock));
  KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t layout, GetLayout(maps));
  if (layout != KLVS_LAYOUT) {
    return absl::FailedPreconditionError(
        "the maps have layout " + std::to_string(layout) + ", this version writes layout " +
        std::to_string(KLVS_LAYOUT) +
        "; run the version that made them, or drain this node and run kube-lvs-agent --cleanup");
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto settings, GetArray<klvs_settings>(maps, kSettingsMap));
  out->addresses_ = std::make_unique<Addresses>(maps, settings[0]);
  KUBE_LVS_ASSIGN_OR_RETURN(const auto interfaces,
                            GetArray<klvs_interface>(maps, kInterfacesMap));
  auto services = ServiceTables::Adopt(
      maps, *out->addresses_,
      [backend = out.get()](const IpAddress& to, bool source_nat) {
        return backend->WayTo(to, source_nat);
      },
      clock.Now());
  if (!services.ok()) {
    return Annotate(services.status(),
                    "the maps cannot be taken over; to start anew, drain this node and run "
                    "kube-lvs-agent --cleanup");
  }
  out->services_ = *std::move(services);
  out->items_ = std::make_unique<NodeItems>(maps, programs, network, *out->addresses_,
                                            *out->services_, settings[0], interfaces);
  return out;
}

bool EbpfBackend::Takes(const Step& step) const {
  if (const ServiceKey* key = KeyOf(step)) return key->dataplane == Dataplane::kEbpf;
  const auto* add = std::get_if<AddItem>(&step);
  const NodeItem& item = add != nullptr ? add->item : std::get<RemoveItem>(step).item;
  return NodeItems::Takes(item);
}

absl::StatusOr<State> EbpfBackend::Read() {
  State out;
  KUBE_LVS_ASSIGN_OR_RETURN(out.services, services_->Read());
  KUBE_LVS_RETURN_IF_ERROR(items_->Read(out.items));
  return out;
}

absl::StatusOr<ServiceReading> EbpfBackend::ReadServices(const std::set<ServiceKey>& keys) {
  KUBE_LVS_ASSIGN_OR_RETURN(ServiceReading out, ReadRules(keys));
  // Whether a quiesced one is empty must be known exactly; everything else may be late.
  const bool waits = std::ranges::any_of(out.stats.reals, [](const auto& real) {
    const RealServerStats& stats = real.second;
    return stats.weight == 0 && stats.active_connections + stats.inactive_connections > 0;
  });
  if (!waits) return out;
  KUBE_LVS_RETURN_IF_ERROR(SweepConnections());
  return ReadRules(keys);
}

absl::StatusOr<ServiceReading> EbpfBackend::ReadRules(const std::set<ServiceKey>& keys) {
  ServiceReading out;
  for (const ServiceKey& key : keys) {
    if (key.dataplane != Dataplane::kEbpf || !HasPorts(key)) continue;
    KUBE_LVS_ASSIGN_OR_RETURN(auto service, services_->Find(key));
    if (!service) continue;
    KUBE_LVS_RETURN_IF_ERROR(services_->ReadStats(key, *service, out.stats));
    out.services.emplace(key, *std::move(service));
  }
  return out;
}

std::vector<absl::Status> EbpfBackend::Apply(std::span<const Step> steps) {
  const TimePoint now = clock_.Now();
  std::vector<absl::Status> statuses(steps.size());
  std::set<ServiceKey> failed;
  const absl::Status swept = services_->Sweep(now);
  for (size_t begin = 0; begin < steps.size();) {
    const ServiceKey* key = KeyOf(steps[begin]);
    if (key == nullptr) {
      const auto* add = std::get_if<AddItem>(&steps[begin]);
      const NodeItem& item = add != nullptr ? add->item : std::get<RemoveItem>(steps[begin]).item;
      statuses[begin] = items_->Apply(item, add != nullptr, steps);
      ++begin;
      continue;
    }
    size_t end = begin + 1;
    while (end < steps.size() && KeyOf(steps[end]) != nullptr && *KeyOf(steps[end]) == *key) ++end;
    const auto of_service = std::span(statuses).subspan(begin, end - begin);
    if (failed.contains(*key)) {
      std::ranges::fill(of_service,
                        absl::AbortedError("an earlier step of " + ToString(*key) + " failed"));
    } else {
      ApplyService(steps.subspan(begin, end - begin), of_service);
      if (!std::ranges::all_of(of_service, &absl::Status::ok)) failed.insert(*key);
    }
    begin = end;
  }
  ways_.clear();
  // Only tidying: what it could not do now is done next time.
  if (swept.ok()) services_->Sweep(now).IgnoreError();
  return statuses;
}

void EbpfBackend::ApplyService(std::span<const Step> steps, std::span<absl::Status> statuses) {
  const ServiceKey& key = *KeyOf(steps[0]);
  const absl::Status aborted =
      absl::AbortedError("an earlier step of " + ToString(key) + " failed");
  const auto fail_from = [&](size_t first, const absl::Status& status) {
    std::ranges::fill(statuses.subspan(first), aborted);
    statuses[first] = status;
  };
  if (!HasPorts(key)) {
    return fail_from(0, CheckSupported(key, ServiceConfig{}));
  }
  const auto actual = services_->Find(key);
  if (!actual.ok()) return fail_from(0, actual.status());
  std::optional<VirtualService> wanted = *actual;
  for (size_t i = 0; i < steps.size(); ++i) {
    const absl::Status status = std::visit(ToModel{wanted}, steps[i]);
    if (status.ok()) continue;
    fail_from(i, status);
    break;
  }
  const size_t good = static_cast<size_t>(
      std::ranges::find_if(statuses, [](const absl::Status& s) { return !s.ok(); }) -
      statuses.begin());
  if (good == 0) return;
  absl::Status done;
  if (wanted) {
    SortCanonically(wanted->reals);
    done = services_->Write(key, *wanted, clock_.Now());
  } else if (*actual) {
    done = services_->Remove(key, clock_.Now());
  }
  if (!done.ok()) fail_from(0, done);
}

NextHop EbpfBackend::WayToHere(const IpAddress& to) {
  const auto link = network_.LinkByName(kLocalLinkFar);
  if (!link.ok()) {
    NextHop local;
    local.local = true;
    return local;
  }
  return {.ifindex = link->index,
          .neighbour = to,
          .source = LocalLinkSource(to.family),
          .mtu = link->mtu,
          .source_mac = link->mac,
          .neighbour_mac = link->mac};
}

NextHop EbpfBackend::WayTo(const IpAddress& to, bool source_nat) {
  if (const auto known = ways_.find(to); known != ways_.end()) {
    return known->second.local && source_nat ? WayToHere(to) : known->second;
  }
  const auto asked = network_.Route(to);
  // Without a route the record says so: packets are dropped with that reason, and Refresh mends it
  // when the route is back.
  NextHop hop = asked.ok() ? *asked : NextHop{};
  if (!hop.local && hop.ifindex != 0) {
    // One that does not answer is asked again, but not at every notification that its own failure
    // makes. Meanwhile tc has the kernel resolve it packet by packet.
    const auto [asked_at, first] =
        kept_.try_emplace({hop.ifindex, hop.neighbour}, clock_.Now() - kAskAgain);
    if ((first || hop.neighbour_mac.IsZero()) && clock_.Now() - asked_at->second >= kAskAgain) {
      asked_at->second = clock_.Now();
      if (!network_.KeepResolved(hop).ok()) kept_.erase(asked_at);
    }
  }
  ways_.emplace(to, hop);
  return hop.local && source_nat ? WayToHere(to) : hop;
}

absl::Status EbpfBackend::Refresh() {
  network_.TakeChanges();
  ways_.clear();
  const absl::Status ways = services_->RefreshWays();
  ways_.clear();
  KUBE_LVS_RETURN_IF_ERROR(ways);
  KUBE_LVS_RETURN_IF_ERROR(items_->Refresh());
  KUBE_LVS_ASSIGN_OR_RETURN(const bool counts_matter, services_->CountsMatter());
  if (counts_matter) KUBE_LVS_RETURN_IF_ERROR(SweepConnections());
  if (!recounted_ || clock_.Now() - *recounted_ >= kRecountEvery) {
    KUBE_LVS_RETURN_IF_ERROR(RepairCounts().status());
  }
  return services_->Sweep(clock_.Now());
}

absl::Status EbpfBackend::SweepConnections() {
  const TimePoint now = clock_.Now();
  if (swept_ && now - *swept_ < kSweepEvery) return absl::OkStatus();
  KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t sets, maps_.Capacity(kConnsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t sets6, maps_.Capacity(kConns6Map));
  KUBE_LVS_RETURN_IF_ERROR(programs_.SweepConnections(sets, sets6));
  swept_ = now;
  return absl::OkStatus();
}

absl::StatusOr<uint32_t> EbpfBackend::RepairCounts() {
  recounted_ = clock_.Now();
  const auto repaired = services_->RepairCounts([this] { return programs_.AwaitRunning(); });
  if (absl::IsUnimplemented(repaired.status())) return 0;  // then what differs may only move
  if (repaired.ok()) counts_repaired_ += *repaired;
  return repaired;
}

void EbpfBackend::SetClaims(bool by_one) {
  addresses_->SetSetting(KLVS_SETTING_CLAIMS, by_one);
}

absl::StatusOr<std::set<std::string>> EbpfBackend::InterfacesOf(std::span<const RealServer> reals) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<Link> links, network_.Links());
  std::set<std::string> out;
  std::set<IpAddress> asked;
  for (const RealServer& real : reals) {
    if (!asked.insert(real.at.ip).second) continue;
    const auto hop = network_.Route(real.at.ip);
    if (!hop.ok() && hop.status().code() != absl::StatusCode::kNotFound) return hop.status();
    if (!hop.ok() || hop->local) continue;
    const auto link = std::ranges::find(links, hop->ifindex, &Link::index);
    if (link != links.end() && !link->loopback) out.insert(link->name);
  }
  return out;
}

absl::StatusOr<Stats> EbpfBackend::ReadStats() {
  Stats out;
  // A connection that expired and that nobody met since is still counted.
  KUBE_LVS_RETURN_IF_ERROR(SweepConnections());
  KUBE_LVS_RETURN_IF_ERROR(services_->ReadStats(out));
  KUBE_LVS_ASSIGN_OR_RETURN(out.drops, ReadDrops());
  return out;
}

absl::StatusOr<std::map<std::string, uint64_t>> EbpfBackend::ReadDrops() {
  return ebpf::ReadDrops(maps_);
}

}  // namespace kube_lvs::ebpf
