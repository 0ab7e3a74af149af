#include "operator/work.h"

namespace kube_lvs::controller {
namespace {

struct Prefix {
  Kind kind;
  std::string_view text;
};
// None begins with another.
constexpr Prefix kPrefixes[] = {
    {Kind::kService, "service/"},
    {Kind::kPool, "pool/"},
    {Kind::kGroup, "group/"},
    {Kind::kLvsNode, "lvsnode/"},
    {Kind::kKubeService, "kubeservice/"},
    {Kind::kEndpointSlice, "slice/"},
    {Kind::kNode, "node/"},
    {Kind::kNamespace, "namespace/"},
    {Kind::kServiceCidr, "servicecidr/"},
};

}  // namespace

std::string KeyOf(Kind kind, std::string_view name) {
  for (const Prefix& prefix : kPrefixes) {
    if (prefix.kind == kind) return std::string(prefix.text) + std::string(name);
  }
  return "";
}

std::optional<Work> ParseKey(std::string_view key) {
  for (const Prefix& prefix : kPrefixes) {
    if (key.starts_with(prefix.text)) {
      return Work{.kind = prefix.kind, .name = std::string(key.substr(prefix.text.size()))};
    }
  }
  return std::nullopt;
}

}  // namespace kube_lvs::controller
