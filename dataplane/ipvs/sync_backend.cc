#include "dataplane/ipvs/sync_backend.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "dataplane/ipvs/errors.h"
#include "dataplane/ipvs/reading.h"

namespace kube_lvs::ipvs {
namespace {

const SyncDaemon* DaemonOf(const Step& step) {
  if (const auto* add = std::get_if<AddItem>(&step)) return std::get_if<SyncDaemon>(&add->item);
  if (const auto* remove = std::get_if<RemoveItem>(&step)) {
    return std::get_if<SyncDaemon>(&remove->item);
  }
  return nullptr;
}

absl::Status ParseLine(const std::string& line, std::set<SyncDaemon>& out) {
  std::istringstream in(line);
  std::string role, group;
  SyncDaemon daemon;
  uint32_t port = 0, ttl = 0;
  in >> role >> daemon.interface >> daemon.sync_id >> group >> port >> ttl;
  const auto ip = IpAddress::Parse(group);
  if (in.fail() || !ip.ok() || (role != "master" && role != "backup") || port > 65535 ||
      ttl > 255) {
    return absl::DataLossError("journal of sync daemons: cannot read \"" + line + "\"");
  }
  daemon.role = role == "master" ? SyncRole::kMaster : SyncRole::kBackup;
  daemon.group = *ip;
  daemon.port = static_cast<uint16_t>(port);
  daemon.ttl = static_cast<uint8_t>(ttl);
  out.insert(daemon);
  return absl::OkStatus();
}

}  // namespace

std::string SyncJournalText(const std::set<SyncDaemon>& daemons, const std::string& boot_id) {
  std::ostringstream out;
  out << boot_id << "\n";
  for (const SyncDaemon& daemon : daemons) {
    out << ToString(daemon.role) << " " << daemon.interface << " " << daemon.sync_id << " "
        << daemon.group.ToString() << " " << daemon.port << " " << int{daemon.ttl} << "\n";
  }
  return out.str();
}

absl::StatusOr<std::set<SyncDaemon>> ParseSyncJournal(const std::string& text,
                                                      const std::string& boot_id) {
  std::istringstream in(text);
  std::set<SyncDaemon> out;
  std::string line;
  if (!std::getline(in, line) || line != boot_id) return out;
  while (std::getline(in, line)) KUBE_LVS_RETURN_IF_ERROR(ParseLine(line, out));
  return out;
}

bool SyncBackend::Takes(const Step& step) const { return DaemonOf(step) != nullptr; }

absl::StatusOr<State> SyncBackend::Read() {
  State out;
  KUBE_LVS_ASSIGN_OR_RETURN(const std::set<SyncDaemon> ours, Ours());
  if (ours.empty()) return out;
  KUBE_LVS_ASSIGN_OR_RETURN(const std::set<SyncDaemon> running, Running());
  for (const SyncDaemon& daemon : running) {
    if (ours.contains(daemon)) out.items.insert(daemon);
  }
  return out;
}

std::vector<absl::Status> SyncBackend::Apply(std::span<const Step> steps) {
  std::vector<absl::Status> out;
  for (const Step& step : steps) {
    const SyncDaemon* daemon = DaemonOf(step);
    if (daemon == nullptr) {
      out.push_back(absl::InternalError("no sync daemon: " + ToString(step)));
      continue;
    }
    const bool add = std::holds_alternative<AddItem>(step);
    out.push_back(add ? Start(*daemon) : Stop(*daemon));
  }
  return out;
}

absl::Status SyncBackend::Start(const SyncDaemon& daemon) {
  KUBE_LVS_ASSIGN_OR_RETURN(std::set<SyncDaemon> ours, Ours());
  KUBE_LVS_ASSIGN_OR_RETURN(const std::set<SyncDaemon> running, Running());
  const auto there = std::ranges::find(running, daemon.role, &SyncDaemon::role);
  const bool runs = there != running.end();
  if (runs && !ours.contains(*there)) {
    return absl::AlreadyExistsError("IPVS sync daemon " + ToString(*there) +
                                    " is another owner's; stop it there (ipvsadm --stop-daemon " +
                                    ToString(there->role) +
                                    "), or set connectionSync: Disabled in the LVSDirectorGroup");
  }
  if (runs && *there == daemon) return absl::OkStatus();
  KUBE_LVS_ASSIGN_OR_RETURN(Bytes start, EncodeDaemon(daemon));
  std::vector<Bytes> requests;
  if (runs) requests.push_back(EncodeRemoveDaemon(daemon.role));
  requests.push_back(std::move(start));
  // The one that is replaced stays written down until it is known to be gone.
  ours.insert(daemon);
  KUBE_LVS_RETURN_IF_ERROR(Save(ours));
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<int> errors, channel_.Send(requests));
  const absl::Status status = StatusOf(errors.back(), daemon);
  if (!status.ok() && errors.front() != 0 && runs) return status;  // it still runs
  std::erase_if(ours, [&](const SyncDaemon& d) { return d.role == daemon.role; });
  if (status.ok()) ours.insert(daemon);
  KUBE_LVS_RETURN_IF_ERROR(Save(ours));
  return status;
}

absl::Status SyncBackend::Stop(const SyncDaemon& daemon) {
  KUBE_LVS_ASSIGN_OR_RETURN(std::set<SyncDaemon> ours, Ours());
  if (!ours.contains(daemon)) return absl::OkStatus();
  KUBE_LVS_ASSIGN_OR_RETURN(const std::set<SyncDaemon> running, Running());
  if (running.contains(daemon)) {
    const std::vector<Bytes> request = {EncodeRemoveDaemon(daemon.role)};
    KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<int> errors, channel_.Send(request));
    const absl::Status status = StatusOf(errors.front(), Command::kRemoveDaemon);
    if (!status.ok() && !absl::IsNotFound(status)) return status;
  }
  ours.erase(daemon);
  return Save(ours);
}

absl::StatusOr<std::set<SyncDaemon>> SyncBackend::Ours() const {
  const auto text = ReadFile(journal_);
  if (absl::IsNotFound(text.status())) return std::set<SyncDaemon>();
  KUBE_LVS_RETURN_IF_ERROR(text.status());
  return ParseSyncJournal(*text, boot_id_);
}

absl::Status SyncBackend::Save(const std::set<SyncDaemon>& ours) const {
  return ReplaceFile(journal_, SyncJournalText(ours, boot_id_));
}

absl::StatusOr<std::set<SyncDaemon>> SyncBackend::Running() {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<SyncDaemon> daemons, ReadDaemons(channel_));
  std::set<SyncDaemon> out;
  for (SyncDaemon daemon : daemons) {
    daemon.max_length = 0;
    out.insert(daemon);
  }
  return out;
}

}  // namespace kube_lvs::ipvs
