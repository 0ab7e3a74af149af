#include "e2e/vm/lab.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace kube_lvs::vm {
namespace {

constexpr int kPatienceMilliseconds = 2000;

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "lab: %s: %s\n", what.c_str(), std::strerror(errno));
  std::abort();
}

std::string Server(int n) { return "rs" + std::to_string(n); }

// Runs lines of ip in a namespace, in one process: a process start is slow in a guest.
void Ip(const std::string& host, const std::string& lines) {
  const std::string file = "/run/lab.batch";
  std::ofstream(file, std::ios::trunc) << lines;
  Run("ip -n " + host + " -batch " + file);
}

void Sysctl(const std::string& host, const std::string& path, const std::string& value) {
  const InNamespace in(host);
  std::ofstream file("/proc/sys/" + path);
  if (!(file << value << std::flush)) Die("writing " + path + " in " + host);
}

sockaddr_storage SocketAddress(const Endpoint& at, socklen_t& size) {
  sockaddr_storage out{};
  if (at.ip.IsV4()) {
    sockaddr_in four{};
    four.sin_family = AF_INET;
    four.sin_port = htons(at.port);
    std::memcpy(&four.sin_addr, at.ip.bytes.data(), 4);
    std::memcpy(&out, &four, sizeof four);
    size = sizeof four;
  } else {
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(at.port);
    std::memcpy(&six.sin6_addr, at.ip.bytes.data(), 16);
    std::memcpy(&out, &six, sizeof six);
    size = sizeof six;
  }
  return out;
}

Endpoint FromSocketAddress(const sockaddr_storage& address) {
  Endpoint out;
  if (address.ss_family == AF_INET) {
    sockaddr_in four;
    std::memcpy(&four, &address, sizeof four);
    std::memcpy(out.ip.bytes.data(), &four.sin_addr, 4);
    out.port = ntohs(four.sin_port);
  } else {
    sockaddr_in6 six;
    std::memcpy(&six, &address, sizeof six);
    out.ip.family = Family::kIpv6;
    std::memcpy(out.ip.bytes.data(), &six.sin6_addr, 16);
    out.port = ntohs(six.sin6_port);
  }
  return out;
}

UniqueFd OpenSocket(const std::string& name, int type, int protocol, const Endpoint& at) {
  const InNamespace in(name);
  UniqueFd fd(socket(at.ip.IsV4() ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, protocol));
  if (!fd.ok()) Die("socket");
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // IPv6 binds to no address of a mere local route without it (inet6_bind in net/ipv6/af_inet6.c).
  if (at.ip.IsV4()) {
    setsockopt(fd.get(), IPPROTO_IP, IP_FREEBIND, &on, sizeof on);
  } else {
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof on);
  }
  socklen_t size = 0;
  const sockaddr_storage address = SocketAddress(at, size);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    Die("bind " + at.ToString() + " in " + name);
  }
  const timeval patience{.tv_sec = kPatienceMilliseconds / 1000, .tv_usec = 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  return fd;
}

// The first of `sockets` that can be read, or nothing.
std::optional<size_t> WaitFor(const std::vector<UniqueFd>& sockets) {
  std::vector<pollfd> polls;
  for (const UniqueFd& fd : sockets) polls.push_back({fd.get(), POLLIN, 0});
  if (poll(polls.data(), polls.size(), kPatienceMilliseconds) <= 0) return std::nullopt;
  for (size_t i = 0; i < polls.size(); ++i) {
    if (polls[i].revents & POLLIN) return i;
  }
  return std::nullopt;
}

}  // namespace

void Run(const std::string& command) {
  if (std::system(command.c_str()) == 0) return;
  std::fprintf(stderr, "lab: failed: %s\n", command.c_str());
  std::abort();
}

InNamespace::InNamespace(const std::string& name)
    : before_(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
  const UniqueFd fd(open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC));
  if (!before_.ok() || !fd.ok() || setns(fd.get(), CLONE_NEWNET) != 0) Die("entering " + name);
}

InNamespace::~InNamespace() {
  if (setns(before_.get(), CLONE_NEWNET) != 0) Die("leaving a namespace");
}

