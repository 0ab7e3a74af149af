#include "node-agent/report/reporter.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/status.h"
#include "kube/api/encode.h"
#include "kube/api/kinds.h"

namespace kube_lvs {
namespace {

constexpr std::chrono::seconds kPause{1};
constexpr std::chrono::seconds kMostPause{30};
constexpr char kManager[] = "kube-lvs-agent";

}  // namespace

Reporter::Reporter(const kube::Client& client, std::string node, Logger& log)
    : client_(client), node_(std::move(node)), log_(log) {}

void Reporter::Report(const PassReport& report, const Capabilities& capabilities) {
  Found found = {report, capabilities};
  {
    const std::lock_guard<std::mutex> lock(mu_);
    if (TriedAll(found.report)) tried_all_ = found.report.snapshot;
    found_ = std::move(found);
  }
  changed_.notify_all();
}

Reporter::Content Reporter::ContentOf(const Found& found, const Snapshot* tried_all,
                                      const std::optional<Content>& previous) const {
  const PassReport& report = found.report;
  api::LvsNode::Status before = previous.has_value() ? previous->status : api::LvsNode::Status{};
  if (tried_all != nullptr && !TriedAll(report)) {
    before.programmed_resource_version = NewestVersion(*tried_all);
  }
  Content content;
  content.status = StatusOf(report, found.capabilities, before);
  const auto node = report.snapshot->nodes->find(node_);
  if (node != report.snapshot->nodes->end()) content.node_uid = node->second->meta.uid;
  return content;
}

absl::Status Reporter::Run(std::stop_token stop) {
  std::optional<Content> wanted, written;
  std::chrono::seconds pause = kPause;
  while (!stop.stop_requested()) {
    {
      // Let go before the pause: of what is held a store makes a copy to write in.
      std::optional<Found> found;
      SnapshotPtr tried_all;
      {
        std::unique_lock<std::mutex> lock(mu_);
        changed_.wait(lock, stop, [&] { return found_.has_value() || wanted != written; });
        if (stop.stop_requested()) break;
        found = std::exchange(found_, std::nullopt);
        tried_all = std::exchange(tried_all_, nullptr);
      }
      if (found.has_value()) wanted = ContentOf(*found, tried_all.get(), wanted);
    }
    const absl::Status status = wanted == written ? absl::OkStatus() : Write(*wanted, stop);
    if (status.ok()) {
      written = wanted;
      pause = kPause;
    } else if (!stop.stop_requested()) {
      log_.Log(Level::kWarn, "cannot write this node's LVSNode, will retry",
               {{"error", Message(status)}});
    }
    {
      std::mutex mutex;
      std::condition_variable_any never;
      std::unique_lock<std::mutex> lock(mutex);
      never.wait_for(lock, stop, pause, [] { return false; });
    }
    if (!status.ok()) pause = std::min(pause * 2, kMostPause);
  }
  return absl::OkStatus();
}

absl::Status Reporter::Write(const Content& content, std::stop_token stop) {
  const kube::ObjectName name{"", node_};
  if (!created_ || owned_by_ != content.node_uid) {
    nlohmann::json body = nlohmann::json::object();
    if (!content.node_uid.empty()) {
      body["metadata"]["ownerReferences"] = {
          {{"apiVersion", "v1"}, {"kind", "Node"}, {"name", node_}, {"uid", content.node_uid}}};
    }
    kube::ApplyOptions options;
    options.field_manager = kManager;
    const auto applied = client_.Apply(api::kLvsNodes, name, body, options, stop);
    if (!applied.ok()) return Annotate(applied.status(), "LVSNode " + node_);
    created_ = true;
    owned_by_ = content.node_uid;
  }
  kube::ApplyOptions options;
  options.field_manager = kManager;
  options.subresource = "status";
  const auto applied = client_.Apply(
      api::kLvsNodes, name, {{"status", api::EncodeStatus(content.status)}}, options, stop);
  // Somebody deleted it: the next try makes it anew.
  if (absl::IsNotFound(applied.status())) created_ = false;
  return Annotate(applied.status(), "status of LVSNode " + node_);
}

}  // namespace kube_lvs
