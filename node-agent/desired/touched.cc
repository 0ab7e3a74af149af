#include "node-agent/desired/touched.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>

namespace kube_lvs {
namespace {

// Every write to an object changes its version, whatever it is about.
bool SameMeta(const api::ObjectMeta& a, api::ObjectMeta b) {
  b.resource_version = a.resource_version;
  return a == b;
}

template <typename T>
bool SameForRules(const T& a, const T& b) {
  T copy = b;
  copy.meta = a.meta;
  return SameMeta(a.meta, b.meta) && a == copy;
}

// Of the status only the addresses are for us; the operator writes the rest, also after we have.
bool SameForRules(const api::LvsService& a, const api::LvsService& b) {
  return SameMeta(a.meta, b.meta) && a.spec == b.spec && a.status.addresses == b.status.addresses;
}

// Calls `differs(key, before, after)` for each object that is not the same in both; one of the two
// is null if it is only in the other. Ends, with false, when `differs` says false.
template <typename T>
bool ForEachDifference(const ObjectMap<T>& before, const ObjectMap<T>& after,
                       const std::function<bool(const std::string&, const T*, const T*)>& differs) {
  if (const auto keys = after.ChangedSince(before)) {
    for (const std::string& key : std::set<std::string>(keys->begin(), keys->end())) {
      const auto was = before.find(key);
      const auto is = after.find(key);
      const T* a = was == before.end() ? nullptr : was->second.get();
      const T* b = is == after.end() ? nullptr : is->second.get();
      const bool same = a == b || (a != nullptr && b != nullptr && SameForRules(*a, *b));
      if (!same && !differs(key, a, b)) return false;
    }
    return true;
  }
  auto was = before.begin();
  auto is = after.begin();
  while (was != before.end() || is != after.end()) {
    if (is == after.end() || (was != before.end() && was->first < is->first)) {
      if (!differs(was->first, was->second.get(), nullptr)) return false;
      ++was;
    } else if (was == before.end() || is->first < was->first) {
      if (!differs(is->first, nullptr, is->second.get())) return false;
      ++is;
    } else {
      if (was->second != is->second && !SameForRules(*was->second, *is->second) &&
          !differs(is->first, was->second.get(), is->second.get())) {
        return false;
      }
      ++was;
      ++is;
    }
  }
  return true;
}

template <typename T>
bool Same(const Snapshot::Objects<T>& before, const Snapshot::Objects<T>& after) {
  return before == after ||
         ForEachDifference<T>(*before, *after,
                              [](const std::string&, const T*, const T*) { return false; });
}

// Whether only what real servers there are, and how they are chosen, differs.
bool OnlyRulesDiffer(const api::LvsService& before, const api::LvsService& after) {
  api::LvsServiceSpec spec = before.spec;
  spec.backends = after.spec.backends;
  spec.scheduler = after.spec.scheduler;
  spec.hash = after.spec.hash;
  spec.persistence = after.spec.persistence;
  spec.drain_timeout_seconds = after.spec.drain_timeout_seconds;
  return spec == after.spec && before.meta.uid == after.meta.uid &&
         before.meta.creation_timestamp == after.meta.creation_timestamp &&
         before.status.addresses == after.status.addresses;
}

// Adds the LVSServices with a backend that is one of these Services.
void AddUsers(const ObjectMap<api::LvsService>& services, const std::set<std::string>& of,
              std::set<std::string>& users) {
  for (const std::string& name : of) {
    if (const auto keys = services.Naming(name)) {
      users.insert(keys->begin(), keys->end());
      continue;
    }
    for (const auto& [key, service] : services) {
      const auto is_one = [&of](const std::string& used) { return of.contains(used); };
      if (std::ranges::any_of(api::ServicesOf(*service), is_one)) users.insert(key);
    }
    return;
  }
}

}  // namespace

std::optional<std::set<std::string>> ServicesTouched(const Snapshot& before,
                                                     const Snapshot& after) {
  if (before.complete != after.complete || before.kubernetes != after.kubernetes ||
      before.problems != after.problems || !Same(before.groups, after.groups) ||
      !Same(before.pools, after.pools) || !Same(before.nodes, after.nodes) ||
      !Same(before.service_cidrs, after.service_cidrs)) {
    return std::nullopt;
  }
  std::set<std::string> touched;
  const bool in_place = ForEachDifference<api::LvsService>(
      *before.services, *after.services,
      [&](const std::string& key, const api::LvsService* was, const api::LvsService* is) {
        touched.insert(key);
        return was != nullptr && is != nullptr && OnlyRulesDiffer(*was, *is);
      });
  if (!in_place) return std::nullopt;

  std::set<std::string> kube_services;
  ForEachDifference<api::KubeService>(
      *before.kube_services, *after.kube_services,
      [&](const std::string& key, const api::KubeService*, const api::KubeService*) {
        kube_services.insert(key);
        return true;
      });
  ForEachDifference<api::EndpointSlice>(
      *before.endpoint_slices, *after.endpoint_slices,
      [&](const std::string&, const api::EndpointSlice* was, const api::EndpointSlice* is) {
        for (const api::EndpointSlice* slice : {was, is}) {
          if (slice == nullptr) continue;
          for (std::string& name : api::ServicesOf(*slice)) kube_services.insert(std::move(name));
        }
        return true;
      });
  AddUsers(*after.services, kube_services, touched);
  return touched;
}

}  // namespace kube_lvs
