#include "dataplane/ipvs/backend.h"

#include <deque>
#include <iterator>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/status.h"
#include "dataplane/ipvs/errors.h"
#include "dataplane/ipvs/reading.h"

namespace kube_lvs::ipvs {
namespace {

// From so many real servers on, a new mh service is filled as rr.
constexpr size_t kFillBeforeHashing = 2;

absl::Status Conflict(const ServiceKey& key) {
  return absl::AlreadyExistsError(ToString(key) +
                                  " is another owner's: remove it there (ipvsadm -D), or give this "
                                  "service another address or port");
}

absl::Status NoSuchTunnel(const Tunnel& tunnel) {
  return absl::FailedPreconditionError("the kernel has no " + ToString(tunnel.type) +
                                       " tunnels and would take IPIP: use tunnel type IPIP, or "
                                       "Linux 5.3 or newer");
}

}  // namespace

// One Apply: the requests of each service in a chain, of which the first of all chains are sent
// together, then the second, and so on.
class IpvsBackend::Batch {
 public:
  Batch(IpvsBackend& backend, std::span<const Step> steps)
      : backend_(backend), steps_(steps), results_(steps.size()) {
    std::map<ServiceKey, std::vector<size_t>> by_key;
    for (size_t i = 0; i < steps.size(); ++i) by_key[*KeyOf(steps[i])].push_back(i);
    for (const auto& [key, indexes] : by_key) Unfold(key, indexes);
  }

  std::vector<absl::Status> Run() {
    RefuseOthers();
    while (!chains_.empty()) {
      ClaimNewKeys();
      SendHeads();
      std::erase_if(chains_, [](const auto& chain) { return chain.second.empty(); });
    }
    std::vector<absl::Status> out;
    for (size_t i = 0; i < results_.size(); ++i) {
      out.push_back(results_[i] ? Annotate(*results_[i], ToString(steps_[i]))
                                : absl::AbortedError(ToString(steps_[i]) +
                                                     ": not tried, because an earlier step of "
                                                     "this service failed"));
    }
    return out;
  }

 private:
  struct Request {
    size_t step = 0;
    Command command = Command::kNewService;
    std::optional<ServiceConfig> config;  // of a service's addition or change
    std::optional<RealServer> real;       // of a real server's
    // A real server that comes with its service, or the switch to mh at their end: tried also after
    // one such real server failed, because any order is right for them.
    bool of_new_service = false;
    bool ends_step = true;
  };
  using Chain = std::deque<Request>;

  void Unfold(const ServiceKey& key, const std::vector<size_t>& indexes) {
    Chain& chain = chains_[key];
    for (size_t at = 0; at < indexes.size(); ++at) {
      const size_t index = indexes[at];
      if (const auto* add = std::get_if<AddService>(&steps_[index])) {
        size_t end = at + 1;
        while (end < indexes.size() && std::holds_alternative<AddReal>(steps_[indexes[end]])) ++end;
        UnfoldNewService(*add, index, std::span(indexes).subspan(at + 1, end - at - 1), chain);
        at = end - 1;
        continue;
      }
      Request request{.step = index, .config = {}, .real = {}};
      if (const auto* set = std::get_if<SetService>(&steps_[index])) {
        request.command = Command::kSetService;
        request.config = set->config;
      } else if (const auto* add = std::get_if<AddReal>(&steps_[index])) {
        request.command = Command::kNewReal;
        request.real = add->real;
      } else if (const auto* set = std::get_if<SetReal>(&steps_[index])) {
        request.command = Command::kSetReal;
        request.real = set->real;
      } else if (const auto* remove = std::get_if<RemoveReal>(&steps_[index])) {
        request.command = Command::kRemoveReal;
        request.real = RealServer{.at = remove->at};
      } else {
        request.command = Command::kRemoveService;
      }
      chain.push_back(std::move(request));
    }
  }

