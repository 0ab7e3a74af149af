// Objects from the Kubernetes API: a reflector for each kind.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "kube/client.h"
#include "kube/reflector.h"
#include "kube/store.h"
#include "node-agent/sources/objects.h"
#include "node-agent/sources/source.h"

namespace kube_lvs {

// Until every kind was listed once, the snapshot is not complete, and what it holds are `cached`
// objects (after `patience`; nothing before): half a list must not be mistaken for the whole.
// After that it is what the API server last said; that it fails, forbids or does not know a kind
// removes nothing and is told in the problems.
class KubeSource final : public DesiredSource {
 public:
  // All references must outlive the source.
  KubeSource(const kube::Client& client, std::map<ObjectId, api::AnyObject> cached,
             const Clock& clock, Logger& log, Duration patience = std::chrono::seconds(2));
  ~KubeSource() override;

  SnapshotPtr Get() override;
  absl::Status Run(std::stop_token stop, std::function<void()> changed) override;

 private:
  template <typename T>
  struct Kind;
  struct Kinds;

  bool Complete() const;
  Snapshot FromStores();

  const Clock& clock_;
  const Duration patience_;
  const TimePoint started_;
  const std::map<ObjectId, api::AnyObject> cached_;
  std::mutex changed_mu_;
  std::function<void()> changed_;  // guarded by changed_mu_
  std::unique_ptr<Kinds> kinds_;
  std::mutex mu_;
  SnapshotPtr last_;  // guarded by mu_
};

}  // namespace kube_lvs
