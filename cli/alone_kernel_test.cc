// lvsadm alone on this machine's kernel: commands in network namespaces that have no agent, no pins
// and no forwarding, and real sockets through what they set up.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "dataplane/ebpf/open.h"
#include "dataplane/ebpf/testing/attached.h"
#include "dataplane/ebpf/testing/namespaces.h"
#include "gtest/gtest.h"

namespace kube_lvs::cli {
namespace {

using ebpf::Namespace;

constexpr char kVip[] = "192.0.2.1";
constexpr char kVip6[] = "2001:db8::1";
constexpr timeval kPatience = {.tv_sec = 3, .tv_usec = 0};

struct Ran {
  int status = -1;
  std::string output;  // both streams
};

// A shell's commands in a namespace, as `ip netns exec` runs them: with a /sys of their own, in
// which no BPF file system is mounted.
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

// lvsadm that goes on, until it is interrupted; its output by lines.
class Watching {
 public:
  Watching(const Namespace& where, const std::string& options) {
    const std::string line = "PATH=/usr/sbin:/sbin:$PATH exec nsenter --net=" + where.path() +
                             " sh -c 'echo $$; exec cli/lvsadm " + options + "' 2>&1";
    pipe_ = popen(line.c_str(), "r");
    if (pipe_ == nullptr) std::abort();
    pid_ = std::stoi(Line());
  }
  ~Watching() {
    Interrupt();
    pclose(pipe_);
  }
  Watching(const Watching&) = delete;

  std::string Line() {
    std::array<char, 512> buffer{};
    return fgets(buffer.data(), buffer.size(), pipe_) != nullptr ? buffer.data() : "";
  }
  void Interrupt() { kill(pid_, SIGINT); }

 private:
  FILE* pipe_ = nullptr;
  pid_t pid_ = 0;
};

struct SocketAddress {
  SocketAddress() = default;
  SocketAddress(const std::string& ip, uint16_t port) {
    if (ip.find(':') == std::string::npos) {
      any.v4.sin_family = AF_INET;
      any.v4.sin_port = htons(port);
      inet_pton(AF_INET, ip.c_str(), &any.v4.sin_addr);
    } else {
      any.v6.sin6_family = AF_INET6;
      any.v6.sin6_port = htons(port);
      inet_pton(AF_INET6, ip.c_str(), &any.v6.sin6_addr);
    }
  }
  std::string Ip() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    const bool v4 = any.v4.sin_family == AF_INET;
    const void* at = v4 ? static_cast<const void*>(&any.v4.sin_addr) : &any.v6.sin6_addr;
    return inet_ntop(any.v4.sin_family, at, text.data(), text.size());
  }
  sockaddr* get() { return &any.base; }
  const sockaddr* get() const { return &any.base; }

  union {
    sockaddr base;
    sockaddr_in v4;
    sockaddr_in6 v6;
  } any = {.v6 = {}};
  socklen_t size = sizeof any;
};

UniqueFd Socket(const Namespace& where, int family, int type) {
  UniqueFd out =
      where.In([family, type] { return UniqueFd(socket(family, type | SOCK_CLOEXEC, 0)); });
  setsockopt(out.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  setsockopt(out.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
  return out;
}

// Says "NAME sees CLIENT" to each connection, and to each datagram.
class Server {
 public:
  Server(const Namespace& where, std::string name, int type, uint16_t port,
         const std::string& ip = "0.0.0.0")
      : name_(std::move(name)), type_(type) {
    const SocketAddress at(ip, port);
    socket_ = Socket(where, at.get()->sa_family, type);
    const int yes = 1;
    setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(socket_.get(), at.get(), at.size) != 0 ||
        (type == SOCK_STREAM && listen(socket_.get(), 16) != 0)) {
      std::perror("server");
      std::abort();
    }
    thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
  }

 private:
  void Run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      pollfd wait{.fd = socket_.get(), .events = POLLIN, .revents = 0};
      if (poll(&wait, 1, 50) <= 0) continue;
      SocketAddress from;
      std::array<char, 64> buffer;
      const auto answer = [&] { return name_ + " sees " + from.Ip(); };
      if (type_ == SOCK_STREAM) {
        const UniqueFd client(accept4(socket_.get(), from.get(), &from.size, SOCK_CLOEXEC));
        send(client.get(), answer().data(), answer().size(), MSG_NOSIGNAL);
        shutdown(client.get(), SHUT_WR);
        setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
        while (recv(client.get(), buffer.data(), buffer.size(), 0) > 0) {
        }
      } else if (recvfrom(socket_.get(), buffer.data(), buffer.size(), 0, from.get(), &from.size) >=
                 0) {
        sendto(socket_.get(), answer().data(), answer().size(), 0, from.get(), from.size);
      }
    }
  }

