#include "dataplane/ebpf/packet_tests/two_cpus.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <sched.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <utility>

#include "dataplane/ebpf/packet_tests/frame6.h"

namespace kube_lvs::ebpf {
namespace {

// Whether `out` is from where `frame` went: a packet that was refused, and counted so.
bool IsAnswer(const Bytes& frame, const uint8_t* out) {
  const bool v6 = frame[12] == 0x86;
  const size_t source = v6 ? 22 : 26, size = v6 ? 16 : 4;
  return std::memcmp(out + source, frame.data() + source + size, size) == 0;
}

}  // namespace

TwoCpusTest::TwoCpusTest(uint32_t connections) {
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
  options_.dir = PrivateBpfDir("cpus" + std::to_string(++tests));  // its pins outlive a test
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

void TwoCpusTest::SetUp() {
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

const std::vector<Sort>& TwoCpusTest::Sorts() {
  static const std::vector<Sort> kSorts = {
      {"192.0.2.1", "wlc", ForwardingMethod::kNat, true, true, true},
      {"192.0.2.2", "rr", ForwardingMethod::kDirectRouting, false, false, false},
      {"192.0.2.3", "mh", ForwardingMethod::kNat, false, false, true},
      {"192.0.2.4", "lblcr", ForwardingMethod::kTunnel, false, false, true},
      {"2001:db8:9::1", "wrr", ForwardingMethod::kNat, true, true, true},
  };
  return kSorts;
}

std::string TwoCpusTest::RealAddress(size_t service, int real) {
  const std::string host = std::to_string(100 + service * 10 + real);
  return (Sorts()[service].IsV4() ? "10.1.0." : "2001:db8:1::") + host;
}

ServiceKey TwoCpusTest::Key(size_t service) {
  const Sort& sort = Sorts()[service];
  return {Dataplane::kEbpf, Endpoint{*IpAddress::Parse(sort.vip), 80},
          sort.tcp ? Protocol::kTcp : Protocol::kUdp};
}

RealServer TwoCpusTest::Server(size_t service, int real, uint32_t weight) {
  const Sort& sort = Sorts()[service];
  RealServer out;
  out.at = {*IpAddress::Parse(RealAddress(service, real)), 80};
  out.method = sort.method;
  out.weight = weight;
  if (sort.thresholds) {
    out.upper_threshold = kUpperThreshold;
    out.lower_threshold = kUpperThreshold / 2;
  }
  return out;
}

Bytes TwoCpusTest::ClientPacket(const Sort& sort, int client, int port, uint8_t flags) {
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

Bytes TwoCpusTest::ReplyOf(const klvs_conn& c, uint8_t flags) const {
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

void TwoCpusTest::Apply(const std::vector<Step>& steps) {
  const auto statuses = node_.In([&] { return dataplane_.backend->Apply(steps); });
  for (size_t i = 0; i < steps.size(); ++i) {
    ASSERT_TRUE(statuses[i].ok()) << ToString(steps[i]) << ": " << statuses[i];
  }
}

void TwoCpusTest::StayOn(uint32_t cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) {
    std::perror("two CPUs are needed");
    std::abort();
  }
}

void TwoCpusTest::Send(const Bytes& frame, Tally& tally) const {
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

}  // namespace kube_lvs::ebpf
