#include "dataplane/ebpf/traffic/site.h"

#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>

#include "dataplane/ebpf/testing/xdp.h"

namespace kube_lvs::ebpf {
namespace {

constexpr MapSizes kSizes = {.addresses = 64,
                             .services = 64,
                             .reals = 128,
                             .list_entries = 1024,
                             .table_slots = 16384,
                             .connections = 4096};
// Of the client, from kFirstPort up: many more than connections of a test, of which the kernel
// skips some at random. Another test may have them again after kTests, and a VIP after kVips.
constexpr int kFirstPort = 20000;
constexpr int kPortsOfATest = 1000;
constexpr int kTests = 40;
constexpr int kVips = 250;

template <typename T>
T Value(absl::StatusOr<T> result) {
  if (result.ok()) return *std::move(result);
  std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
  std::abort();
}

// Each site keeps its maps open.
void AllowManyFiles() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

std::vector<Variant> Variants() {
  std::vector<Variant> out;
  for (const auto& [method, source_nat] :
       {std::pair(ForwardingMethod::kNat, false), std::pair(ForwardingMethod::kNat, true),
        std::pair(ForwardingMethod::kDirectRouting, false),
        std::pair(ForwardingMethod::kTunnel, false)}) {
    for (const bool xdp : {false, true}) {
      for (const Family family : {Family::kIpv4, Family::kIpv6}) {
        out.push_back({method, source_nat, xdp, family});
      }
    }
  }
  return out;
}

std::string ToString(const Variant& variant) {
  return ToString(variant.method) + (variant.source_nat ? "WithSourceNat" : "") +
         (variant.xdp ? "ByXdp" : "ByTc") + (variant.IsV4() ? "" : "OfIpv6");
}

const Addresses4Or6& AddressesOf(Family family) {
  static const Addresses4Or6 kV4 = {.vip = "192.0.2.",
                                    .vips = "192.0.2.0/24",
                                    .network = "198.51.100.0/28",
                                    .client = "172.16.0.2",
                                    .clients = "172.16.0.0/24",
                                    .director = "172.16.0.1",
                                    .director_in = "10.0.0.1",
                                    .real = "10.0.0.1",
                                    .far = "10.77.0.2",
                                    .router = "10.77.0.1",
                                    .fars = "10.77.0.0/24",
                                    .any = "0.0.0.0",
                                    .length = 24,
                                    .clamp = 1440};
  static const Addresses4Or6 kV6 = {.vip = "2001:db8:2::",
                                    .vips = "2001:db8:2::/64",
                                    .network = "2001:db8:51::/124",
                                    .client = "2001:db8:16::2",
                                    .clients = "2001:db8:16::/64",
                                    .director = "2001:db8:16::1",
                                    .director_in = "2001:db8:10::1",
                                    .real = "2001:db8:10::1",
                                    .far = "2001:db8:77::2",
                                    .router = "2001:db8:77::1",
                                    .fars = "2001:db8:77::/64",
                                    .any = "::",
                                    .length = 64,
                                    .clamp = 1400};
  return family == Family::kIpv4 ? kV4 : kV6;
}

void Apply(const Namespace& where, EbpfDataplane& dataplane, const std::vector<Step>& steps) {
  const auto statuses = where.In([&] { return dataplane.backend->Apply(steps); });
  for (size_t i = 0; i < steps.size(); ++i) {
    if (statuses[i].ok()) continue;
    std::fprintf(stderr, "%s: %s\n", ToString(steps[i]).c_str(), statuses[i].ToString().c_str());
    std::abort();
  }
}

Site& Site::Of(const Variant& variant) {
  static auto& sites = *new std::map<Variant, std::unique_ptr<Site>>;
  std::unique_ptr<Site>& site = sites[variant];
  if (site == nullptr) {
    AllowManyFiles();
    site = std::make_unique<Site>(variant);
  }
  return *site;
}

Site::Site(const Variant& variant)
    : variant_(variant), dir_(PrivateBpfDir("director" + ToString(variant))) {
  Connect();
  SetUpClient();
  director_.Sh(Add(at().director) + Add(at().director_in) + "ip route add " + at().fars + " via " +
               at().client);
  SetUpReals();
  if (variant_.xdp) switch_.In([] { AttachXdpPass("p-director"); });
  dataplane_ = Open(director_, dir_);
}

void Site::Connect() {
  const std::vector<std::pair<const Namespace*, std::string>> hosts = {
      {&client_, "client"}, {&director_, "director"}, {&real1_, "real1"}, {&real2_, "real2"}};
  std::string wires = "ip link add name sw0 type bridge; ip link set sw0 up; ";
  for (const auto& [host, name] : hosts) {
    wires += "ip link add name p-" + name + " type veth peer name eth0 netns " + host->path() +
             "; ip link set p-" + name + " up master sw0; ";
  }
  switch_.Sh(wires);
  client_.Sh("ip link add name eth1 type veth peer name eth0 netns " + far_.path());
  for (const Namespace* host : {&client_, &director_, &real1_, &real2_, &far_}) {
    host->Sh(
        std::string("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0 ") +
        (variant_.IsV4() ? "net.ipv6.conf.all.disable_ipv6=1; " : "; ") +
        // A veth hands on packets without checksum, which XDP cannot complete.
        (variant_.xdp ? "ethtool -K eth0 tx off >/dev/null; " : "") + "ip link set eth0 up");
  }
}

std::string Site::Add(const std::string& address, const std::string& device) const {
  return "ip addr add " + address + "/" + std::to_string(at().length) + " dev " + device +
         (variant_.IsV4() ? "; " : " nodad; ");
}

void Site::SetUpClient() {
  client_.Sh(
      "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.eth1.rp_filter=0 "
      "net.ipv6.conf.all.forwarding=1; ip link set eth1 mtu 1300 up; " +
      Add(at().client) + Add(at().router, "eth1") + "ip route add " + at().vips +
      " dev eth0; ip route add " + at().network + " dev eth0");
  far_.Sh(Add(at().far) + "ip route add default via " + at().router + " mtu 1300 advmss 1460");
}

void Site::SetUpReals() {
  for (const int n : {1, 2}) {
    std::string script = Add(Real(n).ToString());
    if (!variant_.IsNat()) {
      script +=
          "sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2; "
          "ip route add local " +
          at().vips + " dev lo; ip route add local " + at().network + " dev lo; ip route add " +
          at().clients + " dev eth0; ip route add " + at().fars + " via " + at().client +
          " dev eth0 onlink";
    } else if (!variant_.source_nat) {
      // Replies go by the director. With source NAT nobody needs a route.
      script += "ip route add default via " + at().director_in;
    }
    real(n).Sh(script);
    for (const uint16_t port : {kPort, uint16_t{kPort + 1}, kNatPort}) {
      servers_.push_back(std::make_unique<TcpServer>(
          real(n), "real" + std::to_string(n) + ":" + std::to_string(port),
          Endpoint{*IpAddress::Parse(at().any), port}));
    }
    if (variant_.method != ForwardingMethod::kTunnel) continue;
    of_reals_.push_back(
        Open(real(n), PrivateBpfDir("real" + std::to_string(n) + ToString(variant_))));
    Apply(real(n), of_reals_.back(), {AddItem{Attachment{"eth0"}}});
  }
}

EbpfDataplane Site::Open(const Namespace& where, const std::string& dir) {
  BpfOptions options;
  options.dir = dir;
  if (variant_.xdp) options.xdp_interfaces = {"eth0"};
  options.sizes = kSizes;
  return where.In([&] { return Value(OpenEbpfDataplane(options, clock_)); });
}

void Site::ReopenDataplane() {
  dataplane_ = EbpfDataplane();
  dataplane_ = Open(director_, dir_);
}

int Site::NextTest() {
  const int first = kFirstPort + tests_ % kTests * kPortsOfATest;
  client_.In([first] {
    std::ofstream("/proc/sys/net/ipv4/ip_local_port_range")
        << first << " " << first + kPortsOfATest - 1 << "\n";
  });
  return ++tests_;
}

IpAddress Site::Vip(int test) const {
  return *IpAddress::Parse(at().vip + std::to_string((test - 1) % kVips + 1));
}

IpAddress Site::Real(int n) const { return *IpAddress::Parse(at().real + std::to_string(n)); }

}  // namespace kube_lvs::ebpf