  std::string name_;
  int type_;
  UniqueFd socket_;
  std::jthread thread_;
};

// What a server says to a client of the VIP; "refused" or "silence".
std::string Ask(const Namespace& client, int type, uint16_t port = 80,
                const std::string& vip = kVip) {
  const SocketAddress to(vip, port);
  const UniqueFd socket = Socket(client, to.get()->sa_family, type);
  if (connect(socket.get(), to.get(), to.size) != 0) {
    return errno == ECONNREFUSED ? "refused" : "silence";
  }
  if (type == SOCK_DGRAM) send(socket.get(), "?", 1, 0);
  std::array<char, 256> buffer;
  const ssize_t got = recv(socket.get(), buffer.data(), buffer.size(), 0);
  if (got < 0) return errno == ECONNREFUSED ? "refused" : "silence";
  return std::string(buffer.data(), static_cast<size_t>(got));
}

// Whether the VIP answers an echo request.
bool Ping(const Namespace& client) {
  const UniqueFd socket =
      client.In([] { return UniqueFd(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP)); });
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  const std::array<uint8_t, 8> request = {8, 0, 0xf7, 0xff, 0, 0, 0, 0};
  const SocketAddress to(kVip, 0);
  if (sendto(socket.get(), request.data(), request.size(), 0, to.get(), to.size) < 0) {
    return false;
  }
  std::array<uint8_t, 128> buffer;
  while (true) {
    const ssize_t got = recv(socket.get(), buffer.data(), buffer.size(), 0);
    if (got < 0) return false;
    if (got >= 28 && buffer[20] == 0) return true;  // behind the IP header: an echo reply
  }
}

