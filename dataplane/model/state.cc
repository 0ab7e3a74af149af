#include "dataplane/model/state.h"

namespace kube_lvs {
namespace {

struct Printer {
  std::string operator()(const Sysctl& s) const { return "sysctl " + s.name + "=" + s.value; }
  std::string operator()(const LocalLink& l) const {
    return "local link mtu " + std::to_string(l.mtu);
  }
  std::string operator()(const Attachment& a) const { return "programs on " + a.interface; }
  std::string operator()(const TunnelPeer& p) const {
    return "tunnel from " + p.director.ToString() + " for " + p.Vips().ShortText() +
           (p.gue.port != 0 ? " by GUE at " + p.gue.ToString() : "");
  }
  std::string operator()(const MssClamp& c) const {
    return "mss " + std::to_string(c.mss) + " from " + c.Vips().ShortText();
  }
  std::string operator()(const SilentVip& v) const { return "silent vip " + v.Vips().ShortText(); }
  std::string operator()(const Masquerade& m) const {
    const bool v4 = m.vip.ip.IsV4();
    const std::string vips = VipsFrom(m.vip.ip, m.prefix_length).ShortText();
    return "masquerade " + (v4 ? vips : "[" + vips + "]") + ":" + std::to_string(m.vip.port) +
           (m.last_port != 0 ? "-" + std::to_string(m.last_port) : "") + "/" +
           (m.vip.port == 0 ? "all" : ToString(m.protocol));
  }
  std::string operator()(const SyncDaemon& d) const { return "sync daemon " + ToString(d); }
  std::string operator()(const ConnectionTimeout& t) const {
    return "timeout " + ToString(t.dataplane) + " " + ToString(t.kind) + " " +
           std::to_string(t.seconds) + " s";
  }
  std::string operator()(const AnsweredVip& v) const {
    return "answered vip " + ToString(v.dataplane) + " " + v.Vips().ShortText() + " on " +
           v.interface;
  }
  std::string operator()(const LocalVip& v) const {
    return "local vip " + v.Vips().ShortText() + " from " + v.source.ToString();
  }
};

}  // namespace

IpAddress LocalLinkSource(Family family) {
  return *IpAddress::Parse(family == Family::kIpv4 ? "169.254.142.187" : "fd6b:6c76:7300::1");
}

uint32_t DefaultSeconds(ConnectionKind kind) {
  switch (kind) {
    case ConnectionKind::kTcp:
      return 900;
    case ConnectionKind::kTcpFin:
      return 120;
    case ConnectionKind::kUdp:
      return 300;
  }
  return 0;
}

std::string ToString(ConnectionKind kind) {
  switch (kind) {
    case ConnectionKind::kTcp:
      return "tcp";
    case ConnectionKind::kTcpFin:
      return "tcpfin";
    case ConnectionKind::kUdp:
      return "udp";
  }
  return "unknown";
}

std::string ToString(const NodeItem& item) { return std::visit(Printer{}, item); }

}  // namespace kube_lvs
