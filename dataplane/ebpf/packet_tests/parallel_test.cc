// The programs on two CPUs at once, while the backend changes weights and real servers: what must
// hold of tables, counts and thresholds whatever the order of events was.
//   KLVS_PARALLEL_PACKETS=10000000   of each CPU
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <latch>
#include <random>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/open.h"
#include "dataplane/ebpf/packet_tests/frame.h"
#include "dataplane/ebpf/packet_tests/frame6.h"
#include "dataplane/ebpf/packet_tests/fuzz/flows.h"
#include "dataplane/ebpf/testing/namespaces.h"

namespace kube_lvs::ebpf {
namespace {

constexpr uint32_t kCpus = 2;
constexpr int kClients = 24, kPorts = 8, kReals = 4;
constexpr uint32_t kUpper = 20;
constexpr Mac kDirectorMac = {2, 0, 0, 0, 0, 1}, kNeighbourMac = {2, 0, 0, 0, 0, 0xc};

uint64_t Packets() {
  const char* text = std::getenv("KLVS_PARALLEL_PACKETS");
  return text == nullptr ? 60000 : std::strtoull(text, nullptr, 10);
}

struct Sort {
  std::string vip, scheduler;
  ForwardingMethod method;
  bool source_nat, thresholds, tcp;
  bool IsV4() const { return vip.find(':') == std::string::npos; }
};
const std::vector<Sort>& Sorts() {
  static const std::vector<Sort> kSorts = {
      {"192.0.2.1", "wlc", ForwardingMethod::kNat, true, true, true},
      {"192.0.2.2", "rr", ForwardingMethod::kDirectRouting, false, false, false},
      {"192.0.2.3", "mh", ForwardingMethod::kNat, false, false, true},
      {"192.0.2.4", "lblcr", ForwardingMethod::kTunnel, false, false, true},
      {"2001:db8:9::1", "wrr", ForwardingMethod::kNat, true, true, true},
  };
  return kSorts;
}

// A packet of a client to the service of that number.
Bytes ClientPacket(const Sort& sort, int client, int port, uint8_t flags) {
  const uint16_t sport = static_cast<uint16_t>(20000 + port);
  if (sort.IsV4()) {
    Frame frame;
    frame.dst_mac = kDirectorMac;
    frame.src_mac = kNeighbourMac;
    frame.src = Ip("10.1.0.1") + static_cast<uint32_t>(client);
    frame.dst = Ip(sort.vip);
    frame.sport = sport;
    frame.dport = 80;
    frame.protocol = sort.tcp ? 6 : 17;
    frame.flags = flags;
    return frame.Build();
  }
  Frame6 frame;
  frame.dst_mac = kDirectorMac;
  frame.src_mac = kNeighbourMac;
  frame.src = "2001:db8:1::1:" + std::to_string(1 + client);
  frame.dst = sort.vip;
  frame.sport = sport;
  frame.dport = 80;
  frame.flags = flags;
  return frame.Build();
}

struct Tally {
  uint64_t sent = 0, dropped = 0, untouched = 0, other = 0, answered = 0;
};

class ParallelTest : public testing::TestWithParam<bool> {
 protected:
  explicit ParallelTest(uint32_t connections = 1024) {
    Wire(node_, "eth0", peer_, "p0");
    node_.Sh(
        "ip link set eth0 address 02:00:00:00:00:01; ip addr add 10.1.0.250/24 dev eth0; "
        "ip addr add 2001:db8:1::250/64 dev eth0 nodad");
    for (size_t service = 0; service < Sorts().size(); ++service) {
      for (int real = 0; real < kReals; ++real) {
        node_.Sh("ip neigh add " + RealAddress(service, real) +
                 " lladdr 02:00:00:00:00:0d dev eth0 nud permanent");
      }
    }
    static int tests = 0;
    options_.dir = PrivateBpfDir("parallel" + std::to_string(++tests));  // its pins outlive a test
    if (Xdp()) options_.xdp_interfaces = {"eth0"};
    options_.sizes = {.addresses = 256,
                      .services = 64,
                      .reals = 256,
                      .list_entries = 16384,
                      .table_slots = 500000,
                      .connections = connections};
    auto opened = node_.In([&] { return OpenEbpfDataplane(options_, clock_); });
    if (!opened.ok()) {
      std::cerr << opened.status() << std::endl;
      std::abort();
    }
    dataplane_ = *std::move(opened);
    // The programs of one version are in one folder.
    for (const auto& entry : std::filesystem::directory_iterator(options_.dir)) {
      if (!entry.is_directory()) continue;
      program_ =
          UniqueFd(bpf_obj_get((entry.path() / (Xdp() ? "xdp_director" : "tc_director")).c_str()));
    }
    ifindex_ = node_.In([] { return if_nametoindex("eth0"); });
    conns_ = Array<klvs_conn_set>(kConnsMap);
    conns6_ = Array<klvs_conn_set6>(kConns6Map);
    tags_ = Array<klvs_set_tags>(kConnTagsMap);
    tags6_ = Array<klvs_set_tags>(kConnTags6Map);
    real_conns_ = Array<klvs_real_conns>(kRealConnsMap);
    reals_ = Array<klvs_real>(kRealsMap);
  }

