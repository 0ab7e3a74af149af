#include "dataplane/ipvs/statistics.h"

#include <linux/ip_vs.h>

#include "base/status.h"

namespace kube_lvs::ipvs {

absl::StatusOr<Statistics> DecodeStatistics(ByteView nested, bool wide) {
  Statistics out;
  KUBE_LVS_RETURN_IF_ERROR(ForEachAttribute(nested, [&](const Attribute& a) -> absl::Status {
    uint64_t* number = nullptr;
    bool always_wide = false;
    switch (a.type) {
      case IPVS_STATS_ATTR_CONNS:
        number = &out.counters.connections;
        break;
      case IPVS_STATS_ATTR_INPKTS:
        number = &out.counters.packets;
        break;
      case IPVS_STATS_ATTR_OUTPKTS:
        number = &out.counters.reply_packets;
        break;
      case IPVS_STATS_ATTR_INBYTES:
        number = &out.counters.bytes;
        always_wide = true;
        break;
      case IPVS_STATS_ATTR_OUTBYTES:
        number = &out.counters.reply_bytes;
        always_wide = true;
        break;
      case IPVS_STATS_ATTR_CPS:
        number = &out.rates.connections;
        break;
      case IPVS_STATS_ATTR_INPPS:
        number = &out.rates.packets;
        break;
      case IPVS_STATS_ATTR_OUTPPS:
        number = &out.rates.reply_packets;
        break;
      case IPVS_STATS_ATTR_INBPS:
        number = &out.rates.bytes;
        break;
      case IPVS_STATS_ATTR_OUTBPS:
        number = &out.rates.reply_bytes;
        break;
      default:
        return absl::OkStatus();
    }
    if (wide || always_wide) {
      KUBE_LVS_ASSIGN_OR_RETURN(*number, Number64(a, "a counter"));
    } else {
      KUBE_LVS_ASSIGN_OR_RETURN(*number, Number32(a, "a counter"));
    }
    return absl::OkStatus();
  }));
  return out;
}

}  // namespace kube_lvs::ipvs
