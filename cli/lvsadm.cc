// lvsadm, a drop-in for ipvsadm, which keeps an eBPF dataplane where the kernel has no IPVS, and
// lists the agent's too. By the name it is called under it is also ipvsadm (without extensions),
// and the -save and -restore of both.
#include <chrono>
#include <clocale>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/session.h"
#include "cli/watch.h"
#include "cli/watch_drops.h"
#include "cli/writer_turn.h"
#include "dataplane/ebpf/open.h"
#include "dataplane/ipvs/netlink_channel.h"
#include "dataplane/ipvs/sync_backend.h"
#include "dataplane/ipvs/timeout_backend.h"

namespace kube_lvs::cli {
namespace {

// So long one command waits for others that write.
constexpr std::chrono::seconds kPatience(10);

// lvsadm's own or, where there is none, the agent's. Those never share a network namespace, but
// another one's pins may be in sight.
absl::StatusOr<EbpfListing> ReadEbpfOnce(const std::string& dir, ebpf::Content content) {
  auto rules = ebpf::ReadAloneRules(content);
  const bool own = !absl::IsNotFound(rules.status());
  if (!own) rules = ebpf::ReadPinnedRules(dir, content);
  KUBE_LVS_RETURN_IF_ERROR(rules.status());
  return EbpfListing{TableOf(*std::move(rules)), own ? "lvsadm" : dir};
}

absl::StatusOr<EbpfListing> ReadEbpf(const std::string& dir, Detail detail) {
  const ebpf::Content content =
      detail == Detail::kNothing ? ebpf::Content::kRules : ebpf::Content::kAll;
  KUBE_LVS_ASSIGN_OR_RETURN(EbpfListing before, ReadEbpfOnce(dir, content));
  if (detail != Detail::kRates) return before;
  const auto first = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(std::chrono::seconds(1));
  KUBE_LVS_ASSIGN_OR_RETURN(EbpfListing now, ReadEbpfOnce(dir, content));
  FillRates(before.table, std::chrono::steady_clock::now() - first, now.table);
  return now;
}

const char* ProtocolName(Protocol protocol) {
  if (protocol == Protocol::kSctp) return "SCTP";
  return protocol == Protocol::kUdp ? "UDP" : "TCP";
}

absl::StatusOr<EbpfConnections> ReadEbpfConnections(const std::string& dir) {
  auto read = ebpf::ReadAloneConnections();
  const bool own = !absl::IsNotFound(read.status());
  if (!own) read = ebpf::ReadPinnedConnections(dir);
  KUBE_LVS_RETURN_IF_ERROR(read.status());
  EbpfConnections out{.connections = {}, .of = own ? "lvsadm" : dir};
  for (const ebpf::Connection& connection : *read) {
    out.connections.push_back({.protocol = ProtocolName(connection.protocol),
                               .client = connection.client,
                               .vip = connection.vip,
                               .real = connection.real,
                               .state = connection.state,
                               .expires_seconds = connection.expires_seconds,
                               .engine = "",
                               .engine_data = ""});
  }
  return out;
}

absl::StatusOr<ebpf::Trace> TraceEbpf(const std::string& dir, const ebpf::TracePacket& packet) {
  auto trace = ebpf::TraceAlone(packet);
  return absl::IsNotFound(trace.status()) ? ebpf::TracePinned(dir, packet) : trace;
}

absl::StatusOr<std::unique_ptr<DropSource>> OpenDrops(const std::string& dir) {
  auto drops = ebpf::OpenAloneDrops();
  const bool own = !absl::IsNotFound(drops.status());
  if (!own) drops = ebpf::OpenPinnedDrops(dir);
  KUBE_LVS_RETURN_IF_ERROR(drops.status());
  return NewDropSource(*std::move(drops), own ? "lvsadm" : dir);
}

// lvsadm's own eBPF dataplane, opened when it is first written.
class OwnEbpf {
 public:
  absl::StatusOr<ebpf::Alone*> Open(bool make) {
    if (dataplane_) return dataplane_->alone.get();
    KUBE_LVS_RETURN_IF_ERROR(TakeTurn());
    auto opened = ebpf::OpenAlone(false, clock_);
    if (make && absl::IsNotFound(opened.status())) {
      KUBE_LVS_RETURN_IF_ERROR(turn_->KeepAgentsOut());
      opened = ebpf::OpenAlone(true, clock_);
    }
    KUBE_LVS_RETURN_IF_ERROR(opened.status());
    dataplane_.emplace(*std::move(opened));
    return dataplane_->alone.get();
  }

  absl::Status Remove() {
    KUBE_LVS_RETURN_IF_ERROR(TakeTurn());
    return ebpf::RemoveAlone();
  }

 private:
  absl::Status TakeTurn() {
    if (turn_) return absl::OkStatus();
    KUBE_LVS_ASSIGN_OR_RETURN(WriterTurn turn, WriterTurn::Take(kPatience));
    turn_.emplace(std::move(turn));
    return absl::OkStatus();
  }

