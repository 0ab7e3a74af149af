#include "cli/session.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <ostream>
#include <span>
#include <utility>

#include "base/status.h"
#include "cli/connections.h"
#include "cli/drops.h"
#include "cli/ebpf_changes.h"
#include "cli/json.h"
#include "cli/listing.h"
#include "cli/messages.h"
#include "cli/ownership.h"
#include "cli/rule_lines.h"
#include "cli/trace.h"
#include "dataplane/ipvs/reading.h"

namespace kube_lvs::cli {
namespace {

constexpr int kFailed = 255;    // the kernel refused: ipvsadm's -1
constexpr int kListFailed = 1;  // a listing failed
constexpr int kNoIpvs = 2;
constexpr int kNoDataplane = 2;
constexpr int kBadTrace = 2;
constexpr int kDropped = 3;  // --trace
// So many changes of -R go to the kernel together.
constexpr size_t kBatch = 512;

bool IsAbsent(const absl::Status& status) {
  return absl::IsNotFound(status) || absl::IsFailedPrecondition(status);
}

// The channel's status as ipvsadm would say it.
std::string InIpvsadmsWords(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return Refused(Action::kList, ESRCH);
    case absl::StatusCode::kPermissionDenied:
      return Refused(Action::kList, EPERM);
    default:
      return Message(status);
  }
}

bool NamesService(const Request& request, const ServiceKey& key) {
  ServiceKey wanted = KeyOf(request.service);
  wanted.dataplane = key.dataplane;
  return wanted == key;
}

std::string EbpfHeading(const std::string& of) { return "kube-lvs eBPF dataplane (" + of + ")"; }

std::string Joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

}  // namespace

// A change that waits for others, to be sent with them.
struct Session::Pending {
  Request request;
  std::string line;  // of -R: "line 7: -A -t ..."
};

int Session::Run(const std::vector<std::string>& words) {
  const auto parsed = ParseOptions(dialect_, words, world_.names);
  if (const auto* answer = std::get_if<Answer>(&parsed)) {
    Print(*answer);
    return answer->status;
  }
  return Execute(std::get<Request>(parsed)).status;
}

int Session::Restore(const std::string& text) {
  // As ipvsadm-restore: lines that begin with # are comments.
  std::string rules;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    // An empty line keeps the numbers of those after it.
    if (text[begin] != '#') rules += text.substr(begin, end - begin);
    rules += "\n";
    begin = end + 1;
  }
  if (dialect_.extensions) {
    for (const RuleLine& line : ParseRuleLines(rules, true)) {
      const auto parsed = ParseOptions(dialect_, line.words, world_.names, true);
      const auto* answer = std::get_if<Answer>(&parsed);
      if (answer == nullptr || answer->status == 0) continue;
      Print(*answer);
      world_.err << "lvsadm: nothing was changed: line " << line.number << ": "
                 << Joined(line.words) << "\n";
      return answer->status;
    }
  }
  Request flush;
  flush.action = Action::kFlush;
  Warn(flush);
  if (const Done done = Change({{flush, ""}}); done.status != 0) return done.status;
  return ReadRules(rules);
}

int Session::ReadRules(const std::string& text) {
  int status = 0;
  std::vector<Pending> pending;
  const auto flush = [&] {
    if (pending.empty()) return Done{.status = status, .ends = false};
    const Done done = Change(pending);
    pending.clear();
    status = done.status;
    return done;
  };
  for (const RuleLine& line : ParseRuleLines(text, dialect_.extensions)) {
    const std::string place = "line " + std::to_string(line.number) + ": " + Joined(line.words);
    const auto parsed = ParseOptions(dialect_, line.words, world_.names, true);
    if (const auto* answer = std::get_if<Answer>(&parsed)) {
      if (const Done done = flush(); done.ends) return done.status;
      Print(*answer);
      if (dialect_.extensions && answer->status != 0) {
        world_.err << "lvsadm: " << place << "\n";
      }
      status = answer->status;
      if (answer->ends) return status;
      continue;
    }
    const Request& request = std::get<Request>(parsed);
    if (IsChange(request.action)) {
      if (!pending.empty() && IsForEbpf(request) != IsForEbpf(pending.back().request)) {
        if (const Done done = flush(); done.ends) return done.status;
      }
      Warn(request);
      pending.push_back({request, place});
      if (pending.size() < kBatch) continue;
      if (const Done done = flush(); done.ends) return done.status;
      continue;
    }
    if (const Done done = flush(); done.ends) return done.status;
    const Done done = Execute(request);
    status = done.status;
    if (done.ends) return status;
  }
  return flush().status;
}