  static bool Xdp() { return GetParam(); }

  static std::string RealAddress(size_t service, int real) {
    const std::string host = std::to_string(100 + service * 10 + real);
    return (Sorts()[service].IsV4() ? "10.1.0." : "2001:db8:1::") + host;
  }
  static ServiceKey Key(size_t service) {
    const Sort& sort = Sorts()[service];
    return {Dataplane::kEbpf, Endpoint{*IpAddress::Parse(sort.vip), 80},
            sort.tcp ? Protocol::kTcp : Protocol::kUdp};
  }
  static RealServer Server(size_t service, int real, uint32_t weight) {
    const Sort& sort = Sorts()[service];
    RealServer out;
    out.at = {*IpAddress::Parse(RealAddress(service, real)), 80};
    out.method = sort.method;
    out.weight = weight;
    if (sort.thresholds) {
      out.upper_threshold = kUpper;
      out.lower_threshold = kUpper / 2;
    }
    return out;
  }

  template <typename T>
  std::span<T> Array(std::string_view map) {
    return *GetArray<T>(*dataplane_.objects.maps, map);
  }

  void Apply(const std::vector<Step>& steps) {
    const auto statuses = node_.In([&] { return dataplane_.backend->Apply(steps); });
    for (size_t i = 0; i < steps.size(); ++i) {
      ASSERT_TRUE(statuses[i].ok()) << ToString(steps[i]) << ": " << statuses[i];
    }
  }

  // False: the tables that changes of the last second left are still resting.
  bool Change(const Step& step) {
    const absl::Status status =
        node_.In([&] { return dataplane_.backend->Apply(std::vector<Step>{step}); })[0];
    if (status.code() == absl::StatusCode::kResourceExhausted) return false;
    EXPECT_TRUE(status.ok()) << ToString(step) << ": " << status;
    return status.ok();
  }

  void SetUp() override {
    std::vector<Step> steps = {AddItem{Attachment{"eth0"}}};
    for (size_t service = 0; service < Sorts().size(); ++service) {
      ServiceConfig config;
      config.scheduler = Sorts()[service].scheduler;
      config.source_nat = Sorts()[service].source_nat;
      steps.emplace_back(AddService{Key(service), config});
      for (int real = 0; real < kReals; ++real) {
        steps.emplace_back(AddReal{Key(service), Server(service, real, 1)});
      }
      steps.emplace_back(
          AddItem{AnsweredVip{Dataplane::kEbpf, *IpAddress::Parse(Sorts()[service].vip), "eth0"}});
    }
    Apply(steps);
  }

  void ShortenTimeouts() {
    // All but the established expire at once: their end is met by whoever comes by.
    klvs_settings& settings = Array<klvs_settings>(kSettingsMap)[0];
    for (int state = 0; state < KLVS_STATES; ++state) {
      if (state != KLVS_ESTABLISHED) settings.timeouts[state] = std::max(1U, settings.hz / 50);
    }
  }

  // Whether `out` is from where `frame` went: a packet that was refused, and counted so.
  static bool IsAnswer(const Bytes& frame, const uint8_t* out) {
    const bool v6 = frame[12] == 0x86;
    const size_t source = v6 ? 22 : 26, size = v6 ? 16 : 4;
    return std::memcmp(out + source, frame.data() + source + size, size) == 0;
  }

