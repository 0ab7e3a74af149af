// A client, a director and three real servers in network namespaces of one guest, and sockets in
// each of them. For programs of vm_test only: it changes the machine it runs on.
//
//   client 10.1.0.1-40, fd01::1-28 --- director 10.1.0.254, fd01::fe
//     |                                   | 10.1.200.254, fd02::fe
//   10.1.200.100, fd02::64 ------------ switch --- server N: 10.1.200.N, fd02::N
//
// The VIPs 10.9.0.1 and fd09::1 are routed to the director and are local there. Each server is
// ready for all methods at once: the VIPs on lo, a device for IPv4 in IPv4, one for either family
// in IPv6, and replies from its own address go through the director (NAT), replies from a VIP
// straight to the client.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/unique_fd.h"

namespace kube_lvs::vm {

inline constexpr int kServers = 3;

// Makes the namespaces cl, ds, sw, rs1, rs2, rs3. Aborts with the command that failed.
void MakeLab();

// Runs a shell command; aborts with it when it fails.
void Run(const std::string& command);

// Puts the calling thread into a namespace while it lives.
class InNamespace {
 public:
  explicit InNamespace(const std::string& name);
  ~InNamespace();

 private:
  UniqueFd before_;
};

IpAddress ServerAddress(int server, Family family);  // server: 1 to 3
IpAddress Vip(Family family);
IpAddress ClientAddress(int index, Family family);  // 0 to 39

// What one exchange through the director showed.
struct Answer {
  int server = 0;    // who answered; 0: nobody
  IpAddress client;  // whom that server saw
  bool operator==(const Answer&) const = default;
};

// One socket on each real server, which answer with their number.
class Servers {
 public:
  // `type`: SOCK_STREAM, SOCK_DGRAM. `at_vip`: bound to the VIP instead of to their own addresses,
  // as direct return needs. `protocol`: for socket(2).
  Servers(int type, Family family, uint16_t port, bool at_vip, int protocol = 0);
  // Bound to `at` in each of them, whether or not an interface there has it.
  Servers(int type, const Endpoint& at, int protocol = 0);

  // The namespace that Ask and Connect open the client's socket in, instead of "cl".
  void AskIn(const std::string& host) { client_host_ = host; }

  // A datagram, or a new connection that is closed again, from the client to `vip`. `question`: of
  // the datagram.
  Answer Ask(const Endpoint& from, const Endpoint& vip, std::string_view question = "?");
  // As above; the connection (SOCK_STREAM) stays open, for Echo.
  struct Connection {
    Answer answer;
    UniqueFd client, server;
  };
  Connection Connect(const Endpoint& from, const Endpoint& vip);
  // Whether a byte goes there and another comes back.
  static bool Echo(const Connection& connection);

 private:
  Answer AskDatagram(const Endpoint& from, const Endpoint& vip, std::string_view question);

  int type_, protocol_;
  std::string client_host_ = "cl";
  std::vector<UniqueFd> sockets_;
};

}  // namespace kube_lvs::vm