// The status is that of the last one.
Session::Done Session::Change(const std::vector<Pending>& changes) {
  return IsForEbpf(changes.front().request) ? ChangeEbpf(changes) : ChangeIpvs(changes);
}

Session::Done Session::ChangeIpvs(const std::vector<Pending>& changes) {
  if (const auto failed = Open()) return *failed;
  std::vector<ipvs::Bytes> messages;
  for (const Pending& change : changes) messages.push_back(Encode(change.request));
  const auto errors = world_.channel.Send(messages);
  if (!errors.ok()) {
    Done done = Failed(errors.status());
    done.ends = true;
    return done;
  }
  for (size_t i = 0; i < changes.size(); ++i) {
    if ((*errors)[i] == 0) continue;
    world_.err << Refused(changes[i].request.action, (*errors)[i]) << "\n";
    if (dialect_.extensions && !changes[i].line.empty()) {
      world_.err << "lvsadm: " << changes[i].line << "\n";
    }
  }
  return {.status = errors->back() == 0 ? 0 : kFailed, .ends = false};
}

bool Session::IsForEbpf(const Request& request) {
  if (!dialect_.extensions) return false;
  if (request.action == Action::kStartDaemon || request.action == Action::kStopDaemon) return false;
  if (request.extensions.dataplane_given) return request.extensions.ebpf;
  if (for_ebpf_) return *for_ebpf_;
  if (info_) return false;
  if (!no_ipvs_) {
    auto info = ipvs::ReadInfo(world_.channel);
    if (info.ok()) info_ = *info;
    no_ipvs_ = info.status();
  }
  return IsAbsent(*no_ipvs_);
}

Session::Done Session::FailedEbpf(const Request& request, const absl::Status& status) {
  // Nobody asked for eBPF: what is missing is IPVS.
  if (!request.extensions.dataplane_given && !for_ebpf_ && !absl::IsAlreadyExists(status)) {
    Failed(*no_ipvs_);
    world_.err << "lvsadm: and the eBPF dataplane cannot take its place: " << Message(status)
               << "\n";
  } else {
    world_.err << "lvsadm: " << Message(status) << "\n";
  }
  return {.status = kNoDataplane, .ends = true};
}

Session::Done Session::ChangeEbpf(const std::vector<Pending>& changes) {
  const bool make = std::ranges::any_of(
      changes, [](const Pending& change) { return MakesEbpf(change.request.action); });
  const Request& first = changes.front().request;
  const auto opened = world_.open_alone(make);
  if (!opened.ok() && !absl::IsNotFound(opened.status())) return FailedEbpf(first, opened.status());
  ebpf::Alone* const alone = opened.ok() ? *opened : nullptr;

  std::vector<Request> requests;
  for (const Pending& change : changes) requests.push_back(change.request);
  const std::vector<absl::Status> statuses = ApplyToEbpf(requests, alone);
  if (alone != nullptr && std::ranges::any_of(statuses, &absl::Status::ok)) {
    if (const absl::Status served = alone->Serve(); !served.ok()) return FailedEbpf(first, served);
    if (const absl::Status local = alone->ServeLocalClients(); !local.ok()) {
      world_.err << "lvsadm: warning: clients on this host do not reach all VIPs: "
                 << Message(local) << "\n";
    }
  }
  for (size_t i = 0; i < changes.size(); ++i) {
    if (statuses[i].ok()) continue;
    world_.err << RefusedByEbpf(requests[i], statuses[i], alone) << "\n";
    if (!changes[i].line.empty()) world_.err << "lvsadm: " << changes[i].line << "\n";
  }
  return {.status = statuses.back().ok() ? 0 : kFailed, .ends = false};
}

