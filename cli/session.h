// Executes command lines on the kernel's IPVS through a channel, or on an eBPF dataplane of its own
// where the kernel has no IPVS. Prints as ipvsadm does; what ipvsadm would not say begins with
// "lvsadm: ".
#pragma once

#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/connections.h"
#include "cli/drops.h"
#include "cli/frame.h"
#include "cli/names.h"
#include "cli/options.h"
#include "cli/ownership.h"
#include "cli/table.h"
#include "dataplane/ebpf/alone.h"
#include "dataplane/ebpf/trace.h"
#include "dataplane/ipvs/channel.h"
#include "dataplane/ipvs/schedulers.h"
#include "dataplane/ipvs/settings_codec.h"

namespace kube_lvs::cli {

// What there is of the eBPF dataplane.
struct EbpfListing {
  Table table;
  std::string of;  // whose it is: "lvsadm", or the agent's folder
};

// What is read beside the rules; rates, with counters, take a second.
enum class Detail { kNothing, kCounters, kRates };

struct EbpfConnections {
  std::vector<Connection> connections;
  std::string of;
};

// All that is outside. Functions may be asked more than once.
struct World {
  ipvs::Channel& channel;
  const Names& names;
  std::ostream& out;
  std::ostream& err;
  std::function<std::string()> read_stdin;
  // Everything of lvsadm's eBPF dataplane in this network namespace or, without one, of the agent's
  // in `dir`. kNotFound, kFailedPrecondition: it is not here.
  std::function<absl::StatusOr<EbpfListing>(const std::string& dir, Detail detail)> read_ebpf;
  // lvsadm's, to write it: the same each time. kNotFound: there is none, and none was to be made.
  // kAlreadyExists: an agent's is here.
  std::function<absl::StatusOr<ebpf::Alone*>(bool make)> open_alone;
  // Of what read_ebpf reads.
  std::function<absl::StatusOr<ebpf::Trace>(const std::string& dir, const ebpf::TracePacket&)>
      trace_ebpf;
  // Of what read_ebpf reads. kFailedPrecondition: it is of a version that does not tell.
  // kUnavailable: somebody else watches.
  std::function<absl::StatusOr<std::unique_ptr<DropSource>>(const std::string& dir)> open_drops;
  std::function<absl::Status()> remove_alone;  // what it is in the kernel, with its connections
  std::function<absl::StatusOr<IpvsTimeouts>()> read_alone_timeouts;
  std::function<absl::StatusOr<std::string>()> read_connections;  // /proc/net/ip_vs_conn
  // Of what read_ebpf reads.
  std::function<absl::StatusOr<EbpfConnections>(const std::string& dir)> read_ebpf_connections;
  // What an agent that keeps its state there owns; nothing if there is none.
  std::function<absl::StatusOr<Owned>(const std::string& state_dir)> read_owned;
  ipvs::SchedulerCheck check_scheduler;
  // Draws what `read` gives, again and again, until the user ends it. Status as of a program.
  std::function<int(const std::function<std::vector<FrameSection>()>& read, double seconds,
                    bool numeric)>
      watch;
};

class Session {
 public:
  // Borrows both.
  Session(const Dialect& dialect, World& world) : dialect_(dialect), world_(world) {}

  // One command line without the program's name. The program's status.
  int Run(const std::vector<std::string>& words);

  // ipvsadm-restore: removes all services, then does what -R does with `text`. lvsadm-restore
  // (dialects with extensions) reads all of it first, and removes nothing if a line is refused.
  int Restore(const std::string& text);

 private:
  // Of one line: its status, and whether the program ends with it.
  struct Done {
    int status = 0;
    bool ends = false;
  };
  struct Pending;

  Done Execute(const Request& request);
  int ReadRules(const std::string& text);
  // All of one dataplane.
  Done Change(const std::vector<Pending>& changes);
  Done ChangeIpvs(const std::vector<Pending>& changes);
  Done ChangeEbpf(const std::vector<Pending>& changes);
  Done ClearEbpf(const Request& request);
  // Whether a command is for eBPF: as it says or, if it says nothing, where there is no IPVS.
  bool IsForEbpf(const Request& request);
  Done FailedEbpf(const Request& request, const absl::Status& status);
  void Warn(const Request& request);
  void WarnOfOwner(const Request& request);
  void WarnOfScheduler(const Request& request);

  std::optional<Done> Open();
  Done List(const Request& request);
  Done ListTimeouts(const Request& request);
  Done Trace(const Request& request);
  Done WatchDrops(const Request& request);
  Done ListConnections(const Request& request);
  Done Watch(const Request& request);
  void PrintConnections(const Request& request, const std::vector<Connection>& connections);
  absl::StatusOr<Table> ReadIpvs(const Request& request);
  absl::StatusOr<EbpfListing> ReadEbpf(const Request& request, Detail detail);
  std::string Heading() const;
  Done Failed(const absl::Status& status);
  void Print(const Answer& answer);
  const Names& NamesFor(const Request& request) const;

  const Dialect& dialect_;
  World& world_;
  std::optional<ipvs::Info> info_;
  std::optional<absl::Status> no_ipvs_;  // why, once it was asked for
  std::optional<bool> for_ebpf_;         // what the command line of -R said for its lines
  std::optional<Owned> owned_;
  std::set<std::string> warned_;
  std::set<std::string> warned_schedulers_;
};

}  // namespace kube_lvs::cli
