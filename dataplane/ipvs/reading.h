// What the kernel's IPVS holds, whoever owns it.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "dataplane/ipvs/channel.h"
#include "dataplane/ipvs/codec.h"
#include "dataplane/ipvs/settings_codec.h"

namespace kube_lvs::ipvs {

// All services, save those of a protocol that ServiceKey cannot name. Errors: Channel's.
absl::StatusOr<std::vector<ServiceEntry>> ReadServices(Channel& channel,
                                                       Content content = Content::kAll);

// The real servers of one service, in the kernel's order; none if there is no such service.
absl::StatusOr<std::vector<RealEntry>> ReadReals(Channel& channel, const ServiceKey& key,
                                                 Content content = Content::kAll);

absl::StatusOr<Info> ReadInfo(Channel& channel);
absl::StatusOr<IpvsTimeouts> ReadTimeouts(Channel& channel);
// Those that run: none, one or two.
absl::StatusOr<std::vector<SyncDaemon>> ReadDaemons(Channel& channel);

}  // namespace kube_lvs::ipvs