  // The calling thread is in the node's namespace.
  void Send(const Bytes& frame, Tally& tally) const {
    uint8_t out[2048];
    xdp_md xdp = {};
    __sk_buff skb = {};
    bpf_test_run_opts opts = {};
    opts.sz = sizeof opts;
    opts.data_in = frame.data();
    opts.data_size_in = static_cast<uint32_t>(frame.size());
    opts.data_out = out;
    opts.data_size_out = sizeof out;
    xdp.data_end = static_cast<uint32_t>(frame.size());
    xdp.ingress_ifindex = ifindex_;
    skb.ifindex = ifindex_;
    opts.ctx_in = Xdp() ? static_cast<void*>(&xdp) : &skb;
    opts.ctx_size_in = Xdp() ? sizeof xdp : sizeof skb;
    if (bpf_prog_test_run_opts(program_.get(), &opts) != 0) {
      std::perror("test run");
      std::abort();
    }
    const int verdict = static_cast<int>(opts.retval);
    const int sent = Xdp() ? int{XDP_TX} : TC_ACT_REDIRECT;
    const int dropped = Xdp() ? int{XDP_DROP} : TC_ACT_SHOT;
    const int untouched = Xdp() ? int{XDP_PASS} : TC_ACT_UNSPEC;
    if (verdict == sent && IsAnswer(frame, out)) {
      ++tally.answered;
    } else if (verdict == sent) {
      ++tally.sent;
    } else if (verdict == dropped) {
      ++tally.dropped;
    } else if (verdict == untouched) {
      ++tally.untouched;
    } else {
      ++tally.other;
    }
  }

  // What a real server answers to a connection that may be there. Empty: there is none.
  Bytes Reply(std::mt19937_64& random) const {
    static constexpr uint8_t kFlags[] = {kSyn | kAck, kAck, kFin | kAck, kRst};
    const klvs_conn_set& set = conns_[random() % conns_.size()];
    const klvs_conn c = set.ways[random() % KLVS_CONN_WAYS];
    const uint32_t flags = KLVS_CTL_FLAGS(c.ctl);
    if (!(flags & KLVS_CONN_LIVE) || !(flags & KLVS_CONN_NAT) || c.real >= reals_.size()) return {};
    if (ntohl(c.key.src) - Ip("10.1.0.1") >= kClients) return {};  // those are to stay
    return ReplyOf(c, kFlags[random() % std::size(kFlags)]);
  }

  Bytes ReplyOf(const klvs_conn& c, uint8_t flags) const {
    Frame frame;
    frame.dst_mac = kDirectorMac;
    frame.src_mac = kNeighbourMac;
    frame.src = ntohl(reals_[c.real].address);
    frame.dst = ntohl(c.nat_addr);
    frame.sport = ntohs(reals_[c.real].port);
    frame.dport = ntohs(c.nat_port);
    frame.flags = flags;
    return frame.Build();
  }

  static void StayOn(uint32_t cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) {
      std::perror("two CPUs are needed");
      std::abort();
    }
  }

  // Of the client's packets that open or end connections, and replies, on one CPU.
  void Pound(uint32_t cpu, const std::vector<Bytes>& packets, Tally& tally) const {
    node_.In([&] {
      StayOn(cpu);
      std::mt19937_64 random(cpu);
      for (uint64_t i = Packets(); i > 0; --i) {
        const Bytes reply = random() % 4 == 0 ? Reply(random) : Bytes();
        Send(reply.empty() ? packets[random() % packets.size()] : reply, tally);
      }
      return 0;
    });
  }

  // Each CPU's packet of that number, `packet(cpu, i)`, at the same time as the other's.
  template <typename Packet>
  void SendTogether(uint32_t count, Packet packet, Tally (&tallies)[kCpus]) const {
    std::atomic<uint32_t> arrived = 0;
    std::vector<std::jthread> threads;
    for (uint32_t cpu = 0; cpu < kCpus; ++cpu) {
      threads.emplace_back([&, cpu] {
        node_.In([&] {
          StayOn(cpu);
          for (uint32_t i = 0; i < count; ++i) {
            const Bytes frame = packet(cpu, i);
            ++arrived;
            while (arrived < (i + 1) * kCpus) {
            }
            Send(frame, tallies[cpu]);
          }
          return 0;
        });
      });
    }
  }

