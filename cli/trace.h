// --trace: which packet, and what is said of it. Pure.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "dataplane/ebpf/trace.h"

namespace kube_lvs::cli {

// "10.1.0.1:40000,192.0.2.1:80", with ",udp" behind it for UDP.
absl::StatusOr<ebpf::TracePacket> ParseTrace(const std::string& text);

// Lines for people: which real server, and why.
std::string TraceText(const ebpf::TracePacket& packet, const ebpf::Trace& trace);

}  // namespace kube_lvs::cli
