// The verbs of the Kubernetes API. Values are JSON; what they mean is the caller's business.
#pragma once

#include <chrono>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <stop_token>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kube/api_error.h"
#include "kube/http.h"
#include "kube/resource.h"

namespace kube_lvs::kube {

struct ListOptions {
  std::string ns = {};  // empty: all namespaces
  std::string label_selector = {};
  std::string field_selector = {};
  int page_size = 500;
};

struct WatchOptions {
  std::string ns = {};
  std::string label_selector = {};
  std::string field_selector = {};
  std::string resource_version = {};       // what the list returned, or the last event's
  std::chrono::seconds timeout{300};       // after which the server ends the watch
  std::chrono::seconds quiet_timeout{75};  // no event and no bookmark: the watch is dead
};

enum class WatchEventType { kAdded, kModified, kDeleted, kBookmark };
std::string_view ToString(WatchEventType type);  // "ADDED"

enum class PatchType { kMerge, kJson };  // RFC 7386, RFC 6902

struct ApplyOptions {
  std::string field_manager = {};  // needed; at most 128 bytes
  bool force = true;               // take fields over from other managers
  std::string subresource = {};    // "status", or empty for the object itself
};

struct WriteOptions {
  std::string field_manager = {};  // empty: the API server derives one
  std::string subresource = {};
};

struct DeleteOptions {
  std::string uid = {};               // if set: only this very object
  std::string resource_version = {};  // if set: only this version
  std::string propagation = {};       // "Background", "Foreground", "Orphan"; empty: the default
};

// Takes one item of a list; it is valid during the call. A status that is not OK ends the list.
using ItemSink = std::function<absl::Status(const nlohmann::json& item)>;

// Takes one event. A status that is not OK ends the watch and is what Watch() returns.
using WatchSink = std::function<absl::Status(WatchEventType type, const nlohmann::json& object)>;

// Thread-safe. Every call blocks at most about `timeout` (List: per page; Watch: as told), and
// returns kCancelled about a second after `stop` is triggered. Errors: what HttpTransport says, or
// what api_error.h says, or kDataLoss for an answer that is not JSON as expected. The answers are
// without managedFields. No call retries on its own: the callers' loops do.
class Client {
 public:
  // The transport must outlive the client.
  explicit Client(HttpTransport& transport,
                  std::chrono::milliseconds timeout = std::chrono::seconds(30))
      : transport_(transport), timeout_(timeout) {}

  absl::StatusOr<nlohmann::json> Get(const Resource& resource, const ObjectName& object,
                                     std::stop_token stop = {}) const;

  // Calls `each` for every item, page by page, and returns the list's resourceVersion, from which
  // a watch may start. After an error (kOutOfRange: the continue token expired) what `each` has
  // seen is not the whole list.
  absl::StatusOr<std::string> List(const Resource& resource, const ListOptions& options,
                                   const ItemSink& each, std::stop_token stop = {}) const;

  // Calls `on_event` until the server ends the watch (OK), an error occurs, or `stop`. An ERROR
  // event is returned as the status that it carries (IsGone: list again).
  absl::Status Watch(const Resource& resource, const WatchOptions& options,
                     const WatchSink& on_event, std::stop_token stop = {}) const;

  // Server-side apply: creates or changes the fields in `body`, and removes those that the same
  // manager applied before and that are not in it. apiVersion, kind, name and namespace are put
  // into `body` if they are not there. With body.metadata.resourceVersion: only that version.
  absl::StatusOr<nlohmann::json> Apply(const Resource& resource, const ObjectName& object,
                                       const nlohmann::json& body, const ApplyOptions& options,
                                       std::stop_token stop = {}) const;

  // `ns` empty for a resource of the cluster. kAlreadyExists if it does.
  absl::StatusOr<nlohmann::json> Create(const Resource& resource, std::string_view ns,
                                        const nlohmann::json& body,
                                        const WriteOptions& options = {},
                                        std::stop_token stop = {}) const;

  // Replaces the object. With body.metadata.resourceVersion a newer version gives IsConflict.
  absl::StatusOr<nlohmann::json> Update(const Resource& resource, const ObjectName& object,
                                        const nlohmann::json& body,
                                        const WriteOptions& options = {},
                                        std::stop_token stop = {}) const;

  absl::StatusOr<nlohmann::json> Patch(const Resource& resource, const ObjectName& object,
                                       PatchType type, const nlohmann::json& patch,
                                       const WriteOptions& options = {},
                                       std::stop_token stop = {}) const;

  absl::Status Delete(const Resource& resource, const ObjectName& object,
                      const DeleteOptions& options = {}, std::stop_token stop = {}) const;

  // A GET of any path ("/version", "/readyz"): the body of a 2xx answer.
  absl::StatusOr<std::string> GetRaw(std::string_view target, std::stop_token stop = {}) const;

 private:
  absl::StatusOr<HttpResponse> Send(HttpRequest request, const std::string& what,
                                    std::stop_token stop) const;
  absl::StatusOr<nlohmann::json> SendJson(HttpRequest request, const std::string& what,
                                          std::stop_token stop) const;

  HttpTransport& transport_;
  const std::chrono::milliseconds timeout_;
};

}  // namespace kube_lvs::kube
