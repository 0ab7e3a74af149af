#include "kube/resource.h"

namespace kube_lvs::kube {

std::string Resource::ApiVersion() const {
  if (group.empty()) return std::string(version);
  return std::string(group) + "/" + std::string(version);
}

std::string ObjectName::Key() const { return ns.empty() ? name : ns + "/" + name; }

ObjectName ObjectName::FromKey(std::string_view key) {
  const size_t slash = key.find('/');
  if (slash == std::string_view::npos) return {"", std::string(key)};
  return {std::string(key.substr(0, slash)), std::string(key.substr(slash + 1))};
}

std::string CollectionPath(const Resource& resource, std::string_view ns) {
  std::string path = resource.group.empty() ? "/api/" : "/apis/";
  if (!resource.group.empty()) {
    path += resource.group;
    path += '/';
  }
  path += resource.version;
  if (!ns.empty()) path += "/namespaces/" + UrlEncode(ns);
  path += '/';
  path += resource.plural;
  return path;
}

absl::StatusOr<std::string> ObjectPath(const Resource& resource, const ObjectName& object,
                                       std::string_view subresource) {
  const std::string what = std::string(resource.plural) + " \"" + object.Key() + "\"";
  // "." and ".." survive percent-encoding and would lead to another path.
  for (const std::string& part : {object.ns, object.name}) {
    if (part == "." || part == "..") {
      return absl::InvalidArgumentError(what + ": \"" + part + "\" is not a name");
    }
  }
  if (object.name.empty()) return absl::InvalidArgumentError(what + ": the name is empty");
  if (resource.namespaced && object.ns.empty()) {
    return absl::InvalidArgumentError(what + ": needs a namespace");
  }
  if (!resource.namespaced && !object.ns.empty()) {
    return absl::InvalidArgumentError(what + ": belongs to the cluster, not to a namespace");
  }
  std::string path = CollectionPath(resource, object.ns) + "/" + UrlEncode(object.name);
  if (!subresource.empty()) path += "/" + std::string(subresource);
  return path;
}

std::string UrlEncode(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  return out;
}

}  // namespace kube_lvs::kube