  void UnfoldNewService(const AddService& add, size_t index, std::span<const size_t> reals,
                        Chain& chain) {
    const bool fill_first = add.config.scheduler == "mh" && reals.size() >= kFillBeforeHashing;
    ServiceConfig first = add.config;
    if (fill_first) {
      first.scheduler = "rr";
      first.hash = {};
    }
    chain.push_back({.step = index,
                     .command = Command::kNewService,
                     .config = first,
                     .real = {},
                     .ends_step = !fill_first});
    for (auto at = reals.rbegin(); at != reals.rend(); ++at) {
      chain.push_back({.step = *at,
                       .command = Command::kNewReal,
                       .config = {},
                       .real = std::get<AddReal>(steps_[*at]).real,
                       .of_new_service = true});
    }
    if (fill_first) {
      chain.push_back({.step = index,
                       .command = Command::kSetService,
                       .config = add.config,
                       .real = {},
                       .of_new_service = true});
    }
  }

  // Ends the chains of keys that are not ours, save those whose key is free and is to be added.
  void RefuseOthers() {
    bool all_ours = true;
    for (const auto& [key, chain] : chains_) all_ours = all_ours && backend_.journal_.Owns(key);
    if (all_ours) return;
    const auto services = ipvs::ReadServices(backend_.channel_, Content::kRules);
    std::set<ServiceKey> there;
    if (services.ok()) {
      for (const ServiceEntry& entry : *services) there.insert(entry.key);
    }
    for (auto& [key, chain] : chains_) {
      if (backend_.journal_.Owns(key)) continue;
      if (!services.ok()) {
        Fail(chain, services.status());
      } else if (there.contains(key)) {
        Fail(chain, Conflict(key));
      } else if (chain.front().command != Command::kNewService) {
        Fail(chain, absl::AbortedError("the service is not there: read again"));
      }
    }
    std::erase_if(chains_, [](const auto& chain) { return chain.second.empty(); });
  }

  // Before the first addition of a key, it is in the journal: one sync for all of a round.
  void ClaimNewKeys() {
    std::vector<Claim> claims;
    for (auto& [key, chain] : chains_) {
      const Request& head = chain.front();
      if (head.command != Command::kNewService || backend_.journal_.Owns(key)) continue;
      // What cannot be encoded is not sent, so nothing of it is claimed.
      if (!Encode(key, head).ok()) continue;
      claims.push_back({.key = key, .source_nat = head.config->source_nat});
    }
    claimed_.clear();
    for (const Claim& claim : claims) claimed_.insert(claim.key);
    const absl::Status status = backend_.journal_.Add(claims);
    if (status.ok()) return;
    for (const Claim& claim : claims) Fail(chains_[claim.key], status);
  }

  // Whether the request after `chain[at]` may go with it, whatever the answer.
  static bool NextGoesToo(const Chain& chain, size_t at) {
    return chain[at].of_new_service && at + 1 < chain.size() && chain[at + 1].of_new_service;
  }

  // Sends the first request of each chain, and those that may go with it.
  void SendHeads() {
    struct Sender {
      const ServiceKey* key;
      Chain* chain;
      size_t count;
    };
    std::vector<Bytes> requests;
    std::vector<Sender> senders;
    for (auto& [key, chain] : chains_) {
      Sender sender{.key = &key, .chain = &chain, .count = 0};
      while (sender.count < chain.size()) {
        auto bytes = Encode(key, chain[sender.count]);
        if (bytes.ok()) {
          requests.push_back(*std::move(bytes));
          if (!NextGoesToo(chain, sender.count++)) break;
        } else if (sender.count == 0) {
          Fail(chain, bytes.status());
        } else {
          break;  // fails when its turn comes
        }
      }
      if (sender.count > 0) senders.push_back(sender);
    }
    if (requests.empty()) return;
    const auto answers = backend_.channel_.Send(requests);
    size_t next = 0;
    for (auto& [key, chain, count] : senders) {
      if (!answers.ok()) {
        Fail(*chain, answers.status());
        chain->clear();
        continue;
      }
      for (size_t i = 0; i < count; ++i) {
        const int error = (*answers)[next++];
        if (!chain->empty()) Settle(*key, *chain, error);
      }
    }
  }