// client 172.16.0.2 --+-- director 172.16.0.1, 10.0.0.1, and the VIP on its lo
//     (switch)        +-- real servers 10.0.0.11, 10.0.0.12
class AloneTest : public testing::Test {
 protected:
  AloneTest() {
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

  // The real servers as DirectRouting wants them: the VIP, silent.
  void GiveVipToReals() {
    for (Namespace* real : {&real1_, &real2_}) {
      real->Sh(
          "sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2; "
          "ip addr add 192.0.2.1/32 dev lo; ip route add 172.16.0.0/24 dev eth0");
    }
  }

  // As the constructor, of IPv6: fd00:c::/64 is the clients' network, fd00:a::/64 that of the real
  // servers.
  void GiveIpv6() {
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

  // One service and both real servers; `-t 192.0.2.1:80` or `-u ...`.
  void Balance(const std::string& service, const std::string& real_options) {
    const Ran added = Lvsadm(*director_, "-A " + service + " -s rr");
    ASSERT_EQ(added.status, 0) << added.output;
    const std::string port = real_options == "-m" ? ":8080" : "";
    for (const char* real : {"10.0.0.11", "10.0.0.12"}) {
      const Ran ran =
          Lvsadm(*director_, "-a " + service + " -r " + real + port + " " + real_options);
      ASSERT_EQ(ran.status, 0) << ran.output;
    }
  }

  uint32_t Program() {
    return director_->In([] { return ebpf::LvsadmProgramOn("eth0"); });
  }

  // Ten connections; how many got which answer.
  std::map<std::string, int> AskTenTimes(int type, const std::string& vip = kVip) {
    std::map<std::string, int> out;
    for (int i = 0; i < 10; ++i) ++out[Ask(client_, type, 80, vip)];
    return out;
  }

  Namespace switch_;
  Namespace client_;
  std::unique_ptr<Namespace> director_;
  Namespace real1_;
  Namespace real2_;
};

using Answers = std::map<std::string, int>;

// Whether nothing is left of them; the kernel ends namespaces and programs in the background.
bool Gone(uint32_t program, const std::vector<uint32_t>& maps) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  for (;;) {
    bool left = ebpf::ProgramExists(program);
    for (const uint32_t map : maps) left = left || ebpf::MapExists(map);
    if (!left || std::chrono::steady_clock::now() > until) return !left;
    poll(nullptr, 0, 10);
  }
}

TEST_F(AloneTest, BalancesByDirectRoutingAndLeavesTheRestToTheHost) {
  GiveVipToReals();
  const Server one(real1_, "real1", SOCK_STREAM, 80), two(real2_, "real2", SOCK_STREAM, 80);
  const Server own(*director_, "director", SOCK_STREAM, 22, kVip);
  EXPECT_EQ(Lvsadm(*director_, "-Ln").status, 1);
  Balance("-t 192.0.2.1:80", "-g");
  EXPECT_EQ(AskTenTimes(SOCK_STREAM),
            (Answers{{"real1 sees 172.16.0.2", 5}, {"real2 sees 172.16.0.2", 5}}));
  const std::string trace = "--trace 172.16.0.2:50000,192.0.2.1:80";
  for (int i = 0; i < 2; ++i) {  // what is only asked for is not a turn
    const Ran traced = Lvsadm(*director_, trace);
    EXPECT_EQ(traced.output,
              "172.16.0.2:50000 -> 192.0.2.1:80/tcp: to 10.0.0.11:80 DirectRouting weight 1\n"
              "  a new connection: rr had the choice of 2 of 2 real servers (weight above 0, below "
              "the upper threshold)\n");
  }
  // The VIP is the host's own for everything else.
  EXPECT_EQ(Ask(client_, SOCK_STREAM, 22), "director sees 172.16.0.2");
  EXPECT_EQ(Ask(client_, SOCK_STREAM, 81), "refused");
  EXPECT_EQ(Ask(client_, SOCK_DGRAM, 80), "refused");
  EXPECT_TRUE(Ping(client_));

  const Ran connections = Lvsadm(*director_, "-Lnc");
  EXPECT_NE(connections.output.find("172.16.0.2:"), std::string::npos) << connections.output;
  EXPECT_NE(connections.output.find("192.0.2.1:80       10.0.0.12:80\n"), std::string::npos)
      << connections.output;
  const Ran counted = Lvsadm(*director_, "-Ln --stats");
  EXPECT_NE(counted.output.find("TCP  192.0.2.1:80                       10 "), std::string::npos)
      << counted.output;
  EXPECT_NE(counted.output.find("-> 10.0.0.11:80                        5 "), std::string::npos)
      << counted.output;
  ASSERT_EQ(Lvsadm(*director_, "-Z").status, 0);
  EXPECT_NE(Lvsadm(*director_, "-Ln --stats").output.find("192.0.2.1:80                        0 "),
            std::string::npos);
  // Other namespaces have their own rules: none.
  EXPECT_EQ(Lvsadm(real1_, "-Ln").status, 1);
}

TEST_F(AloneTest, BalancesByNatWithoutForwarding) {
  for (Namespace* real : {&real1_, &real2_}) real->Sh("ip route add default via 10.0.0.1");
  const Server one(real1_, "real1", SOCK_STREAM, 8080), two(real2_, "real2", SOCK_STREAM, 8080);
  const Server three(real1_, "real1", SOCK_DGRAM, 8080), four(real2_, "real2", SOCK_DGRAM, 8080);
  Balance("-t 192.0.2.1:80", "-m");
  Balance("-u 192.0.2.1:80", "-m");
  const Answers even = {{"real1 sees 172.16.0.2", 5}, {"real2 sees 172.16.0.2", 5}};
  EXPECT_EQ(AskTenTimes(SOCK_STREAM), even);
  EXPECT_EQ(AskTenTimes(SOCK_DGRAM), even);
  // A real server that is quiesced gets no more.
  ASSERT_EQ(Lvsadm(*director_, "-e -t 192.0.2.1:80 -r 10.0.0.11:8080 -m -w 0").status, 0);
  EXPECT_EQ(AskTenTimes(SOCK_STREAM), (Answers{{"real2 sees 172.16.0.2", 10}}));
}

// The real servers, too, have no ipip here: our own program takes off the outer header.
TEST_F(AloneTest, BalancesByTunnel) {
  GiveVipToReals();
  const SystemClock clock;
  std::vector<ebpf::EbpfDataplane> of_reals;
  for (Namespace* real : {&real1_, &real2_}) {
    ebpf::BpfOptions options;
    options.dir = ebpf::PrivateBpfDir("real" + std::to_string(of_reals.size()));
    options.sizes.connections = 1024;
    auto opened = real->In([&] { return ebpf::OpenEbpfDataplane(options, clock); });
    ASSERT_TRUE(opened.ok()) << opened.status();
    of_reals.push_back(*std::move(opened));
    const std::vector<Step> decapsulate = {
        AddItem{Attachment{"eth0"}},
        AddItem{TunnelPeer{*IpAddress::Parse("10.0.0.1"), *IpAddress::Parse(kVip)}}};
    for (const absl::Status& status :
         real->In([&] { return of_reals.back().backend->Apply(decapsulate); })) {
      ASSERT_TRUE(status.ok()) << status;
    }
  }
  const Server one(real1_, "real1", SOCK_STREAM, 80), two(real2_, "real2", SOCK_STREAM, 80);
  const Server three(real1_, "real1", SOCK_DGRAM, 80, kVip);
  const Server four(real2_, "real2", SOCK_DGRAM, 80, kVip);
  Balance("-t 192.0.2.1:80", "-i");
  Balance("-u 192.0.2.1:80", "-i");
  const Answers even = {{"real1 sees 172.16.0.2", 5}, {"real2 sees 172.16.0.2", 5}};
  EXPECT_EQ(AskTenTimes(SOCK_STREAM), even);
  EXPECT_EQ(AskTenTimes(SOCK_DGRAM), even);
  // Other directors' tunnels are none of the real server's.
  const std::vector<Step> forget = {
      RemoveItem{TunnelPeer{*IpAddress::Parse("10.0.0.1"), *IpAddress::Parse(kVip)}}};
  ASSERT_TRUE(real1_.In([&] { return of_reals.front().backend->Apply(forget); })[0].ok());
  EXPECT_EQ(Lvsadm(*director_, "-d -t 192.0.2.1:80 -r 10.0.0.12").status, 0);
  EXPECT_EQ(Ask(client_, SOCK_STREAM), "silence") << "there was a tunnel without the item";
}

// The VIP is no address of the director: its clients' routes lead there.
class AloneLocalClientsTest : public AloneTest {
 protected:
  AloneLocalClientsTest() { director_->Sh("ip addr del 192.0.2.1/32 dev lo"); }

