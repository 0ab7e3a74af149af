// What is asked of one record of a real server or service. Only for service_*.cc.
#pragma once

#include <chrono>

#include "base/clock.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/model/service.h"

namespace kube_lvs::ebpf {

// How long what a program may still be reading is left alone.
inline constexpr Duration kRest = std::chrono::seconds(1);

inline Endpoint At(const RealRecord& record) {
  return {record.Address(), FromWirePort(record.real.port)};
}
inline bool IsRemoved(const klvs_real& record) { return (record.flags & KLVS_REAL_REMOVED) != 0; }
inline bool IsValid(const klvs_real& record) { return (record.flags & KLVS_REAL_VALID) != 0; }
// On this node, so that what another director sends to it comes to us.
inline bool IsDelivered(const klvs_real& record) {
  return IsValid(record) && !IsRemoved(record) && (record.flags & KLVS_REAL_LOCAL) != 0 &&
         record.method != KLVS_METHOD_NAT;
}

// For thresholds that may be new.
void FitOverload(const klvs_real& record, klvs_real_conns& conns);

}  // namespace kube_lvs::ebpf
