#include "cli/watch_drops.h"

#include <net/if.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <utility>

#include "base/status.h"
#include "cli/signals.h"
#include "dataplane/ebpf/counters.h"

namespace kube_lvs::cli {
namespace {

using std::chrono::steady_clock;

int64_t NanosecondsOf(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1000000000 + now.tv_nsec;
}

// In terms of the clock on the wall as it is set now.
std::string TimeOf(uint64_t boot_ns) {
  const int64_t wall = NanosecondsOf(CLOCK_REALTIME) - NanosecondsOf(CLOCK_BOOTTIME) +
                       static_cast<int64_t>(boot_ns);
  const std::time_t seconds = wall / 1000000000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char date[32], out[40];
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
  std::snprintf(out, sizeof out, "%s.%03dZ", date, static_cast<int>(wall / 1000000 % 1000));
  return out;
}

std::string InterfaceName(uint32_t index) {
  char name[IF_NAMESIZE] = {};
  return if_indextoname(index, name) != nullptr ? name : std::to_string(index);
}

class RingSource final : public DropSource {
 public:
  RingSource(ebpf::Drops drops, std::string of) : drops_(std::move(drops)), of_(std::move(of)) {}

  const std::string& of() const override { return of_; }

  absl::StatusOr<DropTotals> Watch(std::optional<double> seconds,
                                   const std::function<bool(const ShownDrop&)>& show) override {
    Signals signals;
    DropTotals out;
    KUBE_LVS_ASSIGN_OR_RETURN(const auto before, ebpf::ReadDrops(*drops_.maps));
    const auto begin = steady_clock::now();
    std::optional<steady_clock::time_point> until;
    if (seconds) {
      until = begin + std::chrono::duration_cast<steady_clock::duration>(
                          std::chrono::duration<double>(*seconds));
    }
    bool goes_on = true;
    const auto take = [&](const ebpf::DropSample& sample) {
      ++out.shown;
      goes_on = show({TimeOf(sample.boot_ns), InterfaceName(sample.ifindex), sample});
      return goes_on;
    };
    while (goes_on) {
      const Signals::Woken woken = signals.Wait(until, drops_.ring->fd());
      if (woken == Signals::Woken::kTime || woken == Signals::Woken::kEnd) break;
      KUBE_LVS_RETURN_IF_ERROR(drops_.ring->Take(take));
    }
    out.seconds = std::chrono::duration<double>(steady_clock::now() - begin).count();
    KUBE_LVS_ASSIGN_OR_RETURN(const auto after, ebpf::ReadDrops(*drops_.maps));
    for (const auto& [reason, packets] : after) {
      const auto known = before.find(reason);
      const uint64_t more = packets - (known == before.end() ? 0 : known->second);
      if (more != 0) out.packets[reason] = more;
    }
    return out;
  }

 private:
  ebpf::Drops drops_;
  std::string of_;
};

}  // namespace

std::unique_ptr<DropSource> NewDropSource(ebpf::Drops drops, std::string of) {
  return std::make_unique<RingSource>(std::move(drops), std::move(of));
}

}  // namespace kube_lvs::cli
