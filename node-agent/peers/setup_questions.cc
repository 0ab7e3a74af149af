#include "node-agent/peers/setup_questions.h"

#include <algorithm>

namespace kube_lvs {
namespace {

constexpr Duration kAnswerableFor = std::chrono::seconds(3);
constexpr Duration kPauseInFlood = std::chrono::milliseconds(10);
constexpr size_t kMostAgents = 1 << 16;

}  // namespace

void SetupQuestions::Ask(const IpAddress& director, const std::set<SetupQuestion>& questions,
                         TimePoint now) {
  director_ = director;
  std::erase_if(questions_, [&](const auto& asked) { return !questions.contains(asked.first); });
  for (const SetupQuestion& question : questions) {
    Asked fresh;
    fresh.since = fresh.next = now;
    if (questions_.emplace(question, fresh).second) next_ = now;
  }
  if (questions_.empty()) next_ = TimePoint::max();
}

std::vector<SetupQuestions::Due> SetupQuestions::Tick(TimePoint now) {
  std::erase_if(sent_, [&](const auto& sent) { return now - sent.second.at > kAnswerableFor; });
  std::vector<Due> due;
  next_ = TimePoint::max();
  for (auto& [question, asked] : questions_) {
    if (asked.next <= now) {
      const bool full = due.empty() || due.back().to != question.real_server ||
                        due.back().query.setups.size() >= kMaxSetupsPerQuery;
      if (full && due.size() >= kMostQueriesAtOnce) {
        next_ = now + kPauseInFlood;
        break;
      }
      if (full) {
        due.push_back({question.real_server, {next_nonce_, director_, {}}});
        sent_[next_nonce_++] = {question.real_server, now};
      }
      due.back().query.setups.push_back(question.setup);
      const bool ready = asked.reply.has_value() && asked.reply->state.ready;
      asked.next = now + (ready || now - asked.since > kOftenFor ? kRarely : kOften);
    }
    next_ = std::min(next_, asked.next);
  }
  return due;
}

SetupQuestions::Verdict SetupQuestions::OnAnswer(const SetupAnswer& answer, TimePoint now) {
  const auto sent = sent_.find(answer.nonce);
  if (sent == sent_.end()) return Verdict::kNotAsked;
  const IpAddress real_server = sent->second.to;
  sent_.erase(sent);  // one answer a query
  if (agents_.size() >= kMostAgents) agents_.clear();
  Verdict verdict = agents_.insert(real_server).second ? Verdict::kNews : Verdict::kAsBefore;
  for (const SetupAnswer::Entry& entry : answer.entries) {
    const auto found = questions_.find({real_server, entry.setup});
    if (found == questions_.end()) continue;
    Asked& asked = found->second;
    if (asked.reply.has_value() && asked.answered > answer.nonce) continue;  // overtaken
    if (!asked.reply.has_value() || asked.reply->state != entry.state) {
      verdict = Verdict::kNews;
    }
    asked.answered = answer.nonce;
    asked.reply = {entry.state, now};
  }
  return verdict;
}

std::map<SetupQuestion, SetupReply> SetupQuestions::Replies() const {
  std::map<SetupQuestion, SetupReply> replies;
  for (const auto& [question, asked] : questions_) {
    if (asked.reply.has_value()) replies.emplace(question, *asked.reply);
  }
  return replies;
}

}  // namespace kube_lvs