  bool HasPair() {
    return Shell(*director_, "ip link show kube-lvs0 && ip link show kube-lvs1").status == 0;
  }
  std::string WayToVip(const std::string& vip = kVip) {
    return Shell(*director_, "ip route get " + vip).output;
  }
  // Ten connections of a process on the director.
  std::map<std::string, int> AskHereTenTimes() {
    std::map<std::string, int> out;
    for (int i = 0; i < 10; ++i) ++out[Ask(*director_, SOCK_STREAM)];
    return out;
  }
  int Received(const std::string& device) {
    return std::stoi(
        Shell(*director_, "cat /sys/class/net/" + device + "/statistics/rx_packets").output);
  }
};

TEST_F(AloneLocalClientsTest, AreBalancedByDirectRouting) {
  GiveVipToReals();
  const Server one(real1_, "real1", SOCK_STREAM, 80), two(real2_, "real2", SOCK_STREAM, 80);
  Balance("-t 192.0.2.1:80", "-g");
  const Answers here = {{"real1 sees 10.0.0.1", 5}, {"real2 sees 10.0.0.1", 5}};
  const Answers elsewhere = {{"real1 sees 172.16.0.2", 5}, {"real2 sees 172.16.0.2", 5}};
  EXPECT_EQ(AskHereTenTimes(), here);
  EXPECT_EQ(AskTenTimes(SOCK_STREAM), elsewhere);
  EXPECT_NE(Lvsadm(*director_, "-Ln --stats").output.find("192.0.2.1:80                       20 "),
            std::string::npos);
  // Other namespaces have none of it.
  EXPECT_NE(Shell(real1_, "ip link show kube-lvs0").status, 0);

  // Where the VIP comes to the host, it is the host's again, at the latest after the next command.
  const std::string nothing_new = "-E -t 192.0.2.1:80 -s rr";
  director_->Sh("ip addr add 192.0.2.1/32 dev lo");
  EXPECT_EQ(Ask(*director_, SOCK_STREAM), "refused");
  ASSERT_EQ(Lvsadm(*director_, nothing_new).status, 0);
  EXPECT_FALSE(HasPair());
  EXPECT_EQ(AskTenTimes(SOCK_STREAM), elsewhere);
  director_->Sh("ip addr del 192.0.2.1/32 dev lo");
  ASSERT_EQ(Lvsadm(*director_, nothing_new).status, 0);
  EXPECT_EQ(AskHereTenTimes(), here);

  ASSERT_EQ(Lvsadm(*director_, "-D -t 192.0.2.1:80").status, 0);
  EXPECT_FALSE(HasPair()) << "nobody wants it any more";
  Balance("-t 192.0.2.1:80", "-g");
  EXPECT_TRUE(HasPair());
  ASSERT_EQ(Lvsadm(*director_, "-C").status, 0);
  EXPECT_FALSE(HasPair());
  EXPECT_EQ(WayToVip().find("kube-lvs0"), std::string::npos);
}

TEST_F(AloneLocalClientsTest, AreBalancedByNat) {
  for (Namespace* real : {&real1_, &real2_}) real->Sh("ip route add default via 10.0.0.1");
  const Server one(real1_, "real1", SOCK_STREAM, 8080), two(real2_, "real2", SOCK_STREAM, 8080);
  Balance("-t 192.0.2.1:80", "-m");
  EXPECT_EQ(AskHereTenTimes(), (Answers{{"real1 sees 10.0.0.1", 5}, {"real2 sees 10.0.0.1", 5}}));
  EXPECT_EQ(AskTenTimes(SOCK_STREAM),
            (Answers{{"real1 sees 172.16.0.2", 5}, {"real2 sees 172.16.0.2", 5}}));
}

// What no service takes comes out at the far end once, also where the host forwards.
TEST_F(AloneLocalClientsTest, WhatIsOfNoServiceDoesNotGoRound) {
  director_->Sh("sysctl -qw net.ipv4.ip_forward=1");
  Balance("-t 192.0.2.1:80", "-g");
  const int before = Received("kube-lvs1");
  EXPECT_EQ(Ask(client_, SOCK_DGRAM, 81), "silence");
  const int came = Received("kube-lvs1") - before;
  EXPECT_GE(came, 1);
  EXPECT_LT(came, 5);
}

TEST_F(AloneLocalClientsTest, AreBalancedByNatOfIpv6) {
  GiveIpv6();
  director_->Sh("ip addr del 2001:db8::1/128 dev lo");
  for (Namespace* real : {&real1_, &real2_}) real->Sh("ip -6 route add default via fd00:a::1");
  const Server one(real1_, "real1", SOCK_STREAM, 8080, "fd00:a::11");
  const Server two(real2_, "real2", SOCK_STREAM, 8080, "fd00:a::12");
  ASSERT_EQ(Lvsadm(*director_, "-A -t [2001:db8::1]:80 -s rr").status, 0);
  for (const char* real : {"[fd00:a::11]:8080", "[fd00:a::12]:8080"}) {
    ASSERT_EQ(
        Lvsadm(*director_, std::string("-a -t [2001:db8::1]:80 -r ") + real + " -m").status, 0);
  }
  std::map<std::string, int> here;
  for (int i = 0; i < 10; ++i) ++here[Ask(*director_, SOCK_STREAM, 80, kVip6)];
  EXPECT_EQ(here, (Answers{{"real1 sees fd00:a::1", 5}, {"real2 sees fd00:a::1", 5}}));
  EXPECT_EQ(AskTenTimes(SOCK_STREAM, kVip6),
            (Answers{{"real1 sees fd00:c::2", 5}, {"real2 sees fd00:c::2", 5}}));
  // What is of no service does not go round, where the host forwards.
  director_->Sh("sysctl -qw net.ipv6.conf.all.forwarding=1");
  const int before = Received("kube-lvs1");
  EXPECT_EQ(Ask(client_, SOCK_DGRAM, 81, kVip6), "silence");
  const int came = Received("kube-lvs1") - before;
  EXPECT_GE(came, 1);
  EXPECT_LT(came, 5);
}

// For a VIP on the director's segment that is no address of it, with the kernel's own means.
TEST_F(AloneLocalClientsTest, TheHostMayAnswerForTheVipByAProxyEntry) {
  GiveVipToReals();
  const Server one(real1_, "real1", SOCK_STREAM, 80), two(real2_, "real2", SOCK_STREAM, 80);
  Balance("-t 192.0.2.1:80", "-g");
  client_.Sh("ip route replace 192.0.2.0/24 dev eth0");
  EXPECT_EQ(Ask(client_, SOCK_STREAM), "silence");
  director_->Sh(
      "sysctl -qw net.ipv4.conf.eth0.forwarding=1; ip neigh add proxy 192.0.2.1 dev eth0");
  client_.Sh("ip neigh flush all");
  EXPECT_EQ(AskTenTimes(SOCK_STREAM),
            (Answers{{"real1 sees 172.16.0.2", 5}, {"real2 sees 172.16.0.2", 5}}));
  EXPECT_EQ(AskHereTenTimes(), (Answers{{"real1 sees 10.0.0.1", 5}, {"real2 sees 10.0.0.1", 5}}));
}

TEST_F(AloneLocalClientsTest, ADeviceOfSomebodyElseIsLeftAloneAndTheRestIsServed) {
  GiveVipToReals();
  const Server one(real1_, "real1", SOCK_STREAM, 80), two(real2_, "real2", SOCK_STREAM, 80);
  director_->Sh("ip link add kube-lvs0 type bridge");
  Balance("-t 192.0.2.1:80", "-g");
  const Ran ran = Lvsadm(*director_, "-E -t 192.0.2.1:80 -s rr");
  EXPECT_EQ(ran.status, 0);
  EXPECT_EQ(ran.output,
            "lvsadm: warning: clients on this host do not reach all VIPs: interface kube-lvs0 was "
            "made by somebody else and is left alone; rename it, so that clients on this node "
            "reach VIPs\n");
  EXPECT_EQ(AskTenTimes(SOCK_STREAM),
            (Answers{{"real1 sees 172.16.0.2", 5}, {"real2 sees 172.16.0.2", 5}}));
  ASSERT_EQ(Lvsadm(*director_, "-C").status, 0);
  EXPECT_EQ(Shell(*director_, "ip link show kube-lvs0").status, 0);
}

TEST_F(AloneTest, PersistenceHasAClientStay) {
  GiveVipToReals();
  const Server one(real1_, "real1", SOCK_STREAM, 80), two(real2_, "real2", SOCK_STREAM, 80);
  Balance("-t 192.0.2.1:80", "-g");
  const std::string persistent = "-t 192.0.2.1:80 -s rr -p 100 -M 255.255.255.0";
  ASSERT_EQ(Lvsadm(*director_, "-E " + persistent).status, 0);
  EXPECT_EQ(AskTenTimes(SOCK_STREAM), (Answers{{"real1 sees 172.16.0.2", 10}}));
  EXPECT_EQ(Lvsadm(*director_, "--trace 172.16.0.99:50000,192.0.2.1:80").output,
            "172.16.0.99:50000 -> 192.0.2.1:80/tcp: to 10.0.0.11:80 DirectRouting weight 1\n"
            "  a new connection: persistence has the client stay\n");
  const auto shows = [this](const std::string& options, const std::string& what) {
    const std::string output = Lvsadm(*director_, options).output;
    EXPECT_NE(output.find(what), std::string::npos) << output;
  };
  shows("-Sn", "-A " + persistent + "\n");
  shows("-Ln", "TCP  192.0.2.1:80 rr persistent 100 mask 255.255.255.0\n");
  shows("-Ln --persistent-conn", "-> 10.0.0.11:80                 1         1           ");
  shows("-Lnc", " NONE        172.16.0.0:0       192.0.2.1:80       10.0.0.11:80\n");
  // Its clients stay while it is quiesced, as ipvsadm's do.
  ASSERT_EQ(Lvsadm(*director_, "-e -t 192.0.2.1:80 -r 10.0.0.11 -g -w 0").status, 0);
  EXPECT_EQ(Ask(client_, SOCK_STREAM, 80), "real1 sees 172.16.0.2");
  ASSERT_EQ(Lvsadm(*director_, "-d -t 192.0.2.1:80 -r 10.0.0.11").status, 0);
  EXPECT_EQ(Ask(client_, SOCK_STREAM, 80), "real2 sees 172.16.0.2");
  EXPECT_EQ(Lvsadm(*director_, "-E " + persistent + " --pe sip").status, 255);
  EXPECT_EQ(Lvsadm(*director_, "-E -t 192.0.2.1:80 -s rr -p -M 255.0.255.0").status, 255);
}

TEST_F(AloneTest, BalancesIpv6BesideIpv4) {
  GiveIpv6();
  for (Namespace* real : {&real1_, &real2_}) {
    real->Sh("ip addr add 2001:db8::1/128 dev lo nodad; ip route add fd00:c::/64 dev eth0");
  }
  GiveVipToReals();
  const Server one(real1_, "real1", SOCK_STREAM, 80), two(real2_, "real2", SOCK_STREAM, 80);
  const Server three(real1_, "real1", SOCK_STREAM, 80, kVip6);
  const Server four(real2_, "real2", SOCK_STREAM, 80, kVip6);
  Balance("-t 192.0.2.1:80", "-g");
  ASSERT_EQ(Lvsadm(*director_, "-A -t [2001:db8::1]:80 -s rr").status, 0);
  for (const char* real : {"fd00:a::11", "fd00:a::12"}) {
    const Ran ran =
        Lvsadm(*director_, std::string("-a -t [2001:db8::1]:80 -r [") + real + "]:80 -g");
    ASSERT_EQ(ran.status, 0) << ran.output;
  }
  EXPECT_EQ(AskTenTimes(SOCK_STREAM, kVip6),
            (Answers{{"real1 sees fd00:c::2", 5}, {"real2 sees fd00:c::2", 5}}));
  EXPECT_EQ(AskTenTimes(SOCK_STREAM),
            (Answers{{"real1 sees 172.16.0.2", 5}, {"real2 sees 172.16.0.2", 5}}));
  EXPECT_EQ(
      Lvsadm(*director_, "--trace [fd00:c::2]:50000,[2001:db8::1]:80").output,
      "[fd00:c::2]:50000 -> [2001:db8::1]:80/tcp: to [fd00:a::11]:80 DirectRouting weight 1\n"
      "  a new connection: rr had the choice of 2 of 2 real servers (weight above 0, below the "
      "upper threshold)\n");
  const Ran counted = Lvsadm(*director_, "-Ln --stats");
  EXPECT_NE(counted.output.find("TCP  [2001:db8::1]:80                   10 "), std::string::npos)
      << counted.output;
  const Ran connections = Lvsadm(*director_, "-Lnc");
  EXPECT_NE(connections.output.find("[2001:db8::1]:80"), std::string::npos) << connections.output;
  EXPECT_NE(connections.output.find("[fd00:a::12]:80"), std::string::npos) << connections.output;
  EXPECT_EQ(Lvsadm(*director_, "-C").status, 0);
  EXPECT_EQ(Program(), 0u);
}

TEST_F(AloneTest, BalancesIpv6ByNatWithoutForwarding) {
  GiveIpv6();
  for (Namespace* real : {&real1_, &real2_}) real->Sh("ip route add default via fd00:a::1");
  const Server one(real1_, "real1", SOCK_STREAM, 8080, "::"),
      two(real2_, "real2", SOCK_STREAM, 8080, "::");
  const Server three(real1_, "real1", SOCK_DGRAM, 8080, "::"),
      four(real2_, "real2", SOCK_DGRAM, 8080, "::");
  for (const char* service : {"-t [2001:db8::1]:80", "-u [2001:db8::1]:80"}) {
    ASSERT_EQ(Lvsadm(*director_, std::string("-A ") + service + " -s rr").status, 0);
    for (const char* real : {"[fd00:a::11]:8080", "[fd00:a::12]:8080"}) {
      const Ran ran = Lvsadm(*director_, std::string("-a ") + service + " -r " + real + " -m");
      ASSERT_EQ(ran.status, 0) << ran.output;
    }
  }
  const Answers even = {{"real1 sees fd00:c::2", 5}, {"real2 sees fd00:c::2", 5}};
  EXPECT_EQ(AskTenTimes(SOCK_STREAM, kVip6), even);
  EXPECT_EQ(AskTenTimes(SOCK_DGRAM, kVip6), even);
  ASSERT_EQ(Lvsadm(*director_, "-e -t [2001:db8::1]:80 -r [fd00:a::11]:8080 -m -w 0").status, 0);
  EXPECT_EQ(AskTenTimes(SOCK_STREAM, kVip6), (Answers{{"real2 sees fd00:c::2", 10}}));
}

TEST_F(AloneTest, ShowsWhatItDrops) {
  EXPECT_EQ(Lvsadm(*director_, "--drops 1").status, 1) << "there is no dataplane";
  ASSERT_EQ(Lvsadm(*director_, "-A -t 192.0.2.1:80 -s rr").output, "");
  Watching drops(*director_, "--drops");
  EXPECT_EQ(drops.Line(), "kube-lvs eBPF dataplane (lvsadm)\n");
  EXPECT_EQ(drops.Line().substr(0, 10), "Time (UTC)");
  EXPECT_EQ(Ask(client_, SOCK_STREAM), "refused");
  const std::string line = drops.Line();
  EXPECT_NE(line.find(" eth0       tc  no_real_server "), std::string::npos) << line;
  EXPECT_NE(line.find(" 172.16.0.2:"), std::string::npos) << line;
  EXPECT_TRUE(line.ends_with(" > 192.0.2.1:80 TCP SYN\n")) << line;

  const Ran second = Lvsadm(*director_, "--drops 1");
  EXPECT_EQ(second.status, 1);
  EXPECT_NE(second.output.find("another lvsadm --drops"), std::string::npos) << second.output;
  drops.Interrupt();
  std::string last;
  for (std::string next = drops.Line(); !next.empty(); next = drops.Line()) last = next;
  EXPECT_NE(last.find(" shown: no_real_server "), std::string::npos) << last;
}

TEST_F(AloneTest, ClearTakesEverythingOff) {
  GiveVipToReals();
  const Server one(real1_, "real1", SOCK_STREAM, 80), two(real2_, "real2", SOCK_STREAM, 80);
  Balance("-t 192.0.2.1:80", "-g");
  const uint32_t program = Program();
  ASSERT_NE(program, 0U);
  const auto maps = ebpf::MapsOfProgram(program);
  ASSERT_EQ(Lvsadm(*director_, "-C").status, 0);
  EXPECT_EQ(Program(), 0U);
  EXPECT_EQ(Ask(client_, SOCK_STREAM), "refused");
  EXPECT_TRUE(Gone(program, maps));
}

TEST_F(AloneTest, ADataplaneOfAnotherLayoutIsLeftAloneUntilItIsCleared) {
  GiveVipToReals();
  const Server one(real1_, "real1", SOCK_STREAM, 80), two(real2_, "real2", SOCK_STREAM, 80);
  Balance("-t 192.0.2.1:80", "-g");
  const uint32_t program = Program();
  ASSERT_NE(program, 0U);
  const uint32_t layout = ebpf::RaiseLayout(program);
  for (const char* command : {"-A -t 192.0.2.1:81", "-D -t 192.0.2.1:80", "-Z", "-Ln", "-Lnc",
                              "--trace 172.16.0.2:50000,192.0.2.1:80"}) {
    const Ran ran = Lvsadm(*director_, command);
    EXPECT_NE(ran.status, 0) << command;
    EXPECT_NE(ran.output.find("a lvsadm of another version (layout " + std::to_string(layout + 1) +
                              ", this one has " + std::to_string(layout) + ")"),
              std::string::npos)
        << command << ": " << ran.output;
    EXPECT_NE(ran.output.find("lvsadm --dataplane ebpf -C"), std::string::npos) << ran.output;
  }
  // It serves on as it was.
  EXPECT_EQ(Program(), program);
  const Answers even = {{"real1 sees 172.16.0.2", 5}, {"real2 sees 172.16.0.2", 5}};
  EXPECT_EQ(AskTenTimes(SOCK_STREAM), even);
  // What the message says is the mend.
  ASSERT_EQ(Lvsadm(*director_, "-C").status, 0);
  EXPECT_EQ(Program(), 0U);
  Balance("-t 192.0.2.1:80", "-g");
  EXPECT_EQ(AskTenTimes(SOCK_STREAM), even);
}

TEST_F(AloneTest, TheRulesEndWithTheNamespace) {
  Balance("-t 192.0.2.1:80", "-g");
  const uint32_t program = Program();
  ASSERT_NE(program, 0U);
  const auto maps = ebpf::MapsOfProgram(program);
  EXPECT_FALSE(maps.empty());
  director_.reset();
  EXPECT_TRUE(Gone(program, maps));
}

TEST_F(AloneTest, SavedRulesCanBeRestored) {
  Balance("-t 192.0.2.1:80", "-g");
  Balance("-u 192.0.2.1:53", "-i");
  const Ran saved = Lvsadm(*director_, "-Sn");
  EXPECT_EQ(saved.output,
            "-A -u 192.0.2.1:53 -s rr\n"
            "-a -u 192.0.2.1:53 -r 10.0.0.11:53 -i -w 1 --tun-type ipip\n"
            "-a -u 192.0.2.1:53 -r 10.0.0.12:53 -i -w 1 --tun-type ipip\n"
            "-A -t 192.0.2.1:80 -s rr\n"
            "-a -t 192.0.2.1:80 -r 10.0.0.11:80 -g -w 1\n"
            "-a -t 192.0.2.1:80 -r 10.0.0.12:80 -g -w 1\n");
  ASSERT_EQ(Lvsadm(*director_, "-C").status, 0);
  const Ran restored = Shell(*director_, "printf %s \"" + saved.output +
                                             "\" | cli/lvsadm -R "
                                             "--dataplane ebpf");
  EXPECT_EQ(restored.status, 0) << restored.output;
  EXPECT_EQ(Lvsadm(*director_, "-Sn").output, saved.output);
}

TEST_F(AloneTest, CommandsAtTheSameTimeTakeTurns) {
  const Ran ran = Shell(*director_,
                        "for n in 1 2 3 4 5 6; do "
                        "cli/lvsadm --dataplane ebpf -A -t 192.0.2.$n:80 -s rr & done; wait");
  EXPECT_EQ(ran.output, "");
  std::string expected;
  for (int n = 1; n <= 6; ++n) {
    expected += "-A -t 192.0.2." + std::to_string(n) + ":80 -s rr\n";
  }
  EXPECT_EQ(Lvsadm(*director_, "-Sn").output, expected);
}

TEST_F(AloneTest, AnAgentsDataplaneAndThisOneStayApart) {
  const SystemClock clock;
  ebpf::BpfOptions options;
  options.dir = ebpf::PrivateBpfDir("agent");
  options.sizes.connections = 1024;
  const auto open_agents = [&] {
    return director_->In([&] { return ebpf::OpenEbpfDataplane(options, clock); });
  };
  Balance("-t 192.0.2.1:80", "-g");
  const auto refused = open_agents();
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_NE(std::string(refused.status().message()).find("lvsadm --dataplane ebpf -C"),
            std::string::npos)
      << refused.status();
  EXPECT_EQ(Ask(client_, SOCK_STREAM), "silence") << "the rules are gone";

  ASSERT_EQ(Lvsadm(*director_, "-C").status, 0);
  auto agents = open_agents();
  ASSERT_TRUE(agents.ok()) << agents.status();
  const std::vector<Step> attach = {AddItem{Attachment{"eth0"}}};
  ASSERT_TRUE(director_->In([&] { return agents->backend->Apply(attach); })[0].ok());
  for (const char* change : {"-A -t 192.0.2.1:80", "-D -t 192.0.2.1:80", "-C", "-Z"}) {
    const Ran ran = Lvsadm(*director_, change);
    EXPECT_EQ(ran.status, 2) << change;
    EXPECT_NE(ran.output.find("kube-lvs-agent"), std::string::npos) << ran.output;
  }
  EXPECT_EQ(Program(), 0U);
}

}  // namespace
}  // namespace kube_lvs::cli
