#include "kube/client.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/status.h"
#include "kube/json.h"

namespace kube_lvs::kube {
namespace {

using nlohmann::json;

constexpr char kJsonType[] = "application/json";
constexpr size_t kMaxFieldManager = 128;  // the API server refuses longer ones

std::string What(const char* verb, const Resource& resource, const ObjectName& object) {
  return std::string(verb) + " " + std::string(resource.plural) + " " + object.Key();
}

std::string What(const char* verb, const Resource& resource, std::string_view ns) {
  std::string what = std::string(verb) + " " + std::string(resource.plural);
  if (!ns.empty()) what += " in namespace " + std::string(ns);
  return what;
}

// Appends "?name=value" or "&name=value", unless the value is empty.
void AddQuery(std::string& target, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  target += target.find('?') == std::string::npos ? '?' : '&';
  target += name;
  target += '=';
  target += UrlEncode(value);
}

absl::Status Garbled(const absl::Status& status, const std::string& what) {
  return absl::DataLossError(what + ": " + Message(status));
}

absl::StatusOr<std::string> WritePath(const Resource& resource, const ObjectName& object,
                                      const WriteOptions& options) {
  KUBE_LVS_ASSIGN_OR_RETURN(std::string path, ObjectPath(resource, object, options.subresource));
  AddQuery(path, "fieldManager", options.field_manager);
  return path;
}

// The status that an ERROR event of a watch carries.
absl::Status ErrorEvent(const json& object) {
  ApiError error;
  error.http_status = static_cast<int>(JsonInt(object, {"code"}).value_or(0));
  error.reason = JsonString(object, {"reason"}).value_or("");
  const std::string message = JsonString(object, {"message"}).value_or("");
  return MakeApiStatus(error, "error event " + std::to_string(error.http_status) + " " +
                                  error.reason + ": " + message);
}

absl::Status OnLine(std::string_view line, const WatchSink& on_event) {
  if (line.empty()) return absl::OkStatus();
  absl::StatusOr<json> event = ParseJson(line);
  if (!event.ok()) return Garbled(event.status(), "event");
  const absl::StatusOr<std::string> type = JsonString(*event, {"type"});
  if (!type.ok()) return Garbled(type.status(), "event");
  const auto found = event->is_object() ? event->find("object") : event->end();
  if (!event->is_object() || found == event->end() || !found->is_object()) {
    return absl::DataLossError("event without an object");
  }
  json& object = *found;
  if (*type == "ERROR") return ErrorEvent(object);
  if (const auto metadata = object.find("metadata");
      metadata != object.end() && metadata->is_object()) {
    metadata->erase("managedFields");
  }
  if (*type == "ADDED") return on_event(WatchEventType::kAdded, object);
  if (*type == "MODIFIED") return on_event(WatchEventType::kModified, object);
  if (*type == "DELETED") return on_event(WatchEventType::kDeleted, object);
  if (*type == "BOOKMARK") return on_event(WatchEventType::kBookmark, object);
  return absl::DataLossError("event of unknown type \"" + type->substr(0, 40) + "\"");
}

}  // namespace

std::string_view ToString(WatchEventType type) {
  switch (type) {
    case WatchEventType::kAdded:
      return "ADDED";
    case WatchEventType::kModified:
      return "MODIFIED";
    case WatchEventType::kDeleted:
      return "DELETED";
    case WatchEventType::kBookmark:
      return "BOOKMARK";
  }
  return "";
}

absl::StatusOr<HttpResponse> Client::Send(HttpRequest request, const std::string& what,
                                          std::stop_token stop) const {
  request.timeout = timeout_;
  absl::StatusOr<HttpResponse> response = transport_.Send(request, std::move(stop));
  if (!response.ok()) return Annotate(response.status(), what);
  if (!response->Ok()) return Annotate(ApiStatusOf(*response), what);
  return response;
}

absl::StatusOr<json> Client::SendJson(HttpRequest request, const std::string& what,
                                      std::stop_token stop) const {
  KUBE_LVS_ASSIGN_OR_RETURN(const HttpResponse response,
                            Send(std::move(request), what, std::move(stop)));
  absl::StatusOr<json> value = ParseJson(response.body);
  if (!value.ok()) return Garbled(value.status(), what);
  if (!value->is_object()) return absl::DataLossError(what + ": the answer is not an object");
  return value;
}

absl::StatusOr<json> Client::Get(const Resource& resource, const ObjectName& object,
                                 std::stop_token stop) const {
  KUBE_LVS_ASSIGN_OR_RETURN(std::string path, ObjectPath(resource, object));
  return SendJson({.target = std::move(path)}, What("get", resource, object), std::move(stop));
}

absl::StatusOr<std::string> Client::List(const Resource& resource, const ListOptions& options,
                                         const ItemSink& each, std::stop_token stop) const {
  const std::string what = What("list", resource, options.ns);
  std::string continue_token;
  do {
    std::string target = CollectionPath(resource, options.ns);
    AddQuery(target, "labelSelector", options.label_selector);
    AddQuery(target, "fieldSelector", options.field_selector);
    AddQuery(target, "limit", std::to_string(options.page_size));
    AddQuery(target, "continue", continue_token);
    KUBE_LVS_ASSIGN_OR_RETURN(const HttpResponse response,
                              Send({.target = std::move(target)}, what, stop));
    const absl::StatusOr<ListPage> page = SplitList(response.body);
    if (!page.ok()) return Garbled(page.status(), what);
    for (const std::string_view text : page->items) {
      const absl::StatusOr<json> item = ParseJson(text);
      if (!item.ok()) return Garbled(item.status(), what);
      if (!item->is_object()) return absl::DataLossError(what + ": an item is not an object");
      KUBE_LVS_RETURN_IF_ERROR(Annotate(each(*item), what));
    }
    if (page->continue_token.empty()) {
      if (page->resource_version.empty()) {
        return absl::DataLossError(what + ": the list has no resourceVersion");
      }
      return page->resource_version;
    }
    if (page->continue_token == continue_token) {
      return absl::DataLossError(what + ": the same continue token twice");
    }
    continue_token = page->continue_token;
  } while (!stop.stop_requested());
  return absl::CancelledError(what + ": stopped");
}

absl::Status Client::Watch(const Resource& resource, const WatchOptions& options,
                           const WatchSink& on_event, std::stop_token stop) const {
  const std::string what = What("watch", resource, options.ns);
  HttpRequest request;
  request.target = CollectionPath(resource, options.ns);
  AddQuery(request.target, "watch", "true");
  AddQuery(request.target, "allowWatchBookmarks", "true");
  AddQuery(request.target, "resourceVersion", options.resource_version);
  AddQuery(request.target, "timeoutSeconds", std::to_string(options.timeout.count()));
  AddQuery(request.target, "labelSelector", options.label_selector);
  AddQuery(request.target, "fieldSelector", options.field_selector);
  request.timeout = timeout_;
  request.quiet_timeout = options.quiet_timeout;
  const absl::StatusOr<HttpResponse> response = transport_.Stream(
      request, [&on_event](std::string_view line) { return OnLine(line, on_event); },
      std::move(stop));
  if (!response.ok()) return Annotate(response.status(), what);
  if (!response->Ok()) return Annotate(ApiStatusOf(*response), what);
  return absl::OkStatus();
}

absl::StatusOr<json> Client::Apply(const Resource& resource, const ObjectName& object,
                                   const json& body, const ApplyOptions& options,
                                   std::stop_token stop) const {
  const std::string what = What("apply", resource, object);
  if (options.field_manager.empty() || options.field_manager.size() > kMaxFieldManager) {
    return absl::InvalidArgumentError(what + ": the field manager's name must have 1 to 128 bytes");
  }
  if (!body.is_object() || (body.contains("metadata") && !body["metadata"].is_object())) {
    return absl::InvalidArgumentError(what + ": the body is not an object");
  }
  KUBE_LVS_ASSIGN_OR_RETURN(std::string path, ObjectPath(resource, object, options.subresource));
  AddQuery(path, "fieldManager", options.field_manager);
  if (options.force) AddQuery(path, "force", "true");
  json whole = body;
  whole.emplace("apiVersion", resource.ApiVersion());
  whole.emplace("kind", std::string(resource.kind));
  json& metadata = whole["metadata"];
  metadata.emplace("name", object.name);
  if (!object.ns.empty()) metadata.emplace("namespace", object.ns);
  return SendJson({.method = HttpMethod::kPatch,
                   .target = std::move(path),
                   .body = DumpJson(whole),
                   .content_type = "application/apply-patch+yaml"},
                  what, std::move(stop));
}

absl::StatusOr<json> Client::Create(const Resource& resource, std::string_view ns, const json& body,
                                    const WriteOptions& options, std::stop_token stop) const {
  const std::string what = What("create", resource, ns);
  if (resource.namespaced == ns.empty()) {
    return absl::InvalidArgumentError(
        what + (ns.empty() ? ": needs a namespace" : ": belongs to the cluster"));
  }
  std::string target = CollectionPath(resource, ns);
  AddQuery(target, "fieldManager", options.field_manager);
  return SendJson({.method = HttpMethod::kPost,
                   .target = std::move(target),
                   .body = DumpJson(body),
                   .content_type = kJsonType},
                  what, std::move(stop));
}

absl::StatusOr<json> Client::Update(const Resource& resource, const ObjectName& object,
                                    const json& body, const WriteOptions& options,
                                    std::stop_token stop) const {
  KUBE_LVS_ASSIGN_OR_RETURN(std::string path, WritePath(resource, object, options));
  return SendJson({.method = HttpMethod::kPut,
                   .target = std::move(path),
                   .body = DumpJson(body),
                   .content_type = kJsonType},
                  What("update", resource, object), std::move(stop));
}

absl::StatusOr<json> Client::Patch(const Resource& resource, const ObjectName& object,
                                   PatchType type, const json& patch, const WriteOptions& options,
                                   std::stop_token stop) const {
  KUBE_LVS_ASSIGN_OR_RETURN(std::string path, WritePath(resource, object, options));
  return SendJson({.method = HttpMethod::kPatch,
                   .target = std::move(path),
                   .body = DumpJson(patch),
                   .content_type = type == PatchType::kMerge ? "application/merge-patch+json"
                                                             : "application/json-patch+json"},
                  What("patch", resource, object), std::move(stop));
}

absl::Status Client::Delete(const Resource& resource, const ObjectName& object,
                            const DeleteOptions& options, std::stop_token stop) const {
  KUBE_LVS_ASSIGN_OR_RETURN(std::string path, ObjectPath(resource, object));
  json body = {{"apiVersion", "v1"}, {"kind", "DeleteOptions"}};
  if (!options.uid.empty()) body["preconditions"]["uid"] = options.uid;
  if (!options.resource_version.empty()) {
    body["preconditions"]["resourceVersion"] = options.resource_version;
  }
  if (!options.propagation.empty()) body["propagationPolicy"] = options.propagation;
  return Send({.method = HttpMethod::kDelete,
               .target = std::move(path),
               .body = DumpJson(body),
               .content_type = kJsonType},
              What("delete", resource, object), std::move(stop))
      .status();
}

absl::StatusOr<std::string> Client::GetRaw(std::string_view target, std::stop_token stop) const {
  KUBE_LVS_ASSIGN_OR_RETURN(
      HttpResponse response,
      Send({.target = std::string(target)}, "get " + std::string(target), std::move(stop)));
  return std::move(response.body);
}

}  // namespace kube_lvs::kube
