// Values by VIPs, single ones and prefixes, found by whatever overlaps them. Pure.
#pragma once

#include <map>
#include <utility>

#include "base/ip.h"

namespace kube_lvs::controller {

template <typename T>
class ByVips {
 public:
  T& operator[](const Cidr& vips) { return MapOf(vips)[vips]; }
  void Erase(const Cidr& vips) { MapOf(vips).erase(vips); }
  const T* Find(const Cidr& vips) const {
    const auto& map = vips.IsHost() ? hosts_ : prefixes_;
    const auto it = map.find(vips);
    return it == map.end() ? nullptr : &it->second;
  }

  // Calls `take(vips, value)` for each that overlaps `vips`, prefixes first, until it says false.
  // Looks at every prefix, which are few.
  template <typename Take>
  void ForEachOverlapping(const Cidr& vips, Take take) const {
    for (const auto& [other, value] : prefixes_) {
      if (other.Overlaps(vips) && !take(other, value)) return;
    }
    for (auto it = hosts_.lower_bound(Cidr{vips.address, 0});
         it != hosts_.end() && vips.Contains(it->first); ++it) {
      if (!take(it->first, it->second)) return;
    }
  }
  bool AnyOverlaps(const Cidr& vips) const {
    bool any = false;
    ForEachOverlapping(vips, [&any](const Cidr&, const T&) {
      any = true;
      return false;
    });
    return any;
  }

  template <typename Should>
  void EraseIf(Should should) {
    for (auto* map : {&hosts_, &prefixes_}) {
      std::erase_if(*map, [&](const auto& entry) { return should(entry.second); });
    }
  }

  const std::map<Cidr, T>& hosts() const { return hosts_; }
  const std::map<Cidr, T>& prefixes() const { return prefixes_; }

 private:
  std::map<Cidr, T>& MapOf(const Cidr& vips) { return vips.IsHost() ? hosts_ : prefixes_; }

  std::map<Cidr, T> hosts_, prefixes_;
};

}  // namespace kube_lvs::controller
