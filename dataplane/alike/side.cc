#include "dataplane/alike/side.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>

#include "dataplane/ebpf/packet_tests/frame6.h"

namespace kube_lvs::alike {
namespace {

constexpr ebpf::Mac kDirectorMac = {2, 0, 0, 0, 0, 1};
constexpr ebpf::Mac kClientMac = {2, 0, 0, 0, 0, 0xc};
constexpr std::array<uint8_t, 5> kRealMac = {2, 0, 0, 0, 1};  // and the real server's number

// Where things are in a frame.
struct Layout {
  size_t protocol;
  uint8_t icmp;
  // What numbers a client's packet: IPv4's identification, the end of IPv6's flow label.
  size_t id;
  size_t quoted_id;  // in an ICMP error about it
};
constexpr Layout kLayout4 = {14 + 9, 1, 14 + 4, 14 + 20 + 8 + 4};
constexpr Layout kLayout6 = {14 + 6, 58, 14 + 2, 14 + 40 + 8 + 2};

const Layout& LayoutOf(Family family) { return family == Family::kIpv4 ? kLayout4 : kLayout6; }

template <typename Frame>
Frame WithoutAddresses(const Packet& packet) {
  Frame out;
  out.dst_mac = kDirectorMac;
  out.src_mac = kClientMac;
  out.sport = packet.sport;
  out.dport = packet.dport;
  out.protocol = packet.protocol;
  out.flags = packet.flags;
  return out;
}

ebpf::Bytes Build(const Packet& packet, uint16_t id) {
  const std::string src = ClientAddress(packet.family, packet.client).ToString();
  const std::string dst = VipAddress(packet.family).ToString();
  if (packet.family == Family::kIpv4) {
    auto frame = WithoutAddresses<ebpf::Frame>(packet);
    frame.src = ebpf::Ip(src);
    frame.dst = ebpf::Ip(dst);
    frame.chunk = packet.chunk;
    frame.id = id;
    return frame.Build();
  }
  auto frame = WithoutAddresses<ebpf::Frame6>(packet);
  frame.src = src;
  frame.dst = dst;
  if (packet.protocol == static_cast<uint8_t>(Protocol::kSctp)) {
    const ebpf::Bytes sctp =
        ebpf::SctpPacket(packet.sport, packet.dport, packet.chunk, frame.payload);
    frame.payload.assign(sctp.begin(), sctp.end());
  }
  ebpf::Bytes out = frame.Build();
  out[kLayout6.id] = id >> 8;
  out[kLayout6.id + 1] = id & 0xff;
  return out;
}

IpAddress Address(const std::string& text) { return *IpAddress::Parse(text); }

// Lines for `ip -batch`.
std::string Neighbours(Family family) {
  std::string out;
  const auto add = [&](const IpAddress& address, const ebpf::Mac& mac, const std::string& device) {
    out += "neigh add " + address.ToString() + " lladdr " + MacAddress{mac}.ToString() +
           " nud permanent dev " + device + "\n";
  };
  for (int i = 1; i <= kClients; ++i) add(ClientAddress(family, i), kClientMac, "eth0");
  for (int i = 1; i <= kReals; ++i) {
    ebpf::Mac mac = {};
    std::ranges::copy(kRealMac, mac.begin());
    mac.back() = static_cast<uint8_t>(i);
    add(RealAddress(family, i), mac, IsBeyond(i) ? "eth1" : "eth0");
    if (IsBeyond(i)) out += "route add " + RealAddress(family, i).ToString() + " dev eth1\n";
  }
  return out;
}

void Check(bool ok, const char* what) {
  if (ok) return;
  std::perror(what);
  std::abort();
}

// In the calling thread's namespace.
UniqueFd OpenWire(const char* interface) {
  UniqueFd fd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  const int yes = 1;
  sockaddr_ll at{};
  at.sll_family = AF_PACKET;
  at.sll_protocol = htons(ETH_P_ALL);
  at.sll_ifindex = static_cast<int>(if_nametoindex(interface));
  Check(fd.ok() &&
            setsockopt(fd.get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof yes) == 0 &&
            bind(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0,
        interface);
  return fd;
}

}  // namespace

IpAddress ClientAddress(Family family, int number) {
  if (family == Family::kIpv4) return Address("10.1.0." + std::to_string(number));
  char text[40];
  std::snprintf(text, sizeof text, "fd01:0:c:%x:%x00:0:0:%x", number / 4, number / 4, number);
  return Address(text);
}

IpAddress RealAddress(Family family, int number) {
  if (family == Family::kIpv4) return Address("10.1.200." + std::to_string(number));
  char text[40];
  std::snprintf(text, sizeof text, "fd01:0:7:8:9:a:c8:%x", number);
  return Address(text);
}

IpAddress VipAddress(Family family) {
  return Address(family == Family::kIpv4 ? "10.9.0.1" : "fd09:1:2:3:4:5:6:7");
}

int NumberOf(const IpAddress& address) { return address.bytes[address.Size() - 1]; }

Side::Side() {
  // eth0 and eth1 say nothing by themselves.
  network_.Sh(
      "for n in 0 1; do "
      "ip link add name eth$n address 02:00:00:00:00:0$((n + 1)) type veth peer name peer$n; "
      "sysctl -qw net.ipv6.conf.peer$n.disable_ipv6=1 net.ipv6.conf.eth$n.accept_dad=0 "
      "net.ipv6.conf.eth$n.router_solicitations=0 net.ipv6.conf.eth$n.addr_gen_mode=1 "
      "net.ipv4.conf.eth$n.rp_filter=0; "
      "done; "
      "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 "
      "net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 "
      "net.ipv4.icmp_ratemask=0 net.ipv6.icmp.ratelimit=0; "
      "for n in 0 1; do ip link set eth$n up; ip link set peer$n up; done; "
      "ip addr add 10.1.0.254/16 dev eth0; ip addr add fd01::fe/32 dev eth0; "
      "ip -batch - <<E\n" +
      Neighbours(Family::kIpv4) + Neighbours(Family::kIpv6) + "E\n");
  wires_ = network_.In([] { return std::array{OpenWire("peer0"), OpenWire("peer1")}; });
}

int Side::Send(const Packet& packet) {
  const Layout& layout = LayoutOf(packet.family);
  const ebpf::Bytes bytes = Build(packet, ++sent_);
  Check(send(wires_[0].get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()),
        "send");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (std::chrono::steady_clock::now() < deadline) {
    std::array<pollfd, 2> waits{};
    for (size_t i = 0; i < waits.size(); ++i) waits[i] = {wires_[i].get(), POLLIN, 0};
    if (poll(waits.data(), waits.size(), 10) == 0) {
      if (RefusedOne()) return 0;
      continue;
    }
    std::array<uint8_t, 2048> got{};
    const ssize_t length =
        recv(waits[waits[0].revents != 0 ? 0 : 1].fd, got.data(), got.size(), 0);
    if (length <= static_cast<ssize_t>(layout.protocol)) continue;
    const auto is_sent = [&](size_t id) { return (got[id] << 8 | got[id + 1]) == sent_; };
    if (got[layout.protocol] == layout.icmp) {
      // One about a packet of before is late: its refusal was known without it.
      if (!is_sent(layout.quoted_id)) continue;
      RefusedOne();  // this one is not the next packet's
      return 0;
    }
    if (!std::ranges::equal(kRealMac, std::span(got).first(kRealMac.size()))) continue;
    if (is_sent(layout.id)) return got[kRealMac.size()];
    std::fprintf(stderr, "%s: a packet was sent on twice\n", Name().c_str());
    std::abort();
  }
  std::fprintf(stderr, "%s: nothing came of a packet\n", Name().c_str());
  std::abort();
}

}  // namespace kube_lvs::alike
