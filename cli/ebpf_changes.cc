#include "cli/ebpf_changes.h"

#include <algorithm>
#include <cerrno>
#include <optional>

#include "base/status.h"
#include "cli/messages.h"
#include "cli/steps.h"

namespace kube_lvs::cli {
namespace {

// Whether it adds, changes or removes one service or real server.
bool IsOfRules(Action action) {
  return action == Action::kAddService || action == Action::kEditService ||
         action == Action::kDeleteService || action == Action::kAddServer ||
         action == Action::kEditServer || action == Action::kDeleteServer;
}

absl::Status NoSuchService() { return absl::NotFoundError("no such service"); }

absl::Status ApplyOther(const Request& request, ebpf::Alone* alone) {
  switch (request.action) {
    case Action::kFlush:
      return alone == nullptr ? absl::OkStatus() : alone->RemoveServices();
    case Action::kSetTimeouts:
      return alone->SetTimeouts(request.timeouts);
    case Action::kZero: {
      std::optional<ServiceKey> key;
      if (!NamesNothing(request.service)) key = EbpfKeyOf(request.service);
      if (alone != nullptr) return alone->Zero(key);
      return key ? NoSuchService() : absl::OkStatus();
    }
    default:
      return absl::UnimplementedError("the eBPF dataplane has no such command");
  }
}

}  // namespace

bool MakesEbpf(Action action) {
  return action == Action::kAddService || action == Action::kSetTimeouts;
}

std::vector<absl::Status> ApplyToEbpf(std::span<const Request> requests, ebpf::Alone* alone) {
  std::vector<absl::Status> statuses(requests.size());
  std::vector<Step> steps;
  std::vector<size_t> places;  // of the steps among the requests
  const auto apply = [&] {
    if (steps.empty()) return;
    const auto results = alone->Apply(steps);
    for (size_t i = 0; i < results.size(); ++i) statuses[places[i]] = results[i];
    steps.clear();
    places.clear();
  };
  for (size_t i = 0; i < requests.size(); ++i) {
    if (!IsOfRules(requests[i].action)) {
      apply();
      statuses[i] = ApplyOther(requests[i], alone);
      continue;
    }
    const auto step = StepOf(requests[i]);
    if (!step.ok() || alone == nullptr) {
      statuses[i] = step.ok() ? NoSuchService() : step.status();
      continue;
    }
    steps.push_back(*step);
    places.push_back(i);
  }
  apply();
  return statuses;
}

std::string RefusedByEbpf(const Request& request, const absl::Status& status, ebpf::Alone* alone) {
  const Action action = request.action;
  if (absl::IsAlreadyExists(status)) return Refused(action, EEXIST);
  if (absl::IsPermissionDenied(status)) return Refused(action, EPERM);
  if (!absl::IsNotFound(status)) return "lvsadm: " + Message(status);
  if (alone != nullptr && (action == Action::kEditServer || action == Action::kDeleteServer)) {
    const auto has = alone->Has(EbpfKeyOf(request.service));
    if (has.ok() && *has) return Refused(action, ENOENT);
  }
  return Refused(action, ESRCH);
}

}  // namespace kube_lvs::cli