  // How many connections passed a threshold; 0 is none.
  int OverThreshold() const {
    int over = 0;
    for (size_t id = 1; id < reals_.size(); ++id) {
      if (!(reals_[id].flags & KLVS_REAL_VALID) || reals_[id].upper_threshold == 0) continue;
      const uint64_t both =
          __atomic_load_n(reinterpret_cast<const uint64_t*>(&real_conns_[id]), __ATOMIC_RELAXED);
      // One that moves between the two counts may be in neither.
      const auto total = static_cast<int32_t>(static_cast<uint32_t>(both) + (both >> 32));
      over = std::max(over, total - static_cast<int32_t>(reals_[id].upper_threshold));
    }
    return over;
  }

  std::string Fault() { return TableFault({conns_, tags_, conns6_, tags6_}, real_conns_); }

  Namespace node_, peer_;
  SystemClock clock_;
  BpfOptions options_;
  EbpfDataplane dataplane_;
  UniqueFd program_;
  uint32_t ifindex_ = 0;
  std::span<klvs_conn_set> conns_;
  std::span<klvs_conn_set6> conns6_;
  std::span<klvs_set_tags> tags_;
  std::span<klvs_set_tags> tags6_;
  std::span<klvs_real_conns> real_conns_;
  std::span<klvs_real> reals_;
};

INSTANTIATE_TEST_SUITE_P(Stages, ParallelTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Xdp" : "Tc"; });

TEST_P(ParallelTest, WhateverTheOrderCountsAreTheTables) {
  // Established, of clients that nothing else comes from.
  std::vector<FlowKey> held;
  Tally tally;
  for (const Sort& sort : Sorts()) {
    if (!sort.tcp) continue;
    for (int client = 0; client < 8; ++client) {
      for (const uint8_t flags : {kSyn, kAck}) {
        const Bytes frame = ClientPacket(sort, kClients + client, 0, flags);
        node_.In([&] { return Send(frame, tally), 0; });
        if (flags == kAck) held.push_back(KeyOf(Read(frame)));
      }
    }
  }
  ASSERT_EQ(tally.sent, 2 * held.size());
  ShortenTimeouts();

  std::vector<Bytes> packets;
  for (const Sort& sort : Sorts()) {
    for (int client = 0; client < kClients; ++client) {
      for (int port = 0; port < kPorts; ++port) {
        for (const uint8_t flags : {kSyn, kSyn, kAck, uint8_t{kFin | kAck}, kRst}) {
          packets.push_back(ClientPacket(sort, client, port, flags));
        }
      }
    }
  }
  Tally tallies[kCpus];
  std::atomic<uint32_t> running = kCpus;
  std::vector<std::jthread> threads;
  for (uint32_t cpu = 0; cpu < kCpus; ++cpu) {
    threads.emplace_back([&, cpu] {
      Pound(cpu, packets, tallies[cpu]);
      --running;
    });
  }
  std::mt19937_64 random(7);
  int over = 0;
  uint64_t changes = 0;
  while (running > 0) {
    const size_t service = random() % Sorts().size();
    // The first two are always there, one of them with a weight.
    const int real = 1 + static_cast<int>(random() % (kReals - 1));
    const RealServer to = Server(service, real, static_cast<uint32_t>(random() % 4));
    if (real == 1 || random() % 2 == 0) {
      Change(SetReal{Key(service), to});
    } else if (Change(RemoveReal{Key(service), to.at})) {
      over = std::max(over, OverThreshold());
      while (!Change(AddReal{Key(service), to}) && !HasFailure()) {
      }
    }
    over = std::max(over, OverThreshold());
    ++changes;
    if (changes % 16 == 0) {
      EXPECT_TRUE(node_.In([&] { return dataplane_.backend->Refresh(); }).ok());
      // Nothing is lost, so that whatever it took for wrong only moved.
      const auto repaired = node_.In([&] { return dataplane_.backend->RepairCounts(); });
      EXPECT_TRUE(repaired.ok()) << repaired.status();
      EXPECT_EQ(repaired.value_or(0), 0U);
    }
    if (HasFailure()) break;
  }
  threads.clear();
  for (const Tally& one : tallies) {
    tally.sent += one.sent;
    tally.dropped += one.dropped;
    tally.answered += one.answered;
    tally.untouched += one.untouched;
    tally.other += one.other;
  }
  std::cout << tally.sent << " sent, " << tally.dropped << " dropped, " << tally.answered
            << " answered, " << tally.untouched << " untouched, " << changes << " changes, " << over
            << " over a threshold\n";
  EXPECT_EQ(tally.other, 0U);
  EXPECT_LE(over, static_cast<int>(kCpus) - 1);
  EXPECT_EQ(Fault(), "");
  for (const FlowKey& key : held) {
    const auto flow = FindFlow(conns_, conns6_, key);
    ASSERT_TRUE(flow.has_value()) << "an established connection was lost: " << Hex(key.dst);
    EXPECT_EQ(flow->state, static_cast<uint32_t>(KLVS_ESTABLISHED));
  }
  const auto stats = node_.In([&] { return dataplane_.backend->ReadStats(); });
  ASSERT_TRUE(stats.ok()) << stats.status();
  uint64_t forwarded = 0, dropped = 0;
  for (const auto& [key, counters] : stats->services) {
    forwarded += counters.packets + counters.reply_packets;
  }
  for (const auto& [reason, count] : stats->drops) dropped += count;
  EXPECT_EQ(forwarded, tally.sent);
  EXPECT_EQ(dropped, tally.dropped + tally.answered);

  for (klvs_conn_set& set : conns_) {
    for (klvs_conn& c : set.ways) c.expires = 0;
  }
  for (klvs_conn_set6& set : conns6_) {
    for (klvs_conn6& c : set.ways) c.expires = 0;
  }
  const auto swept = node_.In([&] {
    return dataplane_.objects.programs->SweepConnections(static_cast<uint32_t>(conns_.size()),
                                                         static_cast<uint32_t>(conns6_.size()));
  });
  ASSERT_TRUE(swept.ok()) << swept;
  EXPECT_EQ(Fault(), "");
  for (const klvs_real_conns& c : real_conns_) EXPECT_EQ(c.active + c.inactive, 0U);

  // Connections open in every set.
  Tally after;
  for (int client = 0; client < 200; ++client) {
    for (int port = 0; port < 16; ++port) {
      node_.In([&] { return Send(ClientPacket(Sorts()[1], client, port, 0), after), 0; });
    }
  }
  EXPECT_EQ(after.sent, 3200U);
}

// A client's SYN to a port of the second VIP, which no other is like.
Bytes NewClient(uint32_t number, uint16_t port) {
  Frame frame;
  frame.dst_mac = kDirectorMac;
  frame.src_mac = kNeighbourMac;
  frame.src = Ip("10.2.0.0") + number % 256;
  frame.dst = Ip(Sorts()[1].vip);
  frame.sport = static_cast<uint16_t>(1024 + number / 256);
  frame.dport = port;
  frame.flags = kSyn;
  return frame.Build();
}

// None has to give way to another.
class RoomyTest : public ParallelTest {
 protected:
  RoomyTest() : ParallelTest(1U << 17) {}
};

INSTANTIATE_TEST_SUITE_P(Stages, RoomyTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Xdp" : "Tc"; });

// While nothing else changes, each turn is given out once: the shares are those of any one CPU.
TEST_P(RoomyTest, TurnsOfRrAndWrrAreThoseOfSomeSerialOrder) {
  constexpr uint16_t kRoundRobin = 81, kWeighted = 82;
  constexpr uint32_t kWeights = 1 + 2 + 3 + 4, kOpens = 1000 * kWeights;  // of each CPU
  std::vector<Step> steps;
  const auto key = [](uint16_t port) {
    return ServiceKey{Dataplane::kEbpf, Endpoint{*IpAddress::Parse(Sorts()[1].vip), port},
                      Protocol::kTcp};
  };
  for (const uint16_t port : {kRoundRobin, kWeighted}) {
    ServiceConfig config;
    config.scheduler = port == kWeighted ? "wrr" : "rr";
    steps.emplace_back(AddService{key(port), config});
    for (int real = 0; real < kReals; ++real) {
      RealServer server = Server(1, real, port == kWeighted ? 1 + static_cast<uint32_t>(real) : 1);
      server.at.port = port;
      steps.emplace_back(AddReal{key(port), server});
    }
  }
  Apply(steps);

  Tally tallies[kCpus];
  {
    std::latch ready(kCpus);
    std::vector<std::jthread> threads;
    for (uint32_t cpu = 0; cpu < kCpus; ++cpu) {
      threads.emplace_back([&, cpu] {
        node_.In([&] {
          StayOn(cpu);
          ready.arrive_and_wait();
          for (uint32_t i = 0; i < kOpens; ++i) {
            for (const uint16_t port : {kRoundRobin, kWeighted}) {
              Send(NewClient(i * kCpus + cpu, port), tallies[cpu]);
            }
          }
          return 0;
        });
      });
    }
  }
  for (const Tally& tally : tallies) EXPECT_EQ(tally.sent, 2 * kOpens);
  const auto stats = node_.In([&] { return dataplane_.backend->ReadStats(); });
  ASSERT_TRUE(stats.ok()) << stats.status();
  for (const uint16_t port : {kRoundRobin, kWeighted}) {
    std::vector<uint64_t> got, wanted;
    for (int real = 0; real < kReals; ++real) {
      RealServer server = Server(1, real, 1);
      server.at.port = port;
      got.push_back(stats->reals.at({key(port), server.at}).counters.connections);
      wanted.push_back(port == kWeighted
                           ? uint64_t{kCpus} * kOpens / kWeights * (1 + static_cast<uint64_t>(real))
                           : uint64_t{kCpus} * kOpens / kReals);
    }
    EXPECT_EQ(got, wanted) << "port " << port;
  }
}

// The same first packet on both CPUs at once: one connection, whoever was faster, and the other packet
// goes its way or is dropped.
TEST_P(RoomyTest, AConnectionThatTwoCpusOpenAtOnceIsThereOnce) {
  constexpr uint16_t kPort = 83;
  constexpr uint32_t kOpens = 20000;
  const ServiceKey key{Dataplane::kEbpf, Endpoint{*IpAddress::Parse(Sorts()[1].vip), kPort},
                       Protocol::kTcp};
  ServiceConfig config;
  config.scheduler = "lc";
  std::vector<Step> steps = {AddService{key, config}};
  for (int real = 0; real < kReals; ++real) {
    RealServer server = Server(1, real, 1);
    server.at.port = kPort;
    steps.emplace_back(AddReal{key, server});
  }
  Apply(steps);

  Tally tallies[kCpus];
  SendTogether(kOpens, [](uint32_t, uint32_t i) { return NewClient(i, kPort); }, tallies);
  EXPECT_EQ(Fault(), "");
  uint32_t connections = 0;
  for (const klvs_conn_set& set : conns_) {
    for (const klvs_conn& c : set.ways) connections += (KLVS_CTL_FLAGS(c.ctl) & KLVS_CONN_LIVE) != 0;
  }
  EXPECT_EQ(connections, kOpens);
  const uint64_t dropped = tallies[0].dropped + tallies[1].dropped;
  std::cout << dropped << " packets met the other CPU's claim\n";
  EXPECT_EQ(tallies[0].sent + tallies[1].sent + dropped, uint64_t{kCpus} * kOpens);
  EXPECT_LE(dropped, kOpens);
}

// Both ends say FIN at the same time: the connection is over, whichever came first.
TEST_P(RoomyTest, NeitherEndsFinIsLost) {
  constexpr uint32_t kConnections = 20000;
  const Sort& sort = Sorts()[2];
  Tally opened;
  std::vector<Bytes> fins[kCpus];
  node_.In([&] {
    for (uint32_t i = 0; i < kConnections; ++i) {
      const int port = static_cast<int>(i) / kClients;
      Send(ClientPacket(sort, static_cast<int>(i) % kClients, port, kSyn), opened);
    }
    return 0;
  });
  ASSERT_EQ(opened.sent, kConnections);
  for (klvs_conn_set& set : conns_) {
    for (klvs_conn& c : set.ways) {
      const uint32_t flags = KLVS_CTL_FLAGS(c.ctl);
      if (!(flags & KLVS_CONN_LIVE) || (flags & KLVS_CONN_REPLY)) continue;
      const Bytes reply = ReplyOf(c, kAck);
      Tally tally;
      node_.In([&] { return Send(reply, tally), 0; });
      c.ctl = (c.ctl & ~0xffULL) | KLVS_ESTABLISHED;
      fins[0].push_back(ClientPacket(sort, static_cast<int>(ntohl(c.key.src) - Ip("10.1.0.1")),
                                     ntohs(c.key.sport) - 20000, kFin | kAck));
      fins[1].push_back(ReplyOf(c, kFin | kAck));
    }
  }
  ASSERT_EQ(fins[0].size(), kConnections);
  Tally tallies[kCpus];
  SendTogether(kConnections, [&](uint32_t cpu, uint32_t i) { return fins[cpu][i]; }, tallies);
  for (const Tally& tally : tallies) EXPECT_EQ(tally.sent, kConnections);
  std::map<uint32_t, uint32_t> states;
  for (const klvs_conn_set& set : conns_) {
    for (const klvs_conn& c : set.ways) {
      const uint32_t flags = KLVS_CTL_FLAGS(c.ctl);
      if ((flags & KLVS_CONN_LIVE) && !(flags & KLVS_CONN_REPLY)) ++states[KLVS_CTL_STATE(c.ctl)];
    }
  }
  EXPECT_EQ(states[KLVS_TIME_WAIT], kConnections) << testing::PrintToString(states);
}

// A new connection tries the port that another one has, again and again: the replies of that one pass.
TEST_P(RoomyTest, RepliesPassWhileTheirPortIsTried) {
  constexpr uint32_t kReplies = 30000;
  const Sort& sort = Sorts()[0];
  klvs_settings& settings = Array<klvs_settings>(kSettingsMap)[0];
  int client = 0;
  // Which entry is looked at first goes by the hash of the key.
  for (uint16_t port = 1025; port < 1031; ++port) {
    settings.snat_port_base = port;
    settings.snat_port_count = 1;
    Tally opened;
    while (opened.dropped + opened.answered == 0) {
      node_.In([&] { return Send(ClientPacket(sort, client++, 0, kSyn), opened), 0; });
      // One that goes on gives its port to nobody.
      for (klvs_conn_set& set : conns_) {
        for (klvs_conn& c : set.ways) {
          if (KLVS_CTL_FLAGS(c.ctl) & KLVS_CONN_NAT) c.ctl = (c.ctl & ~0xffULL) | KLVS_ESTABLISHED;
        }
      }
    }
    std::vector<klvs_conn> with_port;
    for (const klvs_conn_set& set : conns_) {
      for (const klvs_conn& c : set.ways) {
        const uint32_t flags = KLVS_CTL_FLAGS(c.ctl);
        if ((flags & KLVS_CONN_LIVE) && (flags & KLVS_CONN_NAT) && ntohs(c.nat_port) == port) {
          with_port.push_back(c);
        }
      }
    }
    ASSERT_EQ(with_port.size(), opened.sent);
    ASSERT_FALSE(with_port.empty());

    Tally tries, replies;
    std::atomic<bool> stop = false;
    std::jthread trying([&] {
      node_.In([&] {
        StayOn(1);
        for (int other = 5000; !stop; ++other) Send(ClientPacket(sort, other, 0, kSyn), tries);
        return 0;
      });
    });
    std::jthread replying([&] {
      node_.In([&] {
        StayOn(0);
        for (uint32_t i = 0; i < kReplies; ++i) {
          Send(ReplyOf(with_port[i % with_port.size()], kAck), replies);
        }
        return 0;
      });
      stop = true;
    });
    replying.join();
    trying.join();
    EXPECT_EQ(replies.sent, kReplies) << "port " << port;
    EXPECT_EQ(tries.sent, 0U) << "port " << port;
  }
}

}  // namespace
}  // namespace kube_lvs::ebpf
