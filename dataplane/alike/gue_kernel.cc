// GUE as the kernel's IPVS sends it, by a director of the IPVS dataplane, to a real server where our
// programs take it off: nothing else there would.
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "dataplane/ebpf/open.h"
#include "dataplane/ebpf/testing/namespaces.h"
#include "dataplane/ipvs/backend.h"
#include "dataplane/ipvs/fake_marks.h"
#include "dataplane/ipvs/netlink_channel.h"
#include "e2e/vm/lab.h"
#include "gtest/gtest.h"

namespace kube_lvs::alike {
namespace {

constexpr uint16_t kGuePort = 6080;
constexpr int kMtu = 1500;
constexpr size_t kBulk = 300'000;

template <typename T>
T Value(absl::StatusOr<T> result) {
  if (result.ok()) return *std::move(result);
  std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
  std::abort();
}

void ApplyAll(Backend& backend, const std::vector<Step>& steps) {
  const auto statuses = backend.Apply(steps);
  for (size_t i = 0; i < steps.size(); ++i) {
    if (statuses[i].ok()) continue;
    std::fprintf(stderr, "%s: %s\n", ToString(steps[i]).c_str(), statuses[i].ToString().c_str());
    std::abort();
  }
}

// The director's IPVS, and our programs on real server 1; made once, as it takes its time.
class Lab {
 public:
  static Lab& The() {
    static Lab& lab = *new Lab;
    return lab;
  }
  void AtDirector(const std::vector<Step>& steps) {
    const vm::InNamespace in("ds");
    ApplyAll(*ipvs_, steps);
  }
  void AtReal(const std::vector<Step>& steps) {
    const vm::InNamespace in("rs1");
    ApplyAll(*real_.backend, steps);
  }

 private:
  Lab() {
    vm::MakeLab();
    {
      const vm::InNamespace in("ds");
      channel_.emplace();
      journal_ = Value(ipvs::Journal::Open("/run/gue.journal", "boot"));
      ipvs_ = std::make_unique<ipvs::IpvsBackend>(*channel_, *journal_, marks_);
    }
    {
      const vm::InNamespace in("rs1");
      ebpf::BpfOptions options;
      options.dir = ebpf::PrivateBpfDir("gue");
      options.sizes = {.addresses = 64,
                       .services = 64,
                       .reals = 64,
                       .list_entries = 64,
                       .table_slots = 4096,
                       .connections = 4096};
      real_ = Value(ebpf::OpenEbpfDataplane(options, clock_));
    }
    AtReal({AddItem{Attachment{"eth0"}}});
  }

  SystemClock clock_;
  std::optional<ipvs::NetlinkChannel> channel_;
  std::optional<ipvs::Journal> journal_;
  ipvs::FakeMarks marks_;  // no service here has many ports
  std::unique_ptr<ipvs::IpvsBackend> ipvs_;
  ebpf::EbpfDataplane real_;
};

class GueTest : public testing::TestWithParam<Family> {
 protected:
  ~GueTest() override {
    std::vector<Step> steps;
    for (const NodeItem& item : items_) steps.push_back(RemoveItem{item});
    lab_.AtReal(steps);
    lab_.AtDirector({RemoveReal{key_, real_.at}, RemoveService{key_}});
  }

  const Endpoint& Vip() const { return std::get<Endpoint>(key_.match); }
  int Overhead() const { return (family_ == Family::kIpv4 ? 20 : 40) + 12; }
  int Headers(int transport) const { return (family_ == Family::kIpv4 ? 20 : 40) + transport; }

  // A service at a port that no other test had, whose real server is number 1.
  void Serve(Protocol protocol, bool checksum = false) {
    key_.protocol = protocol;
    real_.tunnel = {.type = TunnelType::kGue, .port = kGuePort, .checksum = checksum};
    ServiceConfig config;
    config.scheduler = "rr";
    lab_.AtDirector({AddService{key_, config}, AddReal{key_, real_}});
  }
  TunnelPeer Peer() const {
    return {.director = *IpAddress::Parse(family_ == Family::kIpv4 ? "10.1.200.254" : "fd02::fe"),
            .vip = Vip().ip,
            .gue = {real_.at.ip, kGuePort}};
  }
  void Has(const NodeItem& item) {
    items_.push_back(item);
    lab_.AtReal({AddItem{item}});
  }
  vm::Servers Listen(Protocol protocol) const {
    return vm::Servers(protocol == Protocol::kUdp ? SOCK_DGRAM : SOCK_STREAM, family_, Vip().port,
                       true, static_cast<int>(protocol));
  }
  Endpoint Client(int index) const {
    return {vm::ClientAddress(index, family_), static_cast<uint16_t>(30000 + Vip().port)};
  }
  // Server 1 answers this client, as itself.
  void ExpectAnswer(vm::Servers& servers, int client, std::string_view question = "?") const {
    EXPECT_EQ(servers.Ask(Client(client), Vip(), question),
              (vm::Answer{.server = 1, .client = Client(client).ip}))
        << "client " << client;
  }

