#include "node-agent/report/reporter.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

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
  {
    const std::lock_guard<std::mutex> lock(mu_);
    Content content;
    content.status = StatusOf(report, capabilities,
                              wanted_.has_value() ? wanted_->status : api::LvsNode::Status{});
    const auto node = report.snapshot->nodes->find(node_);
    if (node != report.snapshot->nodes->end()) content.node_uid = node->second->meta.uid;
    if (wanted_ == content) return;
    wanted_ = std::move(content);
  }
  changed_.notify_all();
}

absl::Status Reporter::Run(std::stop_token stop) {
  std::optional<Content> written;
  std::chrono::seconds pause = kPause;
  while (!stop.stop_requested()) {
    std::optional<Content> next;
    {
      std::unique_lock<std::mutex> lock(mu_);
      changed_.wait(lock, stop, [&] { return wanted_.has_value() && wanted_ != written; });
      if (stop.stop_requested()) break;
      next = wanted_;
    }
    const absl::Status status = Write(*next, stop);
    if (status.ok()) {
      written = std::move(next);
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
