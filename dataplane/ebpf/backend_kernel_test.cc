// The backend on this machine's kernel: the same contract as in memory, with real maps, programs
// and interfaces.
#include <bpf/bpf.h>
#include <sys/utsname.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/open.h"
#include "dataplane/ebpf/testing/namespaces.h"
#include "dataplane/ebpf/testing/xdp.h"
#include "dataplane/model/schedulers.h"
#include "dataplane/plan/diff.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }
ServiceKey Key(const std::string& at, Protocol protocol = Protocol::kTcp) {
  return {Dataplane::kEbpf, *Endpoint::Parse(at), protocol};
}

MapSizes SmallSizes() {
  MapSizes sizes;
  sizes.addresses = 256;
  sizes.services = 64;
  sizes.reals = 512;
  sizes.list_entries = 4096;
  sizes.table_slots = 200000;
  sizes.connections = 1024;
  return sizes;
}

// A node with two veths, whose other ends are in a namespace of their own.
class EbpfKernelTest : public testing::Test {
 protected:
  EbpfKernelTest() {
    Wire(node_, "up0", peer_, "p0");
    Wire(node_, "up1", peer_, "p1");
    node_.Sh("ip addr add 10.0.0.250/24 dev up0; ip addr add 10.0.1.250/24 dev up1");
    static int number = 0;
    options_.dir = PrivateBpfDir("node" + std::to_string(++number));
    options_.sizes = SmallSizes();
  }

  // As at a start of the agent.
  void Open() {
    dataplane_ = EbpfDataplane();
    auto opened = node_.In([&] { return OpenEbpfDataplane(options_, clock_); });
    ASSERT_TRUE(opened.ok()) << opened.status();
    dataplane_ = *std::move(opened);
  }

  State Read() {
    const auto state = node_.In([&] { return dataplane_.backend->Read(); });
    EXPECT_TRUE(state.ok()) << state.status();
    return state.ok() ? *state : State{};
  }

  absl::Status Reach(const State& desired) {
    const Plan plan = Diff(desired, Read());
    const auto statuses = node_.In([&] { return dataplane_.backend->Apply(plan.steps); });
    for (size_t i = 0; i < statuses.size(); ++i) {
      if (!statuses[i].ok()) return Annotate(statuses[i], ToString(plan.steps[i]));
    }
    return absl::OkStatus();
  }

  // Every byte of every map that user space writes.
  std::vector<Bytes> Contents() {
    std::vector<Bytes> out;
    MapStore& maps = *dataplane_.objects.maps;
    for (const auto map : {kSettingsMap, kInterfacesMap, kServiceStateMap, kListsMap, kTablesMap,
                           kRealsMap, kRealConnsMap}) {
      const auto bytes = maps.Mapped(map);
      EXPECT_TRUE(bytes.ok()) << bytes.status();
      out.emplace_back(bytes->begin(), bytes->end());
    }
    for (const auto map : {kAddressesMap, kNetworksMap, kNetworks6Map, kServicesMap,
                           kWideServicesMap, kPortsMap, kTunnelPeersMap, kMssClampsMap,
                           kTunnelNetsMap, kMssNetsMap, kTunnelNets6Map, kMssNets6Map,
                           kGuePeersMap, kGuePeers6Map}) {
      const auto entries = maps.Dump(map);
      EXPECT_TRUE(entries.ok()) << entries.status();
      for (const auto& [key, value] : *entries) {
        out.push_back(key);
        out.push_back(value);
      }
    }
    return out;
  }

