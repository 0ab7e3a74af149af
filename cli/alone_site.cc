#include "cli/alone_site.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "dataplane/ebpf/testing/sockets.h"

namespace kube_lvs::cli {
namespace {

constexpr int kPatienceSeconds = 3;

ebpf::SocketAddress At(const std::string& ip, uint16_t port) {
  return ebpf::SocketAddress({*IpAddress::Parse(ip), port});
}

UniqueFd PatientSocket(const Namespace& where, const std::string& ip, int type) {
  UniqueFd out = ebpf::NewSocket(where, IpAddress::Parse(ip)->family, type);
  ebpf::LimitWaits(out, kPatienceSeconds);
  return out;
}

}  // namespace

Ran Shell(const Namespace& where, const std::string& commands) {
  const std::string line = "PATH=/usr/sbin:/sbin:$PATH nsenter --net=" + where.path() +
                           " unshare --mount sh -c 'mount -t sysfs sysfs /sys && { " + commands +
                           "; }' 2>&1";
  FILE* pipe = popen(line.c_str(), "r");
  if (pipe == nullptr) std::abort();
  Ran out;
  std::array<char, 4096> buffer;
  for (size_t got = 0; (got = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
    out.output.append(buffer.data(), got);
  }
  const int status = pclose(pipe);
  out.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return out;
}

Ran Lvsadm(const Namespace& where, const std::string& options) {
  return Shell(where, "cli/lvsadm " + options + " --dataplane ebpf");
}

Watching::Watching(const Namespace& where, const std::string& options) {
  const std::string line = "PATH=/usr/sbin:/sbin:$PATH exec nsenter --net=" + where.path() +
                           " sh -c 'echo $$; exec cli/lvsadm " + options + "' 2>&1";
  pipe_ = popen(line.c_str(), "r");
  if (pipe_ == nullptr) std::abort();
  pid_ = std::stoi(Line());
}

Watching::~Watching() {
  Interrupt();
  pclose(pipe_);
}

std::string Watching::Line() {
  std::array<char, 512> buffer{};
  return fgets(buffer.data(), buffer.size(), pipe_) != nullptr ? buffer.data() : "";
}

void Watching::Interrupt() { kill(pid_, SIGINT); }

Server::Server(const Namespace& where, std::string name, int type, uint16_t port,
               const std::string& ip)
    : name_(std::move(name)), type_(type), socket_(PatientSocket(where, ip, type)) {
  const ebpf::SocketAddress at = At(ip, port);
  const int yes = 1;
  setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(socket_.get(), at.Get(), at.size) != 0 ||
      (type == SOCK_STREAM && listen(socket_.get(), 16) != 0)) {
    std::perror("server");
    std::abort();
  }
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
}

void Server::Run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    pollfd wait{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    if (poll(&wait, 1, 50) <= 0) continue;
    ebpf::SocketAddress from;
    std::array<char, 64> buffer;
    const auto answer = [&] { return name_ + " sees " + from.ToEndpoint().ip.ToString(); };
    if (type_ == SOCK_STREAM) {
      const UniqueFd client(accept4(socket_.get(), from.Get(), &from.size, SOCK_CLOEXEC));
      send(client.get(), answer().data(), answer().size(), MSG_NOSIGNAL);
      shutdown(client.get(), SHUT_WR);
      ebpf::LimitWaits(client, kPatienceSeconds);
      while (recv(client.get(), buffer.data(), buffer.size(), 0) > 0) {
      }
    } else if (recvfrom(socket_.get(), buffer.data(), buffer.size(), 0, from.Get(), &from.size) >=
               0) {
      sendto(socket_.get(), answer().data(), answer().size(), 0, from.Get(), from.size);
    }
  }
}

std::string Ask(const Namespace& client, int type, uint16_t port, const std::string& vip) {
  const ebpf::SocketAddress to = At(vip, port);
  const UniqueFd socket = PatientSocket(client, vip, type);
  if (connect(socket.get(), to.Get(), to.size) != 0) {
    return errno == ECONNREFUSED ? "refused" : "silence";
  }
  if (type == SOCK_DGRAM) send(socket.get(), "?", 1, 0);
  std::array<char, 256> buffer;
  const ssize_t got = recv(socket.get(), buffer.data(), buffer.size(), 0);
  if (got < 0) return errno == ECONNREFUSED ? "refused" : "silence";
  return std::string(buffer.data(), static_cast<size_t>(got));
}

Answers AskTenTimes(const Namespace& client, int type, const std::string& vip) {
  Answers out;
  for (int i = 0; i < 10; ++i) ++out[Ask(client, type, 80, vip)];
  return out;
}

AloneTest::AloneTest() {
  director_ = std::make_unique<Namespace>();
  switch_.Sh("ip link add name sw0 type bridge; ip link set sw0 up");
  const std::pair<Namespace*, const char*> hosts[] = {{&client_, "client"},
                                                      {director_.get(), "director"},
                                                      {&real1_, "real1"},
                                                      {&real2_, "real2"}};
  for (const auto& [host, name] : hosts) {
    ebpf::Wire(*host, "eth0", switch_, std::string("p-") + name);
    switch_.Sh(std::string("ip link set p-") + name + " master sw0");
    host->Sh(
        "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0 "
        "net.ipv6.conf.all.disable_ipv6=1 net.ipv4.ip_forward=0");
  }
  client_.Sh("ip addr add 172.16.0.2/24 dev eth0; ip route add 192.0.2.0/24 via 172.16.0.1");
  director_->Sh(
      "ip addr add 172.16.0.1/24 dev eth0; ip addr add 10.0.0.1/24 dev eth0; "
      "ip addr add 192.0.2.1/32 dev lo");
  for (int n = 1; n <= 2; ++n) {
    Namespace& real = n == 1 ? real1_ : real2_;
    real.Sh("ip addr add 10.0.0.1" + std::to_string(n) + "/24 dev eth0");
  }
}

void AloneTest::GiveVipToReals() {
  for (Namespace* real : {&real1_, &real2_}) {
    real->Sh(
        "sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2; "
        "ip addr add 192.0.2.1/32 dev lo; ip route add 172.16.0.0/24 dev eth0");
  }
}

void AloneTest::GiveIpv6() {
  for (Namespace* host : {&client_, director_.get(), &real1_, &real2_}) {
    host->Sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.eth0.disable_ipv6=0");
  }
  client_.Sh(
      "ip addr add fd00:c::2/64 dev eth0 nodad; "
      "ip route add 2001:db8::/64 via fd00:c::1 dev eth0");
  director_->Sh(
      "ip addr add fd00:c::1/64 dev eth0 nodad; ip addr add fd00:a::1/64 dev eth0 nodad; "
      "ip addr add 2001:db8::1/128 dev lo nodad");
  real1_.Sh("ip addr add fd00:a::11/64 dev eth0 nodad");
  real2_.Sh("ip addr add fd00:a::12/64 dev eth0 nodad");
}

void AloneTest::Balance(const std::string& service, const std::string& real_options) {
  const Ran added = Lvsadm(*director_, "-A " + service + " -s rr");
  ASSERT_EQ(added.status, 0) << added.output;
  const std::string port = real_options == "-m" ? ":8080" : "";
  for (const char* real : {"10.0.0.11", "10.0.0.12"}) {
    const Ran ran =
        Lvsadm(*director_, "-a " + service + " -r " + real + port + " " + real_options);
    ASSERT_EQ(ran.status, 0) << ran.output;
  }
}

}  // namespace kube_lvs::cli
