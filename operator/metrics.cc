#include "operator/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <map>
#include <mutex>
#include <vector>

namespace kube_lvs::controller {

struct Metrics::Families {
  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>& reconciles =
      prometheus::BuildCounter()
          .Name("kube_lvs_operator_reconciles_total")
          .Help("Objects that were looked at, by what came of it.")
          .Register(registry);
  prometheus::Counter& unchanged = reconciles.Add({{"result", "unchanged"}});
  prometheus::Counter& written = reconciles.Add({{"result", "written"}});
  prometheus::Counter& error = reconciles.Add({{"result", "error"}});
  prometheus::Histogram& seconds =
      prometheus::BuildHistogram()
          .Name("kube_lvs_operator_reconcile_seconds")
          .Help("How long one object took, writes included.")
          .Register(registry)
          .Add({}, prometheus::Histogram::BucketBoundaries{0.0001, 0.001, 0.005, 0.01, 0.05, 0.1,
                                                           0.5, 1, 5, 30});
  prometheus::Gauge& leader = prometheus::BuildGauge()
                                  .Name("kube_lvs_operator_leader")
                                  .Help("1 while this replica leads.")
                                  .Register(registry)
                                  .Add({});
  prometheus::Gauge& queue = prometheus::BuildGauge()
                                 .Name("kube_lvs_operator_queue_length")
                                 .Help("Objects that wait to be looked at.")
                                 .Register(registry)
                                 .Add({});
  prometheus::Family<prometheus::Gauge>& services =
      prometheus::BuildGauge()
          .Name("kube_lvs_operator_services")
          .Help("LVSServices, by whether they are ready. Only on the leader.")
          .Register(registry);
  prometheus::Gauge& services_ready = services.Add({{"ready", "true"}});
  prometheus::Gauge& services_not_ready = services.Add({{"ready", "false"}});
  prometheus::Family<prometheus::Gauge>& pools =
      prometheus::BuildGauge()
          .Name("kube_lvs_operator_pool_addresses")
          .Help("Addresses of each LVSAddressPool. Only on the leader.")
          .Register(registry);

  std::mutex mu;
  std::map<std::string, std::vector<prometheus::Gauge*>> by_pool;  // guarded by mu
};

Metrics::Metrics() : families_(std::make_unique<Families>()) {}
Metrics::~Metrics() = default;

void Metrics::Reconciled(ReconcileResult result, Duration took) {
  switch (result) {
    case ReconcileResult::kUnchanged:
      families_->unchanged.Increment();
      break;
    case ReconcileResult::kWritten:
      families_->written.Increment();
      break;
    case ReconcileResult::kError:
      families_->error.Increment();
      break;
  }
  families_->seconds.Observe(std::chrono::duration<double>(took).count());
}

void Metrics::SetLeader(bool leader) { families_->leader.Set(leader ? 1 : 0); }

void Metrics::SetQueueLength(size_t length) { families_->queue.Set(static_cast<double>(length)); }

void Metrics::SetServices(size_t total, size_t not_ready) {
  families_->services_ready.Set(static_cast<double>(total - not_ready));
  families_->services_not_ready.Set(static_cast<double>(not_ready));
}

void Metrics::SetPool(const std::string& pool, const api::LvsAddressPool::Status& status) {
  const std::lock_guard<std::mutex> lock(families_->mu);
  std::vector<prometheus::Gauge*>& gauges = families_->by_pool[pool];
  if (gauges.empty()) {
    for (const char* family : {"IPv4", "IPv6"}) {
      for (const char* state : {"total", "allocated", "available"}) {
        gauges.push_back(
            &families_->pools.Add({{"pool", pool}, {"family", family}, {"state", state}}));
      }
    }
  }
  const int64_t values[] = {status.total_ipv4, status.allocated_ipv4, status.available_ipv4,
                            status.total_ipv6, status.allocated_ipv6, status.available_ipv6};
  for (size_t i = 0; i < gauges.size(); ++i) gauges[i]->Set(static_cast<double>(values[i]));
}

void Metrics::RemovePool(const std::string& pool) {
  const std::lock_guard<std::mutex> lock(families_->mu);
  const auto it = families_->by_pool.find(pool);
  if (it == families_->by_pool.end()) return;
  for (prometheus::Gauge* gauge : it->second) families_->pools.Remove(gauge);
  families_->by_pool.erase(it);
}

std::string Metrics::Text() const {
  return prometheus::TextSerializer().Serialize(families_->registry.Collect());
}

}  // namespace kube_lvs::controller
