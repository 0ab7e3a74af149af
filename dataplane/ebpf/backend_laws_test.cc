// Laws of the backend under failing calls and crashes, on maps in memory.
#include <chrono>
#include <iostream>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "dataplane/ebpf/backend.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/service_map.h"
#include "dataplane/ebpf/testing/fake_maps.h"
#include "dataplane/ebpf/testing/fake_network.h"
#include "dataplane/model/schedulers.h"
#include "dataplane/plan/diff.h"
#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

class EbpfLaws : public testing::Test {
 protected:
  EbpfLaws() : seed_(std::random_device{}()), random_(seed_) {
    std::cout << "seed " << seed_ << "\n";
    // Tables of services that are gone rest; no round may want for one.
    MakeMaps(maps_, {.tables = 163840});
    network_.AddLink(2, "eth0");
    for (uint8_t host = 1; host < 8; ++host) {
      network_.AddRoute(Ip("10.0.0." + std::to_string(host)), 2, Ip("10.0.0.250"), host);
    }
    Start();
  }

  void Start() {
    backend_.reset();
    auto backend = EbpfBackend::Adopt(maps_, programs_, network_, clock_);
    ASSERT_TRUE(backend.ok()) << backend.status();
    backend_ = *std::move(backend);
  }

  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }

  State RandomState() {
    State out;
    for (uint32_t i = Below(5); i > 0; --i) {
      const uint16_t port = static_cast<uint16_t>(80 + Below(2));
      const IpAddress vip = Ip("192.0.2." + std::to_string(1 + Below(3)));
      ServiceKey key{Dataplane::kEbpf, Endpoint{vip, port}, Protocol::kTcp};
      // They may overlap: while one takes the other's place, both are there.
      const bool wide = Below(3) == 0;
      if (wide && Below(3) == 0) {
        key.match = AllPorts{vip};
      } else if (wide) {
        // Few, for each start begins the rest of ids anew.
        static constexpr std::pair<uint16_t, uint16_t> kRanges[] = {
            {90, 99}, {90, 93}, {92, 103}, {64, 127}, {96, 97}};
        const auto& [first, last] = kRanges[Below(5)];
        key.match = PortRange{vip, first, last};
      }
      if (Below(4) == 0) {
        // Two that overlap, and the single ones.
        const Cidr vips = {Ip("192.0.2.0"), Below(2) == 0 ? 24 : 30};
        const auto* range = std::get_if<PortRange>(&key.match);
        if (range != nullptr) {
          key.match = Prefix{vips, range->first, range->last};
        } else {
          key.match = wide ? Prefix{vips} : Prefix{vips, port, port};
        }
      }
      VirtualService service;
      service.config.scheduler = kSchedulers[Below(kSchedulers.size())];
      if (std::holds_alternative<Prefix>(key.match) &&
          service.config.scheduler.starts_with("lblc")) {
        service.config.scheduler = "dh";
      }
      if (TakesHashFlags(service.config.scheduler)) {
        service.config.hash = {Below(2) == 0, Below(2) == 0};
      }
      service.config.source_nat = Below(2) == 0;
      std::set<Endpoint> used;
      for (uint32_t n = Below(5); n > 0; --n) {
        RealServer real;
        real.at = {Ip("10.0.0." + std::to_string(1 + Below(7))), wide ? uint16_t{0} : port};
        real.method = static_cast<ForwardingMethod>(Below(3));
        real.weight = Below(4);
        if (Below(3) == 0) {
          real.upper_threshold = 1 + Below(4);
          real.lower_threshold = Below(real.upper_threshold + 1);
        }
        if (used.insert(real.at).second) service.reals.push_back(real);
      }
      SortCanonically(service.reals);
      out.services[key] = service;
    }
    if (Below(2) == 0) out.items.insert(Attachment{"eth0"});
    if (Below(2) == 0) {
      out.items.insert(AnsweredVip{Dataplane::kEbpf, Ip("192.0.2.1"), "eth0"});
    }
    if (Below(2) == 0) {
      out.items.insert(AnsweredVip{Dataplane::kEbpf, Ip("192.0.2.0"), "eth0", 30});
    }
    if (Below(2) == 0) out.items.insert(MssClamp{Ip("192.0.2.1"), 1400});
    return out;
  }

  // Ports that a service shall take from a larger one come to it after it is there.
  static State WithoutReach(State state) {
    for (auto& [key, service] : state.services) service.config.unreached = false;
    return state;
  }

  // Programs open and close connections meanwhile.
  void Traffic() {
    const auto conns = GetArray<klvs_real_conns>(maps_, kRealConnsMap).value();
    const auto reals = GetArray<klvs_real>(maps_, kRealsMap).value();
    for (uint32_t id = 1; id < reals.size(); ++id) {
      if ((reals[id].flags & KLVS_REAL_VALID) != 0) conns[id].active = Below(3) == 0 ? 1 : 0;
    }
  }

  // What every packet relies on: a visible service's list and table name valid records of its own.
  void ExpectSound() {
    const auto services = GetServices(maps_).value();
    const auto reals = GetArray<klvs_real>(maps_, kRealsMap).value();
    const auto lists = GetArray<klvs_list_entry>(maps_, kListsMap).value();
    const auto tables = GetArray<TableCell>(maps_, kTablesMap).value();
    for (const auto& [key, service] : services) {
      bool limited = false;
      for (const auto& entry : lists.subspan(service.list_base, service.list_count)) {
        ASSERT_EQ(reals[entry.real].flags & (KLVS_REAL_VALID | KLVS_REAL_REMOVED), KLVS_REAL_VALID);
        ASSERT_EQ(reals[entry.real].service, service.id);
        limited = limited || reals[entry.real].upper_threshold != 0;
      }
      ASSERT_EQ((service.flags & KLVS_SERVICE_THRESHOLDS) != 0, limited);
      for (const auto& cell : tables.subspan(service.table_base, service.table_size)) {
        if (cell.real == 0) continue;
        ASSERT_EQ(reals[cell.real].flags & (KLVS_REAL_VALID | KLVS_REAL_REMOVED), KLVS_REAL_VALID);
        ASSERT_EQ(reals[cell.real].service, service.id);
      }
    }
  }

  void ApplyOnce(const State& desired) {
    const auto actual = backend_->Read();
    ASSERT_TRUE(actual.ok()) << actual.status();
    said_.clear();
    for (const absl::Status& status : backend_->Apply(Diff(desired, *actual).steps)) {
      if (!status.ok()) said_ += status.ToString() + "\n";
    }
    ExpectSound();
  }

  void ExpectNothingLeaked() {
    maps_.fault = nullptr;
    const auto conns = GetArray<klvs_real_conns>(maps_, kRealConnsMap).value();
    std::ranges::fill(conns, klvs_real_conns{});
    ApplyOnce(State{});
    EXPECT_EQ(*backend_->Read(), State{});
    for (int i = 0; i < 2; ++i) {
      clock_.Advance(std::chrono::seconds(1));
      ASSERT_TRUE(backend_->Refresh().ok());
    }
    EXPECT_EQ(backend_->Fill().at("services"), 0.0);
    EXPECT_EQ(backend_->Fill().at("real_servers"), 0.0);
    EXPECT_TRUE((GetAll<__be32, klvs_address>(maps_, kAddressesMap)->empty()));
    EXPECT_TRUE(maps_.Dump(kPortsMap)->empty());
    EXPECT_TRUE(maps_.Dump(kNetworksMap)->empty());
    EXPECT_EQ(GetArray<klvs_settings>(maps_, kSettingsMap).value()[0].flags & KLVS_SETTING_NETWORKS,
              0U);
    // Freed runs go back when the next one is asked for.
    Start();
    EXPECT_EQ(backend_->Fill().at("lists"), 0.0);
    EXPECT_EQ(backend_->Fill().at("tables"), 0.0);
  }

  std::string said_;  // what went wrong in the last ApplyOnce
  uint32_t seed_;
  std::mt19937 random_;
  FakeMapStore maps_;
  FakePrograms programs_;
  FakeNetwork network_;
  FakeClock clock_;
  std::unique_ptr<EbpfBackend> backend_;
};

