// Keeps a Store equal to what the API server has: list, then watch, for ever.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <stop_token>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/log.h"
#include "kube/client.h"
#include "kube/store.h"

namespace kube_lvs::kube {

struct ReflectorOptions {
  Resource resource = {};
  std::string ns = {};  // empty: all namespaces
  std::string label_selector = {};
  std::string field_selector = {};
  uint64_t seed = 0;  // of the jitter; give each process another one
  // Asked in Run's thread before objects are removed; false: the kind itself is being removed, its
  // objects with it, and they stay in the store until a complete list of the kind is had again.
  std::function<bool(std::stop_token stop)> may_remove = nullptr;
};

// The part that does not depend on the type. Use Reflector<T> below.
class ReflectorCore {
 public:
  using Decode = std::function<absl::StatusOr<ObjectSink::Object>(const nlohmann::json&)>;

  ReflectorCore(const Client& client, ReflectorOptions options, Decode decode, ObjectSink& sink,
                const Clock& clock, Logger& log);

  absl::Status Run(std::stop_token stop);
  bool Synced() const;
  absl::Status LastError() const;
  std::map<std::string, std::string> Undecodable() const;
  bool Nameless() const;
  int64_t Lists() const;

 private:
  absl::StatusOr<std::string> ListOnce(std::stop_token stop);
  absl::Status OnEvent(WatchEventType type, const nlohmann::json& object, std::string& version,
                       const std::stop_token& stop);
  absl::Status CheckMayRemove(const std::stop_token& stop) const;
  ObjectSink::Object DecodeOrKeep(const std::string& key, const nlohmann::json& object);
  void SetError(const absl::Status& error);

  const Client& client_;
  const ReflectorOptions options_;
  const Decode decode_;
  ObjectSink& sink_;
  const Clock& clock_;
  Logger& log_;
  std::map<std::string, std::string> versions_;  // key -> resourceVersion; only used by Run

  mutable std::mutex mu_;
  bool synced_ = false;                             // guarded by mu_
  int64_t lists_ = 0;                               // guarded by mu_
  absl::Status last_error_;                         // guarded by mu_
  std::map<std::string, std::string> undecodable_;  // guarded by mu_
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

  Reflector(const Client& client, ReflectorOptions options, Decode decode, Store<T>& store,
            const Clock& clock, Logger& log)
      : core_(
            client, std::move(options),
            [decode = std::move(decode)](
                const nlohmann::json& object) -> absl::StatusOr<ObjectSink::Object> {
              absl::StatusOr<T> value = decode(object);
              if (!value.ok()) return value.status();
              return ObjectSink::Object(std::make_shared<const T>(*std::move(value)));
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

  // Whether the API server told of an object without a name since the last list, or in it. Nothing
  // can be known of it, and no list that holds one removes anything.
  bool Nameless() const { return core_.Nameless(); }

  int64_t Lists() const { return core_.Lists(); }  // complete lists so far

 private:
  ReflectorCore core_;
};

}  // namespace kube_lvs::kube
