#include "node-agent/metrics/metrics.h"

#include <gtest/gtest.h>

#include "dataplane/model/testing/fake_backend.h"

namespace kube_lvs {
namespace {

PassReport EmptyReport() {
  PassReport report;
  report.snapshot = std::make_shared<const Snapshot>();
  return report;
}

class MetricsTest : public testing::Test {
 protected:
  bool Has(const std::string& line) {
    const std::string text = metrics_.Text();
    const bool has = ("\n" + text).find("\n" + line + "\n") != std::string::npos;
    if (!has) ADD_FAILURE() << "no line\n" << line << "\nin\n" << text;
    return has;
  }
  ServiceKey Key() {
    return {Dataplane::kEbpf, Endpoint{*IpAddress::Parse("192.0.2.1"), 80}, Protocol::kTcp};
  }

  FakeBackend ebpf_{"eBPF", TakenByEbpf};
  FakeClock clock_;
  Metrics metrics_{{&ebpf_}, "1.2.3", clock_};
};

TEST_F(MetricsTest, CountersAreThereFromTheStart) {
  Has("kube_lvs_steps_total{kind=\"add_service\",result=\"failed\"} 0");
  Has("kube_lvs_drift_repaired_total 0");
  Has("kube_lvs_plan_seconds_count 0");
}

TEST_F(MetricsTest, TheDataplanesCountersAreReadWhenAskedForAndNamedByTheirService) {
  ebpf_.stats().services[Key()] = {10, 2000, 3};
  RealServerStats real;
  real.counters = {5, 600, 1};
  real.weight = 7;
  real.active_connections = 2;
  const Endpoint at = *Endpoint::Parse("10.0.0.1:8080");
  ebpf_.stats().reals[{Key(), at}] = real;
  ebpf_.stats().drops["no_service"] = 4;
  metrics_.SetCountsRepaired([] { return 9; });
  metrics_.SetTablesUsed([] { return std::map<std::string, double>{{"connections", 0.25}}; });
  metrics_.SetAttachments([] {
    return std::map<std::string, std::string>{{"eth0", ""}, {"veth1", "a veth device"}};
  });
  PassReport report = EmptyReport();
  report.origins = std::make_shared<const Owners>(Owners{{Key(), {"shop", "web", "uid", 1}}});
  report.answers = std::make_shared<const std::set<Cidr>>(
      std::set<Cidr>{*Cidr::Parse("192.0.2.1"), *Cidr::Parse("198.51.100.0/24")});
  metrics_.OnPass(report);
  const std::string service =
      "{dataplane=\"eBPF\",namespace=\"shop\",port=\"80\",protocol=\"tcp\",service=\"web\",vip="
      "\"192.0.2.1\"";
  Has("kube_lvs_service_packets_total" + service + "} 10");
  Has("kube_lvs_service_connections_total" + service + "} 3");
  Has("kube_lvs_real_server_weight" + service + ",real_server=\"10.0.0.1:8080\"} 7");
  Has("kube_lvs_real_server_active_connections" + service + ",real_server=\"10.0.0.1:8080\"} 2");
  Has("kube_lvs_drops_total{reason=\"no_service\"} 4");
  Has("kube_lvs_connection_counts_repaired_total 9");
  Has("kube_lvs_table_used_ratio{table=\"connections\"} 0.25");
  Has("kube_lvs_attachment_info{interface=\"eth0\",mode=\"xdp\",reason=\"\"} 1");
  Has("kube_lvs_attachment_info{interface=\"veth1\",mode=\"tc\",reason=\"a veth device\"} 1");
  Has("kube_lvs_answers_for_vip{vip=\"192.0.2.1\"} 1");
  Has("kube_lvs_answers_for_vip{vip=\"198.51.100.0/24\"} 1");
}

TEST_F(MetricsTest, TriedStepsAreCountedByKindAndResult) {
  PassReport report = EmptyReport();
  report.results = {{RemoveService{Key()}, absl::OkStatus()},
                    {RemoveService{Key()}, absl::UnavailableError("busy")},
                    {RemoveService{Key()}, absl::CancelledError("waits")}};
  report.drift_repaired = 2;
  metrics_.OnPass(report);
  Has("kube_lvs_steps_total{kind=\"remove_service\",result=\"ok\"} 1");
  Has("kube_lvs_steps_total{kind=\"remove_service\",result=\"failed\"} 1");
  Has("kube_lvs_drift_repaired_total 2");
}

TEST_F(MetricsTest, RealServersThatWaitAreCountedByService) {
  PassReport report = EmptyReport();
  report.origins = std::make_shared<const Owners>(Owners{{Key(), {"shop", "web", "uid", 1}}});
  for (const char* real : {"10.0.0.1:80", "10.0.0.2:80"}) {
    report.held_back.push_back({Key(), *Endpoint::Parse(real), "not set up", {}});
  }
  metrics_.OnPass(report);
  Has("kube_lvs_real_servers_waiting{dataplane=\"eBPF\",namespace=\"shop\",port=\"80\",protocol="
      "\"tcp\",service=\"web\",vip=\"192.0.2.1\"} 2");
  metrics_.OnPass(EmptyReport());
  EXPECT_EQ(metrics_.Text().find("kube_lvs_real_servers_waiting{"), std::string::npos);
}

TEST_F(MetricsTest, ABackendThatCannotBeReadIsSaidSo) {
  ebpf_.SetFault([](const std::string&) { return absl::UnavailableError("busy"); });
  Has("kube_lvs_backend_readable{backend=\"eBPF\"} 0");
}

TEST_F(MetricsTest, ALoopThatStandsStillIsNotHealthy) {
  EXPECT_TRUE(metrics_.Healthy());
  clock_.Advance(std::chrono::seconds(200));
  EXPECT_FALSE(metrics_.Healthy());
  metrics_.OnPass(EmptyReport());
  EXPECT_TRUE(metrics_.Healthy());
}

}  // namespace
}  // namespace kube_lvs
