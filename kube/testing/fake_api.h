// The rules of an API server, on objects in memory, without sockets.
//
// As the real one: resourceVersions from one counter; optimistic concurrency; generation counts
// changes outside of metadata and status; a write to an object leaves its status alone, one to its
// status leaves the rest alone; a write that changes nothing makes no new version; server-side
// apply with field ownership (field_ownership.h); finalizers; lists in pages of one moment; label
// selectors and the field selectors of the real one; watches that see an object enter and leave
// their selector; 410 after a compaction; plain-text 404 for a kind that is not installed.
// Not as the real one: no schema (defaults, pruning, validation beyond names), no admission, no
// RBAC, no garbage collection of owned objects, no check that a namespace exists; every kind has a
// status subresource; managedFields name the managers but not the fields; lists are one value for
// apply unless Options says that they are maps.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "kube/resource.h"
#include "kube/testing/field_ownership.h"

namespace kube_lvs::kube {

struct FakeRequest {
  std::string method;
  std::string target;
  std::string content_type = {};
  std::string body = {};
};

struct FakeResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body = {};
  std::vector<std::pair<std::string, std::string>> headers = {};
};

// The answer of an API server that refuses.
FakeResponse FakeFailure(int status, const std::string& reason, const std::string& message);

// What a path and its query ask for.
struct FakeTarget {
  std::string path;
  std::string id;  // "group/version/plural"
  std::string ns;
  std::string name;
  std::string subresource;
  std::map<std::string, std::string> query;
};
std::optional<FakeTarget> ParseTarget(const std::string& target);

// A watch under way: only used by one thread.
struct FakeWatch {
  FakeTarget target;
  uint64_t seen = 0;       // events up to this version were sent
  bool all_first = false;  // begin with an ADDED for every object
  bool bookmarks = false;
  std::chrono::seconds timeout{0};
};

// Thread-safe.
class FakeApi {
 public:
  FakeApi(std::vector<Resource> resources, std::vector<std::pair<Resource, ListMap>> list_maps);

  FakeResponse Handle(const FakeRequest& request);

  // Of a GET with watch=true: the watch, or why not.
  std::optional<FakeResponse> StartWatch(const FakeRequest& request, FakeWatch& watch);
  // The lines that are due, without newlines; an ERROR line means that the watch must end.
  std::vector<std::string> Poll(FakeWatch& watch, bool bookmark);
  // Waits until there is a version beyond `seen`, or `until`, or `stop`.
  void WaitBeyond(uint64_t seen, std::chrono::steady_clock::time_point until,
                  const std::stop_token& stop);

  void Put(const Resource& resource, const nlohmann::json& object);
  void Remove(const Resource& resource, const ObjectName& object);
  absl::StatusOr<nlohmann::json> Read(const Resource& resource, const ObjectName& object) const;
  void AddResource(const Resource& resource);
  void RemoveResource(const Resource& resource);
  void Compact();

 private:
  using Json = nlohmann::json;
  struct Object {
    Json value;  // without managedFields
    Ownership owners;
  };
  struct Change {
    uint64_t version = 0;
    std::string id;
    Json before;  // null: it was created
    Json after;   // null: it was deleted; then `before` has the version of the deletion
  };
  using Objects = std::map<std::string, Object>;  // by ObjectName::Key()

  // All need mu_.
  FakeResponse List(const FakeTarget& target);
  FakeResponse Get(const FakeTarget& target);
  FakeResponse Create(const FakeTarget& target, Json body);
  FakeResponse Update(const FakeTarget& target, const Json& body);
  FakeResponse Patch(const FakeTarget& target, const std::string& type, const std::string& body);
  FakeResponse Apply(const FakeTarget& target, const Json& body);
  FakeResponse Delete(const FakeTarget& target, const Json& options);
  FakeResponse Write(const FakeTarget& target, const Object& live, Json wanted,
                     std::optional<Ownership> owners);
  FakeResponse Answer(int status, const FakeTarget& target, const Object& object) const;
  FakeResponse NotFound(const FakeTarget& target) const;
  std::vector<ListMap> ListMapsOf(const std::string& id) const;
  Object* Find(const FakeTarget& target);
  void Stamp(Json& object, const std::string& id);
  void Commit(const std::string& id, const std::string& key, const Json& before, const Json* after);

  mutable std::mutex mu_;
  std::condition_variable_any changed_;
  std::map<std::string, Resource> resources_;  // guarded by mu_, as all below
  std::vector<std::pair<std::string, ListMap>> list_maps_;
  std::map<std::string, Objects> objects_;  // by resource id
  std::vector<Change> changes_;
  std::map<std::string, std::vector<std::pair<std::string, Json>>>
      pages_;  // continue token -> rest
  uint64_t version_ = 1000;
  uint64_t compacted_ = 1000;
  uint64_t serial_ = 0;
};

}  // namespace kube_lvs::kube
