#include "dataplane/ebpf/bpf_hooks.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fnmatch.h>
#include <linux/if_link.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

#include "base/status.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/bpf_maps.h"
#include "dataplane/model/state.h"

namespace kube_lvs::ebpf {
namespace {

// Ours among the filters of an interface. Low preferences come first: what a packet to a VIP meets
// before us may route it elsewhere.
constexpr uint32_t kAgentHandle = 0x6b6c;
constexpr uint32_t kLvsadmHandle = 0x6b6d;
constexpr uint32_t kDecapPreference = 187;
constexpr uint32_t kDirectorPreference = 188;
constexpr uint32_t kDirector6Preference = 189;
constexpr uint32_t kMssPreference = 187;
constexpr uint32_t kReplyPreference = 188;
constexpr uint32_t kReply6Preference = 189;

struct Filter {
  bpf_tc_attach_point point;
  uint32_t preference;
  ProgramOfSet program;
};
constexpr Filter kDirector = {BPF_TC_INGRESS, kDirectorPreference, &ProgramSet::tc_director};
constexpr Filter kDirector6 = {BPF_TC_INGRESS, kDirector6Preference, &ProgramSet::tc_director6};
constexpr Filter kReply = {BPF_TC_EGRESS, kReplyPreference, &ProgramSet::tc_reply};
constexpr Filter kReply6 = {BPF_TC_EGRESS, kReply6Preference, &ProgramSet::tc_reply6};
constexpr std::array<Filter, 5> kAgentFilters = {{
    {BPF_TC_INGRESS, kDecapPreference, &ProgramSet::tc_decap},
    kDirector,
    {BPF_TC_EGRESS, kMssPreference, &ProgramSet::tc_mss_clamp},
    kReply,
    kReply6,
}};
constexpr std::array<Filter, 4> kLvsadmFilters = {{kDirector, kDirector6, kReply, kReply6}};

std::span<const Filter> FiltersOf(Owner owner) {
  if (owner == Owner::kAgent) return kAgentFilters;
  return kLvsadmFilters;
}

bpf_tc_hook HookOf(const Link& link, bpf_tc_attach_point point) {
  bpf_tc_hook hook{};
  hook.sz = sizeof hook;
  hook.ifindex = static_cast<int>(link.index);
  hook.attach_point = point;
  return hook;
}

bpf_tc_opts OptionsOf(const Filter& filter, Owner owner) {
  bpf_tc_opts options{};
  options.sz = sizeof options;
  options.handle = owner == Owner::kAgent ? kAgentHandle : kLvsadmHandle;
  options.priority = filter.preference;
  return options;
}

absl::Status TcError(const Link& link, int result) {
  if (-result == ENODEV) return absl::NotFoundError("interface " + link.name + " is gone");
  return BpfError("tc programs on " + link.name, -result);
}

// The number of the program in our place; 0 when it is empty.
absl::StatusOr<uint32_t> FilterProgram(const Link& link, const Filter& filter, Owner owner) {
  const bpf_tc_hook hook = HookOf(link, filter.point);
  bpf_tc_opts options = OptionsOf(filter, owner);
  const int result = bpf_tc_query(&hook, &options);
  if (result == 0) return options.prog_id;
  // EINVAL: there is no clsact qdisc.
  if (result == -ENOENT || result == -EINVAL || result == -ENODEV) return 0U;
  return TcError(link, result);
}

absl::StatusOr<bpf_xdp_query_opts> XdpOf(const Link& link) {
  bpf_xdp_query_opts options{};
  options.sz = sizeof options;
  const int result = bpf_xdp_query(static_cast<int>(link.index), 0, &options);
  if (result != 0 && result != -ENODEV) return BpfError("XDP on " + link.name, -result);
  return options;
}

uint32_t AnyXdp(const bpf_xdp_query_opts& xdp) {
  return std::max({xdp.drv_prog_id, xdp.skb_prog_id, xdp.hw_prog_id, xdp.prog_id});
}

std::string Foreign(uint32_t id) {
  return "another XDP program (number " + std::to_string(id) + ") is there";
}

absl::Status Sweep(const Program& program, uint32_t sets) {
  const std::array<uint8_t, 64> frame{};  // the kernel wants one
  for (uint32_t first = 0; first < sets; first += KLVS_SWEEP_SETS) {
    __sk_buff context{};
    context.cb[0] = first;
    context.cb[1] = std::min<uint32_t>(sets - first, KLVS_SWEEP_SETS);
    bpf_test_run_opts options{};
    options.sz = sizeof options;
    options.data_in = frame.data();
    options.data_size_in = frame.size();
    options.ctx_in = &context;
    options.ctx_size_in = sizeof context;
    const int result = bpf_prog_test_run_opts(program.fd.get(), &options);
    if (result != 0) return BpfError("sweeping the connection table", -result);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Program> OpenPinnedProgram(const std::string& path) {
  UniqueFd fd(bpf_obj_get(path.c_str()));
  if (!fd.ok()) return BpfError(path, errno);
  return ProgramOf(std::move(fd));
}

absl::StatusOr<Program> ProgramOf(UniqueFd fd) {
  Program out;
  out.fd = std::move(fd);
  bpf_prog_info info{};
  uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(out.fd.get(), &info, &size) != 0) {
    return BpfError("reading of a program", errno);
  }
  out.id = info.id;
  return out;
}

absl::StatusOr<std::vector<uint32_t>> MapIdsOf(const Program& program) {
  std::vector<uint32_t> out(64);
  bpf_prog_info info{};
  info.nr_map_ids = static_cast<uint32_t>(out.size());
  info.map_ids = reinterpret_cast<uintptr_t>(out.data());
  uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(program.fd.get(), &info, &size) != 0) {
    return BpfError("reading of a program", errno);
  }
  out.resize(std::min<size_t>(info.nr_map_ids, out.size()));
  return out;
}

absl::StatusOr<uint32_t> ProgramOn(const Link& link, Owner owner, ProgramOfSet which) {
  const auto filters = FiltersOf(owner);
  const auto filter = std::ranges::find(filters, which, &Filter::program);
  if (filter == filters.end()) return 0U;
  return FilterProgram(link, *filter, owner);
}

absl::StatusOr<Program> FindLvsadmProgram(Network& network, ProgramOfSet which) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<Link> links, network.Links());
  for (const Link& link : links) {
    KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t id, ProgramOn(link, Owner::kLvsadm, which));
    if (id == 0) continue;
    UniqueFd fd(bpf_prog_get_fd_by_id(id));
    if (fd.ok()) return ProgramOf(std::move(fd));
    // Taken off meanwhile: the next one.
    if (errno != ENOENT) return BpfError("program " + std::to_string(id), errno);
  }
  return Program{};
}

