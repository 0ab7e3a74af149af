// Writes the LVSNode of this node: at most once a second, and only when something changed.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/log.h"
#include "kube/client.h"
#include "node-agent/report/status.h"

namespace kube_lvs {

class Reporter {
 public:
  // The references must outlive it.
  Reporter(const kube::Client& client, std::string node, Logger& log);

  // Takes what the loop found, and looks at no object; does not block. Thread-safe.
  void Report(const PassReport& report, const Capabilities& capabilities);

  // Writes until `stop`, then OK. What fails is retried after a second, doubling to 30.
  absl::Status Run(std::stop_token stop);

 private:
  struct Content {
    api::LvsNode::Status status;
    std::string node_uid;  // of the Node that owns the object; empty while not known
    bool operator==(const Content&) const = default;
  };
  struct Found {
    PassReport report;
    Capabilities capabilities;
  };
  // `tried_all`: of a pass since `previous` that tried all, or null.
  Content ContentOf(const Found& found, const Snapshot* tried_all,
                    const std::optional<Content>& previous) const;
  absl::Status Write(const Content& content, std::stop_token stop);

  const kube::Client& client_;
  const std::string node_;
  Logger& log_;
  std::mutex mu_;
  std::condition_variable_any changed_;
  std::optional<Found> found_;  // the newest that Run has not seen yet; guarded by mu_
  SnapshotPtr tried_all_;       // the newest such, as TriedAll says; guarded by mu_
  std::string owned_by_;        // only used by Run: the Node uid that was written
  bool created_ = false;        // only used by Run
};

}  // namespace kube_lvs
