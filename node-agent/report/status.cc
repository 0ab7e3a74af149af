#include "node-agent/report/status.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "base/ip.h"
#include "dataplane/model/schedulers.h"
#include "node-agent/report/mends.h"

namespace kube_lvs {
namespace {

constexpr size_t kMaxServices = 100;
constexpr size_t kMaxProblems = 32;
constexpr size_t kMaxText = 1024;
constexpr size_t kMaxVips = 4096;
constexpr size_t kMaxInterfaces = 64;
constexpr size_t kMaxReason = 256;
constexpr size_t kMaxAdvice = 32;

// Cut where no UTF-8 sequence is split.
std::string Cut(std::string text, size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80) --most;
  text.resize(most);
  return text;
}

template <typename Map>
void Newest(const Map& objects, uint64_t& newest) {
  for (const auto& [key, object] : objects) {
    const auto version = ParseNumber(object->meta.resource_version, UINT64_MAX);
    if (version.ok()) newest = std::max(newest, *version);
  }
}

}  // namespace

std::string NewestVersion(const Snapshot& snapshot) {
  uint64_t newest = 0;
  Newest(*snapshot.services, newest);
  Newest(*snapshot.groups, newest);
  Newest(*snapshot.pools, newest);
  return newest == 0 ? "" : std::to_string(newest);
}

bool TriedAll(const PassReport& report) {
  return report.snapshot->complete && !report.held_back_lately &&
         std::ranges::none_of(report.results, [&report](const StepResult& result) {
           if (result.status.ok()) return false;
           const ServiceKey* key = KeyOf(result.step);
           return key != nullptr && !report.origins->contains(*key);
         });
}

api::LvsNode::Status StatusOf(const PassReport& report, const Capabilities& capabilities,
                              const api::LvsNode::Status& previous) {
  api::LvsNode::Status status;
  status.kernel = Cut(report.facts.kernel_release, 128);
  status.dataplanes = capabilities.dataplanes;
  status.agent_version = capabilities.agent_version;
  if (report.facts.node_address.has_value()) {
    status.address = report.facts.node_address->ToString();
  }
  const bool director = !report.group.empty();
  status.role = director ? (report.real_server ? "DirectorAndRealServer" : "Director")
                         : (report.real_server ? "RealServer" : "None");
  status.director_group = report.group;
  status.epoch = report.epoch;
  status.dataplane = report.dataplane;
  if (status.dataplane == "eBPF") {
    status.schedulers = {kSchedulers.begin(), kSchedulers.end()};
    status.tunnels = {"IPIP"};
  }
  for (const std::string& name : report.attached) {
    if (status.interfaces.size() >= kMaxInterfaces) break;
    api::NodeInterface interface;
    interface.name = name;
    const auto facts = report.facts.interfaces.find(name);
    if (facts != report.facts.interfaces.end()) {
      interface.mtu = static_cast<int32_t>(std::min<uint32_t>(facts->second.mtu, INT32_MAX));
    }
    if (const auto served = capabilities.attachments.find(name);
        served != capabilities.attachments.end()) {
      interface.xdp_native = served->second.empty();
      interface.xdp_reason = Cut(served->second, kMaxReason);
    }
    status.interfaces.push_back(std::move(interface));
  }
  for (const Cidr& vips : *report.answers) {
    if (status.answers_for.size() < kMaxVips) status.answers_for.push_back(vips.ShortText());
  }
  for (const auto& [check, failure] : report.node_problems) {
    if (status.problems.size() >= kMaxProblems) break;
    api::NodeProblem problem = ProblemOf(check, failure);
    problem.message = Cut(std::move(problem.message), kMaxText);
    problem.mend = Cut(std::move(problem.mend), kMaxText);
    status.problems.push_back(std::move(problem));
  }
  for (const SourceProblem& problem : report.snapshot->problems) {
    if (status.problems.size() >= kMaxProblems) break;
    const auto same = std::ranges::find(status.problems, "Source", &api::NodeProblem::check);
    const std::string text = problem.where + ": " + problem.message;
    if (same != status.problems.end()) {
      same->message = Cut(same->message + "; " + text, kMaxText);
      continue;
    }
    api::NodeProblem first;
    first.check = "Source";
    first.message = Cut(text, kMaxText);
    first.mend = std::string(MendOf("Source"));
    status.problems.push_back(std::move(first));
  }
  for (const api::NodeAdvice& advice : capabilities.advice) {
    if (status.advice.size() >= kMaxAdvice) break;
    status.advice.push_back(
        {advice.interface, Cut(advice.message, kMaxReason), Cut(advice.mend, kMaxReason)});
  }
  std::set<std::string> omitted;
  for (const ServiceProblem& problem : report.service_problems) {
    const auto same = std::ranges::find(status.services, problem.uid, &api::NodeServiceReport::uid);
    if (same != status.services.end()) {
      if (same->message.find(problem.message) == std::string::npos) {
        same->message = Cut(same->message + "; " + problem.message, kMaxText);
      }
      continue;
    }
    if (problem.uid.empty()) continue;  // of an object that the API server does not know
    if (status.services.size() >= kMaxServices) {
      omitted.insert(problem.uid);
      continue;
    }
    api::NodeServiceReport service;
    service.name_space = problem.name_space;
    service.name = problem.name;
    service.uid = problem.uid;
    service.generation = problem.generation;
    service.reason = problem.reason;
    service.message = Cut(problem.message, kMaxText);
    status.services.push_back(std::move(service));
  }
  status.services_omitted = static_cast<int64_t>(omitted.size());
  std::set<std::string_view> programmed;
  for (const auto& [key, origin] : *report.origins) programmed.insert(origin.uid);
  for (const ServiceProblem& problem : report.service_problems) programmed.erase(problem.uid);
  status.services_programmed = static_cast<int32_t>(programmed.size());
  // Services that fail are named above; everything else up to this version is programmed.
  status.programmed_resource_version =
      TriedAll(report) ? NewestVersion(*report.snapshot) : previous.programmed_resource_version;
  return status;
}

}  // namespace kube_lvs
