// What the agent counts, for Prometheus. Counters of the dataplane are read when they are asked
// for; nothing is kept per service or real server.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "dataplane/model/backend.h"
#include "node-agent/loop/agent.h"
#include "node-agent/peers/link.h"

namespace kube_lvs {

// Above this many real servers (over all services) their series are left out, and
// kube_lvs_real_server_series_omitted says how many: a scrape must stay small.
inline constexpr size_t kMaxRealServerSeries = 20000;

// Thread-safe, if the backends are.
class Metrics {
 public:
  // The backends must outlive it.
  Metrics(std::vector<Backend*> backends, std::string version, const Clock& clock);
  ~Metrics();

  void OnPass(const PassReport& report);
  // How many real servers' counts of connections were put right (eBPF).
  void SetCountsRepaired(std::function<uint64_t()> count) { counts_repaired_ = std::move(count); }
  // Interfaces that our programs serve: why native XDP does not; empty if it does.
  void SetAttachments(std::function<std::map<std::string, std::string>()> attachments) {
    attachments_ = std::move(attachments);
  }
  // How full the dataplane's tables are, 0 .. 1, by name; asked after the backends' ReadStats.
  void SetTablesUsed(std::function<std::map<std::string, double>()> used) {
    tables_used_ = std::move(used);
  }
  void SetPeerCounters(std::function<PeerCounters()> counters) { peers_ = std::move(counters); }

  std::string Text();  // in Prometheus' text format

  // Whether the loop went round lately.
  bool Healthy() const;

 private:
  struct Own;
  const std::vector<Backend*> backends_;
  const Clock& clock_;
  const std::unique_ptr<Own> own_;
  std::function<PeerCounters()> peers_;
  std::function<uint64_t()> counts_repaired_;
  std::function<std::map<std::string, double>()> tables_used_;
  std::function<std::map<std::string, std::string>()> attachments_;
  mutable std::mutex mu_;
  std::shared_ptr<const Owners> origins_ = std::make_shared<const Owners>();  // guarded by mu_
  std::shared_ptr<const std::set<Cidr>> answers_ =
      std::make_shared<const std::set<Cidr>>();  // guarded by mu_
  std::map<std::string, PeerState> states_;      // guarded by mu_
  std::map<ServiceKey, size_t> held_back_;       // real servers, guarded by mu_
  TimePoint last_pass_;                          // guarded by mu_
};

}  // namespace kube_lvs
