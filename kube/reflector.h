// Keeps a Store equal to what the API server has: list, then watch, for ever.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/log.h"
#include "kube/client.h"
#include "kube/kept_objects.h"
#include "kube/store.h"

namespace kube_lvs::kube {

struct ReflectorOptions {
  Resource resource = {};
  std::string ns = {};  // empty: all namespaces
  std::string label_selector = {};
  std::string field_selector = {};
  uint64_t seed = 0;  // of the jitter; give each process another one
  // Of a kind that can be removed itself: asked in Run's thread before objects are removed. The uid
  // of its definition; "" where that cannot be told; nullopt if there is none, or one that is being
  // removed. What goes with its kind stays in the store: see kept_objects.h.
  std::function<std::optional<std::string>(std::stop_token stop)> definition = nullptr;
  Duration grace = std::chrono::seconds(60);  // so long after the kind is back
  // What was known before this process began, should the kind be gone at its beginning.
  std::map<std::string, ObjectSink::Object> remembered = {};
};

// The part that does not depend on the type. Use Reflector<T> below.
class ReflectorCore {
 public:
  using Decode = std::function<absl::StatusOr<ObjectSink::Object>(const nlohmann::json&)>;
  using Whole = std::function<bool(const ObjectSink::Object&)>;

  ReflectorCore(const Client& client, ReflectorOptions options, Decode decode, Whole whole,
                ObjectSink& sink, const Clock& clock, Logger& log);

  absl::Status Run(std::stop_token stop);
  bool Synced() const;
  absl::Status LastError() const;
  std::map<std::string, std::string> Undecodable() const;
  std::set<std::string> Kept() const;
  bool Nameless() const;
  int64_t Lists() const;

 private:
  absl::StatusOr<std::string> ListOnce(std::stop_token stop);
  absl::Status OnEvent(WatchEventType type, const nlohmann::json& object, std::string& version,
                       const std::stop_token& stop);
  absl::StatusOr<std::string> CheckKind(const std::stop_token& stop);
  void KeepWhatWentWithItsKind(std::map<std::string, ObjectSink::Object>& all);
  void Release(const std::string& key);
  ObjectSink::Object DecodeOrKeep(const std::string& key, const nlohmann::json& object);
  void SetError(const absl::Status& error);

  const Client& client_;
  const ReflectorOptions options_;
  const Decode decode_;
  const Whole whole_;
  ObjectSink& sink_;
  const Clock& clock_;
  Logger& log_;
  // Only used by Run.
  std::map<std::string, std::string> versions_;  // key -> resourceVersion
  std::string definition_;                       // the kind's, at the last list; "": not known
  KeptObjects kept_;

  mutable std::mutex mu_;
  bool synced_ = false;                             // guarded by mu_
  int64_t lists_ = 0;                               // guarded by mu_
  absl::Status last_error_;                         // guarded by mu_
  std::map<std::string, std::string> undecodable_;  // guarded by mu_
  std::set<std::string> shown_kept_;                // guarded by mu_; kept_'s keys
  bool nameless_ = false;                           // guarded by mu_
};

// All references must outlive it. An object that `decode` refuses is not stored; if an earlier
// version of it was, that one stays (an object is gone only when the API server says so), and
// Undecodable() tells why; the watch goes on. Failures never empty the store: it is replaced only
// by a complete list.
template <typename T>
class Reflector {
 public:
  using Decode = std::function<absl::StatusOr<T>(const nlohmann::json& object)>;
  // Whether an object that is back after its kind had gone can take the place of the one that was
  // known: whoever brings it back leaves its status to others. nullptr: it always can.
  using Whole = std::function<bool(const T& object)>;

  Reflector(const Client& client, ReflectorOptions options, Decode decode, Store<T>& store,
            const Clock& clock, Logger& log, Whole whole = nullptr)
      : core_(
            client, std::move(options),
            [decode = std::move(decode)](
                const nlohmann::json& object) -> absl::StatusOr<ObjectSink::Object> {
              absl::StatusOr<T> value = decode(object);
              if (!value.ok()) return value.status();
              return ObjectSink::Object(std::make_shared<const T>(*std::move(value)));
            },
            [whole = std::move(whole)](const ObjectSink::Object& object) {
              return whole == nullptr || whole(*std::static_pointer_cast<const T>(object));
            },
            store, clock, log) {}

  // Blocks until `stop`, then returns OK; give it a thread of its own. Retries whatever fails:
  // 0.8 s, doubling to 30 s, with jitter.
  absl::Status Run(std::stop_token stop) { return core_.Run(std::move(stop)); }

  // Whether a complete list was stored once. Thread-safe, as all below.
  bool Synced() const { return core_.Synced(); }

  // Why the last list or watch failed; OK while it works. IsForbidden, IsUnauthorized and
  // absl::IsNotFound (the kind is not installed) mean a fault of the API, never that objects are
  // gone.
  absl::Status LastError() const { return core_.LastError(); }

  // Key -> why it could not be decoded.
  std::map<std::string, std::string> Undecodable() const { return core_.Undecodable(); }

  // Those that are in the store although they went with their kind, and are not (wholly) back.
  std::set<std::string> Kept() const { return core_.Kept(); }

  // Whether the API server told of an object without a name since the last list, or in it. Nothing
  // can be known of it, and no list that holds one removes anything.
  bool Nameless() const { return core_.Nameless(); }

  int64_t Lists() const { return core_.Lists(); }  // complete lists so far

 private:
  ReflectorCore core_;
};

}  // namespace kube_lvs::kube