TEST_F(EbpfLaws, ItHealsWhateverShareOfCallsFails) {
  for (int round = 0; round < 60; ++round) {
    const State desired = RandomState();
    maps_.fault = [this](std::string_view map) {
      return Below(10) == 0 ? absl::UnavailableError("fault on " + std::string(map))
                            : absl::OkStatus();
    };
    for (int attempt = 0; attempt < 300 && *backend_->Read() != desired; ++attempt) {
      Traffic();
      ApplyOnce(desired);
      if (HasFatalFailure()) return;
      clock_.Advance(std::chrono::milliseconds(300));
    }
    ASSERT_EQ(*backend_->Read(), desired) << "round " << round;
  }
  ExpectNothingLeaked();
}

TEST_F(EbpfLaws, ACrashAtAnyWriteIsRepairedAtTheNextStart) {
  for (int round = 0; round < 200; ++round) {
    const State desired = RandomState();
    int left = static_cast<int>(Below(12));
    maps_.fault = [&left](std::string_view) {
      return left-- > 0 ? absl::OkStatus() : absl::InternalError("dead");
    };
    Traffic();
    ApplyOnce(desired);
    if (HasFatalFailure()) return;
    maps_.fault = nullptr;
    Start();
    if (HasFatalFailure()) return;
    ExpectSound();
    ApplyOnce(desired);
    ASSERT_EQ(*backend_->Read(), desired) << "round " << round << "\n"
                                          << ToString(Diff(desired, *backend_->Read())) << said_;
    clock_.Advance(std::chrono::milliseconds(400));
  }
  ExpectNothingLeaked();
}

TEST_F(EbpfLaws, AServiceIsAsBeforeOrAsWantedWheneverItFails) {
  for (int round = 0; round < 100; ++round) {
    const State before = WithoutReach(*backend_->Read());
    const State desired = RandomState();
    maps_.fault = [this](std::string_view) {
      return Below(4) == 0 ? absl::UnavailableError("fault") : absl::OkStatus();
    };
    std::vector<Step> steps;
    for (const auto& [key, service] : desired.services) {
      if (before.services.contains(key)) {
        steps.push_back(RemoveService{key});
      }
      steps.push_back(AddService{key, service.config});
      for (const RealServer& real : service.reals) steps.push_back(AddReal{key, real});
    }
    backend_->Apply(steps);
    ExpectSound();
    maps_.fault = nullptr;
    const State after = WithoutReach(*backend_->Read());
    for (const auto& [key, service] : desired.services) {
      const auto now = after.services.find(key);
      const auto was = before.services.find(key);
      if (now == after.services.end()) {
        EXPECT_EQ(was, before.services.end());
      } else if (now->second != service) {
        ASSERT_NE(was, before.services.end());
        EXPECT_EQ(now->second, was->second);
      }
    }
    clock_.Advance(std::chrono::milliseconds(500));
  }
}

}  // namespace
}  // namespace kube_lvs::ebpf