  SystemClock clock_;
  std::optional<WriterTurn> turn_;
  std::optional<ebpf::AloneDataplane> dataplane_;
};

// Empty if there is no such file.
absl::StatusOr<std::string> ReadIfThere(const std::string& path) {
  auto text = ReadFile(path);
  if (absl::IsNotFound(text.status())) return std::string();
  return text;
}

absl::StatusOr<Owned> ReadOwned(const std::string& state_dir) {
  Owned out;
  KUBE_LVS_ASSIGN_OR_RETURN(const std::string services, ReadIfThere(state_dir + "/ipvs-journal"));
  KUBE_LVS_ASSIGN_OR_RETURN(const std::string daemons, ReadIfThere(state_dir + "/ipvs-sync"));
  KUBE_LVS_ASSIGN_OR_RETURN(const std::string timeouts, ReadIfThere(state_dir + "/ipvs-timeouts"));
  KUBE_LVS_ASSIGN_OR_RETURN(std::string boot_id, ReadFile("/proc/sys/kernel/random/boot_id"));
  while (!boot_id.empty() && boot_id.back() == '\n') boot_id.pop_back();
  if (!services.empty()) {
    auto claims = ipvs::ParseJournal(services, boot_id);
    if (!claims.ok()) return Annotate(claims.status(), state_dir + "/ipvs-journal");
    out.services = *std::move(claims);
  }
  const auto ours = ipvs::ParseSyncJournal(daemons, boot_id);
  if (!ours.ok()) return Annotate(ours.status(), state_dir + "/ipvs-sync");
  for (const SyncDaemon& daemon : *ours) out.daemons.insert(daemon.role);
  const auto held = ipvs::ParseTimeoutJournal(timeouts, boot_id);
  if (!held.ok()) return Annotate(held.status(), state_dir + "/ipvs-timeouts");
  out.timeouts = !held->empty();
  return out;
}

std::string ReadStdin() {
  return std::string(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
}

// ipvsadm-save takes -n, refuses other options and ignores other words.
int Save(Session& session, const std::string& called, bool extensions,
         const std::vector<std::string>& words) {
  std::vector<std::string> command = {"-S"};
  if (extensions) command.push_back("--full");
  for (const std::string& word : words) {
    if (word == "-n") {
      if (command.back() != "-n") command.push_back("-n");
    } else if (!word.empty() && word[0] == '-') {
      std::cerr << called << ": Script to save the IPVS table to stdout.\n"
                << "   With the -n option, prints out the table in numeric format.\n";
      return 1;
    }
  }
  return session.Run(command);
}

int Main(const std::string& path, const std::vector<std::string>& words) {
  const std::string called = path.substr(path.rfind('/') + 1);
  const bool save = called.ends_with("-save"), restore = called.ends_with("-restore");
  Dialect dialect{.program = path, .extensions = !called.starts_with("ipvsadm")};
  if (save || restore) dialect.program = dialect.extensions ? "lvsadm" : "ipvsadm";
  if (path.empty()) dialect.program = "lvsadm";

  ipvs::NetlinkChannel channel;
  OwnEbpf own_ebpf;
  const SystemNames names;
  const NoNames no_names;
  World world{.channel = channel,
              .names = names,
              .out = std::cout,
              .err = std::cerr,
              .read_stdin = ReadStdin,
              .read_ebpf = ReadEbpf,
              .open_alone = [&](bool make) { return own_ebpf.Open(make); },
              .trace_ebpf = TraceEbpf,
              .open_drops = OpenDrops,
              .remove_alone = [&] { return own_ebpf.Remove(); },
              .read_alone_timeouts = ebpf::ReadAloneTimeouts,
              .read_connections = [] { return ReadFile("/proc/net/ip_vs_conn", SIZE_MAX); },
              .read_ebpf_connections = ReadEbpfConnections,
              .read_owned = ReadOwned,
              .check_scheduler = ipvs::CheckSchedulerOfThisNode,
              .watch =
                  [&](const auto& read, double seconds, bool numeric) {
                    std::cout.flush();
                    return WatchOnStdout(read, seconds,
                                         numeric ? static_cast<const Names&>(no_names) : names);
                  }};
  Session session(dialect, world);
  int status = 0;
  if (save) {
    status = Save(session, called, dialect.extensions, words);
  } else if (restore) {
    status = session.Restore(ReadStdin());
  } else {
    status = session.Run(words);
  }
  std::cout.flush();
  return status;
}

}  // namespace
}  // namespace kube_lvs::cli

int main(int argc, char** argv) {
  // For whether the terminal takes UTF-8; messages and numbers stay as they are.
  std::setlocale(LC_CTYPE, "");
  std::ios::sync_with_stdio(false);
  return kube_lvs::cli::Main(argc > 0 ? argv[0] : "",
                             std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
}