 private:
  static uint16_t NextPort() {
    static uint16_t port = 1000;
    return ++port;
  }

 protected:
  const Family family_ = GetParam();
  Lab& lab_ = Lab::The();
  ServiceKey key_ = {.dataplane = Dataplane::kIpvs,
                     .match = Endpoint{vm::Vip(family_), NextPort()},
                     .protocol = Protocol::kTcp};
  RealServer real_ = {.at = {vm::ServerAddress(1, family_), std::get<Endpoint>(key_.match).port},
                      .method = ForwardingMethod::kTunnel};
  std::vector<NodeItem> items_;
};

INSTANTIATE_TEST_SUITE_P(Families, GueTest, testing::Values(Family::kIpv4, Family::kIpv6),
                         [](const auto& info) {
                           return info.param == Family::kIpv4 ? "Ipv4" : "Ipv6";
                         });

TEST_P(GueTest, ConnectionsOfTcpArrive) {
  Serve(Protocol::kTcp);
  Has(Peer());
  vm::Servers servers = Listen(Protocol::kTcp);
  for (int client = 0; client < 4; ++client) ExpectAnswer(servers, client);
}

// Up to what just fits the way.
TEST_P(GueTest, DatagramsArrive) {
  Serve(Protocol::kUdp);
  Has(Peer());
  vm::Servers servers = Listen(Protocol::kUdp);
  const size_t most = static_cast<size_t>(kMtu - Overhead() - Headers(8));
  for (const size_t size : {size_t{1}, size_t{2}, most - 1, most}) {
    SCOPED_TRACE(size);
    ExpectAnswer(servers, 0, std::string(size, 'q'));
  }
}

// The sender's kernel hands on bundles of segments; each byte comes in its place.
TEST_P(GueTest, BulkOfTcpArrivesWhole) {
  Serve(Protocol::kTcp);
  Has(Peer());
  Has(MssClamp{Vip().ip, static_cast<uint16_t>(kMtu - Overhead() - Headers(20))});
  vm::Servers servers = Listen(Protocol::kTcp);
  const vm::Servers::Connection connection = servers.Connect(Client(0), Vip());
  ASSERT_EQ(connection.answer.server, 1);
  std::string sent(kBulk, 0), got;
  for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i * 7919 >> 8);
  size_t gone = 0;
  while (got.size() < sent.size()) {
    std::array<pollfd, 2> polls = {
        {{connection.server.get(), POLLIN, 0},
         {connection.client.get(), static_cast<short>(gone < sent.size() ? POLLOUT : 0), 0}}};
    ASSERT_GT(poll(polls.data(), polls.size(), 10'000), 0) << got.size() << " bytes came";
    if (polls[1].revents & POLLOUT) {
      const ssize_t n = send(connection.client.get(), sent.data() + gone, sent.size() - gone,
                             MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n > 0) gone += static_cast<size_t>(n);
    }
    if (!polls[0].revents) continue;
    std::array<char, 65536> piece;
    const ssize_t n = recv(connection.server.get(), piece.data(), piece.size(), MSG_DONTWAIT);
    ASSERT_GT(n, 0) << "after " << got.size() << " bytes";
    got.append(piece.data(), static_cast<size_t>(n));
  }
  EXPECT_TRUE(got == sent);
}

TEST_P(GueTest, OnlyWhatIsKnownLosesItsHeaders) {
  Serve(Protocol::kUdp);
  vm::Servers servers = Listen(Protocol::kUdp);
  TunnelPeer port = Peer(), real = Peer(), director = Peer(), vip = Peer(), plain = Peer();
  ++port.gue.port;
  ++real.gue.ip.bytes[real.gue.ip.Size() - 1];
  ++director.director.bytes[director.director.Size() - 1];
  ++vip.vip.bytes[vip.vip.Size() - 1];
  plain.gue = {};
  for (const TunnelPeer& other : {port, real, director, vip, plain}) Has(other);
  EXPECT_EQ(servers.Ask(Client(0), Vip()), vm::Answer{});
  Has(Peer());
  ExpectAnswer(servers, 0);
}

TEST_P(GueTest, WithAChecksumItIsLeftToTheNode) {
  Serve(Protocol::kUdp, true);
  Has(Peer());
  vm::Servers servers = Listen(Protocol::kUdp);
  EXPECT_EQ(servers.Ask(Client(0), Vip()), vm::Answer{});
  real_.tunnel.checksum = false;
  lab_.AtDirector({SetReal{key_, real_}});
  ExpectAnswer(servers, 1);
}

}  // namespace
}  // namespace kube_lvs::alike