IpAddress ServerAddress(int server, Family family) {
  const std::string n = std::to_string(server);
  return *IpAddress::Parse(family == Family::kIpv4 ? "10.1.200." + n : "fd02::" + n);
}

IpAddress Vip(Family family) {
  return *IpAddress::Parse(family == Family::kIpv4 ? "10.9.0.1" : "fd09::1");
}

IpAddress ClientAddress(int index, Family family) {
  IpAddress out = *IpAddress::Parse(family == Family::kIpv4 ? "10.1.0.0" : "fd01::");
  out.bytes[out.Size() - 1] = static_cast<uint8_t>(index + 1);
  return out;
}

void MakeLab() {
  Run("modprobe -a veth bridge ipip ip6_tunnel");
  for (const std::string name : {"sw", "cl", "ds", "rs1", "rs2", "rs3"}) {
    Run("ip netns add " + name);
    for (const std::string which : {"all", "default"}) {
      Sysctl(name, "net/ipv4/conf/" + which + "/rp_filter", "0");
      Sysctl(name, "net/ipv6/conf/" + which + "/accept_dad", "0");
    }
  }
  Sysctl("ds", "net/ipv4/ip_forward", "1");
  Sysctl("ds", "net/ipv6/conf/all/forwarding", "1");

  std::string lines = "link add name br0 type bridge\nlink set br0 up\n";
  for (const std::string name : {"cl", "ds", "rs1", "rs2", "rs3"}) {
    const std::string device = name == "cl" ? "eth1" : "eth0";
    lines += "link add name p-" + name + " type veth peer name " + device + " netns " + name + "\n";
    lines += "link set p-" + name + " master br0 up\n";
  }
  Ip("sw", lines);

  lines =
      "link set lo up\nlink add name eth0 type veth peer name eth1 netns ds\nlink set eth0 up\n";
  for (int i = 0; i < 40; ++i) {
    lines += "addr add " + ClientAddress(i, Family::kIpv4).ToString() + "/24 dev eth0\n";
    lines += "addr add " + ClientAddress(i, Family::kIpv6).ToString() + "/64 dev eth0 nodad\n";
  }
  Ip("cl", lines + R"(link set eth1 up
addr add 10.1.200.100/24 dev eth1
addr add fd02::64/64 dev eth1 nodad
)");
  Ip("ds", R"(link set lo up
link set eth0 up
link set eth1 up
addr add 10.1.0.254/24 dev eth1
addr add fd01::fe/64 dev eth1 nodad
addr add 10.1.200.254/24 dev eth0
addr add fd02::fe/64 dev eth0 nodad
addr add 10.9.0.1/32 dev lo
addr add fd09::1/128 dev lo nodad
)");
  Ip("cl", R"(route add 10.9.0.1 via 10.1.0.254
route add fd09::1 via fd01::fe
)");

  for (int n = 1; n <= kServers; ++n) {
    const std::string host = Server(n);
    const std::string four = ServerAddress(n, Family::kIpv4).ToString();
    const std::string six = ServerAddress(n, Family::kIpv6).ToString();
    Sysctl(host, "net/ipv4/conf/all/arp_ignore", "1");
    Sysctl(host, "net/ipv4/conf/all/arp_announce", "2");
    Ip(host, "link set lo up\nlink set eth0 up\naddr add " + four + "/24 dev eth0\naddr add " +
                 six +
                 R"(/64 dev eth0 nodad
addr add 10.9.0.1/32 dev lo
addr add fd09::1/128 dev lo nodad
link add name t4 type ipip local )" +
                 four + R"( remote any
link set t4 up
link add name t6 type ip6tnl mode any local )" +
                 six + R"( remote any
link set t6 up
route add 10.1.0.0/24 via 10.1.200.100
route add fd01::/64 via fd02::64
rule add from )" +
                 four + R"( table 100
route add default via 10.1.200.254 table 100
)");
    Run("ip -n " + host + " -6 rule add from " + six + " table 100");
    Run("ip -n " + host + " -6 route add default via fd02::fe table 100");
  }
}