  // Takes the answer to the first request of `chain`.
  void Settle(const ServiceKey& key, Chain& chain, int error) {
    const Request done = chain.front();
    absl::Status status =
        done.config ? StatusOf(error, done.command, *done.config) : StatusOf(error, done.command);
    if (done.command == Command::kNewService && status.code() == absl::StatusCode::kAlreadyExists) {
      if (claimed_.contains(key)) {
        // Another program was faster than our look.
        status = Conflict(key);
      } else {
        status = absl::AbortedError("the service is there already: read again");
      }
    }
    if (done.command == Command::kNewService && !status.ok() && claimed_.contains(key)) {
      const absl::Status removed = backend_.journal_.Remove(key);
      if (!removed.ok()) status = Annotate(status, Message(removed));
    }
    if (status.ok() && done.real && done.real->tunnel != Tunnel{}) {
      status = backend_.ConfirmTunnel(key, *done.real);
    }
    if (status.ok() && done.command == Command::kRemoveService) {
      status = backend_.journal_.Remove(key);
    }
    // An addition of a key that was ours before carries its source NAT too.
    if (status.ok() && done.config && done.ends_step) {
      status = backend_.journal_.SetSourceNat({key, done.config->source_nat});
    }
    if (!status.ok()) {
      if (done.command == Command::kSetService && done.of_new_service) {
        TakeBack(key, chain, status);
      } else {
        Fail(chain, status);
      }
      return;
    }
    if (done.ends_step && !results_[done.step]) results_[done.step] = absl::OkStatus();
    chain.pop_front();
  }

  // The first request of `chain` failed with `status`: what follows is not tried.
  void Fail(Chain& chain, const absl::Status& status) {
    if (chain.empty()) return;
    const Request failed = chain.front();
    results_[failed.step] = status;
    chain.pop_front();
    auto rest = chain.begin();
    while (failed.of_new_service && rest != chain.end() && rest->of_new_service) ++rest;
    chain.erase(rest, chain.end());
  }

  // The switch to mh failed: a service that schedules otherwise than asked is worse than none.
  void TakeBack(const ServiceKey& key, Chain& chain, const absl::Status& status) {
    const size_t step = chain.front().step;
    chain.clear();
    results_[step] = status;
    for (size_t i = step + 1; i < steps_.size(); ++i) {
      if (*KeyOf(steps_[i]) == key) results_[i].reset();
    }
    const std::vector<Bytes> request = {EncodeKey(Command::kRemoveService, key)};
    const auto answer = backend_.channel_.Send(request);
    // If it could not be removed it stays ours, and the next reading shows it.
    if (!answer.ok() || (*answer)[0] != 0) return;
    // A key of ours that nobody has does no harm.
    backend_.journal_.Remove(key).IgnoreError();
  }

  absl::StatusOr<Bytes> Encode(const ServiceKey& key, const Request& request) const {
    if (request.real && request.real->tunnel != Tunnel{} &&
        !backend_.tells_tunnels_.value_or(true)) {
      return NoSuchTunnel(request.real->tunnel);
    }
    if (request.config) {
      KUBE_LVS_RETURN_IF_ERROR(backend_.check_(request.config->scheduler));
      return EncodeService(request.command, key, *request.config);
    }
    if (request.command == Command::kRemoveReal) return EncodeRemoveReal(key, request.real->at);
    if (request.real) return EncodeReal(request.command, key, *request.real);
    return EncodeKey(request.command, key);
  }