absl::Status CheckNoneOf(Owner owner, const std::vector<Link>& links) {
  for (const Link& link : links) {
    KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t there,
                              ProgramOn(link, owner, &ProgramSet::tc_director));
    if (there == 0) continue;
    if (owner == Owner::kLvsadm) {
      return absl::AlreadyExistsError(
          "interface " + link.name +
          " has the eBPF dataplane that lvsadm made in this network namespace; to hand over, save "
          "its rules (lvsadm --dataplane ebpf -S -n) and run: lvsadm --dataplane ebpf -C");
    }
    return absl::AlreadyExistsError(
        "the eBPF dataplane of this network namespace is kube-lvs-agent's (interface " + link.name +
        "), which would put back whatever is changed here: change the LVSService (or the agent's "
        "file) instead; if there is no agent any more, run: kube-lvs-agent --cleanup");
  }
  return absl::OkStatus();
}

std::optional<std::string> BpfHooks::XdpRefused(const Link& link) const {
  // XDP sends by the neighbours' addresses in the maps, which an agent keeps up to date.
  if (owner_ == Owner::kLvsadm) return "XDP needs kube-lvs-agent";
  if (link.loopback) return "it is the loopback interface";
  // What the node sends itself comes with checksums that XDP cannot complete.
  if (link.name == kLocalLinkFar) return "it takes this node's own packets";
  // NICs take tags off before XDP sees the frame: one of a VLAN would look like an untagged one.
  if (link.carries_vlans) return "VLAN devices are on it";
  // Its driver hands XDP on to the members, by whose numbers no interface of ours is found.
  if (link.kind == "bond" || link.kind == "team") {
    return "of a " + link.kind + ", XDP sees frames as its members'";
  }
  const bool named = std::ranges::any_of(xdp_interfaces_, [&](const std::string& glob) {
    return fnmatch(glob.c_str(), link.name.c_str(), 0) == 0;
  });
  if (named || link.hardware) return std::nullopt;
  return "a " + (link.kind.empty() ? std::string("virtual device") : link.kind + " device") +
         " does not transmit for XDP by itself";
}