void Session::Warn(const Request& request) {
  // The eBPF dataplane has one writer.
  if (!dialect_.extensions || IsForEbpf(request)) return;
  WarnOfOwner(request);
  WarnOfScheduler(request);
}

// Of one that hangs the kernel when the kernel loads it: the addition goes on, as ipvsadm's would.
void Session::WarnOfScheduler(const Request& request) {
  if (request.action != Action::kAddService && request.action != Action::kEditService) return;
  const std::string& scheduler = request.service.scheduler;
  const absl::Status status = world_.check_scheduler(scheduler);
  if (status.ok() || !warned_schedulers_.insert(scheduler).second) return;
  world_.err << "lvsadm: warning: " << Message(status) << "\n";
  world_.err.flush();
}

void Session::WarnOfOwner(const Request& request) {
  if (!owned_) {
    auto owned = world_.read_owned(request.extensions.state_dir);
    if (!owned.ok()) {
      world_.err << "lvsadm: warning: what kube-lvs-agent owns is not known: "
                 << Message(owned.status()) << "\n";
    }
    owned_ = owned.ok() ? *std::move(owned) : Owned{};
  }
  const std::string warning = OwnershipWarning(request, *owned_);
  if (warning.empty() || !warned_.insert(warning).second) return;
  world_.err << "lvsadm: " << warning << "\n";
}

// All of it goes, where -R and -restore would put rules in place of the old ones.
Session::Done Session::ClearEbpf(const Request& request) {
  const absl::Status gone = world_.remove_alone();
  if (gone.ok() || absl::IsNotFound(gone)) return {};
  return FailedEbpf(request, gone);
}

Session::Done Session::Execute(const Request& request) {
  switch (request.action) {
    case Action::kList:
    case Action::kSave:
      return List(request);
    case Action::kRestore:
      if (request.extensions.dataplane_given) for_ebpf_ = request.extensions.ebpf;
      if (!IsForEbpf(request)) {
        if (const auto failed = Open()) return *failed;
      }
      return {.status = ReadRules(world_.read_stdin()), .ends = false};
    case Action::kFlush:
      if (IsForEbpf(request)) return ClearEbpf(request);
      [[fallthrough]];
    default:
      Warn(request);
      return Change({{request, ""}});
  }
}

// Whether the kernel has IPVS, asked once.
std::optional<Session::Done> Session::Open() {
  if (info_) return std::nullopt;
  auto info = ipvs::ReadInfo(world_.channel);
  if (!info.ok()) return Failed(info.status());
  info_ = *info;
  return std::nullopt;
}

Session::Done Session::Failed(const absl::Status& status) {
  if (!info_ && (IsAbsent(status) || absl::IsPermissionDenied(status))) {
    world_.err << "Can't initialize ipvs: "
               << Refused(Action::kList, IsAbsent(status) ? ENOPROTOOPT : EPERM)
               << "\nAre you sure that IP Virtual Server is built in the kernel or as module?\n";
  } else {
    world_.err << InIpvsadmsWords(status) << "\n";
  }
  return {.status = info_ ? kFailed : kNoIpvs, .ends = true};
}

std::string Session::Heading() const {
  char text[96];
  std::snprintf(text, sizeof text, "IP Virtual Server version %u.%u.%u (size=%u)",
                info_->version >> 16 & 0xff, info_->version >> 8 & 0xff, info_->version & 0xff,
                info_->connection_table_size);
  return text;
}

const Names& Session::NamesFor(const Request& request) const {
  static const NoNames kNone;
  return request.Has(Option::kNumeric) ? kNone : world_.names;
}