  static State SomeState() {
    State out;
    VirtualService web;
    web.config.scheduler = "mh";
    web.config.source_nat = true;
    web.reals = {{*Endpoint::Parse("10.0.0.1:80"), ForwardingMethod::kNat, 3, 0, 0},
                 {*Endpoint::Parse("10.0.0.2:8080"), ForwardingMethod::kNat, 0, 0, 0}};
    out.services[Key("192.0.2.1:80")] = web;
    for (RealServer& real : web.reals) real.at.port = 0;
    const IpAddress vip = Ip("192.0.2.1");
    out.services[{Dataplane::kEbpf, PortRange{vip, 10000, 10100}, Protocol::kUdp}] = web;
    out.services[{Dataplane::kEbpf, AllPorts{Ip("192.0.2.2")}, Protocol::kTcp}] = web;
    const Cidr net = *Cidr::Parse("198.51.100.0/24");
    out.services[{Dataplane::kEbpf, Prefix{net, 80, 80}, Protocol::kTcp}] = web;
    out.services[{Dataplane::kEbpf, Prefix{net, 90, 99}, Protocol::kTcp}] = web;
    out.items = {Attachment{"up0"},
                 TunnelPeer{Ip("10.0.0.9"), Ip("192.0.2.9")},
                 MssClamp{Ip("192.0.2.9"), 1400},
                 TunnelPeer{Ip("10.0.0.9"), Ip("192.0.2.64"), 26},
                 TunnelPeer{Ip("10.0.0.9"), Ip("192.0.2.0"), 24},
                 TunnelPeer{Ip("2001:db8::9"), Ip("2001:db8:1::"), 64},
                 TunnelPeer{Ip("10.0.0.9"), Ip("192.0.2.9"), 0, {Ip("10.0.0.1"), 6080}},
                 TunnelPeer{Ip("10.0.0.9"), Ip("192.0.2.0"), 24, {Ip("10.0.0.1"), 6080}},
                 TunnelPeer{Ip("2001:db8::9"), Ip("2001:db8:1::"), 64, {Ip("2001:db8::1"), 6080}},
                 MssClamp{Ip("192.0.2.64"), 1400, 26},
                 MssClamp{Ip("2001:db8:1::"), 1380, 64},
                 AnsweredVip{Dataplane::kEbpf, Ip("192.0.2.1"), "up0"},
                 AnsweredVip{Dataplane::kEbpf, Ip("198.51.100.0"), "up0", 24},
                 AnsweredVip{Dataplane::kEbpf, Ip("2001:db8:5::"), "up0", 112}};
    return out;
  }

  Namespace node_;
  Namespace peer_;
  SystemClock clock_;
  BpfOptions options_;
  EbpfDataplane dataplane_;
};

