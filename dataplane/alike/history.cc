#include "dataplane/alike/history.h"

#include "dataplane/model/schedulers.h"

namespace kube_lvs::alike {

std::vector<History> Histories(Family family) {
  std::vector<History> out;
  for (const std::string_view name : kSchedulers) {
    for (const bool thresholds : {false, true}) {
      for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp}) {
        // What differs is when a connection is active.
        if (protocol == Protocol::kSctp && name != "wlc" && name != "ovf") continue;
        History history{family, std::string(name), {}, protocol, thresholds};
        out.push_back(history);
        const bool often = name == "rr" || name == "wlc" || name == "mh";
        if (often || (protocol == Protocol::kTcp && !thresholds)) {
          history.template_seconds = 360;
          out.push_back(history);
        }
        if (name == "rr" && protocol == Protocol::kUdp) {
          history.one_packet = true;
          out.push_back(history);
          history.template_seconds = 0;
          out.push_back(history);
        }
        history.template_seconds = 0;
        if (!TakesHashFlags(name)) continue;
        history.hash = {.source_port = true, .fallback = true};
        out.push_back(history);
      }
    }
  }
  return out;
}

std::vector<History> ExpiringHistories(Family family, bool twos) {
  std::vector<History> out;
  bool odd = family == Family::kIpv6;
  for (const std::string_view name : kSchedulers) {
    odd = !odd;
    if ((name == "twos") != twos) continue;
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
      History history{family, std::string(name), {}, protocol, (protocol == Protocol::kTcp) == odd};
      history.expiring = true;
      out.push_back(history);
      if (!history.thresholds) continue;
      history.template_seconds = odd ? kTemplateSeconds : kShortTemplateSeconds;
      history.thresholds = false;
      if (TakesHashFlags(name)) history.hash = {.source_port = true, .fallback = true};
      out.push_back(history);
    }
  }
  return out;
}

std::string FamilyOf(const History& history) {
  return history.family == Family::kIpv4 ? "Ipv4" : "Ipv6";
}

std::string NameOf(const History& h) {
  return h.scheduler + (h.hash.fallback ? "PortFallback" : "") +
         (h.protocol == Protocol::kTcp   ? "Tcp"
          : h.protocol == Protocol::kUdp ? "Udp"
                                         : "Sctp") +
         (h.one_packet ? "OnePacket" : "") + (h.template_seconds != 0 ? "Persistent" : "") +
         (h.thresholds ? "Thresholds" : "");
}

void PrintTo(const History& history, std::ostream* out) {
  *out << FamilyOf(history) << " " << NameOf(history);
}

}  // namespace kube_lvs::alike
