// What the operator counts, for Prometheus.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "kube/api/types.h"

namespace prometheus {
class Registry;
}

namespace kube_lvs::controller {

enum class ReconcileResult { kUnchanged, kWritten, kError };

// Thread-safe.
class Metrics {
 public:
  Metrics();
  ~Metrics();

  void Reconciled(ReconcileResult result, Duration took);
  void SetLeader(bool leader);
  void SetQueueLength(size_t length);
  void SetServices(size_t total, size_t not_ready);
  void SetPool(const std::string& pool, const api::LvsAddressPool::Status& status);
  void RemovePool(const std::string& pool);

  std::string Text() const;  // Prometheus' text format

 private:
  struct Families;
  const std::unique_ptr<Families> families_;
};

}  // namespace kube_lvs::controller
