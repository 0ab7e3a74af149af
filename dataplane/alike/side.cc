#include "dataplane/alike/side.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace kube_lvs::alike {
namespace {

constexpr size_t kProtocolAt = 14 + 9;           // in a frame
constexpr size_t kQuotedIdAt = 14 + 20 + 8 + 4;  // in one with an ICMP error
constexpr uint8_t kIcmp = 1;

void Check(bool ok, const char* what) {
  if (ok) return;
  std::perror(what);
  std::abort();
}

}  // namespace

Side::Side() {
  network_.Sh(
      "ip link add name eth0 address 02:00:00:00:00:01 type veth peer name peer0; "
      "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv4.ip_forward=1 "
      "net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 "
      "net.ipv4.conf.eth0.rp_filter=0 net.ipv4.icmp_ratemask=0; "
      "ip link set eth0 up; ip link set peer0 up; ip addr add 10.1.0.254/16 dev eth0; "
      "{ for i in $(seq 40); do "
      "echo neigh add 10.1.0.$i lladdr 02:00:00:00:00:0c nud permanent dev eth0; done; "
      "for i in $(seq 250); do "
      "echo neigh add 10.1.200.$i lladdr 02:00:00:00:01:$(printf %02x $i) nud permanent dev eth0; "
      "done; } | ip -batch -");
  wire_ = network_.In([] {
    UniqueFd fd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    sockaddr_ll at{};
    at.sll_family = AF_PACKET;
    at.sll_protocol = htons(ETH_P_IP);
    at.sll_ifindex = static_cast<int>(if_nametoindex("peer0"));
    Check(fd.ok() && bind(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0, "peer0");
    return fd;
  });
}

int Side::Send(const ebpf::Frame& frame) {
  ebpf::Frame numbered = frame;
  numbered.id = ++sent_;
  const ebpf::Bytes bytes = numbered.Build();
  Check(send(wire_.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()),
        "send");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (std::chrono::steady_clock::now() < deadline) {
    pollfd wait{.fd = wire_.get(), .events = POLLIN, .revents = 0};
    if (poll(&wait, 1, 10) == 0) {
      if (RefusedOne()) return 0;
      continue;
    }
    std::array<uint8_t, 2048> got{};
    sockaddr_ll from{};
    socklen_t size = sizeof from;
    const ssize_t length =
        recvfrom(wire_.get(), got.data(), got.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (length <= static_cast<ssize_t>(kProtocolAt) || from.sll_pkttype == PACKET_OUTGOING) {
      continue;
    }
    if (got[kProtocolAt] == kIcmp) {
      // One about a packet of before is late: its refusal was known without it.
      if ((got[kQuotedIdAt] << 8 | got[kQuotedIdAt + 1]) != sent_) continue;
      RefusedOne();  // this one is not the next packet's
      return 0;
    }
    if (got[4] == 1) return got[5];  // 02:00:00:00:01:NN
  }
  std::fprintf(stderr, "%s: nothing came of a packet\n", Name().c_str());
  std::abort();
}

}  // namespace kube_lvs::alike