  IpvsBackend& backend_;
  std::span<const Step> steps_;
  std::vector<std::optional<absl::Status>> results_;
  std::map<ServiceKey, Chain> chains_;
  std::set<ServiceKey> claimed_;  // by this round
};

bool IpvsBackend::Takes(const Step& step) const {
  const ServiceKey* key = KeyOf(step);
  return key != nullptr && key->dataplane == Dataplane::kIpvs;
}

absl::StatusOr<std::vector<RealEntry>> IpvsBackend::RealsOf(const ServiceKey& key,
                                                            Content content) {
  KUBE_LVS_ASSIGN_OR_RETURN(auto reals, ReadReals(channel_, key, content));
  if (!reals.empty()) tells_tunnels_ = reals.front().tells_tunnel;
  return reals;
}

absl::Status IpvsBackend::ConfirmTunnel(const ServiceKey& key, const RealServer& real) {
  if (!tells_tunnels_) KUBE_LVS_RETURN_IF_ERROR(RealsOf(key, Content::kRules).status());
  if (tells_tunnels_.value_or(true)) return absl::OkStatus();
  // One that tunnels otherwise than its real server understands is worse than none. If it cannot be
  // removed, the next reading shows it.
  const std::vector<Bytes> removal = {EncodeRemoveReal(key, real.at)};
  channel_.Send(removal).status().IgnoreError();
  return NoSuchTunnel(real.tunnel);
}

absl::StatusOr<VirtualService> IpvsBackend::ReadRules(ServiceEntry entry, bool source_nat,
                                                      Stats* stats) {
  VirtualService service;
  service.config = std::move(entry.config);
  service.config.source_nat = source_nat;
  if (entry.foreign) service.config.scheduler += " (changed by another program)";
  if (stats != nullptr) stats->services[entry.key] = entry.counters;
  const Content content = stats != nullptr ? Content::kAll : Content::kRules;
  KUBE_LVS_ASSIGN_OR_RETURN(auto reals, RealsOf(entry.key, content));
  service.reals.reserve(reals.size());
  for (RealEntry& real : reals) {
    if (real.foreign) real.real.method = static_cast<ForwardingMethod>(0xff);
    if (stats != nullptr) {
      stats->reals[{entry.key, real.real.at}] = {.counters = real.counters,
                                                 .weight = real.real.weight,
                                                 .active_connections = real.active_connections,
                                                 .inactive_connections = real.inactive_connections};
    }
    service.reals.push_back(std::move(real.real));
  }
  return service;
}

absl::StatusOr<ServiceTable> IpvsBackend::ReadOurs(Stats* stats) {
  const Content content = stats != nullptr ? Content::kAll : Content::kRules;
  KUBE_LVS_ASSIGN_OR_RETURN(auto services, ipvs::ReadServices(channel_, content));
  ServiceTable out;
  for (ServiceEntry& entry : services) {
    const auto ours = journal_.claims().find(entry.key);
    if (ours == journal_.claims().end()) continue;
    KUBE_LVS_ASSIGN_OR_RETURN(VirtualService service,
                              ReadRules(std::move(entry), ours->second, stats));
    out.emplace(ours->first, std::move(service));
  }
  return out;
}

absl::StatusOr<State> IpvsBackend::Read() {
  State out;
  if (journal_.claims().empty()) {
    KUBE_LVS_RETURN_IF_ERROR(channel_.Ask(EncodePlain(Command::kGetInfo)).status());
    return out;
  }
  KUBE_LVS_ASSIGN_OR_RETURN(out.services, ReadOurs(nullptr));
  return out;
}

absl::StatusOr<ServiceReading> IpvsBackend::ReadServices(const std::set<ServiceKey>& keys) {
  ServiceReading out;
  for (const ServiceKey& key : keys) {
    const auto ours = journal_.claims().find(key);
    if (ours == journal_.claims().end()) continue;
    const auto answer = channel_.Ask(EncodeKey(Command::kGetService, key));
    if (absl::IsNotFound(answer.status())) continue;
    if (!answer.ok()) return Annotate(answer.status(), ToString(key));
    KUBE_LVS_ASSIGN_OR_RETURN(ServiceEntry entry, DecodeService(*answer));
    KUBE_LVS_ASSIGN_OR_RETURN(out.services[key],
                              ReadRules(std::move(entry), ours->second, &out.stats));
  }
  return out;
}

absl::StatusOr<Stats> IpvsBackend::ReadStats() {
  Stats out;
  if (journal_.claims().empty()) return out;
  KUBE_LVS_RETURN_IF_ERROR(ReadOurs(&out).status());
  return out;
}

std::vector<absl::Status> IpvsBackend::Apply(std::span<const Step> steps) {
  return Batch(*this, steps).Run();
}

}  // namespace kube_lvs::ipvs
