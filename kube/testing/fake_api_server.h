// A small API server for tests: real HTTP on a loopback port, objects in memory, faults on demand.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "kube/config.h"
#include "kube/resource.h"
#include "kube/testing/field_ownership.h"

namespace kube_lvs::kube {

enum class FaultType {
  kStatus,        // answer `http_status` with a metav1.Status
  kClose,         // close the connection without an answer
  kTruncate,      // send half of the body, then close
  kGarbage,       // 200 with a body that is not JSON
  kSlow,          // wait `delay` before the answer
  kHang,          // take the request and never answer, until the server stops
  kWatchGone,     // watch: 200, then an ERROR event with code 410
  kWatchMidLine,  // watch: after `after_events` events half of a line, then close
  kWatchDrop,     // watch: after `after_events` events close cleanly
  kWatchLine,     // watch: first `line`, whatever it is, then as ever
  kWatchSilent,   // watch: 200, then nothing: no event, no bookmark, no close (half-open)
};

// Applies to the next `times` requests whose method and path match.
struct Fault {
  FaultType type = FaultType::kStatus;
  int times = 1;
  std::string method = {};         // "GET", "PATCH", "WATCH" (a GET with watch=true); empty: any
  std::string path_contains = {};  // empty: any
  int http_status = 500;
  std::string reason = {};
  int retry_after_seconds = 0;
  std::chrono::milliseconds delay{0};
  int after_events = 0;
  std::string line = {};
};

// How far it follows the real one: see fake_api.h. kube/contract_test.cc runs the same cases on
// both.
class FakeApiServer {
 public:
  struct Options {
    std::vector<Resource> resources = {};  // any other kind answers 404
    std::vector<std::pair<Resource, ListMap>> list_maps = {};
    std::string token = {};  // if set, a request without it answers 401
    std::chrono::milliseconds bookmark_interval{1000};
    bool ipv6 = false;
  };

  // Listens on 127.0.0.1 or ::1, a port of the kernel's choice.
  static absl::StatusOr<std::unique_ptr<FakeApiServer>> Start(Options options);
  virtual ~FakeApiServer() = default;  // closes all connections

  virtual ClientConfig Config() const = 0;  // with the token, if there is one
  virtual std::string Url() const = 0;      // "http://127.0.0.1:34567"

  virtual void Inject(Fault fault) = 0;
  virtual void ClearFaults() = 0;
  virtual void CloseConnections() = 0;      // all, at once
  virtual void CloseIdleConnections() = 0;  // those that serve no request now
  virtual void Compact() = 0;               // older resourceVersions are gone: 410
  virtual void SetToken(std::string token) = 0;

  // Direct access, past HTTP: what an administrator does. Put creates or replaces (status too).
  virtual void Put(const Resource& resource, const nlohmann::json& object) = 0;
  virtual void Remove(const Resource& resource, const ObjectName& object) = 0;
  virtual absl::StatusOr<nlohmann::json> Read(const Resource& resource,
                                              const ObjectName& object) const = 0;
  virtual void AddResource(const Resource& resource) = 0;
  virtual void RemoveResource(const Resource& resource) = 0;  // as when its CRD is deleted

  // "GET /api/v1/nodes?limit=500" of every request so far, in order.
  virtual std::vector<std::string> Requests() const = 0;
};

}  // namespace kube_lvs::kube
