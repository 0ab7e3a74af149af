// What keeps the backend in order between readings.
#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "dataplane/ipvs/backend.h"
#include "dataplane/ipvs/shown_rules.h"

namespace kube_lvs::ipvs {

absl::StatusOr<std::set<ServiceKey>> IpvsBackend::Suspects(const ServiceTable& expected) {
  std::set<ServiceKey> suspects;
  std::vector<const ServiceKey*> as_expected;
  if (!journal_.claims().empty()) {
    KUBE_LVS_ASSIGN_OR_RETURN(const std::string text, show_());
    const std::map<ServiceKey, ServiceKey> by_mark = OursByMark();
    KUBE_LVS_RETURN_IF_ERROR(ForEachShown(text, [&](const ShownService& shown) {
      std::vector<ServiceKey> keys = {shown.key};
      if (const auto* mark = std::get_if<FwMark>(&shown.key.match)) {
        keys.push_back(shown.key);
        keys.back().match = FwMark{.mark = mark->mark, .family = Family::kIpv6};
      }
      for (const ServiceKey& in_kernel : keys) {
        const auto marked = by_mark.find(in_kernel);
        const ServiceKey& key = marked == by_mark.end() ? in_kernel : marked->second;
        const auto wanted = expected.find(key);
        if (wanted == expected.end()) {
          if (journal_.Owns(key)) suspects.insert(key);
        } else if (ShowsAs(shown, wanted->second)) {
          as_expected.push_back(&wanted->first);
        }
      }
    }));
  }
  std::ranges::sort(as_expected, {},
                    [](const ServiceKey* key) -> const ServiceKey& { return *key; });
  auto seen = as_expected.begin();
  for (const auto& [key, service] : expected) {
    if (key.dataplane != Dataplane::kIpvs) continue;
    if (seen == as_expected.end() || **seen != key) suspects.insert(key);
    // Shown twice, if another was removed meanwhile.
    while (seen != as_expected.end() && **seen == key) ++seen;
  }
  return suspects;
}

absl::Status IpvsBackend::ForgetAllBut(const ServiceTable& desired) {
  std::vector<ServiceKey> others;
  for (const auto& [key, kept] : journal_.claims()) {
    if (!desired.contains(key)) others.push_back(key);
  }
  for (const ServiceKey& key : others) {
    const absl::Status there =
        channel_.Ask(EncodeKey(Command::kGetService, InKernel(key))).status();
    if (there.ok()) continue;
    if (!absl::IsNotFound(there)) return Annotate(there, ToString(key));
    KUBE_LVS_RETURN_IF_ERROR(journal_.Remove(key));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> RulesOfThisThread() {
  return ReadFile("/proc/thread-self/net/ip_vs", SIZE_MAX);
}

}  // namespace kube_lvs::ipvs