absl::StatusOr<Table> Session::ReadIpvs(const Request& request) {
  std::vector<ipvs::ServiceEntry> services;
  const Columns columns = FormatOf(request).columns;
  const bool counted = columns == Columns::kStats || columns == Columns::kRate ||
                       request.extensions.json || request.extensions.watch_seconds > 0;
  const ipvs::Content content = counted ? ipvs::Content::kAll : ipvs::Content::kRules;
  if (request.Has(Option::kService)) {
    KUBE_LVS_ASSIGN_OR_RETURN(
        const ipvs::Bytes answer,
        world_.channel.Ask(EncodeQuestion(ipvs::Command::kGetService, request.service)));
    KUBE_LVS_ASSIGN_OR_RETURN(ipvs::ServiceEntry service, ipvs::DecodeService(answer));
    services.push_back(std::move(service));
  } else {
    KUBE_LVS_ASSIGN_OR_RETURN(services, ipvs::ReadServices(world_.channel, content));
  }
  Table out;
  out.reserve(services.size());
  for (ipvs::ServiceEntry& service : services) {
    KUBE_LVS_ASSIGN_OR_RETURN(auto reals, ipvs::ReadReals(world_.channel, service.key, content));
    out.push_back({std::move(service), std::move(reals)});
  }
  if (!request.Has(Option::kNoSort)) SortAsIpvsadm(out);
  return out;
}

absl::StatusOr<EbpfListing> Session::ReadEbpf(const Request& request, Detail detail) {
  KUBE_LVS_ASSIGN_OR_RETURN(EbpfListing out, world_.read_ebpf(request.extensions.bpf_dir, detail));
  if (!request.Has(Option::kService)) return out;
  std::erase_if(out.table, [&](const ListedService& listed) {
    return !NamesService(request, listed.service.key);
  });
  if (out.table.empty()) return absl::AbortedError("the eBPF dataplane has no such service");
  return out;
}

Session::Done Session::ListTimeouts(const Request& request) {
  absl::StatusOr<IpvsTimeouts> timeouts = absl::NotFoundError("not asked for");
  if (IsForEbpf(request)) {
    timeouts = world_.read_alone_timeouts();
    if (!timeouts.ok() && (request.extensions.dataplane_given || !IsAbsent(timeouts.status()))) {
      world_.err << "lvsadm: " << Message(timeouts.status()) << "\n";
      return {.status = kListFailed, .ends = true};
    }
  }
  if (!timeouts.ok()) {
    if (const auto failed = Open()) return *failed;
    timeouts = ipvs::ReadTimeouts(world_.channel);
  }
  if (!timeouts.ok()) return {.status = kListFailed, .ends = true};
  world_.out << (request.extensions.json ? TimeoutsJson(*timeouts) : TimeoutsLine(*timeouts));
  return {};
}