int BpfHooks::OwnXdp(uint32_t attached_id, UniqueFd& looked_up) const {
  if (attached_id == programs_.xdp_director.id) return programs_.xdp_director.fd.get();
  for (const ProgramSet& set : older_) {
    if (attached_id == set.xdp_director.id) return set.xdp_director.fd.get();
  }
  // One whose pin was lost: root may look at it and knows it by its name.
  looked_up.Reset(bpf_prog_get_fd_by_id(attached_id));
  if (!looked_up.ok()) return -1;
  bpf_prog_info info{};
  uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(looked_up.get(), &info, &size) != 0) return -1;
  return std::string(info.name) == "xdp_director" ? looked_up.get() : -1;
}

absl::Status BpfHooks::AttachXdp(const Link& link, AttachReport& report) {
  if (const auto refused = XdpRefused(link)) {
    report.why_not = *refused;
    return DetachXdp(link);
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const bpf_xdp_query_opts xdp, XdpOf(link));
  const uint32_t attached = AnyXdp(xdp);
  if (attached == programs_.xdp_director.id) {
    report.xdp = true;
    return absl::OkStatus();
  }
  bpf_xdp_attach_opts options{};
  options.sz = sizeof options;
  uint32_t flags = XDP_FLAGS_DRV_MODE;
  UniqueFd looked_up;
  if (attached == 0) {
    flags |= XDP_FLAGS_UPDATE_IF_NOEXIST;
  } else {
    options.old_prog_fd = OwnXdp(attached, looked_up);
    if (options.old_prog_fd < 0) {
      report.why_not = Foreign(attached);
      return absl::OkStatus();
    }
    flags |= XDP_FLAGS_REPLACE;
  }
  const int result = bpf_xdp_attach(static_cast<int>(link.index), programs_.xdp_director.fd.get(),
                                    flags, &options);
  if (result == 0) {
    report.xdp = true;
    xdp_failed_.erase(link.index);
    return absl::OkStatus();
  }
  if (result == -ENODEV) return absl::NotFoundError("interface " + link.name + " is gone");
  if (result == -EBUSY || result == -EEXIST) {
    return absl::UnavailableError("XDP on " + link.name + ": somebody else is at it");
  }
  // The driver's word: no XDP in it, an MTU that is too large, too few queues.
  report.why_not = "the driver refuses XDP (MTU " + std::to_string(link.mtu) +
                   "): " + std::strerror(-result);
  xdp_failed_[link.index] = {link.mtu, report.why_not};
  return absl::OkStatus();
}

absl::StatusOr<AttachReport> BpfHooks::Attach(const Link& link) {
  AttachReport report;
  report.interface = link.name;
  KUBE_LVS_RETURN_IF_ERROR(
      CheckNoneOf(owner_ == Owner::kAgent ? Owner::kLvsadm : Owner::kAgent, {link}));
  bpf_tc_hook qdisc =
      HookOf(link, static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS));
  const int made = bpf_tc_hook_create(&qdisc);
  if (made != 0 && made != -EEXIST) return TcError(link, made);
  // tc before XDP: what XDP passes on must be served.
  for (const Filter& filter : FiltersOf(owner_)) {
    KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t there, FilterProgram(link, filter, owner_));
    const Program& program = programs_.*filter.program;
    if (there == program.id || program.id == 0) continue;
    const bpf_tc_hook hook = HookOf(link, filter.point);
    bpf_tc_opts options = OptionsOf(filter, owner_);
    options.prog_fd = program.fd.get();
    options.flags = BPF_TC_F_REPLACE;
    if (const int result = bpf_tc_attach(&hook, &options); result != 0) {
      return TcError(link, result);
    }
  }
  KUBE_LVS_RETURN_IF_ERROR(AttachXdp(link, report));
  return report;
}

