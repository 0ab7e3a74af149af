#include "node-agent/desired/admission.h"

#include <algorithm>
#include <utility>

namespace kube_lvs {
namespace {

constexpr size_t kMostDescribed = 4;

ServiceKey InOtherDataplane(ServiceKey key) {
  key.dataplane = key.dataplane == Dataplane::kIpvs ? Dataplane::kEbpf : Dataplane::kIpvs;
  return key;
}

bool HasWeight(const std::vector<RealServer>& reals) {
  return std::ranges::any_of(reals, [](const RealServer& real) { return real.weight > 0; });
}

bool HasWeight(const ServiceTable& services, const ServiceKey& key) {
  const auto found = services.find(key);
  return found != services.end() && HasWeight(found->second.reals);
}

// What must be known of it before it gets requests; nullopt: nothing.
std::optional<SetupQuestion> QuestionAbout(const ServiceKey& key, const RealServer& real) {
  const auto vip = VipOf(key);
  if (!vip.has_value() || real.method == ForwardingMethod::kNat || real.weight == 0) {
    return std::nullopt;
  }
  return SetupQuestion{real.at.ip, {*vip, real.method}};
}

// What is set up is a VIP for a method: with one port of it in the kernel, the others may follow.
std::set<SetupQuestion> InUse(const ServiceTable& services) {
  std::set<SetupQuestion> in_use;
  for (const auto& [key, service] : services) {
    for (const RealServer& real : service.reals) {
      if (const auto question = QuestionAbout(key, real)) in_use.insert(*question);
    }
  }
  return in_use;
}

class Judge {
 public:
  Judge(const AdmissionInput& in, const AdmissionClock& clock, TimePoint now, Admission& out)
      : in_(in), clock_(clock), now_(now), out_(out) {}

  // Why it is held back; nullopt if it is not.
  std::optional<std::string> Obstacle(const SetupQuestion& question) {
    const auto begun = clock_.find(question);
    const TimePoint since = begun == clock_.end() ? now_ : begun->second;
    out_.clock.emplace(question, since);
    if (in_.own_addresses.contains(question.real_server)) {
      const auto held = in_.own.find(question.setup);
      // Nothing is tunnelled to oneself.
      const SetupState is = held == in_.own.end() ? SetupState{} : held->second.state;
      return is.ready ? std::nullopt : std::optional(NotReady(question, is));
    }
    out_.ask.insert(question);
    const auto reply = in_.heard.replies.find(question);
    TimePoint silent_since = since;
    if (reply != in_.heard.replies.end()) {
      silent_since = std::max(since, reply->second.at);
      const TimePoint until = reply->second.at + kAnswerLifetime;
      if (now_ < until) {
        LookAgain(until);
        const SetupState& is = reply->second.state;
        return is.ready ? std::nullopt : std::optional(NotReady(question, is));
      }
    }
    const std::string no_answer =
        "no answer from its agent on UDP port " + std::to_string(in_.port) +
        "; see that the agent of this version or a later one runs there, with the same heartbeat "
        "key, and that this port is open from directors to real servers";
    if (in_.agents.contains(question.real_server) ||
        in_.heard.agents.contains(question.real_server)) {
      return no_answer;
    }
    const TimePoint until = silent_since + kSilenceOfUnknown;
    if (now_ >= until) return std::nullopt;
    LookAgain(until);
    return no_answer;
  }

 private:
  void LookAgain(TimePoint at) {
    out_.next_check = out_.next_check ? std::min(*out_.next_check, at) : at;
  }
  static std::string NotReady(const SetupQuestion& question, const SetupState& is) {
    return "not set up for " + question.setup.vip.ToString() + " by " +
           ToString(question.setup.method) + (is.why_not.empty() ? " yet" : ": " + is.why_not);
  }

  const AdmissionInput& in_;
  const AdmissionClock& clock_;
  const TimePoint now_;
  Admission& out_;
};

}  // namespace

Admission Admit(State desired, const State& actual, const AdmissionInput& input,
                const AdmissionClock& clock, TimePoint now) {
  Admission out;
  const std::set<SetupQuestion> in_use = InUse(actual.services);
  Judge judge(input, clock, now, out);
  for (auto it = desired.services.begin(); it != desired.services.end();) {
    const ServiceKey& key = it->first;
    std::vector<RealServer>& reals = it->second.reals;
    const bool wanted = HasWeight(reals);
    std::erase_if(reals, [&, k = key](const RealServer& real) {
      const auto question = QuestionAbout(k, real);
      if (!question.has_value() || in_use.contains(*question)) return false;
      auto why = judge.Obstacle(*question);
      if (!why.has_value()) return false;
      out.held_back.push_back({k, real.at, *std::move(why), out.clock.at(*question)});
      return true;
    });
    const bool left_without =
        wanted && !HasWeight(reals) &&
        (HasWeight(actual.services, key) || HasWeight(actual.services, InOtherDataplane(key)));
    if (left_without) {
      out.hold.vips.insert(*VipOf(key));
      it = desired.services.erase(it);
    } else {
      ++it;
    }
  }
  out.desired = std::move(desired);
  return out;
}

std::string Describe(const std::vector<HeldBack>& held_back) {
  std::string text;
  for (size_t i = 0; i < held_back.size() && i < kMostDescribed; ++i) {
    text += (text.empty() ? "" : "; ") + held_back[i].real.ip.ToString() +
            " gets no requests yet: " + held_back[i].why;
  }
  if (held_back.size() > kMostDescribed) {
    text += "; and " + std::to_string(held_back.size() - kMostDescribed) + " more";
  }
  return text;
}

}  // namespace kube_lvs