Session::Done Session::List(const Request& request) {
  const Extensions& extensions = request.extensions;
  // Rules are saved of the dataplane that -R would put them into.
  const bool both = dialect_.extensions && request.action == Action::kList;
  const bool ebpf = both ? extensions.ebpf : IsForEbpf(request);
  const bool ipvs = both ? extensions.ipvs : !extensions.dataplane_given || !extensions.ebpf;
  if (!extensions.trace.empty()) return Trace(request);
  if (extensions.drops) return WatchDrops(request);
  if (request.Has(Option::kConnection)) return ListConnections(request);
  if (request.Has(Option::kTimeout)) return ListTimeouts(request);
  if (request.Has(Option::kDaemon)) {
    if (const auto failed = Open()) return *failed;
    const auto daemons = ipvs::ReadDaemons(world_.channel);
    if (!daemons.ok()) return {.status = kListFailed, .ends = true};
    world_.out << (extensions.json ? DaemonsJson(*daemons) : DaemonLines(*daemons));
    return {};
  }
  if (extensions.watch_seconds > 0) return Watch(request);

  const Format format = FormatOf(request);
  const Names& names = NamesFor(request);
  const bool one = request.Has(Option::kService);
  std::vector<JsonDataplane> json;
  // The eBPF dataplane first, so that what IPVS lacks can be judged.
  absl::StatusOr<EbpfListing> in_ebpf = absl::NotFoundError("not asked for");
  const Detail detail = format.columns == Columns::kRate || extensions.json ? Detail::kRates
                        : format.columns == Columns::kStats               ? Detail::kCounters
                                                                          : Detail::kNothing;
  if (ebpf) in_ebpf = ReadEbpf(request, detail);
  if (ipvs) {
    const auto info = info_ ? absl::StatusOr<ipvs::Info>(*info_) : ipvs::ReadInfo(world_.channel);
    if (info.ok()) {
      info_ = *info;
      if (!one && format.columns != Columns::kRules && !extensions.json) {
        world_.out << Heading() << "\n";
      }
      const auto table = ReadIpvs(request);
      if (table.ok() && extensions.json) {
        json.push_back({"ipvs", *table});
      } else if (table.ok()) {
        world_.out << Title(format) << Services(*table, format, names);
      } else if (!(one && in_ebpf.ok())) {
        world_.out.flush();
        world_.err << InIpvsadmsWords(table.status()) << "\n";
        return {.status = kListFailed, .ends = true};
      }
    } else if (!(IsAbsent(info.status()) && in_ebpf.ok())) {
      return Failed(info.status());
    }
  }
  if (ebpf && in_ebpf.ok()) {
    if (extensions.json) {
      json.push_back({"ebpf", in_ebpf->table});
    } else {
      if (format.columns != Columns::kRules) world_.out << EbpfHeading(in_ebpf->of) << "\n";
      world_.out << Title(format) << Services(in_ebpf->table, format, names);
    }
  }
  if (extensions.json) world_.out << ServicesJson(json);
  if (!ebpf || in_ebpf.ok()) return {};
  // Not here, or not of this service: no matter while the other dataplane answers.
  const bool missing = IsAbsent(in_ebpf.status()) || absl::IsAborted(in_ebpf.status());
  if (ipvs && missing) return {};
  world_.out.flush();
  world_.err << "lvsadm: " << Message(in_ebpf.status()) << "\n";
  return {.status = kListFailed, .ends = true};
}

Session::Done Session::Trace(const Request& request) {
  const auto packet = ParseTrace(request.extensions.trace);
  if (!packet.ok()) {
    world_.err << "lvsadm: " << Message(packet.status()) << "\n";
    return {.status = kBadTrace, .ends = true};
  }
  const auto trace = world_.trace_ebpf(request.extensions.bpf_dir, *packet);
  if (!trace.ok()) {
    world_.err << "lvsadm: " << Message(trace.status()) << "\n";
    return {.status = kListFailed, .ends = true};
  }
  world_.out << TraceText(*packet, *trace);
  const bool dropped = trace->verdict == ebpf::TraceVerdict::kDropped;
  return {.status = dropped ? kDropped : 0, .ends = false};
}

Session::Done Session::WatchDrops(const Request& request) {
  const Extensions& extensions = request.extensions;
  const auto failed = [this](const absl::Status& status) -> Done {
    world_.out.flush();
    world_.err << "lvsadm: " << Message(status) << "\n";
    return {.status = kListFailed, .ends = true};
  };
  const auto source = world_.open_drops(extensions.bpf_dir);
  if (!source.ok()) return failed(source.status());
  if (!extensions.json) world_.out << EbpfHeading((*source)->of()) << "\n" << DropTitle();
  world_.out.flush();
  const auto totals = (*source)->Watch(extensions.drop_seconds, [&](const ShownDrop& drop) {
    world_.out << (extensions.json ? DropJson(drop) : DropLine(drop));
    return world_.out.flush().good();
  });
  if (!totals.ok()) return failed(totals.status());
  world_.out << (extensions.json ? DropSummaryJson(*totals) : DropSummary(*totals));
  return {.status = world_.out.flush().good() ? 0 : kListFailed, .ends = true};
}

