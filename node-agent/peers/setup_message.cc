#include "node-agent/peers/setup_message.h"

#include <algorithm>

#include "base/status.h"
#include "node-agent/peers/frame.h"

namespace kube_lvs {
namespace {

void Put(const VipSetup& setup, Writer& out) {
  out.Number(static_cast<uint8_t>(setup.method), 1);
  out.Address(setup.vip);
}

absl::Status Check(const VipSetup& setup) {
  switch (setup.method) {
    case ForwardingMethod::kDirectRouting:
    case ForwardingMethod::kTunnel:
      return absl::OkStatus();
    case ForwardingMethod::kNat:
      break;
  }
  return absl::InvalidArgumentError("no method that real servers are set up for");
}

absl::StatusOr<VipSetup> TakeSetup(Reader& in) {
  VipSetup setup;
  setup.method = static_cast<ForwardingMethod>(in.Number(1));
  setup.vip = in.Address();
  KUBE_LVS_RETURN_IF_ERROR(Check(setup));
  return setup;
}

absl::StatusOr<uint64_t> TakeCount(Reader& in) {
  const uint64_t count = in.Number(1);
  if (count > kMaxSetupsPerQuery) return absl::InvalidArgumentError("too many entries");
  return count;
}

// It is shown in logs and written to the API.
std::string Printable(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return c < 0x20 || c > 0x7e; }, '?');
  return text;
}

}  // namespace

absl::StatusOr<std::vector<uint8_t>> EncodeSetupQuery(const SetupQuery& query,
                                                      std::string_view key) {
  if (query.setups.size() > kMaxSetupsPerQuery) {
    return absl::InvalidArgumentError("too many entries for one query");
  }
  Writer out(kSetupQueryKind, 0, key);
  out.Number(query.nonce, 8);
  out.Address(query.director);
  out.Number(query.setups.size(), 1);
  for (const VipSetup& setup : query.setups) {
    KUBE_LVS_RETURN_IF_ERROR(Check(setup));
    Put(setup, out);
  }
  return std::move(out).Finish();
}

absl::StatusOr<std::vector<uint8_t>> EncodeSetupAnswer(const SetupAnswer& answer,
                                                       std::string_view key) {
  if (answer.entries.size() > kMaxSetupsPerQuery) {
    return absl::InvalidArgumentError("too many entries for one answer");
  }
  Writer out(kSetupAnswerKind, 0, key);
  out.Number(answer.nonce, 8);
  out.Number(answer.entries.size(), 1);
  size_t room = kMaxReasonBytesTogether;
  for (const SetupAnswer::Entry& entry : answer.entries) {
    KUBE_LVS_RETURN_IF_ERROR(Check(entry.setup));
    Put(entry.setup, out);
    out.Number(entry.state.ready ? 1 : 0, 1);
    const auto why = std::string_view(entry.state.why_not).substr(0, kMaxReasonBytes);
    out.Text(why.substr(0, room));
    room -= std::min(room, why.size());
  }
  return std::move(out).Finish();
}

absl::StatusOr<SetupQuery> DecodeSetupQuery(std::span<const uint8_t> bytes, std::string_view key) {
  KUBE_LVS_ASSIGN_OR_RETURN(Reader in, Reader::Open(bytes, kSetupQueryKind, 0, key));
  SetupQuery query;
  query.nonce = in.Number(8);
  query.director = in.Address();
  KUBE_LVS_ASSIGN_OR_RETURN(const uint64_t count, TakeCount(in));
  for (uint64_t i = 0; i < count && in.Ok(); ++i) {
    KUBE_LVS_ASSIGN_OR_RETURN(const VipSetup setup, TakeSetup(in));
    query.setups.push_back(setup);
  }
  KUBE_LVS_RETURN_IF_ERROR(in.End());
  return query;
}

absl::StatusOr<SetupAnswer> DecodeSetupAnswer(std::span<const uint8_t> bytes,
                                              std::string_view key) {
  KUBE_LVS_ASSIGN_OR_RETURN(Reader in, Reader::Open(bytes, kSetupAnswerKind, 0, key));
  SetupAnswer answer;
  answer.nonce = in.Number(8);
  KUBE_LVS_ASSIGN_OR_RETURN(const uint64_t count, TakeCount(in));
  for (uint64_t i = 0; i < count && in.Ok(); ++i) {
    SetupAnswer::Entry entry;
    KUBE_LVS_ASSIGN_OR_RETURN(entry.setup, TakeSetup(in));
    const uint64_t ready = in.Number(1);
    if (ready > 1) return absl::InvalidArgumentError("neither ready nor not");
    entry.state.ready = ready == 1;
    entry.state.why_not = Printable(in.Text());
    answer.entries.push_back(std::move(entry));
  }
  KUBE_LVS_RETURN_IF_ERROR(in.End());
  return answer;
}

}  // namespace kube_lvs