Servers::Servers(int type, Family family, uint16_t port, bool at_vip, int protocol)
    : type_(type), protocol_(protocol) {
  for (int n = 1; n <= kServers; ++n) {
    const IpAddress ip = at_vip ? Vip(family) : ServerAddress(n, family);
    sockets_.push_back(OpenSocket(Server(n), type, protocol, {ip, port}));
    if (type == SOCK_STREAM && listen(sockets_.back().get(), 128) != 0) Die("listen");
  }
}

Servers::Servers(int type, const Endpoint& at, int protocol) : type_(type), protocol_(protocol) {
  for (int n = 1; n <= kServers; ++n) {
    sockets_.push_back(OpenSocket(Server(n), type, protocol, at));
    if (type == SOCK_STREAM && listen(sockets_.back().get(), 128) != 0) Die("listen");
  }
}

Answer Servers::AskDatagram(const Endpoint& from, const Endpoint& vip, std::string_view question) {
  const UniqueFd client = OpenSocket(client_host_, SOCK_DGRAM, protocol_, from);
  socklen_t size = 0;
  const sockaddr_storage to = SocketAddress(vip, size);
  if (sendto(client.get(), question.data(), question.size(), 0,
             reinterpret_cast<const sockaddr*>(&to),
             size) != static_cast<ssize_t>(question.size())) {
    return {};
  }
  const auto server = WaitFor(sockets_);
  if (!server) return {};
  char byte = 0;
  sockaddr_storage seen{};
  size = sizeof seen;
  const int fd = sockets_[*server].get();
  if (recvfrom(fd, &byte, 1, 0, reinterpret_cast<sockaddr*>(&seen), &size) != 1) return {};
  byte = static_cast<char>('1' + *server);
  if (sendto(fd, &byte, 1, 0, reinterpret_cast<const sockaddr*>(&seen), size) != 1) return {};
  byte = 0;
  sockaddr_storage source{};
  size = sizeof source;
  if (recvfrom(client.get(), &byte, 1, 0, reinterpret_cast<sockaddr*>(&source), &size) != 1) {
    return {};
  }
  // The answer must come from where the question went.
  if (FromSocketAddress(source) != vip) return {};
  return {.server = byte - '0', .client = FromSocketAddress(seen).ip};
}

Answer Servers::Ask(const Endpoint& from, const Endpoint& vip, std::string_view question) {
  return type_ == SOCK_DGRAM ? AskDatagram(from, vip, question) : Connect(from, vip).answer;
}

Servers::Connection Servers::Connect(const Endpoint& from, const Endpoint& vip) {
  Connection out;
  out.client = OpenSocket(client_host_, SOCK_STREAM, protocol_, from);
  socklen_t size = 0;
  const sockaddr_storage to = SocketAddress(vip, size);
  if (connect(out.client.get(), reinterpret_cast<const sockaddr*>(&to), size) != 0) return out;
  const auto server = WaitFor(sockets_);
  if (!server) return out;
  sockaddr_storage seen{};
  size = sizeof seen;
  out.server = UniqueFd(
      accept4(sockets_[*server].get(), reinterpret_cast<sockaddr*>(&seen), &size, SOCK_CLOEXEC));
  if (!out.server.ok() || !Echo(out)) return out;
  out.answer = {.server = static_cast<int>(*server) + 1, .client = FromSocketAddress(seen).ip};
  return out;
}

bool Servers::Echo(const Connection& connection) {
  const timeval patience{.tv_sec = kPatienceMilliseconds / 1000, .tv_usec = 0};
  setsockopt(connection.server.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  char byte = '?';
  if (send(connection.client.get(), &byte, 1, MSG_NOSIGNAL) != 1) return false;
  if (recv(connection.server.get(), &byte, 1, 0) != 1) return false;
  if (send(connection.server.get(), "!", 1, MSG_NOSIGNAL) != 1) return false;
  return recv(connection.client.get(), &byte, 1, 0) == 1 && byte == '!';
}

}  // namespace kube_lvs::vm
