// What the leader's queue holds: which object is to be looked at, as a key. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace kube_lvs::controller {

// The kinds that the operator watches.
enum class Kind {
  kService,
  kPool,
  kGroup,
  kLvsNode,
  kKubeService,
  kEndpointSlice,
  kNode,
  kNamespace,
  kServiceCidr
};

// Keys of work that is about no object.
inline constexpr char kTickKey[] = "tick/";
inline constexpr char kDefaultGroupKey[] = "default-group/";

// "service/shop/web"
std::string KeyOf(Kind kind, std::string_view name);

struct Work {
  Kind kind = Kind::kService;
  std::string name = {};
  bool operator==(const Work&) const = default;
};
// Of a key that KeyOf made; nullopt for others.
std::optional<Work> ParseKey(std::string_view key);

// A key that is due, now or after a delay.
struct Due {
  std::string key = {};
  Duration after{0};
  bool operator==(const Due&) const = default;
};

}  // namespace kube_lvs::controller