absl::Status BpfHooks::DetachXdp(const Link& link) {
  if (owner_ == Owner::kLvsadm) return absl::OkStatus();
  KUBE_LVS_ASSIGN_OR_RETURN(const bpf_xdp_query_opts xdp, XdpOf(link));
  const uint32_t attached = AnyXdp(xdp);
  if (attached == 0) return absl::OkStatus();
  UniqueFd looked_up;
  bpf_xdp_attach_opts options{};
  options.sz = sizeof options;
  options.old_prog_fd = OwnXdp(attached, looked_up);
  if (options.old_prog_fd < 0) return absl::OkStatus();  // not ours
  const int result = bpf_xdp_detach(static_cast<int>(link.index),
                                    XDP_FLAGS_DRV_MODE | XDP_FLAGS_REPLACE, &options);
  if (result == 0 || result == -ENODEV || result == -EEXIST) return absl::OkStatus();
  return BpfError("taking XDP off " + link.name, -result);
}

absl::Status BpfHooks::Detach(const Link& link) {
  // XDP first: as long as it is there, tc must take what it passes on.
  KUBE_LVS_RETURN_IF_ERROR(DetachXdp(link));
  for (const Filter& filter : FiltersOf(owner_)) {
    KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t there, FilterProgram(link, filter, owner_));
    if (there == 0) continue;
    const bpf_tc_hook hook = HookOf(link, filter.point);
    const bpf_tc_opts options = OptionsOf(filter, owner_);
    const int result = bpf_tc_detach(&hook, &options);
    if (result != 0 && result != -ENOENT && result != -ENODEV) return TcError(link, result);
  }
  xdp_failed_.erase(link.index);
  return absl::OkStatus();
}

absl::StatusOr<std::optional<AttachReport>> BpfHooks::Find(const Link& link) {
  const std::optional<AttachReport> nothing;
  for (const Filter& filter : FiltersOf(owner_)) {
    KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t there, FilterProgram(link, filter, owner_));
    if (there != (programs_.*filter.program).id) return nothing;
  }
  AttachReport report;
  report.interface = link.name;
  KUBE_LVS_ASSIGN_OR_RETURN(const bpf_xdp_query_opts xdp, XdpOf(link));
  const uint32_t attached = AnyXdp(xdp);
  const auto refused = XdpRefused(link);
  if (attached != 0 && attached == programs_.xdp_director.id) {
    if (refused) return nothing;  // it was allowed once: Attach takes it off
    report.xdp = true;
    return std::optional<AttachReport>(report);
  }
  if (refused) {
    report.why_not = *refused;
  } else if (attached != 0) {
    UniqueFd looked_up;
    if (OwnXdp(attached, looked_up) >= 0) return nothing;  // an older one of ours
    report.why_not = Foreign(attached);
  } else if (const auto failed = xdp_failed_.find(link.index);
             failed != xdp_failed_.end() && failed->second.mtu == link.mtu) {
    report.why_not = failed->second.why;
  } else {
    return nothing;  // not tried since this start, or not with this MTU
  }
  return std::optional<AttachReport>(report);
}

absl::StatusOr<bool> BpfHooks::HasOlder(const Link& link) const {
  KUBE_LVS_ASSIGN_OR_RETURN(const bpf_xdp_query_opts xdp, XdpOf(link));
  for (const ProgramSet& set : older_) {
    if (AnyXdp(xdp) == set.xdp_director.id) return true;
    for (const Filter& filter : FiltersOf(owner_)) {
      KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t there, FilterProgram(link, filter, owner_));
      if (there != 0 && there == (set.*filter.program).id) return true;
    }
  }
  return false;
}

absl::StatusOr<bool> BpfHooks::HasAny(const Link& link) const {
  for (const Filter& filter : FiltersOf(owner_)) {
    KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t there, FilterProgram(link, filter, owner_));
    if (there != 0) return true;
  }
  return false;
}

absl::Status BpfHooks::SweepConnections(uint32_t sets, uint32_t sets6) {
  KUBE_LVS_RETURN_IF_ERROR(Sweep(programs_.sweep, sets));
  return Sweep(programs_.sweep6, sets6);
}

absl::Status BpfHooks::AwaitRunning() {
  // It waits as the kernel does before it frees what programs may use.
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0) return absl::OkStatus();
  return absl::UnimplementedError(std::string("membarrier: ") + std::strerror(errno));
}

}  // namespace kube_lvs::ebpf
