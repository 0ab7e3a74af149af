#include "kube/testing/fake_api.h"

#include <algorithm>

#include "base/status.h"
#include "kube/testing/fake_selector.h"

namespace kube_lvs::kube {
namespace {

using nlohmann::json;

constexpr char kTime[] = "2026-01-01T00:00:00Z";

std::string IdOf(const Resource& resource) {
  return std::string(resource.group) + "/" + std::string(resource.version) + "/" +
         std::string(resource.plural);
}

std::string Decode(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

std::vector<std::string> Split(const std::string& text, char by) {
  std::vector<std::string> out;
  size_t start = 0;
  while (true) {
    const size_t end = text.find(by, start);
    if (end == std::string::npos) break;
    out.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  out.push_back(text.substr(start));
  return out;
}

std::string Query(const FakeTarget& target, const std::string& name) {
  const auto it = target.query.find(name);
  return it == target.query.end() ? "" : it->second;
}

std::string Key(const FakeTarget& target) { return ObjectName{target.ns, target.name}.Key(); }

// What the two selectors of a target say about an object; null matches nothing.
struct Selectors {
  std::vector<Requirement> labels;
  std::vector<Requirement> fields;
  std::string ns;

  bool Match(const json& object) const {
    if (object.is_null()) return false;
    if (!ns.empty() && object["metadata"].value("namespace", "") != ns) return false;
    return MatchesLabels(object, labels) && MatchesFields(object, fields);
  }
};

absl::StatusOr<Selectors> SelectorsOf(const FakeTarget& target) {
  Selectors out;
  out.ns = target.ns;
  KUBE_LVS_ASSIGN_OR_RETURN(out.labels, ParseSelector(Query(target, "labelSelector")));
  KUBE_LVS_ASSIGN_OR_RETURN(out.fields, ParseSelector(Query(target, "fieldSelector")));
  for (const Requirement& requirement : out.fields) {
    const bool pods = target.id == "/v1/pods";
    const bool known =
        requirement.key == "metadata.name" || requirement.key == "metadata.namespace" ||
        (pods && requirement.key == "spec.nodeName") || (pods && requirement.key == "status.phase");
    if (!known) {
      return absl::InvalidArgumentError("field label not supported: " + requirement.key);
    }
  }
  return out;
}

FakeResponse BadRequest(const std::string& message) {
  return FakeFailure(400, "BadRequest", message);
}

// What counts for generation.
json Content(json object) {
  object.erase("status");
  object.erase("metadata");
  return object;
}

bool ValidName(const std::string& name) {
  return !name.empty() && name.size() <= 253 &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-.:") == std::string::npos;
}

}  // namespace

FakeResponse FakeFailure(int status, const std::string& reason, const std::string& message) {
  const json body = {{"kind", "Status"},    {"apiVersion", "v1"}, {"metadata", json::object()},
                     {"status", "Failure"}, {"message", message}, {"reason", reason},
                     {"code", status}};
  return {.status = status, .body = body.dump()};
}

std::optional<FakeTarget> ParseTarget(const std::string& target) {
  FakeTarget out;
  const size_t mark = target.find('?');
  out.path = target.substr(0, mark);
  if (mark != std::string::npos) {
    for (const std::string& pair : Split(target.substr(mark + 1), '&')) {
      const size_t equals = pair.find('=');
      if (equals == std::string::npos) return std::nullopt;
      out.query[Decode(pair.substr(0, equals))] = Decode(pair.substr(equals + 1));
    }
  }
  std::vector<std::string> parts = Split(out.path, '/');
  parts.erase(parts.begin());
  for (std::string& part : parts) part = Decode(part);
  std::string group;
  if (!parts.empty() && parts[0] == "api") {
    parts.erase(parts.begin());
  } else if (parts.size() > 1 && parts[0] == "apis") {
    group = parts[1];
    parts.erase(parts.begin(), parts.begin() + 2);
  } else {
    return std::nullopt;
  }
  if (parts.size() < 2) return std::nullopt;
  const std::string version = parts[0];
  parts.erase(parts.begin());
  if (parts[0] == "namespaces" && parts.size() >= 3 && parts[2] != "status") {
    out.ns = parts[1];
    parts.erase(parts.begin(), parts.begin() + 2);
  }
  if (parts.size() > 3) return std::nullopt;
  out.id = group + "/" + version + "/" + parts[0];
  if (parts.size() > 1) out.name = parts[1];
  if (parts.size() > 2) out.subresource = parts[2];
  return out;
}

FakeApi::FakeApi(std::vector<Resource> resources,
                 std::vector<std::pair<Resource, ListMap>> list_maps) {
  for (const Resource& resource : resources) resources_.emplace(IdOf(resource), resource);
  for (auto& [resource, map] : list_maps) list_maps_.emplace_back(IdOf(resource), std::move(map));
}

std::vector<ListMap> FakeApi::ListMapsOf(const std::string& id) const {
  std::vector<ListMap> out;
  for (const auto& [of, map] : list_maps_) {
    if (of == id) out.push_back(map);
  }
  return out;
}

FakeApi::Object* FakeApi::Find(const FakeTarget& target) {
  Objects& all = objects_[target.id];
  const auto it = all.find(Key(target));
  return it == all.end() ? nullptr : &it->second;
}

FakeResponse FakeApi::NotFound(const FakeTarget& target) const {
  return FakeFailure(404, "NotFound", target.id + " \"" + target.name + "\" not found");
}

FakeResponse FakeApi::Handle(const FakeRequest& request) {
  if (request.target == "/readyz" || request.target == "/healthz" || request.target == "/livez") {
    return {.content_type = "text/plain", .body = "ok"};
  }
  if (request.target == "/version") return {.body = R"({"major":"1","gitVersion":"v1.36.0-fake"})"};
  const std::optional<FakeTarget> target = ParseTarget(request.target);
  const std::lock_guard<std::mutex> lock(mu_);
  if (!target || !resources_.contains(target->id)) {
    return {.status = 404, .content_type = "text/plain", .body = "404 page not found\n"};
  }
  const Resource& resource = resources_.at(target->id);
  if (!resource.namespaced && !target->ns.empty()) return NotFound(*target);
  if (!target->subresource.empty() && target->subresource != "status") return NotFound(*target);
  try {
    if (request.method == "GET") return target->name.empty() ? List(*target) : Get(*target);
    if (request.method == "PATCH") return Patch(*target, request.content_type, request.body);
    if (request.method == "DELETE") {
      return Delete(*target, request.body.empty() ? json::object() : json::parse(request.body));
    }
    const bool writes = request.method == "POST" || request.method == "PUT";
    if (writes && request.content_type.rfind("application/json", 0) != 0) {
      return FakeFailure(415, "UnsupportedMediaType", "unsupported " + request.content_type);
    }
    if (request.method == "POST") return Create(*target, json::parse(request.body));
    if (request.method == "PUT") return Update(*target, json::parse(request.body));
  } catch (const json::exception& error) {
    return BadRequest(error.what());
  }
  return FakeFailure(405, "MethodNotAllowed", "the server does not allow this method");
}

FakeResponse FakeApi::Answer(int status, const FakeTarget& target, const Object& object) const {
  const Resource& resource = resources_.at(target.id);
  json out = object.value;
  out["apiVersion"] = resource.ApiVersion();
  out["kind"] = std::string(resource.kind);
  json managers = json::array();
  for (const auto& [manager, paths] : object.owners) {
    managers.push_back({{"manager", manager.name},
                        {"operation", manager.applies ? "Apply" : "Update"},
                        {"fieldsType", "FieldsV1"},
                        {"fieldsV1", json::object()}});
  }
  out["metadata"]["managedFields"] = managers;
  return {.status = status, .body = out.dump()};
}

FakeResponse FakeApi::List(const FakeTarget& target) {
  const absl::StatusOr<Selectors> selectors = SelectorsOf(target);
  if (!selectors.ok()) return BadRequest(Message(selectors.status()));
  const Resource& resource = resources_.at(target.id);
  std::vector<std::pair<std::string, json>> rest;
  uint64_t version = version_;
  const std::string token = Query(target, "continue");
  if (!token.empty()) {
    const auto page = pages_.find(token);
    if (page == pages_.end()) {
      return FakeFailure(410, "Expired", "The provided continue parameter is too old");
    }
    rest = page->second;
    version = std::stoull(token);
  } else {
    for (const auto& [key, object] : objects_[target.id]) {
      if (selectors->Match(object.value)) rest.emplace_back(key, object.value);
    }
  }
  const std::string limit_text = Query(target, "limit");
  const size_t limit = limit_text.empty() ? 0 : std::stoull(limit_text);
  json metadata = {{"resourceVersion", std::to_string(version)}};
  json items = json::array();
  size_t taken = 0;
  // The real one leaves kind and apiVersion out of the items of its own kinds.
  const bool own = resource.group.find('.') == std::string_view::npos ||
                   resource.group.find(".k8s.io") != std::string_view::npos;
  for (; taken < rest.size() && (limit == 0 || taken < limit); ++taken) {
    json item = rest[taken].second;
    if (!own) {
      item["apiVersion"] = resource.ApiVersion();
      item["kind"] = std::string(resource.kind);
    }
    items.push_back(std::move(item));
  }
  rest.erase(rest.begin(), rest.begin() + static_cast<int64_t>(taken));
  if (!rest.empty()) {
    const std::string next = std::to_string(version) + ":" + std::to_string(++serial_);
    metadata["continue"] = next;
    pages_[next] = std::move(rest);
  }
  const json body = {{"kind", std::string(resource.kind) + "List"},
                     {"apiVersion", resource.ApiVersion()},
                     {"metadata", metadata},
                     {"items", items}};
  return {.body = body.dump()};
}

FakeResponse FakeApi::Get(const FakeTarget& target) {
  const Object* object = Find(target);
  return object == nullptr ? NotFound(target) : Answer(200, target, *object);
}

void FakeApi::Stamp(json& object, const std::string& id) {
  json& metadata = object["metadata"];
  metadata["uid"] = "00000000-0000-4000-8000-" + std::to_string(100000000000 + ++serial_);
  metadata["creationTimestamp"] = kTime;
  metadata["generation"] = 1;
  metadata.erase("managedFields");
  metadata.erase("deletionTimestamp");
  const Resource& resource = resources_.at(id);
  object["apiVersion"] = resource.ApiVersion();
  object["kind"] = std::string(resource.kind);
}

void FakeApi::Commit(const std::string& id, const std::string& key, const json& before,
                     const json* after) {
  Change change{++version_, id, before, nullptr};
  if (after == nullptr) {
    change.before["metadata"]["resourceVersion"] = std::to_string(version_);
    objects_[id].erase(key);
  } else {
    change.after = *after;
    change.after["metadata"]["resourceVersion"] = std::to_string(version_);
    objects_[id][key].value = change.after;
  }
  changes_.push_back(std::move(change));
  changed_.notify_all();
}

FakeResponse FakeApi::Create(const FakeTarget& target, json body) {
  if (!target.name.empty()) return FakeFailure(405, "MethodNotAllowed", "POST to an object");
  json& metadata = body["metadata"];
  if (metadata.is_null()) metadata = json::object();
  FakeTarget whole = target;
  whole.name = metadata.value("name", "");
  if (whole.name.empty() && metadata.contains("generateName")) {
    whole.name = metadata["generateName"].get<std::string>() + std::to_string(++serial_);
    metadata["name"] = whole.name;
  }
  if (!ValidName(whole.name)) {
    return FakeFailure(422, "Invalid", "metadata.name: Invalid value: \"" + whole.name + "\"");
  }
  if (resources_.at(target.id).namespaced) {
    if (target.ns.empty()) return BadRequest("an empty namespace may not be set during creation");
    if (metadata.value("namespace", target.ns) != target.ns) {
      return BadRequest("the namespace of the provided object does not match the request");
    }
    metadata["namespace"] = target.ns;
  }
  if (!metadata.value("resourceVersion", "").empty()) {
    return BadRequest("resourceVersion should not be set on objects to be created");
  }
  if (Find(whole) != nullptr) {
    return FakeFailure(409, "AlreadyExists", target.id + " \"" + whole.name + "\" already exists");
  }
  Stamp(body, target.id);
  // A status in a new object is ignored, as where there is a status subresource.
  body.erase("status");
  const std::string manager = Query(target, "fieldManager");
  auto owners =
      OwnersAfterUpdate(json::object(), Content(body), {},
                        {manager.empty() ? "fake" : manager, false, ""}, ListMapsOf(target.id));
  if (!owners.ok()) return FakeFailure(422, "Invalid", Message(owners.status()));
  Commit(target.id, Key(whole), nullptr, &body);
  Find(whole)->owners = *std::move(owners);
  return Answer(201, whole, *Find(whole));
}

// Makes `wanted` the object: what every kind of write ends with. Without `owners` they are worked
// out from what changed.
FakeResponse FakeApi::Write(const FakeTarget& target, const Object& live, json wanted,
                            std::optional<Ownership> owners) {
  const json before = live.value;
  json& metadata = wanted["metadata"];
  for (const char* fixed : {"name", "namespace"}) {
    if (before["metadata"].contains(fixed) && metadata.contains(fixed) &&
        metadata[fixed] != before["metadata"][fixed]) {
      return BadRequest(std::string("the ") + fixed + " of the object does not match the request");
    }
  }
  if (metadata.contains("uid") && !metadata["uid"].is_null() &&
      metadata["uid"] != before["metadata"]["uid"] && target.subresource.empty()) {
    return FakeFailure(409, "Conflict", "Precondition failed: UID in precondition differs");
  }
  const std::string version = metadata.value("resourceVersion", "");
  if (!version.empty() && version != before["metadata"]["resourceVersion"]) {
    return FakeFailure(409, "Conflict",
                       "the object has been modified; please apply your changes to the latest "
                       "version and try again");
  }
  if (target.subresource == "status") {
    json only_status = before;
    only_status.erase("status");
    if (wanted.contains("status")) only_status["status"] = wanted["status"];
    wanted = std::move(only_status);
  } else {
    wanted.erase("status");
    if (before.contains("status")) wanted["status"] = before["status"];
    for (const char* fixed : {"name", "namespace", "uid", "creationTimestamp", "generation",
                              "deletionTimestamp", "resourceVersion"}) {
      wanted["metadata"].erase(fixed);
      if (before["metadata"].contains(fixed)) {
        wanted["metadata"][fixed] = before["metadata"][fixed];
      }
    }
    wanted["metadata"].erase("managedFields");
    wanted["apiVersion"] = before["apiVersion"];
    wanted["kind"] = before["kind"];
  }
  wanted["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"];
  if (!owners) {
    const std::string manager = Query(target, "fieldManager");
    auto computed = OwnersAfterUpdate(
        before, wanted, live.owners,
        {manager.empty() ? "fake" : manager, false, target.subresource}, ListMapsOf(target.id));
    if (!computed.ok()) return FakeFailure(422, "Invalid", Message(computed.status()));
    owners = *std::move(computed);
  }
  if (Content(wanted) != Content(before)) {
    wanted["metadata"]["generation"] = before["metadata"].value("generation", 1) + 1;
  }
  const std::string key = Key(target);
  const bool last_finalizer_gone = wanted["metadata"].contains("deletionTimestamp") &&
                                   wanted["metadata"].value("finalizers", json::array()).empty();
  Object out{wanted, *std::move(owners)};
  if (last_finalizer_gone) {
    Commit(target.id, key, wanted, nullptr);
    return Answer(200, target, out);
  }
  if (wanted != before) Commit(target.id, key, before, &wanted);
  Object& stored = objects_[target.id][key];
  stored.owners = out.owners;
  return Answer(200, target, stored);
}

FakeResponse FakeApi::Update(const FakeTarget& target, const json& body) {
  const Object* live = Find(target);
  if (live == nullptr) return NotFound(target);
  if (!body.is_object() || !body.contains("metadata")) return BadRequest("not an object");
  if (body["metadata"].value("name", "") != target.name) {
    return BadRequest("the name of the object does not match the name on the URL");
  }
  return Write(target, Object(*live), body, std::nullopt);
}

FakeResponse FakeApi::Patch(const FakeTarget& target, const std::string& type,
                            const std::string& body) {
  if (type == "application/apply-patch+yaml") return Apply(target, json::parse(body));
  const Object* live = Find(target);
  if (live == nullptr) return NotFound(target);
  json wanted = live->value;
  if (type == "application/merge-patch+json") {
    wanted.merge_patch(json::parse(body));
  } else if (type == "application/json-patch+json") {
    const json operations = json::parse(body);
    try {
      wanted = wanted.patch(operations);
    } catch (const json::exception& error) {
      return FakeFailure(422, "Invalid", error.what());
    }
  } else {
    return FakeFailure(415, "UnsupportedMediaType", "unsupported patch type " + type);
  }
  return Write(target, Object(*live), wanted, std::nullopt);
}

FakeResponse FakeApi::Apply(const FakeTarget& target, const json& body) {
  const std::string manager = Query(target, "fieldManager");
  if (manager.empty()) return BadRequest("fieldManager is required for apply patch");
  if (manager.size() > 128) return FakeFailure(422, "Invalid", "fieldManager: Too long");
  const Resource& resource = resources_.at(target.id);
  if (!body.is_object() || body.value("apiVersion", "") != resource.ApiVersion() ||
      body.value("kind", "") != resource.kind) {
    return BadRequest("apiVersion and kind must be those of the URL");
  }
  const json metadata = body.value("metadata", json::object());
  if (metadata.contains("managedFields")) {
    return BadRequest("metadata.managedFields must be nil");
  }
  if (metadata.value("name", target.name) != target.name) {
    return BadRequest("the name of the object does not match the name on the URL");
  }
  Object* live = Find(target);
  if (live == nullptr && !target.subresource.empty()) return NotFound(target);
  if (live == nullptr && !metadata.value("resourceVersion", "").empty()) {
    return FakeFailure(409, "Conflict", "the object does not exist any more");
  }
  // What a manager may own: not what identifies the object, and only this endpoint's part.
  json owned = body;
  for (const char* name : {"apiVersion", "kind"}) owned.erase(name);
  if (owned.contains("metadata")) {
    for (const char* name : {"name", "namespace", "uid", "resourceVersion", "generation"}) {
      owned["metadata"].erase(name);
    }
    if (owned["metadata"].empty()) owned.erase("metadata");
  }
  if (target.subresource == "status") {
    owned = owned.contains("status") ? json{{"status", owned["status"]}} : json::object();
  } else {
    owned.erase("status");
  }
  const bool fresh = live == nullptr;
  const json before = fresh ? json::object() : live->value;
  auto applied =
      ApplyFields(before, fresh ? Ownership() : live->owners, {manager, true, target.subresource},
                  owned, Query(target, "force") == "true", ListMapsOf(target.id));
  if (!applied.ok()) {
    return absl::IsAborted(applied.status())
               ? FakeFailure(409, "Conflict", Message(applied.status()))
               : FakeFailure(422, "Invalid", Message(applied.status()));
  }
  if (fresh) {
    json created = applied->object;
    created["metadata"]["name"] = target.name;
    FakeTarget collection = target;
    collection.name.clear();
    const FakeResponse response = Create(collection, created);
    if (response.status != 201) return response;
    Find(target)->owners = applied->owners;
    return Answer(201, target, *Find(target));
  }
  json wanted = applied->object;
  for (const char* name : {"uid", "resourceVersion"}) {
    if (metadata.contains(name)) wanted["metadata"][name] = metadata[name];
  }
  return Write(target, Object(*live), wanted, applied->owners);
}

FakeResponse FakeApi::Delete(const FakeTarget& target, const json& options) {
  const Object* live = Find(target);
  if (live == nullptr) return NotFound(target);
  const json before = live->value;
  const json conditions = options.value("preconditions", json::object());
  for (const char* name : {"uid", "resourceVersion"}) {
    if (conditions.contains(name) && conditions[name] != before["metadata"][name]) {
      return FakeFailure(409, "Conflict", std::string("Precondition failed: ") + name);
    }
  }
  if (!before["metadata"].value("finalizers", json::array()).empty()) {
    json deleting = before;
    if (!deleting["metadata"].contains("deletionTimestamp")) {
      deleting["metadata"]["deletionTimestamp"] = kTime;
      Commit(target.id, Key(target), before, &deleting);
    }
    return Answer(200, target, *Find(target));
  }
  Commit(target.id, Key(target), before, nullptr);
  const json body = {{"kind", "Status"}, {"apiVersion", "v1"}, {"status", "Success"}};
  return {.body = body.dump()};
}

std::optional<FakeResponse> FakeApi::StartWatch(const FakeRequest& request, FakeWatch& watch) {
  const std::optional<FakeTarget> target = ParseTarget(request.target);
  const std::lock_guard<std::mutex> lock(mu_);
  if (!target || !resources_.contains(target->id)) {
    return FakeResponse{
        .status = 404, .content_type = "text/plain", .body = "404 page not found\n"};
  }
  if (const auto selectors = SelectorsOf(*target); !selectors.ok()) {
    return BadRequest(Message(selectors.status()));
  }
  watch.target = *target;
  watch.bookmarks = Query(*target, "allowWatchBookmarks") == "true";
  const std::string timeout = Query(*target, "timeoutSeconds");
  watch.timeout = std::chrono::seconds(timeout.empty() ? 1800 : std::stoi(timeout));
  const std::string from = Query(*target, "resourceVersion");
  if (from.find_first_not_of("0123456789") != std::string::npos) {
    return BadRequest("Invalid value: \"" + from + "\": resourceVersion");
  }
  watch.all_first = from.empty() || from == "0";
  watch.seen = watch.all_first ? version_ : std::stoull(from);
  if (watch.seen > version_) {
    return FakeFailure(504, "Timeout", "Too large resource version: " + from);
  }
  return std::nullopt;
}

std::vector<std::string> FakeApi::Poll(FakeWatch& watch, bool bookmark) {
  const std::lock_guard<std::mutex> lock(mu_);
  std::vector<std::string> lines;
  const auto error = [&lines](int code, const std::string& reason, const std::string& message) {
    const json event = {{"type", "ERROR"},
                        {"object", json::parse(FakeFailure(code, reason, message).body)}};
    lines.push_back(event.dump());
    return lines;
  };
  if (!resources_.contains(watch.target.id)) {
    return error(410, "Expired", "the kind was removed");
  }
  if (!watch.all_first && watch.seen < compacted_) {
    return error(410, "Expired", "too old resource version: " + std::to_string(watch.seen));
  }
  const Resource& resource = resources_.at(watch.target.id);
  const auto emit = [&](const char* type, json object) {
    object["apiVersion"] = resource.ApiVersion();
    object["kind"] = std::string(resource.kind);
    lines.push_back(json{{"type", type}, {"object", std::move(object)}}.dump());
  };
  const absl::StatusOr<Selectors> selectors = SelectorsOf(watch.target);
  if (!selectors.ok()) return error(400, "BadRequest", Message(selectors.status()));
  if (std::exchange(watch.all_first, false)) {
    watch.seen = version_;
    for (const auto& [key, object] : objects_[watch.target.id]) {
      if (selectors->Match(object.value)) emit("ADDED", object.value);
    }
  }
  auto change = std::upper_bound(
      changes_.begin(), changes_.end(), watch.seen,
      [](uint64_t seen, const Change& candidate) { return seen < candidate.version; });
  for (; change != changes_.end(); ++change) {
    if (change->id != watch.target.id) continue;
    const bool was = selectors->Match(change->before);
    const bool is = selectors->Match(change->after);
    if (is) {
      emit(was ? "MODIFIED" : "ADDED", change->after);
    } else if (was) {
      json gone = change->before;
      gone["metadata"]["resourceVersion"] = std::to_string(change->version);
      emit("DELETED", std::move(gone));
    }
  }
  watch.seen = version_;
  if (bookmark && watch.bookmarks) {
    emit("BOOKMARK", {{"metadata", {{"resourceVersion", std::to_string(version_)}}}});
  }
  return lines;
}

void FakeApi::WaitBeyond(uint64_t seen, std::chrono::steady_clock::time_point until,
                         const std::stop_token& stop) {
  std::unique_lock<std::mutex> lock(mu_);
  changed_.wait_until(lock, stop, until, [this, seen] { return version_ > seen; });
}

void FakeApi::Put(const Resource& resource, const json& object) {
  const std::lock_guard<std::mutex> lock(mu_);
  const std::string id = IdOf(resource);
  json value = object;
  const ObjectName name{value["metadata"].value("namespace", ""),
                        value["metadata"].value("name", "")};
  Objects& all = objects_[id];
  const auto live = all.find(name.Key());
  if (live == all.end()) {
    Stamp(value, id);
    Commit(id, name.Key(), nullptr, &value);
    return;
  }
  const json before = live->second.value;
  for (const char* kept : {"uid", "creationTimestamp", "generation"}) {
    value["metadata"][kept] = before["metadata"][kept];
  }
  value["apiVersion"] = before["apiVersion"];
  value["kind"] = before["kind"];
  if (Content(value) != Content(before)) {
    value["metadata"]["generation"] = before["metadata"].value("generation", 1) + 1;
  }
  Commit(id, name.Key(), before, &value);
}

void FakeApi::Remove(const Resource& resource, const ObjectName& object) {
  const std::lock_guard<std::mutex> lock(mu_);
  const std::string id = IdOf(resource);
  const auto it = objects_[id].find(object.Key());
  if (it == objects_[id].end()) return;
  const json before = it->second.value;
  Commit(id, object.Key(), before, nullptr);
}

absl::StatusOr<json> FakeApi::Read(const Resource& resource, const ObjectName& object) const {
  const std::lock_guard<std::mutex> lock(mu_);
  const auto all = objects_.find(IdOf(resource));
  if (all == objects_.end() || !all->second.contains(object.Key())) {
    return absl::NotFoundError(object.Key() + ": there is none");
  }
  return all->second.at(object.Key()).value;
}

void FakeApi::AddResource(const Resource& resource) {
  const std::lock_guard<std::mutex> lock(mu_);
  resources_.emplace(IdOf(resource), resource);
}

void FakeApi::RemoveResource(const Resource& resource) {
  const std::lock_guard<std::mutex> lock(mu_);
  const std::string id = IdOf(resource);
  resources_.erase(id);
  objects_.erase(id);
  ++version_;
  changed_.notify_all();
}

void FakeApi::Compact() {
  const std::lock_guard<std::mutex> lock(mu_);
  compacted_ = version_;
  changes_.clear();
  pages_.clear();
  changed_.notify_all();
}

}  // namespace kube_lvs::kube