State RandomState(std::mt19937& random) {
  const auto below = [&random](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  State out;
  for (uint32_t i = below(6); i > 0; --i) {
    ServiceKey key =
        Key("192.0.2." + std::to_string(1 + below(4)) + ":" + std::to_string(80 + below(3)));
    if (below(2) == 0) key.protocol = Protocol::kUdp;
    uint16_t same_port = std::get<Endpoint>(key.match).port;
    const bool wide = below(3) == 0;
    if (wide) {
      // Few, for the ids of those that are gone rest for a while.
      const uint16_t first = static_cast<uint16_t>(100 * (1 + below(2)));
      key.match = PortRange{*VipOf(key), first, static_cast<uint16_t>(first + 40)};
      same_port = 0;
    }
    const bool network = below(4) == 0;
    if (network) {
      // One in the other, and in some of them the single ones.
      const Cidr vips = {Ip("192.0.2.0"), below(2) == 0 ? 24 : 30};
      const auto* range = std::get_if<PortRange>(&key.match);
      key.match = range != nullptr ? Prefix{vips, range->first, range->last}
                                   : Prefix{vips, same_port, same_port};
    }
    if (out.services.contains(key)) continue;
    VirtualService& service = out.services[key];
    service.config.scheduler = kSchedulers[below(kSchedulers.size())];
    if (network && service.config.scheduler.starts_with("lblc")) service.config.scheduler = "dh";
    if (TakesHashFlags(service.config.scheduler)) {
      service.config.hash = {below(2) == 0, below(2) == 0};
    }
    service.config.source_nat = below(2) == 0;
    std::set<Endpoint> used;
    for (uint32_t n = below(6); n > 0; --n) {
      RealServer real;
      real.method = static_cast<ForwardingMethod>(below(3));
      const uint16_t port = real.method == ForwardingMethod::kNat && !wide
                                ? static_cast<uint16_t>(8000 + below(2))
                                : same_port;
      real.at = {Ip("10.0." + std::to_string(below(2)) + "." + std::to_string(1 + below(5))), port};
      real.weight = below(5);
      if (below(3) == 0) real.upper_threshold = 1 + below(9);
      if (used.insert(real.at).second) service.reals.push_back(real);
    }
    SortCanonically(service.reals);
  }
  for (const char* interface : {"up0", "up1"}) {
    if (below(2) == 0) out.items.insert(Attachment{interface});
  }
  for (uint32_t vip = 1; vip <= 4; ++vip) {
    const IpAddress ip = Ip("192.0.2." + std::to_string(vip));
    const auto interface = below(2) == 0 ? "up0" : "up1";
    if (below(3) == 0) out.items.insert(AnsweredVip{Dataplane::kEbpf, ip, interface});
    if (below(8) == 0) {
      out.items.insert(
          AnsweredVip{Dataplane::kEbpf, Ip("192.0.2.0"), "up0", 31 - static_cast<int>(vip)});
    }
    if (below(3) == 0) out.items.insert(TunnelPeer{Ip("10.0.0.9"), ip});
    if (below(3) == 0) out.items.insert(MssClamp{ip, static_cast<uint16_t>(1300 + below(3))});
    const IpAddress net = Ip("192.0.2." + std::to_string(vip * 16));
    if (below(3) == 0) out.items.insert(TunnelPeer{Ip("10.0.0.9"), net, 28});
    if (below(3) == 0) out.items.insert(TunnelPeer{Ip("10.0.0.9"), ip, 0, {net, 6080}});
    if (below(3) == 0) out.items.insert(MssClamp{net, static_cast<uint16_t>(1300 + below(3)), 28});
  }
  return out;
}

TEST_F(EbpfKernelTest, EveryValidStateIsReachedFromEveryOther) {
  const uint32_t seed = std::random_device{}();
  std::cout << "seed " << seed << "\n";
  std::mt19937 random(seed);
  Open();
  for (int round = 0; round < 60; ++round) {
    const State desired = RandomState(random);
    const absl::Status reached = Reach(desired);
    ASSERT_TRUE(reached.ok()) << reached;
    ASSERT_EQ(Read(), desired) << ToString(Diff(desired, Read()));
    if (round % 10 == 9) Open();
  }
  ASSERT_TRUE(Reach(State{}).ok());
  EXPECT_EQ(Read(), State{});
}

// More than the kernel gives at once.
TEST_F(EbpfKernelTest, EachOfManyEntriesIsVisitedOnce) {
  options_.sizes.addresses = 10000;
  Open();
  MapStore& maps = *dataplane_.objects.maps;
  std::set<uint32_t> wanted;
  for (uint32_t i = 1; i <= 9000; ++i) {
    const __be32 address = __builtin_bswap32(0x0a000000 + i);
    const klvs_network_key network = {.prefix_length = 32, .address = address};
    ASSERT_TRUE(Put(maps, kAddressesMap, address, klvs_address{}).ok());
    ASSERT_TRUE(Put(maps, kNetworksMap, network, klvs_address{}).ok());
    wanted.insert(address);
  }
  const auto in_hash = GetAll<__be32, klvs_address>(maps, kAddressesMap);
  const auto in_trie = GetAll<klvs_network_key, klvs_address>(maps, kNetworksMap);
  ASSERT_TRUE(in_hash.ok() && in_trie.ok()) << in_hash.status() << in_trie.status();
  std::set<uint32_t> hash, trie;
  for (const auto& [address, record] : *in_hash) hash.insert(address);
  for (const auto& [network, record] : *in_trie) trie.insert(network.address);
  EXPECT_EQ(in_hash->size(), wanted.size());
  EXPECT_EQ(in_trie->size(), wanted.size());
  EXPECT_TRUE(hash == wanted);
  EXPECT_TRUE(trie == wanted);
}

TEST_F(EbpfKernelTest, ARestartTakesOverWithoutLoadingOrWriting) {
  Open();
  EXPECT_TRUE(dataplane_.objects.loaded);
  ASSERT_TRUE(Reach(SomeState()).ok());
  const auto contents = Contents();
  Open();
  EXPECT_FALSE(dataplane_.objects.loaded);
  EXPECT_EQ(Read(), SomeState());
  EXPECT_EQ(Contents(), contents);
}

TEST_F(EbpfKernelTest, OtherProgramsOfOursAreReplacedAndTheMapsStay) {
  options_.xdp_interfaces = {"up*"};
  Open();
  ASSERT_TRUE(Reach(SomeState()).ok());
  const auto contents = Contents();
  const uint32_t before = node_.In([] { return XdpProgramId("up0"); });
  EXPECT_NE(before, 0U);
  // What another version left looks like this.
  for (const auto& entry : std::filesystem::directory_iterator(options_.dir)) {
    if (entry.is_directory()) {
      std::filesystem::rename(entry.path(), options_.dir + "/programs-0123456789abcdef");
    }
  }
  Open();
  EXPECT_TRUE(dataplane_.objects.loaded);
  EXPECT_NE(node_.In([] { return XdpProgramId("up0"); }), before);
  EXPECT_NE(node_.In([] { return XdpProgramId("up0"); }), 0U);
  EXPECT_FALSE(std::filesystem::exists(options_.dir + "/programs-0123456789abcdef"));
  EXPECT_EQ(Read(), SomeState());
  EXPECT_EQ(Contents(), contents);
}

TEST_F(EbpfKernelTest, VirtualDevicesAreServedByTcUnlessTheirOwnerSaysOtherwise) {
  options_.xdp_interfaces = {"up1"};
  Open();
  State desired;
  desired.items = {Attachment{"up0"}, Attachment{"up1"}};
  ASSERT_TRUE(Reach(desired).ok());
  const auto reports = node_.In([&] { return dataplane_.backend->Attachments(); });
  ASSERT_TRUE(reports.ok());
  std::set<std::string> said;
  for (const AttachReport& report : *reports) said.insert(ToString(report));
  EXPECT_EQ(said,
            (std::set<std::string>{"up0: tc: a veth device does not transmit for XDP by itself",
                                   "up1: XDP native"}));
  // Another answer at the next start is followed.
  options_.xdp_interfaces = {};
  Open();
  ASSERT_TRUE(Reach(desired).ok());
  EXPECT_EQ(node_.In([] { return XdpProgramId("up1"); }), 0U);
}

// The link is as the network tells of one that has a VLAN device: many kernels have none to make.
TEST_F(EbpfKernelTest, AnInterfaceWithVlanDevicesIsServedByTcAsLongAsTheyAreThere) {
  options_.xdp_interfaces = {"up*"};
  Open();
  Link link = *node_.In([&] { return dataplane_.network->LinkByName("up0"); });
  Programs& programs = *dataplane_.objects.programs;
  const auto attach = [&] { return node_.In([&] { return programs.Attach(link); }); };
  const auto find = [&] { return *node_.In([&] { return programs.Find(link); }); };
  ASSERT_EQ(ToString(*attach()), "up0: XDP native");
  link.carries_vlans = true;
  EXPECT_FALSE(find().has_value());
  ASSERT_EQ(ToString(*attach()), "up0: tc: VLAN devices are on it");
  EXPECT_EQ(ToString(*find()), "up0: tc: VLAN devices are on it");
  EXPECT_EQ(node_.In([] { return XdpProgramId("up0"); }), 0U);
  node_.Sh("tc filter show dev up0 ingress | grep -q director");
  link.carries_vlans = false;
  EXPECT_FALSE(find().has_value());
  ASSERT_EQ(ToString(*attach()), "up0: XDP native");
}

TEST_F(EbpfKernelTest, XdpIsTriedAgainWhenTheMtuThatItsDriverRefusedChanges) {
  options_.xdp_interfaces = {"up0"};
  const auto set_mtu = [this](const std::string& mtu) {
    peer_.Sh("ip link set p0 mtu " + mtu);  // it is the peer's that a veth minds
    node_.Sh("ip link set up0 mtu " + mtu);
  };
  set_mtu("9000");
  Open();
  State desired;
  desired.items = {Attachment{"up0"}};
  ASSERT_TRUE(Reach(desired).ok());
  EXPECT_EQ(Read(), desired);
  EXPECT_EQ(node_.In([] { return XdpProgramId("up0"); }), 0U);
  set_mtu("1500");
  EXPECT_EQ(Read(), State{});
  ASSERT_TRUE(Reach(desired).ok());
  EXPECT_EQ(Read(), desired);
  EXPECT_NE(node_.In([] { return XdpProgramId("up0"); }), 0U);
}

TEST_F(EbpfKernelTest, OthersProgramsStayAndAreReported) {
  options_.xdp_interfaces = {"up0"};
  node_.In([] { AttachXdpPass("up0"); });
  node_.Sh(
      "tc qdisc add dev up0 clsact; "
      "tc filter add dev up0 ingress pref 5 protocol ip u32 match u32 0 0");
  const uint32_t theirs = node_.In([] { return XdpProgramId("up0"); });
  Open();
  State desired;
  desired.items = {Attachment{"up0"}};
  ASSERT_TRUE(Reach(desired).ok());
  EXPECT_EQ(Read(), desired);
  const auto reports = node_.In([&] { return dataplane_.backend->Attachments(); });
  ASSERT_EQ(reports->size(), 1U);
  EXPECT_NE(ToString((*reports)[0]).find("another XDP program"), std::string::npos);
  ASSERT_TRUE(Reach(State{}).ok());
  EXPECT_EQ(node_.In([] { return XdpProgramId("up0"); }), theirs);
  node_.Sh("tc filter show dev up0 ingress | grep -q u32");
  node_.Sh("! tc filter show dev up0 ingress | grep -q director");
}

TEST_F(EbpfKernelTest, AnInterfaceThatReturnsIsAttachedAgain) {
  Open();
  State desired;
  desired.items = {Attachment{"up0"}, Attachment{"up1"}};
  ASSERT_TRUE(Reach(desired).ok());
  node_.Sh("ip link del up1");
  EXPECT_EQ(Read().items, (std::set<NodeItem>{Attachment{"up0"}}));
  Wire(node_, "up1", peer_, "p1");
  EXPECT_EQ(Read().items, (std::set<NodeItem>{Attachment{"up0"}}));
  ASSERT_TRUE(Reach(desired).ok());
  EXPECT_EQ(Read(), desired);
  // A filter that somebody took away is missed, too.
  node_.Sh("tc filter del dev up0 egress");
  EXPECT_EQ(Read().items, (std::set<NodeItem>{Attachment{"up1"}}));
  ASSERT_TRUE(Reach(desired).ok());
  EXPECT_EQ(Read(), desired);
}

TEST_F(EbpfKernelTest, AnInterfaceThatIsGoneIsNamedAndReturnsWithXdpAndItsVips) {
  options_.xdp_interfaces = {"up1"};
  Open();
  const State others = SomeState();
  State desired = others;
  desired.items.insert({Attachment{"up1"}, AnsweredVip{Dataplane::kEbpf, Ip("192.0.2.2"), "up1"},
                        AnsweredVip{Dataplane::kEbpf, Ip("2001:db8::1"), "up1"}});
  ASSERT_TRUE(Reach(desired).ok());
  EXPECT_NE(node_.In([] { return XdpProgramId("up1"); }), 0U);
  node_.Sh("ip link del up1");
  EXPECT_EQ(Read(), others);
  const ServiceKey web = Key("192.0.2.1:80");
  State changed = desired;
  changed.services.at(web).reals[0].weight = 7;
  const absl::Status gone = Reach(changed);
  EXPECT_NE(gone.message().find("up1"), std::string::npos) << gone;
  EXPECT_EQ(Read().services, changed.services);
  Wire(node_, "up1", peer_, "p1");
  const absl::Status back = Reach(changed);
  ASSERT_TRUE(back.ok()) << back;
  EXPECT_EQ(Read(), changed);
  EXPECT_NE(node_.In([] { return XdpProgramId("up1"); }), 0U);
  node_.Sh("ip -6 neigh show proxy dev up1 | grep -q 2001:db8::1");
}

TEST_F(EbpfKernelTest, CleanUpTakesAwayOursAndOnlyOurs) {
  options_.xdp_interfaces = {"up0"};
  Open();
  State state = SomeState();
  state.items.insert(AnsweredVip{Dataplane::kEbpf, *IpAddress::Parse("2001:db8::1"), "up0"});
  ASSERT_TRUE(Reach(state).ok());
  node_.Sh("ip -6 neigh show proxy dev up0 | grep -q 2001:db8::1");
  dataplane_ = EbpfDataplane();
  EXPECT_NE(node_.In([] { return XdpProgramId("up0"); }), 0U);  // it goes on without us
  const auto clean = [&] { return CleanUpEbpfDataplane(options_.dir); };
  const absl::Status cleaned = node_.In(clean);
  EXPECT_TRUE(cleaned.ok()) << cleaned;
  EXPECT_EQ(node_.In([] { return XdpProgramId("up0"); }), 0U);
  node_.Sh("! tc filter show dev up0 ingress | grep -q .");
  node_.Sh("! ip -6 neigh show proxy | grep -q .");
  EXPECT_FALSE(std::filesystem::exists(options_.dir));
  EXPECT_TRUE(node_.In(clean).ok());
}

TEST_F(EbpfKernelTest, ADirectoryThatIsNoBpfFileSystemIsRefusedWithTheMend) {
  options_.dir = "/tmp/kube-lvs-no-such-bpf-dir";
  const auto refused = node_.In([&] { return OpenEbpfDataplane(options_, clock_); });
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(Message(refused.status()).find("mount -t bpf"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(options_.dir));
}

TEST_F(EbpfKernelTest, MapsOfAnotherLayoutAreRefusedAndLeftAlone) {
  Open();
  GetArray<klvs_settings>(*dataplane_.objects.maps, kSettingsMap).value()[0].layout = 77;
  const auto refused = node_.In([&] { return OpenEbpfDataplane(options_, clock_); });
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(Message(refused.status()).find("layout 77"), std::string::npos) << refused.status();
}

TEST_F(EbpfKernelTest, MapsTakeAsMuchMemoryAsWasSaidBefore) {
  const auto said = MemoryOf(options_.sizes);
  ASSERT_TRUE(said.ok()) << said.status();
  Open();
  uint64_t taken = 0;
  for (const auto& entry : std::filesystem::directory_iterator(options_.dir)) {
    if (entry.is_directory()) continue;
    const UniqueFd fd(bpf_obj_get(entry.path().c_str()));
    std::ifstream info("/proc/self/fdinfo/" + std::to_string(fd.get()));
    for (std::string name, number; info >> name >> number;) {
      if (name == "memlock:") taken += std::stoull(number);
    }
  }
  utsname kernel{};
  ASSERT_EQ(uname(&kernel), 0);
  int major = 0, minor = 0;
  ASSERT_EQ(std::sscanf(kernel.release, "%d.%d", &major, &minor), 2);
  if (major > 6 || (major == 6 && minor >= 4)) {
    EXPECT_NEAR(static_cast<double>(*said), static_cast<double>(taken), 0.01 * taken);
  } else {
    // Older ones say what keys and values take, as if there were no more to it.
    EXPECT_GT(taken, 0U);
  }
}

TEST_F(EbpfKernelTest, CountersOfManyIdsAreReadInTurn) {
  options_.sizes.reals = 3000;
  Open();
  MapStore& maps = *dataplane_.objects.maps;
  const UniqueFd fd(bpf_obj_get((options_.dir + "/" + std::string(kRealCountersMap)).c_str()));
  const uint32_t key = 0;
  const size_t cpus = maps.LookupPerCpu(kRealCountersMap, AsBytes(key))->size();
  for (uint32_t id = 0; id <= 3000; ++id) {
    std::vector<klvs_counters> values(cpus);
    values[0].packets = id;
    values[cpus - 1].reply_bytes = 2 * id;
    ASSERT_EQ(bpf_map_update_elem(fd.get(), &id, values.data(), BPF_ANY), 0);
  }
  for (const uint32_t end : {0U, 1U, 1024U, 1025U, 3001U}) {
    uint32_t next = 0;
    const absl::Status visited =
        maps.VisitPerCpu(kRealCountersMap, end, [&](uint32_t id, std::span<const uint8_t> bytes) {
          std::vector<klvs_counters> values(cpus);
          ASSERT_EQ(bytes.size(), values.size() * sizeof(klvs_counters));
          std::memcpy(values.data(), bytes.data(), bytes.size());
          EXPECT_EQ(id, next++);
          EXPECT_EQ(values[0].packets, id);
          EXPECT_EQ(values[cpus - 1].reply_bytes, 2 * id);
        });
    EXPECT_TRUE(visited.ok()) << visited;
    EXPECT_EQ(next, end);
  }
  const auto nothing = [](uint32_t, std::span<const uint8_t>) {};
  EXPECT_FALSE(maps.VisitPerCpu(kRealCountersMap, 3002, nothing).ok());
}

TEST_F(EbpfKernelTest, MapsThatAreThereKeepTheirSize) {
  Open();
  ASSERT_TRUE(Reach(SomeState()).ok());
  options_.sizes.reals = 9999;
  for (const auto& entry : std::filesystem::directory_iterator(options_.dir)) {
    if (entry.is_directory()) std::filesystem::remove_all(entry.path());
  }
  Open();
  EXPECT_TRUE(dataplane_.objects.loaded);
  EXPECT_EQ(*dataplane_.objects.maps->Capacity(kRealsMap), 513U);
  EXPECT_EQ(Read().services, SomeState().services);
}

}  // namespace
}  // namespace kube_lvs::ebpf
