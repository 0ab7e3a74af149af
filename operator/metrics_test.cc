#include "operator/metrics.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace kube_lvs::controller {
namespace {

TEST(MetricsTest, TheTextHasWhatWasCounted) {
  Metrics metrics;
  metrics.Reconciled(ReconcileResult::kWritten, std::chrono::milliseconds(2));
  metrics.SetLeader(true);
  metrics.SetServices(5, 2);
  api::LvsAddressPool::Status pool;
  pool.available_ipv4 = 13;
  metrics.SetPool("edge", pool);
  const std::string text = metrics.Text();
  for (const char* line :
       {"kube_lvs_operator_reconciles_total{result=\"written\"} 1",
        "kube_lvs_operator_reconciles_total{result=\"error\"} 0",
        "kube_lvs_operator_reconcile_seconds_count 1", "kube_lvs_operator_leader 1",
        "kube_lvs_operator_services{ready=\"false\"} 2",
        "kube_lvs_operator_services{ready=\"true\"} 3"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "\n" << text;
  }
  EXPECT_NE(text.find("state=\"available\"} 13"), std::string::npos);
  metrics.RemovePool("edge");
  metrics.RemovePool("edge");
  EXPECT_EQ(metrics.Text().find("state=\"available\"} 13"), std::string::npos);
}

}  // namespace
}  // namespace kube_lvs::controller