Session::Done Session::ListConnections(const Request& request) {
  const Extensions& extensions = request.extensions;
  absl::StatusOr<EbpfConnections> of_ebpf = absl::NotFoundError("not asked for");
  const bool ebpf = dialect_.extensions && extensions.ebpf;
  if (ebpf) of_ebpf = world_.read_ebpf_connections(extensions.bpf_dir);
  std::optional<std::vector<Connection>> of_ipvs;
  if (extensions.ipvs && !(of_ebpf.ok() && IsForEbpf(request))) {
    if (const auto failed = Open()) return *failed;
    const auto text = world_.read_connections();
    if (!text.ok()) {
      world_.err << "cannot open file /proc/net/ip_vs_conn\n";
      return {.status = kListFailed, .ends = true};
    }
    of_ipvs = ParseConnections(*text);
  }
  if (extensions.json) {
    std::vector<Connection> all = of_ipvs.value_or(std::vector<Connection>{});
    if (of_ebpf.ok()) {
      all.insert(all.end(), of_ebpf->connections.begin(), of_ebpf->connections.end());
    }
    world_.out << ConnectionsJson(all);
  } else {
    if (of_ipvs) PrintConnections(request, *of_ipvs);
    if (of_ebpf.ok()) {
      world_.out << EbpfHeading(of_ebpf->of) << "\n";
      PrintConnections(request, of_ebpf->connections);
    }
  }
  if (!ebpf || of_ebpf.ok() || (of_ipvs && IsAbsent(of_ebpf.status()))) return {};
  world_.out.flush();
  world_.err << "lvsadm: " << Message(of_ebpf.status()) << "\n";
  return {.status = kListFailed, .ends = true};
}

void Session::PrintConnections(const Request& request, const std::vector<Connection>& connections) {
  const bool engines = request.Has(Option::kPersistentConn);
  world_.out << ConnectionTitle(engines);
  for (const Connection& connection : connections) {
    world_.out << ConnectionLine(connection, engines, NamesFor(request));
  }
}

Session::Done Session::Watch(const Request& request) {
  const Extensions& extensions = request.extensions;
  std::optional<std::pair<std::chrono::steady_clock::time_point, Table>> before;
  const auto read = [&]() -> std::vector<FrameSection> {
    std::vector<FrameSection> out;
    if (extensions.ipvs) {
      // Anew each time: ip_vs may be loaded meanwhile.
      auto info = ipvs::ReadInfo(world_.channel);
      if (info.ok()) info_ = *info;
      absl::StatusOr<Table> table = info.ok() ? ReadIpvs(request) : info.status();
      const bool shown = table.ok() || extensions.dataplane_given || !IsAbsent(table.status());
      if (shown) {
        out.push_back({.heading = info.ok() ? Heading() : "IP Virtual Server",
                       .table = table.ok() ? *table : Table{},
                       .trouble = table.ok() ? "" : Message(table.status())});
      }
    }
    if (extensions.ebpf) {
      absl::StatusOr<EbpfListing> read = ReadEbpf(request, Detail::kCounters);
      const auto now = std::chrono::steady_clock::now();
      if (read.ok()) {
        const Table counted = read->table;
        if (before) FillRates(before->second, now - before->first, read->table);
        before = {now, counted};
      }
      const bool shown = read.ok() || extensions.dataplane_given || out.empty() ||
                         !(IsAbsent(read.status()) || absl::IsAborted(read.status()));
      if (shown) {
        const EbpfListing listing = read.ok() ? *read : EbpfListing{{}, extensions.bpf_dir};
        out.push_back({.heading = EbpfHeading(listing.of),
                       .table = listing.table,
                       .trouble = read.ok() ? "" : Message(read.status())});
      }
    }
    return out;
  };
  return {.status = world_.watch(read, extensions.watch_seconds, request.Has(Option::kNumeric)),
          .ends = true};
}

void Session::Print(const Answer& answer) {
  world_.out << answer.out;
  world_.out.flush();
  world_.err << answer.err;
}

}  // namespace kube_lvs::cli
