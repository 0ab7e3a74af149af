#include "cli/trace.h"

#include <vector>

#include "base/status.h"

namespace kube_lvs::cli {
namespace {

std::vector<std::string> SplitAtCommas(const std::string& text) {
  std::vector<std::string> out;
  for (size_t begin = 0;;) {
    const size_t comma = text.find(',', begin);
    out.push_back(text.substr(begin, comma - begin));
    if (comma == std::string::npos) return out;
    begin = comma + 1;
  }
}

std::string Why(const ebpf::Trace& trace) {
  if (!trace.is_vip) return "no service has this address";
  if (!trace.state.empty()) return "a connection is known, in state " + trace.state;
  if (trace.scheduler.empty()) return "there is no service at this port";
  if (trace.delivered) {
    return "this director does not answer for the VIP: what comes to it was balanced by the one "
           "that does";
  }
  if (trace.persistent) return "a new connection: persistence has the client stay";
  return "a new connection: " + trace.scheduler + " had the choice of " +
         std::to_string(trace.available) + " of " + std::to_string(trace.reals) +
         (trace.reals == 1 ? " real server" : " real servers") +
         " (weight above 0, below the upper threshold)";
}

}  // namespace

absl::StatusOr<ebpf::TracePacket> ParseTrace(const std::string& text) {
  const absl::Status refused = absl::InvalidArgumentError(
      "--trace " + text +
      ": CLIENT:PORT,VIP:PORT, and ,udp or ,sctp after it, with addresses of one family");
  const std::vector<std::string> parts = SplitAtCommas(text);
  if (parts.size() < 2 || parts.size() > 3) return refused;
  ebpf::TracePacket out;
  const auto client = Endpoint::Parse(parts[0]), vip = Endpoint::Parse(parts[1]);
  if (!client.ok() || !vip.ok() || client->ip.family != vip->ip.family) return refused;
  out.client = *client;
  out.vip = *vip;
  if (parts.size() == 3 && parts[2] == "udp") {
    out.protocol = Protocol::kUdp;
  } else if (parts.size() == 3 && parts[2] == "sctp") {
    out.protocol = Protocol::kSctp;
  } else if (parts.size() == 3 && parts[2] != "tcp") {
    return refused;
  }
  return out;
}

std::string TraceText(const ebpf::TracePacket& packet, const ebpf::Trace& trace) {
  std::string out = packet.client.ToString() + " -> " + packet.vip.ToString() + "/" +
                    ToString(packet.protocol) + ": ";
  switch (trace.verdict) {
    case ebpf::TraceVerdict::kForwarded:
      out += trace.real ? "to " + ToString(*trace.real) : "answered by the director";
      break;
    case ebpf::TraceVerdict::kPassed:
      out += trace.real ? "to " + ToString(*trace.real) + ", which is this host"
                        : "left to the stack of this host";
      break;
    case ebpf::TraceVerdict::kDropped:
      out += "dropped, reason " + trace.drop_reason;
      if (trace.real) out += ", on its way to " + ToString(*trace.real);
      break;
  }
  return out + "\n  " + Why(trace) + "\n";
}

}  // namespace kube_lvs::cli
