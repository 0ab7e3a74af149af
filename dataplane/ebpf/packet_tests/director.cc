#include "dataplane/ebpf/packet_tests/director.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <ostream>

#include "dataplane/ebpf/abi_gue.h"
#include "dataplane/ebpf/abi_names.h"
#include "dataplane/ebpf/bpf/director6_tc.skel.h"
#include "dataplane/ebpf/bpf/director6_xdp.skel.h"
#include "dataplane/ebpf/bpf/director_tc.skel.h"
#include "dataplane/ebpf/bpf/director_xdp.skel.h"
#include "dataplane/ebpf/bpf/node_tc.skel.h"
#include "dataplane/ebpf/wide_ports.h"

namespace kube_lvs::ebpf {
namespace {

constexpr uint32_t kTimeoutSeconds[KLVS_STATES] = KLVS_TIMEOUT_SECONDS;

bool IsIpv6(std::string_view address) { return address.find(':') != std::string_view::npos; }

// Any number that two VIPs do not share.
uint32_t VipId(std::string_view vip) {
  if (!IsIpv6(vip)) return Ip(vip);
  const klvs_in6 address = Ip6(vip);
  return ntohl(address.word[3]) | 0x80000000;
}

klvs_wide_key WideKey(const Service& service) {
  klvs_wide_key key = {};
  key.vip_id = VipId(service.vip);
  key.first = htons(service.port);
  key.last = htons(service.last_port);
  if (service.port != 0) key.protocol = service.protocol;
  return key;
}

Verdict FromXdp(uint32_t value) {
  if (value == XDP_TX) return Verdict::kSent;
  if (value == XDP_PASS) return Verdict::kUntouched;
  Check(value == XDP_DROP, "an XDP verdict that no program may return");
  return Verdict::kDropped;
}

Verdict FromTc(uint32_t value) {
  if (value == TC_ACT_REDIRECT) return Verdict::kSent;
  if (value == static_cast<uint32_t>(TC_ACT_UNSPEC)) return Verdict::kUntouched;
  if (value == TC_ACT_OK) return Verdict::kToStack;
  Check(value == TC_ACT_SHOT, "a tc verdict that no program may return");
  return Verdict::kDropped;
}

}  // namespace

std::string ToString(Stage stage) { return stage == Stage::kXdp ? "Xdp" : "Tc"; }

std::ostream& operator<<(std::ostream& out, Verdict verdict) {
  static constexpr const char* kNames[] = {"sent", "untouched", "dropped", "to the stack"};
  return out << kNames[static_cast<int>(verdict)];
}

Director::Director(Stage stage, uint32_t sets)
    : stage_(stage),
      programs_(LoadedPrograms::Take(stage, sets)),
      ifindex_(programs_->ifindex()) {
  klvs_settings& s = settings();
  s.layout = KLVS_LAYOUT;
  s.hz = kHz;
  s.conn_sets = sets;
  s.conn_sets6 = sets;
  s.snat_port_base = 1024;
  s.snat_port_count = 31744;
  s.seed[0] = 0x0123456789abcdefULL;
  s.seed[1] = 0xfedcba9876543210ULL;
  for (int i = 0; i < KLVS_STATES; ++i) s.timeouts[i] = kTimeoutSeconds[i] * kHz;

  klvs_interface& interface = Map<klvs_interface>("klvs_interfaces")[ifindex_ % 1024];
  std::copy(kOwnMac.begin(), kOwnMac.end(), interface.mac);
  interface.ifindex = ifindex_;
}

Director::~Director() {
  for (const auto& [name, memory] : mapped_) {
    const bpf_map* map = Find(name.c_str());
    munmap(memory, bpf_map__max_entries(map) * ((bpf_map__value_size(map) + size_t{7}) / 8 * 8));
  }
  LoadedPrograms::GiveBack(std::move(programs_));
}

void Director::LoadIpv6() { programs_->JoinIpv6(settings().conn_sets6); }

bpf_map* Director::Find(const char* name) { return programs_->Find(name); }

template <typename T>
std::span<T> Director::Map(const char* name) {
  const bpf_map* map = Find(name);
  Check((bpf_map__value_size(map) + 7) / 8 * 8 == sizeof(T), name);
  void*& memory = mapped_[name];
  if (memory == nullptr) {
    memory = mmap(nullptr, bpf_map__max_entries(map) * sizeof(T), PROT_READ | PROT_WRITE,
                  MAP_SHARED, bpf_map__fd(map), 0);
    Check(memory != MAP_FAILED, name);
  }
  return {static_cast<T*>(memory), bpf_map__max_entries(map)};
}

klvs_interface& Director::interface() {
  return Map<klvs_interface>("klvs_interfaces")[ifindex_ % KLVS_INTERFACE_SLOTS];
}
klvs_settings& Director::settings() { return Map<klvs_settings>("klvs_settings")[0]; }
klvs_real& Director::real(uint32_t id) { return Map<klvs_real>("klvs_reals")[id]; }
klvs_real6& Director::real6(uint32_t id) {
  LoadIpv6();
  return Map<klvs_real6>("klvs_reals6")[id];
}
klvs_service_state& Director::state(uint32_t id) {
  return Map<klvs_service_state>("klvs_service_state")[id];
}
klvs_locality& Director::locality(uint32_t id) { return Map<klvs_locality>("klvs_locality")[id]; }
klvs_real_conns Director::real_conns(uint32_t id) {
  return Map<klvs_real_conns>("klvs_real_conns")[id];
}
std::span<const klvs_real_conns> Director::real_conns() {
  return Map<klvs_real_conns>("klvs_real_conns");
}
void Director::ResetRealConns(uint32_t id) { SetRealConns(id, 0, 0); }
void Director::SetRealConns(uint32_t id, uint32_t active, uint32_t inactive, uint32_t overloaded) {
  Map<klvs_real_conns>("klvs_real_conns")[id] = {active, inactive, overloaded, 0};
}
std::span<klvs_list_entry> Director::lists() { return Map<klvs_list_entry>("klvs_lists"); }
std::span<TableCell> Director::tables() { return Map<TableCell>("klvs_tables"); }
std::span<klvs_conn_set> Director::conns() { return Map<klvs_conn_set>("klvs_conns"); }

void Director::SetAddress(std::string_view address, uint32_t flags, uint64_t claim_until,
                          uint32_t ifindex) {
  klvs_address value = {};
  if (flags & KLVS_ADDRESS_VIP) value.vip_id = VipId(address);
  value.flags = flags;
  value.claim_until = claim_until;
  value.ifindex = ifindex != 0 ? ifindex : ifindex_;
  const auto admit = [this, flags](__be32 folded) {
    if ((flags & ~uint32_t{KLVS_ADDRESS_TUNNEL}) == 0) return;
    const uint32_t bit = klvs_filter_bit(folded);
    settings().filter.words[bit / 64] |= uint64_t{1} << (bit % 64);
  };
  if (IsIpv6(address)) {
    LoadIpv6();
    const klvs_in6 key = Ip6(address);
    admit(key.word[0] ^ key.word[1] ^ key.word[2] ^ key.word[3]);
    Check(bpf_map__update_elem(Find("klvs_addresses6"), &key, sizeof key, &value, sizeof value,
                               BPF_ANY) == 0,
          "klvs_addresses6");
    return;
  }
  const __be32 key = htonl(Ip(address));
  admit(key);
  Check(bpf_map__update_elem(Find("klvs_addresses"), &key, sizeof key, &value, sizeof value,
                             BPF_ANY) == 0,
        "klvs_addresses");
  settings().vips[klvs_vip_slot(key)] = value.vip_id != 0 ? klvs_vip_word(key, value.vip_id) : 0;
}

void Director::Spread(std::string_view vip, std::string_view network, uint32_t flags,
                      uint64_t claim_until) {
  const size_t slash = network.find('/');
  const std::string first(network.substr(0, slash));
  const uint32_t length = std::stoul(std::string(network.substr(slash + 1)));
  klvs_address value = {};
  value.vip_id = VipId(vip);
  value.flags = flags;
  value.claim_until = claim_until;
  value.ifindex = ifindex_;
  value.prefix_length = length;
  const auto move = [&](const char* addresses, const auto& own, const char* networks,
                        const auto& key) {
    bpf_map__delete_elem(Find(addresses), &own, sizeof own, 0);
    Check(
        bpf_map__update_elem(Find(networks), &key, sizeof key, &value, sizeof value, BPF_ANY) == 0,
        networks);
  };
  if (IsIpv6(vip)) {
    LoadIpv6();
    move("klvs_addresses6", Ip6(vip), "klvs_networks6", klvs_network_key6{length, Ip6(first)});
  } else {
    settings().vips[klvs_vip_slot(htonl(Ip(vip)))] = 0;
    move("klvs_addresses", htonl(Ip(vip)), "klvs_networks",
         klvs_network_key{length, htonl(Ip(first))});
  }
  settings().flags |= KLVS_SETTING_NETWORKS;
}

void Director::Add(const Service& service, const Start& start) {
  SetAddress(service.vip, KLVS_ADDRESS_VIP);
  Replace(service, start);
}

void Director::Replace(const Service& service, const Start& start) {
  klvs_service value = {};
  value.id = service.id;
  value.scheduler = service.scheduler;
  value.flags = service.flags;
  value.generation = ++generations_[service.id];
  value.list_base = next_list_;
  value.list_count = service.reals.size();
  value.wrr_gcd = 0;
  value.start_weight = start.start_weight;
  value.start_position = start.start_position;
  value.delivers = service.delivers;
  value.local = service.local;
  if (service.template_seconds != 0) {
    value.flags |= KLVS_SERVICE_PERSISTENT;
    value.template_seconds = service.template_seconds;
    value.template_prefix = service.template_prefix;
  }
  uint32_t greatest = 0;
  for (size_t i = 0; i < service.reals.size(); ++i) {
    const Real& r = service.reals[i];
    const uint32_t id = service.first_real + i;
    klvs_real& record = real(id);
    record = {};
    record.flags = r.flags;
    if (IsIpv6(r.address)) {
      record.flags |= KLVS_REAL_IPV6;
      real6(id) = {Ip6(r.address), Ip6(r.address), Ip6("2001:db8:1::254"), {}};
    } else {
      record.address = htonl(Ip(r.address));
      record.next_hop = record.address;
      record.source = htonl(Ip("10.1.0.254"));
    }
    record.port = htons(r.port);
    record.method = service.method;
    record.gue_port = htons(service.gue_port);
    record.weight = r.weight;
    record.ifindex = ifindex_;
    record.mtu = 1500;
    std::copy(kRealMac.begin(), kRealMac.end(), record.dst_mac);
    std::copy(kOwnMac.begin(), kOwnMac.end(), record.src_mac);
    record.service = service.id;
    record.upper_threshold = r.upper;
    record.lower_threshold = r.lower;
    if (r.upper != 0) value.flags |= KLVS_SERVICE_THRESHOLDS;
    lists()[next_list_++] = {id, r.weight};
    value.wrr_gcd = std::gcd(value.wrr_gcd, r.weight);
    greatest = std::max(greatest, r.weight);
  }
  if (greatest > 0) value.wrr_max = greatest - value.wrr_gcd + 1;
  if (value.wrr_gcd == 0) value.wrr_gcd = 1;
  value.table_base = service.table;
  if (service.scheduler == KLVS_SCHEDULER_MH) value.table_size = 4093;
  if (service.scheduler == KLVS_SCHEDULER_SH || service.scheduler == KLVS_SCHEDULER_DH) {
    value.table_size = KLVS_HASH_BUCKETS;
  }

  if (service.last_port != 0) return ReplaceWide(service, value);
  klvs_service_key key = {};
  key.vip_id = VipId(service.vip);
  key.port = htons(service.port);
  key.protocol = service.protocol;
  Check(bpf_map__update_elem(Find("klvs_services"), &key, sizeof key, &value, sizeof value,
                             BPF_ANY) == 0,
        "klvs_services");
}

void Director::ForgetWide(const Service& service) {
  const klvs_wide_key key = WideKey(service);
  Check(bpf_map__delete_elem(Find("klvs_wide_services"), &key, sizeof key, 0) == 0,
        "klvs_wide_services");
}

void Director::ReplaceWide(const Service& service, const klvs_service& value) {
  const klvs_wide_key key = WideKey(service);
  Check(bpf_map__update_elem(Find("klvs_wide_services"), &key, sizeof key, &value, sizeof value,
                             BPF_ANY) == 0,
        "klvs_wide_services");
  for (const klvs_port_key& block : BlocksOf(key)) {
    const klvs_port_owner owner = {key, block.prefix_length};
    Check(bpf_map__update_elem(Find("klvs_ports"), &block, sizeof block, &owner, sizeof owner,
                               BPF_ANY) == 0,
          "klvs_ports");
  }
}

Outcome Director::Test(bpf_program* program, const Bytes& frame, Stage stage,
                       uint32_t gso_size) {
  Outcome outcome;
  outcome.frame.resize(frame.size() + 256);
  xdp_md xdp = {};
  __sk_buff skb = {};
  bpf_test_run_opts opts = {};
  opts.sz = sizeof opts;
  opts.data_in = frame.data();
  opts.data_size_in = frame.size();
  opts.data_out = outcome.frame.data();
  opts.data_size_out = outcome.frame.size();
  opts.repeat = 1;
  if (stage == Stage::kXdp) {
    xdp.data_end = frame.size();
    xdp.ingress_ifindex = ifindex_;
    opts.ctx_in = &xdp;
    opts.ctx_size_in = sizeof xdp;
  } else {
    skb.ifindex = ifindex_;
    skb.gso_size = gso_size;
    if (gso_size != 0) skb.gso_segs = static_cast<uint32_t>(frame.size() / gso_size + 1);
    opts.ctx_in = &skb;
    opts.ctx_size_in = sizeof skb;
  }
  const int error = programs_->network().In(
      [&] { return bpf_prog_test_run_opts(bpf_program__fd(program), &opts); });
  Check(error == 0, "test run of a frame of " + std::to_string(frame.size()) + " bytes");
  outcome.frame.resize(opts.data_size_out);
  outcome.nanoseconds = opts.duration;
  outcome.verdict = stage == Stage::kXdp ? FromXdp(opts.retval) : FromTc(opts.retval);
  return outcome;
}

Outcome Director::Run(const Bytes& frame) {
  if (stage_ == Stage::kXdp) return Test(programs_->xdp().progs.xdp_director, frame, Stage::kXdp);
  return RunTc(frame);
}

Outcome Director::RunTc(const Bytes& frame, uint32_t gso_size) {
  return Test(programs_->tc().progs.tc_director, frame, Stage::kTc, gso_size);
}

Outcome Director::RunBoth(const Bytes& frame) {
  const Outcome out = Run(frame);
  if (stage_ != Stage::kXdp || out.verdict != Verdict::kUntouched) return out;
  return RunTc(frame);
}

uint32_t Director::NanosecondsOf(int program, Bytes frame, uint32_t repeat) {
  xdp_md xdp = {};
  xdp.data_end = static_cast<uint32_t>(frame.size());
  xdp.ingress_ifindex = ifindex_;
  bpf_test_run_opts opts = {};
  opts.sz = sizeof opts;
  opts.data_in = frame.data();
  opts.data_size_in = static_cast<uint32_t>(frame.size());
  opts.ctx_in = &xdp;
  opts.ctx_size_in = sizeof xdp;
  opts.repeat = static_cast<int>(repeat);
  Check(programs_->network().In([&] { return bpf_prog_test_run_opts(program, &opts); }) == 0,
        "repeated test runs");
  Check(opts.retval == XDP_TX, "the last of the repeated packets is sent");
  return opts.duration;
}

int Director::xdp_program() const {
  return bpf_program__fd(programs_->xdp().progs.xdp_director);
}

Outcome Director::RunReply(const Bytes& frame) {
  const bool ipv6 = frame.size() > 12 && frame[12] == 0x86;
  return Test(ipv6 ? programs_->tc6().progs.tc_reply6 : programs_->tc().progs.tc_reply, frame,
              Stage::kTc);
}

Outcome Director::RunDecap(const Bytes& frame) {
  return Test(programs_->node().progs.tc_decap, frame, Stage::kTc);
}

Outcome Director::RunMssClamp(const Bytes& frame) {
  return Test(programs_->node().progs.tc_mss_clamp, frame, Stage::kTc);
}

std::vector<klvs_conn*> Director::Entries(bool reply) {
  std::vector<klvs_conn*> out;
  for (klvs_conn_set& set : conns()) {
    for (klvs_conn& c : set.ways) {
      const uint32_t flags = KLVS_CTL_FLAGS(c.ctl);
      if (flags & KLVS_CONN_LIVE && ((flags & KLVS_CONN_REPLY) != 0) == reply) out.push_back(&c);
    }
  }
  return out;
}

klvs_conn& Director::Connection() {
  const std::vector<klvs_conn*> all = Entries();
  Check(all.size() == 1, "exactly one connection, found " + std::to_string(all.size()));
  return *all[0];
}

std::span<klvs_conn_set6> Director::conns6() {
  LoadIpv6();
  return Map<klvs_conn_set6>("klvs_conns6");
}

ConnTables Director::conn_tables() {
  ConnTables out = {.sets = conns(), .tags = Map<klvs_set_tags>("klvs_conn_tags"), .sets6 = {},
                    .tags6 = {}};
  out.sets6 = conns6();
  out.tags6 = Map<klvs_set_tags>("klvs_conn_tags6");
  return out;
}

void Director::ForgetConnections() {
  std::ranges::fill(conns(), klvs_conn_set{});
  std::ranges::fill(Map<klvs_set_tags>("klvs_conn_tags"), klvs_set_tags{});
}

std::vector<klvs_conn6*> Director::Entries6(bool reply) {
  std::vector<klvs_conn6*> out;
  for (klvs_conn_set6& set : conns6()) {
    for (klvs_conn6& c : set.ways) {
      const uint32_t flags = KLVS_CTL_FLAGS(c.ctl);
      if (flags & KLVS_CONN_LIVE && ((flags & KLVS_CONN_REPLY) != 0) == reply) out.push_back(&c);
    }
  }
  return out;
}

klvs_conn6& Director::Connection6() {
  const std::vector<klvs_conn6*> all = Entries6();
  Check(all.size() == 1, "exactly one connection, found " + std::to_string(all.size()));
  return *all[0];
}

void Director::ExpireAll() {
  for (klvs_conn* c : Entries()) c->expires = 0;
  if (!programs_->has_ipv6()) return;
  for (klvs_conn6* c : Entries6()) c->expires = 0;
}

std::pair<bpf_map*, Bytes> Director::TemplateKey(uint32_t service, std::string_view client) {
  const auto bytes = [](const auto& key) {
    const auto* begin = reinterpret_cast<const uint8_t*>(&key);
    return Bytes(begin, begin + sizeof key);
  };
  if (IsIpv6(client)) {
    LoadIpv6();
    return {Find("klvs_templates6"), bytes(klvs_template_key6{service, Ip6(client)})};
  }
  return {Find("klvs_templates"), bytes(klvs_template_key{service, htonl(Ip(client))})};
}

std::optional<klvs_template> Director::Template(uint32_t service, std::string_view client) {
  const auto [map, key] = TemplateKey(service, client);
  klvs_template out = {};
  if (bpf_map__lookup_elem(map, key.data(), key.size(), &out, sizeof out, 0) != 0) {
    return std::nullopt;
  }
  return out;
}

bool Director::SetTemplate(uint32_t service, std::string_view client, const klvs_template& value) {
  const auto [map, key] = TemplateKey(service, client);
  return bpf_map__update_elem(map, key.data(), key.size(), &value, sizeof value, BPF_ANY) == 0;
}

uint32_t Director::Templates(uint32_t real) {
  const uint64_t both = Map<uint64_t>("klvs_real_templates")[real];
  return static_cast<uint32_t>(both);
}

klvs_counters Director::Sum(const char* name, uint32_t id) {
  std::vector<klvs_counters> each(libbpf_num_possible_cpus());
  Check(bpf_map__lookup_elem(Find(name), &id, sizeof id, each.data(), each.size() * sizeof each[0],
                             0) == 0,
        name);
  klvs_counters sum = {};
  for (const klvs_counters& c : each) {
    sum.packets += c.packets;
    sum.bytes += c.bytes;
    sum.connections += c.connections;
    sum.reply_packets += c.reply_packets;
    sum.reply_bytes += c.reply_bytes;
  }
  return sum;
}

klvs_counters Director::ServiceCounters(uint32_t id) { return Sum("klvs_service_counters", id); }
klvs_counters Director::RealCounters(uint32_t id) { return Sum("klvs_real_counters", id); }

std::map<std::string, uint64_t> Director::Drops() {
  std::map<std::string, uint64_t> out;
  for (uint32_t reason = 0; reason < KLVS_DROP_SLOTS; ++reason) {
    std::vector<uint64_t> each(libbpf_num_possible_cpus());
    Check(bpf_map__lookup_elem(Find("klvs_drops"), &reason, sizeof reason, each.data(),
                               each.size() * sizeof each[0], 0) == 0,
          "klvs_drops");
    const uint64_t sum = std::accumulate(each.begin(), each.end(), uint64_t{0});
    if (sum != 0) out[DropReasonName(reason)] = sum;
  }
  return out;
}

std::array<uint64_t, KLVS_DROP_SLOTS> Director::DropCounts() {
  const size_t cpus = libbpf_num_possible_cpus();
  std::array<uint32_t, KLVS_DROP_SLOTS> keys;
  std::vector<uint64_t> each(cpus * keys.size());
  uint32_t count = keys.size(), position = 0;
  bpf_map_batch_opts opts = {};
  opts.sz = sizeof opts;
  const int error = bpf_map_lookup_batch(bpf_map__fd(Find("klvs_drops")), nullptr, &position,
                                         keys.data(), each.data(), &count, &opts);
  Check((error == 0 || error == -ENOENT) && count == keys.size(), "klvs_drops");
  std::array<uint64_t, KLVS_DROP_SLOTS> out = {};
  for (size_t i = 0; i < each.size(); ++i) out[keys[i / cpus]] += each[i];
  return out;
}

klvs_clock Director::Now() {
  klvs_clock clock = {};
  bpf_test_run_opts opts = {};
  opts.sz = sizeof opts;
  opts.ctx_in = &clock;
  opts.ctx_size_in = sizeof clock;
  Check(bpf_prog_test_run_opts(bpf_program__fd(programs_->tc().progs.klvs_clock), &opts) == 0,
        "klvs_clock");
  return clock;
}

void Director::AwaitTick() {
  const uint64_t then = Now().jiffies;
  while (Now().jiffies == then) {
  }
}

uint32_t Director::Sweep() {
  const Bytes frame(64);
  __sk_buff skb = {};
  skb.cb[0] = 0;
  skb.cb[1] = settings().conn_sets;
  bpf_test_run_opts opts = {};
  opts.sz = sizeof opts;
  opts.data_in = frame.data();
  opts.data_size_in = frame.size();
  opts.ctx_in = &skb;
  opts.ctx_size_in = sizeof skb;
  Check(bpf_prog_test_run_opts(bpf_program__fd(programs_->tc().progs.klvs_sweep), &opts) == 0,
        "klvs_sweep");
  const uint32_t swept = opts.retval;
  if (!programs_->has_ipv6()) return swept;
  Check(bpf_prog_test_run_opts(bpf_program__fd(programs_->tc6().progs.klvs_sweep6), &opts) == 0,
        "klvs_sweep6");
  return swept + opts.retval;
}

void Director::AddTunnelPeer(std::string_view director, std::string_view vip) {
  node_tc& node = programs_->node();
  const uint32_t value = 1;
  if (const auto slash = vip.find('/'); slash != std::string_view::npos) {
    const auto length = static_cast<uint32_t>(std::stoi(std::string(vip.substr(slash + 1))));
    vip = vip.substr(0, slash);
    const klvs_tunnel_net6 net6 = IsIpv6(vip)
                                      ? klvs_tunnel_net6{128 + length, {Ip6(director), Ip6(vip)}}
                                      : klvs_tunnel_net6{};
    const klvs_tunnel_net net =
        IsIpv6(vip) ? klvs_tunnel_net{}
                    : klvs_tunnel_net{32 + length, {htonl(Ip(director)), htonl(Ip(vip))}};
    bpf_map* map = IsIpv6(vip) ? node.maps.klvs_tunnel_nets6 : node.maps.klvs_tunnel_nets;
    const void* key = IsIpv6(vip) ? static_cast<const void*>(&net6) : &net;
    Check(
        bpf_map__update_elem(map, key, bpf_map__key_size(map), &value, sizeof value, BPF_ANY) == 0,
        "klvs_tunnel_nets");
    return;
  }
  if (IsIpv6(vip)) {
    const klvs_tunnel_peer6 key = {Ip6(director), Ip6(vip)};
    Check(bpf_map__update_elem(node.maps.klvs_tunnel_peers6, &key, sizeof key, &value, sizeof value,
                               BPF_ANY) == 0,
          "klvs_tunnel_peers6");
    return;
  }
  const klvs_tunnel_peer key = {htonl(Ip(director)), htonl(Ip(vip))};
  Check(bpf_map__update_elem(node.maps.klvs_tunnel_peers, &key, sizeof key, &value, sizeof value,
                             BPF_ANY) == 0,
        "klvs_tunnel_peers");
}

void Director::AddGuePeer(std::string_view director, std::string_view vip, std::string_view real,
                          uint16_t port) {
  node_tc& node = programs_->node();
  const uint32_t value = 1;
  const bool ipv6 = IsIpv6(vip);
  uint32_t length = ipv6 ? 128 : 32;
  if (const auto slash = vip.find('/'); slash != std::string_view::npos) {
    length = static_cast<uint32_t>(std::stoi(std::string(vip.substr(slash + 1))));
    vip = vip.substr(0, slash);
  }
  if (ipv6) {
    const klvs_gue_peer6 peer = {KLVS_GUE_BITS6 + length,
                                 {Ip6(director), Ip6(real), htons(port), 0, Ip6(vip)}};
    Check(bpf_map__update_elem(node.maps.klvs_gue_peers6, &peer, sizeof peer, &value, sizeof value,
                               BPF_ANY) == 0,
          "klvs_gue_peers6");
    return;
  }
  const klvs_gue_peer peer = {
      KLVS_GUE_BITS + length,
      {htonl(Ip(director)), htonl(Ip(real)), htons(port), 0, htonl(Ip(vip))}};
  Check(bpf_map__update_elem(node.maps.klvs_gue_peers, &peer, sizeof peer, &value, sizeof value,
                             BPF_ANY) == 0,
        "klvs_gue_peers");
}

void Director::AddMssClamp(std::string_view vip, uint32_t mss) {
  node_tc& node = programs_->node();
  if (const auto slash = vip.find('/'); slash != std::string_view::npos) {
    const auto length = static_cast<uint32_t>(std::stoi(std::string(vip.substr(slash + 1))));
    vip = vip.substr(0, slash);
    const klvs_mss_net6 net6 = IsIpv6(vip) ? klvs_mss_net6{length, Ip6(vip)} : klvs_mss_net6{};
    const klvs_mss_net net = IsIpv6(vip) ? klvs_mss_net{} : klvs_mss_net{length, htonl(Ip(vip))};
    bpf_map* map = IsIpv6(vip) ? node.maps.klvs_mss_nets6 : node.maps.klvs_mss_nets;
    const void* key = IsIpv6(vip) ? static_cast<const void*>(&net6) : &net;
    Check(bpf_map__update_elem(map, key, bpf_map__key_size(map), &mss, sizeof mss, BPF_ANY) == 0,
          "klvs_mss_nets");
    return;
  }
  if (IsIpv6(vip)) {
    const klvs_in6 key = Ip6(vip);
    Check(bpf_map__update_elem(node.maps.klvs_mss_clamps6, &key, sizeof key, &mss, sizeof mss,
                               BPF_ANY) == 0,
          "klvs_mss_clamps6");
    return;
  }
  const __be32 key = htonl(Ip(vip));
  Check(bpf_map__update_elem(node.maps.klvs_mss_clamps, &key, sizeof key, &mss, sizeof mss,
                             BPF_ANY) == 0,
        "klvs_mss_clamps");
}

Frame ClientFrame(std::string_view client, uint16_t sport, std::string_view vip, uint16_t dport) {
  Frame frame;
  frame.dst_mac = kOwnMac;
  frame.src_mac = kClientMac;
  frame.src = Ip(client);
  frame.dst = Ip(vip);
  frame.sport = sport;
  frame.dport = dport;
  return frame;
}

Frame6 ClientFrame6(std::string_view client, uint16_t sport, std::string_view vip, uint16_t dport) {
  Frame6 frame;
  frame.dst_mac = kOwnMac;
  frame.src_mac = kClientMac;
  frame.src = client;
  frame.dst = vip;
  frame.sport = sport;
  frame.dport = dport;
  return frame;
}

}  // namespace kube_lvs::ebpf
