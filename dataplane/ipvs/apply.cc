// Steps into requests, and their answers back.
#include <algorithm>
#include <deque>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/status.h"
#include "dataplane/ipvs/backend.h"
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

absl::Status Shadows(const ServiceKey& key, const ServiceKey& theirs) {
  return absl::AlreadyExistsError(
      ToString(key) + " would take packets from " + ToString(theirs) +
      ", which is another owner's: remove that (ipvsadm -D), or leave its port out");
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
      if (AllWaitToMark()) {
        MarkHeads();
      } else {
        SendHeads();
      }
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
  enum class Kind { kIpvs, kMark, kUnmark };
  struct Request {
    size_t step = 0;
    Kind kind = Kind::kIpvs;
    Command command = Command::kNewService;
    std::optional<ServiceConfig> config;  // of a service's addition or change
    std::optional<RealServer> real;       // of a real server's
    // A real server that comes with its service, or the switch to mh or the mark at their end:
    // tried also after one such real server failed, because any order is right for them.
    bool of_new_service = false;
    bool ends_step = true;
  };
  using Chain = std::deque<Request>;

  static Request Mark(size_t step, bool of_new_service) {
    return {.step = step,
            .kind = Kind::kMark,
            .command = Command::kSetService,
            .config = {},
            .real = {},
            .of_new_service = of_new_service};
  }

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
        request.ends_step = !NeedsMark(key);
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
        if (NeedsMark(key)) {
          chain.push_back({.step = index,
                           .kind = Kind::kUnmark,
                           .command = Command::kRemoveService,
                           .config = {},
                           .real = {},
                           .ends_step = false});
        }
        request.command = Command::kRemoveService;
      }
      const bool mark_after = !request.ends_step;
      chain.push_back(std::move(request));
      if (mark_after) {
        chain.push_back(Mark(index, false));
      }
    }
  }

  void UnfoldNewService(const AddService& add, size_t index, std::span<const size_t> reals,
                        Chain& chain) {
    const bool fill_first = add.config.scheduler == "mh" && reals.size() >= kFillBeforeHashing;
    const bool mark = NeedsMark(add.key);
    ServiceConfig first = add.config;
    if (fill_first) {
      first.scheduler = "rr";
      first.hash = {};
    }
    chain.push_back({.step = index,
                     .command = Command::kNewService,
                     .config = first,
                     .real = {},
                     .ends_step = !fill_first && !mark});
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
                       .of_new_service = true,
                       .ends_step = !mark});
    }
    if (mark) chain.push_back(Mark(index, true));
  }

  // Ends the chains of keys that are not ours, save those whose key is free and is to be added.
  void RefuseOthers() {
    bool all_ours = true;
    for (const auto& [key, chain] : chains_) all_ours = all_ours && backend_.journal_.Owns(key);
    if (all_ours) return;
    const auto services = ipvs::ReadServices(backend_.channel_, Content::kRules);
    std::set<ServiceKey> there;
    for (const auto& [key, kept] : backend_.journal_.claims()) taken_marks_.insert(kept.mark);
    if (services.ok()) {
      for (const ServiceEntry& entry : *services) {
        there.insert(entry.key);
        const auto* mark = std::get_if<FwMark>(&entry.key.match);
        if (mark != nullptr) taken_marks_.insert(mark->mark);
      }
    }
    for (auto& [key, chain] : chains_) {
      if (backend_.journal_.Owns(key)) continue;
      const auto shadowed =
          NeedsMark(key)
              ? std::ranges::find_if(there,
                                     [&, &k = key](const ServiceKey& other) {
                                       return Overlap(k, other) && !backend_.journal_.Owns(other);
                                     })
              : there.end();
      if (!services.ok()) {
        Fail(chain, services.status());
      } else if (there.contains(key)) {
        Fail(chain, Conflict(key));
      } else if (shadowed != there.end()) {
        Fail(chain, Shadows(key, *shadowed));
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
      if (head.kind != Kind::kIpvs || head.command != Command::kNewService) continue;
      if (backend_.journal_.Owns(key)) continue;
      if (NeedsMark(key) && !new_marks_.contains(key)) {
        new_marks_[key] = ChooseMark(key, taken_marks_);
        taken_marks_.insert(new_marks_[key]);
      }
      // What cannot be encoded is not sent, so nothing of it is claimed.
      if (!Encode(key, head).ok()) continue;
      const auto mark = new_marks_.find(key);
      claims.push_back({.key = key,
                        .source_nat = head.config->source_nat,
                        .mark = mark == new_marks_.end() ? 0 : mark->second});
    }
    claimed_.clear();
    for (const Claim& claim : claims) claimed_.insert(claim.key);
    const absl::Status status = backend_.journal_.Add(claims);
    if (status.ok()) return;
    for (const Claim& claim : claims) Fail(chains_[claim.key], status);
  }

  bool AllWaitToMark() const {
    return std::ranges::all_of(chains_, [](const auto& chain) {
      return chain.second.empty() || chain.second.front().kind != Kind::kIpvs;
    });
  }

  // Marks what is to be marked, or no more, in one step for all: also a packet that goes from one
  // service to another is marked at every moment. The table then holds no service but those in the
  // journal.
  void MarkHeads() {
    std::vector<Chain*> turns;
    Marks added;
    std::set<ServiceKey> removed;
    for (auto& [key, chain] : chains_) {
      if (chain.empty() || chain.front().kind == Kind::kIpvs) continue;
      turns.push_back(&chain);
      if (chain.front().kind == Kind::kMark) {
        added[key] = backend_.journal_.claims().at(key).mark;
      } else {
        removed.insert(key);
      }
    }
    if (turns.empty()) return;
    const absl::Status status = WriteMarks(added, removed);
    for (Chain* chain : turns) {
      if (!status.ok()) {
        Fail(*chain, status);
        continue;
      }
      const Request done = chain->front();
      if (done.ends_step && !results_[done.step]) results_[done.step] = absl::OkStatus();
      chain->pop_front();
    }
  }

  absl::Status WriteMarks(const Marks& added, const std::set<ServiceKey>& removed) {
    KUBE_LVS_ASSIGN_OR_RETURN(MarkReading there, backend_.marks_.Read());
    const Claims& claims = backend_.journal_.claims();
    std::erase_if(there.marks, [&](const auto& entry) {
      const auto claim = claims.find(entry.first);
      return claim == claims.end() || claim->second.mark != entry.second ||
             removed.contains(entry.first);
    });
    return backend_.marks_.Write(WithMarks(std::move(there.marks), added));
  }

  // Whether the request after `chain[at]` may go with it, whatever the answer.
  static bool NextGoesToo(const Chain& chain, size_t at) {
    return chain[at].of_new_service && at + 1 < chain.size() && chain[at + 1].of_new_service &&
           chain[at + 1].kind == Kind::kIpvs;
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
      if (!chain.empty() && chain.front().kind != Kind::kIpvs) continue;  // until all wait
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
    if (status.ok() && done.config) {
      status = backend_.journal_.SetSourceNat(key, done.config->source_nat);
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
    const std::vector<Bytes> request = {EncodeKey(Command::kRemoveService, InKernel(key))};
    const auto answer = backend_.channel_.Send(request);
    // If it could not be removed it stays ours, and the next reading shows it.
    if (!answer.ok() || (*answer)[0] != 0) return;
    // A key of ours that nobody has does no harm.
    backend_.journal_.Remove(key).IgnoreError();
  }

  ServiceKey InKernel(const ServiceKey& key) const {
    const auto mark = new_marks_.find(key);
    if (mark == new_marks_.end()) return backend_.InKernel(key);
    return {Dataplane::kIpvs, FwMark{mark->second, VipOf(key)->family}, Protocol::kTcp};
  }

  absl::StatusOr<Bytes> Encode(const ServiceKey& ours, const Request& request) const {
    const ServiceKey key = InKernel(ours);
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
  std::set<uint32_t> taken_marks_;
  Marks new_marks_;  // of keys that are to be added, and were not ours before
};

absl::Status IpvsBackend::ConfirmTunnel(const ServiceKey& key, const RealServer& real) {
  if (!tells_tunnels_) KUBE_LVS_RETURN_IF_ERROR(RealsOf(key, Content::kRules).status());
  if (tells_tunnels_.value_or(true)) return absl::OkStatus();
  // One that tunnels otherwise than its real server understands is worse than none. If it cannot be
  // removed, the next reading shows it.
  const std::vector<Bytes> removal = {EncodeRemoveReal(InKernel(key), real.at)};
  channel_.Send(removal).status().IgnoreError();
  return NoSuchTunnel(real.tunnel);
}

std::vector<absl::Status> IpvsBackend::Apply(std::span<const Step> steps) {
  return Batch(*this, steps).Run();
}

}  // namespace kube_lvs::ipvs
