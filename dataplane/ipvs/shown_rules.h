// The kernel's rules as its text /proc/net/ip_vs shows them: a fraction of the cost of the dumps,
// and of what they tell. Pure.
//
// It shows (ip_vs_info_seq_show in net/netfilter/ipvs/ip_vs_ctl.c) address or mark, scheduler,
// one-packet scheduling (not of IPv6 addresses), whether there is persistence and its mask, and of
// real servers address, method and weight. It does not show a mark's IP family, flags of the
// scheduler, persistence's time (but in ticks of a rate that it does not tell) and engine,
// thresholds, and how a tunnel wraps.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "dataplane/model/service.h"

namespace kube_lvs::ipvs {

struct ShownReal {
  Endpoint at;
  std::string_view method;  // "Masq"
  uint32_t weight = 0;
  bool operator==(const ShownReal&) const = default;
};

// Texts are parts of what was parsed.
struct ShownService {
  ServiceKey key;  // of a mark: as if of IPv4
  std::string_view scheduler;
  bool one_packet = false;
  bool persistent = false;
  uint32_t mask = 0;             // of persistence, as the text has it
  std::vector<ShownReal> reals;  // in the kernel's order
  bool operator==(const ShownService&) const = default;
};

// Hands each service of a protocol that ServiceKey can name to `take`. kInternal, with the line,
// for a text that is no such list.
absl::Status ForEachShown(std::string_view text,
                          const std::function<void(const ShownService&)>& take);

// Whether the text, as far as it goes, shows the service as it is wanted; real servers in any
// order. Of a mark: false, for want of its IP family.
bool ShowsAs(const ShownService& shown, const VirtualService& wanted);

}  // namespace kube_lvs::ipvs
