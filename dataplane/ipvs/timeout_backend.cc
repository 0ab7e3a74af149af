#include "dataplane/ipvs/timeout_backend.h"

#include <sstream>
#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "dataplane/ipvs/errors.h"
#include "dataplane/ipvs/reading.h"

namespace kube_lvs::ipvs {
namespace {

const ConnectionTimeout* TimeoutOf(const Step& step) {
  const auto* add = std::get_if<AddItem>(&step);
  const auto* remove = std::get_if<RemoveItem>(&step);
  const NodeItem* item = add != nullptr ? &add->item : remove != nullptr ? &remove->item : nullptr;
  return item != nullptr ? std::get_if<ConnectionTimeout>(item) : nullptr;
}

uint32_t& FieldOf(IpvsTimeouts& timeouts, ConnectionKind kind) {
  switch (kind) {
    case ConnectionKind::kTcp:
      return timeouts.tcp_seconds;
    case ConnectionKind::kTcpFin:
      return timeouts.tcp_fin_seconds;
    case ConnectionKind::kUdp:
      break;
  }
  return timeouts.udp_seconds;
}

absl::StatusOr<std::pair<ConnectionKind, uint32_t>> ParseLine(const std::string& line) {
  std::istringstream in(line);
  std::string name;
  uint32_t seconds = 0;
  in >> name >> seconds;
  for (const auto kind : {ConnectionKind::kTcp, ConnectionKind::kTcpFin, ConnectionKind::kUdp}) {
    if (!in.fail() && name == ToString(kind)) return std::pair(kind, seconds);
  }
  return absl::DataLossError("journal of timeouts: cannot read \"" + line + "\"");
}

}  // namespace

absl::StatusOr<TimeoutsBefore> ParseTimeoutJournal(const std::string& text,
                                                   const std::string& boot_id) {
  TimeoutsBefore out;
  std::istringstream in(text);
  std::string line;
  if (!std::getline(in, line) || line != boot_id) return out;
  while (std::getline(in, line)) {
    KUBE_LVS_ASSIGN_OR_RETURN(const auto entry, ParseLine(line));
    out.insert(entry);
  }
  return out;
}

bool TimeoutBackend::Takes(const Step& step) const {
  const ConnectionTimeout* timeout = TimeoutOf(step);
  return timeout != nullptr && timeout->dataplane == Dataplane::kIpvs;
}

absl::StatusOr<State> TimeoutBackend::Read() {
  State out;
  KUBE_LVS_ASSIGN_OR_RETURN(const TimeoutsBefore held, Held());
  if (held.empty()) return out;
  KUBE_LVS_ASSIGN_OR_RETURN(IpvsTimeouts now, ReadTimeouts(channel_));
  for (const auto& [kind, original] : held) {
    out.items.insert(ConnectionTimeout{Dataplane::kIpvs, kind, FieldOf(now, kind)});
  }
  return out;
}

std::vector<absl::Status> TimeoutBackend::Apply(std::span<const Step> steps) {
  std::vector<absl::Status> out;
  for (const Step& step : steps) {
    const ConnectionTimeout* timeout = TimeoutOf(step);
    if (timeout == nullptr) {
      out.push_back(absl::InternalError("no timeout: " + ToString(step)));
    } else {
      out.push_back(std::holds_alternative<AddItem>(step) ? Hold(*timeout) : Release(*timeout));
    }
  }
  return out;
}

absl::Status TimeoutBackend::Hold(const ConnectionTimeout& timeout) {
  KUBE_LVS_ASSIGN_OR_RETURN(TimeoutsBefore held, Held());
  if (!held.contains(timeout.kind)) {
    KUBE_LVS_ASSIGN_OR_RETURN(IpvsTimeouts before, ReadTimeouts(channel_));
    held[timeout.kind] = FieldOf(before, timeout.kind);
    KUBE_LVS_RETURN_IF_ERROR(Save(held));
  }
  return Set(timeout.kind, timeout.seconds);
}

absl::Status TimeoutBackend::Release(const ConnectionTimeout& timeout) {
  KUBE_LVS_ASSIGN_OR_RETURN(TimeoutsBefore held, Held());
  const auto original = held.find(timeout.kind);
  if (original == held.end()) return absl::OkStatus();
  KUBE_LVS_ASSIGN_OR_RETURN(IpvsTimeouts now, ReadTimeouts(channel_));
  if (FieldOf(now, timeout.kind) == timeout.seconds) {
    KUBE_LVS_RETURN_IF_ERROR(Set(timeout.kind, original->second));
  }
  held.erase(original);
  return Save(held);
}

absl::Status TimeoutBackend::Set(ConnectionKind kind, uint32_t seconds) {
  IpvsTimeouts timeouts;  // 0 leaves the others
  FieldOf(timeouts, kind) = seconds;
  KUBE_LVS_ASSIGN_OR_RETURN(Bytes request, EncodeTimeouts(timeouts));
  const std::vector<Bytes> requests = {std::move(request)};
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<int> errors, channel_.Send(requests));
  return StatusOf(errors.front(), Command::kSetConfig);
}

absl::StatusOr<TimeoutsBefore> TimeoutBackend::Held() const {
  const auto text = ReadFile(journal_);
  if (absl::IsNotFound(text.status())) return TimeoutsBefore{};
  KUBE_LVS_RETURN_IF_ERROR(text.status());
  return ParseTimeoutJournal(*text, boot_id_);
}

absl::Status TimeoutBackend::Save(const TimeoutsBefore& before) const {
  std::string text = boot_id_ + "\n";
  for (const auto& [kind, seconds] : before) {
    text += ToString(kind) + " " + std::to_string(seconds) + "\n";
  }
  return ReplaceFile(journal_, text);
}

}  // namespace kube_lvs::ipvs
