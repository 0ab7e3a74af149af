#include "dataplane/ebpf/traffic/traffic_test.h"

#include <poll.h>

#include <algorithm>
#include <utility>

#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/testing/xdp.h"

namespace kube_lvs::ebpf {

TrafficTest::TrafficTest()
    : site_(Site::Of(GetParam())),
      vip_(site_.Vip(site_.NextTest())),
      before_(ReadAll()),
      drops_before_(AllDrops()) {}

void TrafficTest::TearDown() {
  std::ranges::reverse(to_remove_);
  Apply(site_.director(), Director(), to_remove_);
  for (const auto& [n, item] : of_reals_to_remove_) {
    Apply(site_.real(n), site_.of_reals()[static_cast<size_t>(n - 1)], {RemoveItem{item}});
  }
  std::ranges::reverse(undos_);
  for (const Undo& undo : undos_) undo.where->Sh(undo.command);
  EXPECT_EQ(ReadAll(), before_) << "the test left something behind";
  EXPECT_EQ(site_.director().In([] { return XdpProgramId("eth0"); }), 0U);
}

RealServer TrafficTest::RealOf(int n, uint16_t port) const {
  RealServer out;
  out.at = {site_.Real(n), port};
  out.method = GetParam().method;
  out.tunnel = tunnel_;
  return out;
}

void TrafficTest::Do(const Namespace& where, const std::string& command, const std::string& undo) {
  where.Sh(command);
  undos_.push_back({&where, undo});
}

void TrafficTest::OwnVip(int n) {
  Do(site_.real(n), "ip addr add " + vip_.ToString() + " dev lo" + (IsV4() ? "" : " nodad"),
     "ip addr del " + vip_.ToString() + "/" + std::to_string(vip_.Bits()) + " dev lo");
}

void TrafficTest::Direct(const std::vector<Step>& steps) {
  Apply(site_.director(), Director(), steps);
  for (const Step& step : steps) {
    if (const auto* service = std::get_if<AddService>(&step)) {
      to_remove_.push_back(RemoveService{service->key});
    } else if (const auto* item = std::get_if<AddItem>(&step)) {
      to_remove_.push_back(RemoveItem{item->item});
    }
  }
}

void TrafficTest::Unpack(const Cidr& vips, bool clamp) {
  if (!Tunnel()) return;
  const int length = vips.IsHost() ? 0 : vips.length;
  const bool gue = tunnel_.type == TunnelType::kGue;
  for (const int n : {1, 2}) {
    std::vector<NodeItem> items = {
        TunnelPeer{*IpAddress::Parse(At().director_in), vips.address, length,
                   gue ? Endpoint{site_.Real(n), tunnel_.port} : Endpoint{}}};
    const auto mss = static_cast<uint16_t>(At().clamp - (gue ? 12 : 0));
    if (clamp) items.push_back(MssClamp{vips.address, mss, length});
    for (const NodeItem& item : items) {
      Apply(site_.real(n), site_.of_reals()[static_cast<size_t>(n - 1)], {AddItem{item}});
      of_reals_to_remove_.emplace_back(n, item);
    }
  }
}

uint32_t TrafficTest::Overhead() const {
  if (!Tunnel()) return 0;
  return (IsV4() ? 20 : 40) + (tunnel_.type == TunnelType::kGue ? 12 : 0);
}

void TrafficTest::Serve(const ServiceKey& key, uint16_t real_port, const std::vector<int>& reals) {
  ServiceConfig config;
  config.scheduler = "rr";
  config.source_nat = SourceNat();
  const Cidr vips = VipsOf(key).value();
  std::vector<Step> steps = {
      AddItem{Attachment{"eth0"}},
      AddItem{AnsweredVip{Dataplane::kEbpf, vips.address, "eth0", vips.IsHost() ? 0 : vips.length}},
      AddService{key, config}};
  for (const int n : reals) steps.push_back(AddReal{key, RealOf(n, real_port)});
  Direct(steps);
}

void TrafficTest::ServeAlone(const ServiceKey& key, uint16_t real_port,
                             const std::vector<int>& reals) {
  Serve(key, real_port, reals);
  if (!Xdp()) return;
  AwaitNeighbours(reals.size());
  site_.director().Sh("tc filter del dev eth0 ingress");
}

ServiceKey TrafficTest::ServeAlone(Protocol protocol) {
  Unpack(Cidr::Host(vip_), true);
  const ServiceKey key = KeyOf(protocol);
  ServeAlone(key, RealPort());
  return key;
}

size_t TrafficTest::RealsOfXdp() {
  const auto records = GetArray<klvs_real>(*Director().objects.maps, kRealsMap).value();
  return static_cast<size_t>(std::ranges::count_if(records, [](const klvs_real& real) {
    return (real.flags & (KLVS_REAL_L2 | KLVS_REAL_REMOVED)) == KLVS_REAL_L2;
  }));
}

void TrafficTest::AwaitNeighbours(size_t reals) {
  for (int round = 0; round < 50; ++round) {
    ASSERT_TRUE(site_.director().In([&] { return Director().backend->Refresh(); }).ok());
    if (RealsOfXdp() == reals) return;
    pollfd wait{.fd = Director().backend->fd(), .events = POLLIN, .revents = 0};
    poll(&wait, 1, 200);
  }
  FAIL() << "the neighbours of the director were not resolved";
}

Stats TrafficTest::ReadStats() {
  const auto stats = site_.director().In([&] { return Director().backend->ReadStats(); });
  EXPECT_TRUE(stats.ok()) << stats.status();
  return stats.ok() ? *stats : Stats{};
}

std::map<std::string, uint64_t> TrafficTest::AllDrops() {
  return site_.director().In([&] { return Director().backend->ReadDrops().value(); });
}

std::map<std::string, uint64_t> TrafficTest::Drops() {
  std::map<std::string, uint64_t> out;
  for (const auto& [reason, count] : AllDrops()) {
    const uint64_t since = count - drops_before_.at(reason);
    if (since != 0) out[reason] = since;
  }
  return out;
}

State TrafficTest::Read(const Namespace& where, EbpfDataplane& dataplane) {
  return where.In([&] { return dataplane.backend->Read().value(); });
}

std::vector<State> TrafficTest::ReadAll() {
  std::vector<State> out = {Read(site_.director(), Director())};
  for (size_t i = 0; i < site_.of_reals().size(); ++i) {
    out.push_back(Read(site_.real(static_cast<int>(i) + 1), site_.of_reals()[i]));
  }
  return out;
}

namespace {
INSTANTIATE_TEST_SUITE_P(Methods, TrafficTest, testing::ValuesIn(Variants()),
                         [](const auto& info) { return ToString(info.param); });
}  // namespace

}  // namespace kube_lvs::ebpf
