#include "operator/status.h"

#include <algorithm>

#include "base/ip.h"
#include "operator/conditions.h"

namespace kube_lvs::controller {
namespace {

constexpr size_t kMostDirectors = 8;

std::string Text(Protocol protocol) {
  return protocol == Protocol::kUdp ? "UDP" : protocol == Protocol::kSctp ? "SCTP" : "TCP";
}

// Cut at a comma, so that what is shown is whole.
std::string CutList(std::string text, size_t most) {
  if (text.size() <= most) return text;
  text.resize(most - 3);
  return text.substr(0, text.rfind(',') + 1) + "...";
}

struct Director {
  std::string node;
  const api::LvsNode* report = nullptr;  // nullptr: its agent has not reported
  bool ready = false;                    // the Node
  bool answers = false;
};

bool AnswersFor(const api::LvsNode& node, const std::vector<api::AssignedAddress>& addresses) {
  return !addresses.empty() && std::ranges::all_of(addresses, [&](const auto& address) {
    return std::ranges::find(node.status.answers_for, address.value) !=
           node.status.answers_for.end();
  });
}

std::vector<Director> Directors(const ServiceFacts& facts,
                                const std::vector<api::AssignedAddress>& addresses) {
  std::vector<Director> out;
  if (facts.group == nullptr) return out;
  bool live_one_answers = false;
  for (const api::GroupMember& member : facts.group->status.members) {
    Director director{.node = member.node};
    if (const auto it = facts.lvs_nodes.find(member.node); it != facts.lvs_nodes.end()) {
      director.report = it->second.get();
    }
    if (const auto it = facts.nodes.find(member.node); it != facts.nodes.end()) {
      director.ready = it->second->ready;
    }
    director.answers = director.report != nullptr && AnswersFor(*director.report, addresses);
    live_one_answers = live_one_answers || (director.answers && director.ready);
    out.push_back(std::move(director));
  }
  // The last report of a dead node stays as it was; somebody else answers now.
  for (Director& director : out) {
    if (live_one_answers && !director.ready) director.answers = false;
  }
  std::ranges::stable_sort(
      out, [](const Director& a, const Director& b) { return a.answers > b.answers; });
  return out;
}

const api::NodeServiceReport* ReportOf(const api::LvsNode& node, const std::string& uid) {
  const auto it = std::ranges::find(node.status.services, uid, &api::NodeServiceReport::uid);
  return it == node.status.services.end() ? nullptr : &*it;
}

Verdict JudgeAccepted(const ServiceFacts& facts) {
  if (!facts.problems.empty()) {
    return {Truth::kFalse, facts.problems.front().reason, JoinMessages(facts.problems)};
  }
  if (facts.group == nullptr) {
    return {Truth::kFalse, api::kDirectorGroupNotFound,
            "there is no LVSDirectorGroup " + facts.service.spec.director_group};
  }
  std::vector<api::Problem> refused;
  for (const api::Problem& problem : facts.resolution.problems) {
    if (problem.reason != api::kPortNotFound && problem.reason != api::kNoBackends) {
      refused.push_back(problem);
    }
  }
  if (!refused.empty()) return {Truth::kFalse, refused.front().reason, JoinMessages(refused)};
  if (!facts.dataplane) {
    return {Truth::kUnknown, "Pending",
            "the dataplane of LVSDirectorGroup " + facts.group->meta.name + " is not known yet"};
  }
  return {Truth::kTrue, "Accepted", "the spec can be served"};
}

Verdict JudgeAddresses(const ServiceFacts& facts) {
  if (facts.allocation == nullptr) return {Truth::kUnknown, "Pending", "waiting for Accepted"};
  return {facts.allocation->satisfied ? Truth::kTrue : Truth::kFalse, facts.allocation->reason,
          facts.allocation->message};
}

Verdict JudgeBackends(const ServiceFacts& facts) {
  const api::Resolution& resolution = facts.resolution;
  std::vector<api::Problem> missing;
  for (const api::Problem& problem : resolution.problems) {
    if (problem.reason == api::kPortNotFound) {
      return {Truth::kFalse, api::kPortNotFound, problem.message};
    }
    if (problem.reason == api::kNoBackends) missing.push_back(problem);
  }
  std::string count = std::to_string(resolution.ready) + " of " + std::to_string(resolution.total) +
                      " real servers are ready";
  if (!missing.empty()) count += "; " + JoinMessages(missing);
  if (resolution.ready >= static_cast<int>(facts.service.spec.availability.quorum)) {
    return {Truth::kTrue, "QuorumMet", count};
  }
  if (resolution.total == 0) return {Truth::kFalse, api::kNoBackends, count};
  return {Truth::kFalse, "QuorumLost", count};
}

// What a director says about this service; True if all is well.
Verdict JudgeDirector(const ServiceFacts& facts, const Director& director, bool was_in_sync) {
  const api::ObjectMeta& meta = facts.service.meta;
  if (director.report == nullptr) {
    return {Truth::kUnknown, "Pending", director.node + ": its agent has not reported"};
  }
  if (const auto* report = ReportOf(*director.report, meta.uid)) {
    if (report->generation != 0 && report->generation < meta.generation) {
      return {Truth::kUnknown, "Pending", director.node + ": has not seen this generation yet"};
    }
    return {Truth::kFalse, report->reason.empty() ? "Pending" : report->reason,
            director.node + ": " + report->message};
  }
  if (director.report->status.services_omitted > 0 && !was_in_sync) {
    return {Truth::kUnknown, "Pending",
            director.node + ": more services are not as expected than its report can name"};
  }
  if (was_in_sync ||
      ReachesVersion(director.report->status.programmed_resource_version, meta.resource_version)) {
    return {Truth::kTrue, "InSync", ""};
  }
  return {Truth::kUnknown, "Pending", director.node + ": has not programmed this version yet"};
}

// Whether this generation, with these addresses, was once in sync: what came after were changes of
// the status, or failures that directors report.
bool WasInSync(const ServiceFacts& facts, const std::vector<api::AssignedAddress>& addresses) {
  const api::LvsServiceStatus& before = facts.service.status;
  const api::Condition* programmed = FindCondition(before.conditions, "Programmed");
  return programmed != nullptr && programmed->status == "True" &&
         programmed->observed_generation == facts.service.meta.generation &&
         before.addresses == addresses;
}

Verdict JudgeProgrammed(const ServiceFacts& facts, const std::vector<Director>& directors,
                        const std::vector<api::AssignedAddress>& addresses) {
  if (addresses.empty()) return {Truth::kUnknown, "Pending", "waiting for an address"};
  const bool was_in_sync = WasInSync(facts, addresses);
  const bool managed = facts.group != nullptr && facts.group->spec.layer2;
  std::optional<Verdict> worst;
  size_t judged = 0;
  std::string names;
  for (const Director& director : directors) {
    if (managed && !director.answers) continue;
    ++judged;
    names += (names.empty() ? "" : ", ") + director.node;
    Verdict verdict = JudgeDirector(facts, director, was_in_sync);
    if (verdict.truth == Truth::kTrue) continue;
    if (!worst || (worst->truth == Truth::kUnknown && verdict.truth == Truth::kFalse)) {
      worst = std::move(verdict);
    }
  }
  if (worst) return *worst;
  if (judged > 0) return {Truth::kTrue, "InSync", "in sync: " + CutList(names, 512)};
  // Nobody answers, perhaps because all are unwell.
  for (const Director& director : directors) {
    if (director.report == nullptr) continue;
    if (const auto* report = ReportOf(*director.report, facts.service.meta.uid)) {
      return {Truth::kFalse, report->reason.empty() ? "Pending" : report->reason,
              director.node + ": " + report->message};
    }
  }
  return {Truth::kUnknown, "Pending", "no director answers for it yet"};
}

Verdict JudgeAnnounced(const ServiceFacts& facts, const std::vector<Director>& directors,
                       const std::vector<api::AssignedAddress>& addresses) {
  if (facts.group != nullptr && !facts.group->spec.layer2) {
    return {Truth::kTrue, "NotManaged", "announcement.type of its group is None"};
  }
  if (addresses.empty()) return {Truth::kUnknown, "Pending", "waiting for an address"};
  for (const Director& director : directors) {
    if (!director.answers) continue;
    std::string message = director.node + " answers for " + addresses.front().value;
    if (!director.ready) message += "; its Node is not ready";
    return {Truth::kTrue, "Announced", message};
  }
  return {Truth::kFalse, "NoDirector",
          "no director answers for " + addresses.front().value +
              (directors.empty()
                   ? ": LVSDirectorGroup " + facts.service.spec.director_group + " has no members"
                   : "")};
}

Verdict JudgeRedundant(const ServiceFacts& facts, const std::vector<Director>& directors) {
  if (facts.group == nullptr || !facts.group->spec.layer2) {
    return {Truth::kUnknown, "NotApplicable",
            "what announces the VIP decides about its redundancy"};
  }
  if (directors.size() < 2) {
    return {Truth::kFalse, "SingleDirector", "its group has no second member"};
  }
  std::string why;
  for (const Director& director : directors) {
    if (director.answers) continue;
    if (!director.ready) {
      why = director.node + ": its Node is not ready";
    } else if (director.report == nullptr) {
      why = director.node + ": its agent has not reported";
    } else if (const auto* report = ReportOf(*director.report, facts.service.meta.uid)) {
      why = director.node + ": " + report->message;
    } else {
      return {Truth::kTrue, "Redundant", director.node + " would take over"};
    }
  }
  if (why.empty()) why = "no director stands by";
  return {Truth::kFalse, "StandbyOutOfSync", why};
}

Verdict JudgeReady(const std::vector<api::Condition>& conditions) {
  const api::Condition* unknown = nullptr;
  for (const api::Condition& condition : conditions) {
    if (condition.type == "Redundant") continue;
    if (condition.status == "False") {
      return {Truth::kFalse, condition.reason, condition.type + ": " + condition.message};
    }
    if (condition.status != "True" && unknown == nullptr) unknown = &condition;
  }
  if (unknown != nullptr) {
    return {Truth::kUnknown, unknown->reason, unknown->type + ": " + unknown->message};
  }
  return {Truth::kTrue, "Ready", "the VIP is served"};
}

void Summarize(const ServiceFacts& facts, const std::vector<Director>& directors,
               api::LvsServiceStatus& out) {
  const api::LvsServiceSpec& spec = facts.service.spec;
  out.effective.method = ToString(spec.method);
  if (spec.method == ForwardingMethod::kNat) {
    out.effective.source_nat = api::EffectiveSourceNat(spec) ? "Enabled" : "Disabled";
  }
  if (facts.dataplane) out.effective.dataplane = ToString(*facts.dataplane);

  const bool managed = facts.group != nullptr && facts.group->spec.layer2;
  std::string active;
  for (const Director& director : directors) {
    const bool is_active = director.answers || !managed;
    if (is_active) active += (active.empty() ? "" : ",") + director.node;
    if (out.directors.size() < kMostDirectors) {
      out.directors.push_back({.node = director.node, .role = is_active ? "Active" : "Standby"});
    }
  }
  for (const api::AssignedAddress& address : out.addresses) {
    out.summary.addresses += (out.summary.addresses.empty() ? "" : ",") + address.value;
  }
  for (const api::ServicePort& port : spec.ports) {
    out.summary.ports += (out.summary.ports.empty() ? "" : ",") + std::to_string(port.port) +
                         (port.end_port ? "-" + std::to_string(*port.end_port) : "") + "/" +
                         Text(port.protocol);
  }
  if (spec.all_ports) out.summary.ports = "all";
  out.summary.ports = CutList(out.summary.ports, 1024);
  out.summary.real_servers =
      std::to_string(facts.resolution.ready) + "/" + std::to_string(facts.resolution.total);
  out.summary.directors = CutList(active, 2048);
}

}  // namespace

bool ReachesVersion(std::string_view programmed, std::string_view wanted) {
  if (programmed.empty()) return false;
  const absl::StatusOr<uint64_t> is = ParseNumber(programmed, UINT64_MAX);
  const absl::StatusOr<uint64_t> want = ParseNumber(wanted, UINT64_MAX);
  // Versions of an API server that does not count: equal or not is all that can be said.
  if (!is.ok() || !want.ok()) return programmed == wanted;
  return *is >= *want;
}

api::LvsServiceStatus ComputeStatus(const ServiceFacts& facts) {
  const api::LvsServiceStatus& before = facts.service.status;
  const int64_t generation = facts.service.meta.generation;
  api::LvsServiceStatus out;
  out.observed_generation = generation;
  // What it has, it keeps, even while its spec makes no sense.
  out.addresses = facts.allocation != nullptr ? facts.allocation->addresses : before.addresses;
  const std::vector<Director> directors = Directors(facts, out.addresses);
  Summarize(facts, directors, out);
  const auto add = [&](const char* type, const Verdict& verdict) {
    out.conditions.push_back(
        MakeCondition(type, verdict, generation, before.conditions, facts.now));
  };
  add("Accepted", JudgeAccepted(facts));
  add("AddressesAssigned", JudgeAddresses(facts));
  add("BackendsReady", JudgeBackends(facts));
  add("Programmed", JudgeProgrammed(facts, directors, out.addresses));
  add("Announced", JudgeAnnounced(facts, directors, out.addresses));
  add("Redundant", JudgeRedundant(facts, directors));
  add("Ready", JudgeReady(out.conditions));
  return out;
}

ReportChange CompareReports(const api::LvsNode* before, const api::LvsNode* after) {
  static const api::LvsNode kNone;
  const api::LvsNode::Status& was = (before == nullptr ? kNone : *before).status;
  const api::LvsNode::Status& is = (after == nullptr ? kNone : *after).status;
  ReportChange out;
  out.all = (before == nullptr) != (after == nullptr) || was.director_group != is.director_group ||
            (was.services_omitted > 0) != (is.services_omitted > 0);
  out.capabilities = was.kernel != is.kernel || was.dataplanes != is.dataplanes;
  out.version = was.programmed_resource_version != is.programmed_resource_version;
  const auto name_differing = [&](const api::LvsNode::Status& one,
                                  const api::LvsNode::Status& other) {
    for (const api::NodeServiceReport& report : one.services) {
      if (std::ranges::find(other.services, report) == other.services.end()) {
        out.services.insert(report.name_space + "/" + report.name);
      }
    }
    const std::set<std::string> others(other.answers_for.begin(), other.answers_for.end());
    for (const std::string& vip : one.answers_for) {
      if (!others.contains(vip)) out.vips.insert(vip);
    }
  };
  name_differing(was, is);
  name_differing(is, was);
  return out;
}

}  // namespace kube_lvs::controller
