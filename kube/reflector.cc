#include "kube/reflector.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>

#include "base/status.h"
#include "kube/json.h"
#include "kube/reflector_state.h"
#include "kube/wait.h"

namespace kube_lvs::kube {
namespace {

// What it takes to follow an object. Whatever else is in its metadata is for its decoder to judge.
struct Identity {
  std::string key = {};      // "" if it has no readable name
  std::string version = {};  // "" if it has none
};

Identity IdentityOf(const nlohmann::json& object) {
  const auto text = [&object](std::string_view name) {
    return JsonString(object, {"metadata", name}).value_or("");
  };
  Identity out{.version = text("resourceVersion")};
  const std::string name = text("name");
  if (!name.empty()) out.key = ObjectName{text("namespace"), name}.Key();
  return out;
}

}  // namespace

ReflectorCore::ReflectorCore(const Client& client, ReflectorOptions options, Decode decode,
                             Whole whole, ObjectSink& sink, const Clock& clock, Logger& log)
    : client_(client),
      options_(std::move(options)),
      decode_(std::move(decode)),
      whole_(std::move(whole)),
      sink_(sink),
      clock_(clock),
      log_(log),
      kept_(options_.grace) {}

absl::Status ReflectorCore::Run(std::stop_token stop) {
  ReflectorState state;
  std::mt19937_64 generator(options_.seed);
  std::uniform_real_distribution<double> random(0.0, 1.0);
  const std::string plural(options_.resource.plural);
  const auto warn = [this, &plural](std::string_view message, const absl::Status& error) {
    log_.Log(Level::kWarn, message, {{"resource", plural}, {"error", Message(error)}});
  };
  const auto kind_is_gone = [this](const absl::Status& error) {
    if (options_.definition != nullptr && absl::IsNotFound(error)) kept_.KindWent();
  };
  while (!stop.stop_requested()) {
    if (kept_.Left(clock_.Now()) == Duration::zero()) state.ListAnew();
    const ReflectorStep step = state.Next(random(generator));
    if (step.wait > Duration::zero()) WaitFor(step.wait, stop);
    if (stop.stop_requested()) break;
    if (step.action == ReflectorStep::Do::kList) {
      const absl::StatusOr<std::string> version = ListOnce(stop);
      if (stop.stop_requested()) break;
      SetError(version.status());
      if (version.ok()) {
        state.Listed(*version);
      } else {
        kind_is_gone(version.status());
        warn("list failed", version.status());
        state.ListFailed(version.status(), clock_.Now());
      }
      continue;
    }
    const TimePoint began = clock_.Now();
    std::chrono::seconds timeout = step.watch_timeout;
    if (const std::optional<Duration> left = kept_.Left(began)) {
      timeout = std::min(timeout, std::chrono::ceil<std::chrono::seconds>(*left));
    }
    const absl::Status ended = client_.Watch(
        options_.resource,
        {.ns = options_.ns,
         .label_selector = options_.label_selector,
         .field_selector = options_.field_selector,
         .resource_version = step.resource_version,
         .timeout = timeout},
        [this, &state, &stop](WatchEventType type, const nlohmann::json& object) -> absl::Status {
          std::string version;
          KUBE_LVS_RETURN_IF_ERROR(OnEvent(type, object, version, stop));
          if (!version.empty()) state.Advanced(version);
          return absl::OkStatus();
        },
        stop);
    if (stop.stop_requested()) break;
    if (!ended.ok() && !IsGone(ended)) warn("watch failed", ended);
    SetError(IsGone(ended) ? absl::OkStatus() : ended);
    kind_is_gone(ended);
    state.WatchEnded(ended, began, clock_.Now());
    // What the watch told was about the kind as it was before.
    if (absl::IsFailedPrecondition(ended)) state.ListAnew();
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReflectorCore::ListOnce(std::stop_token stop) {
  std::map<std::string, ObjectSink::Object> all;
  std::map<std::string, std::string> versions;
  bool nameless = false;
  const absl::StatusOr<std::string> version = client_.List(
      options_.resource,
      {.ns = options_.ns,
       .label_selector = options_.label_selector,
       .field_selector = options_.field_selector},
      [&](const nlohmann::json& item) -> absl::Status {
        const Identity identity = IdentityOf(item);
        const std::string& key = identity.key;
        if (key.empty()) {
          nameless = true;
          return absl::OkStatus();
        }
        const auto known = versions_.find(key);
        ObjectSink::Object object;
        if (known != versions_.end() && !identity.version.empty() &&
            known->second == identity.version && !kept_.Contains(key)) {
          object = sink_.Find(key);
        }
        if (object == nullptr) object = DecodeOrKeep(key, item);
        if (object != nullptr) all[key] = std::move(object);
        versions[key] = identity.version;
        return absl::OkStatus();
      },
      stop);
  if (!version.ok()) return version.status();
  if (nameless) {
    // Any of those that seem to be missing may be it.
    for (const auto& [key, known] : versions_) {
      if (!versions.emplace(key, known).second) continue;
      if (ObjectSink::Object object = sink_.Find(key)) all[key] = std::move(object);
    }
  }
  const bool missing = std::ranges::any_of(
      versions_, [&](const auto& entry) { return !versions.contains(entry.first); });
  if (missing || kept_.WentNow() || definition_.empty()) {
    KUBE_LVS_ASSIGN_OR_RETURN(definition_, CheckKind(stop));
  }
  KeepWhatWentWithItsKind(all);
  sink_.Replace(std::move(all));
  versions_ = std::move(versions);
  const std::lock_guard<std::mutex> lock(mu_);
  std::erase_if(undecodable_,
                [this](const auto& entry) { return !versions_.contains(entry.first); });
  shown_kept_ = kept_.keys();
  synced_ = true;
  ++lists_;
  nameless_ = nameless;
  return version;
}

absl::Status ReflectorCore::OnEvent(WatchEventType type, const nlohmann::json& object,
                                    std::string& version, const std::stop_token& stop) {
  const Identity identity = IdentityOf(object);
  const std::string& key = identity.key;
  version = identity.version;
  SetError(absl::OkStatus());
  if (type == WatchEventType::kBookmark) return absl::OkStatus();
  if (key.empty()) {
    log_.Log(Level::kWarn, "event about an object without a name",
             {{"resource", std::string(options_.resource.plural)}, {"version", version}});
    const std::lock_guard<std::mutex> lock(mu_);
    nameless_ = true;
    return absl::OkStatus();
  }
  if (type == WatchEventType::kDeleted) {
    KUBE_LVS_RETURN_IF_ERROR(CheckKind(stop).status());
    if (kept_.WentNow()) {
      return absl::FailedPreconditionError("the kind " + std::string(options_.resource.kind) +
                                           " was removed and is back; it is listed anew");
    }
    Release(key);
    versions_.erase(key);
    {
      const std::lock_guard<std::mutex> lock(mu_);
      undecodable_.erase(key);
    }
    sink_.Remove(key);
    return absl::OkStatus();
  }
  const auto known = versions_.find(key);
  if (known != versions_.end() && !version.empty() && known->second == version) {
    return absl::OkStatus();
  }
  const ObjectSink::Object before = sink_.Find(key);
  ObjectSink::Object now = DecodeOrKeep(key, object);
  versions_[key] = version;
  if (kept_.Contains(key)) {
    if (now != nullptr && !whole_(now)) return absl::OkStatus();
    Release(key);
  }
  if (now != before) sink_.Set(key, std::move(now));
  return absl::OkStatus();
}

// Finds out whether the kind is still the one that was listed last. Returns its definition.
absl::StatusOr<std::string> ReflectorCore::CheckKind(const std::stop_token& stop) {
  if (options_.definition == nullptr) return definition_;
  std::optional<std::string> is = options_.definition(stop);
  if (!is) {
    kept_.KindWent();
    return absl::FailedPreconditionError(
        "the kind " + std::string(options_.resource.kind) +
        " is being removed from the API server; its objects are taken as they were");
  }
  if (is->empty() || definition_.empty()) return is->empty() ? definition_ : *is;
  if (*is == definition_) {
    kept_.KindStayed();
  } else {
    kept_.KindWent();
  }
  return *std::move(is);
}

// `all`: a complete list of the kind, which gets what is to stay beside it.
void ReflectorCore::KeepWhatWentWithItsKind(std::map<std::string, ObjectSink::Object>& all) {
  if (options_.definition == nullptr) return;
  std::map<std::string, ObjectSink::Object> before;
  std::set<std::string> known;
  if (!Synced()) before = options_.remembered;
  for (const auto& [key, version] : versions_) before[key] = sink_.Find(key);
  for (const auto& [key, object] : before) {
    if (object != nullptr) known.insert(key);
  }
  kept_.KindIsThere(known, clock_.Now());
  const std::set<std::string> kept = kept_.keys();
  for (const std::string& key : kept) {
    const auto is = all.find(key);
    if (is != all.end() && whole_(is->second)) {
      kept_.Release(key);
      continue;
    }
    ObjectSink::Object was = sink_.Find(key);
    if (was == nullptr) was = before[key];
    all[key] = std::move(was);
  }
}

void ReflectorCore::Release(const std::string& key) {
  if (!kept_.Contains(key)) return;
  kept_.Release(key);
  const std::lock_guard<std::mutex> lock(mu_);
  shown_kept_ = kept_.keys();
}

ObjectSink::Object ReflectorCore::DecodeOrKeep(const std::string& key,
                                               const nlohmann::json& object) {
  absl::StatusOr<ObjectSink::Object> decoded = decode_(object);
  if (decoded.ok()) {
    const std::lock_guard<std::mutex> lock(mu_);
    undecodable_.erase(key);
    return *std::move(decoded);
  }
  const std::string why = Message(decoded.status());
  bool news = false;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    std::string& known = undecodable_[key];
    news = known != why;
    known = why;
  }
  if (news) {
    log_.Log(Level::kWarn, "object cannot be decoded, its last good version stays",
             {{"resource", std::string(options_.resource.plural)}, {"key", key}, {"error", why}});
  }
  return sink_.Find(key);
}

void ReflectorCore::SetError(const absl::Status& error) {
  const std::lock_guard<std::mutex> lock(mu_);
  last_error_ = error;
}

bool ReflectorCore::Synced() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return synced_;
}

absl::Status ReflectorCore::LastError() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return last_error_;
}

std::map<std::string, std::string> ReflectorCore::Undecodable() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return undecodable_;
}

std::set<std::string> ReflectorCore::Kept() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return shown_kept_;
}

bool ReflectorCore::Nameless() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return nameless_;
}

int64_t ReflectorCore::Lists() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return lists_;
}

}  // namespace kube_lvs::kube
