#include "dataplane/ebpf/bpf_objects.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/magic.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/address_filter.h"
#include "dataplane/ebpf/addresses.h"
#include "dataplane/ebpf/bpf/director6_tc.skel.h"
#include "dataplane/ebpf/bpf/director6_xdp.skel.h"
#include "dataplane/ebpf/bpf/director_tc.skel.h"
#include "dataplane/ebpf/bpf/director_xdp.skel.h"
#include "dataplane/ebpf/bpf/node_tc.skel.h"
#include "dataplane/ebpf/bpf_hooks.h"
#include "dataplane/ebpf/bpf_load.h"
#include "dataplane/ebpf/bpf_maps.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/layout.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/model/source_ports.h"

namespace kube_lvs::ebpf {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMapPrefix = "klvs_";
constexpr std::string_view kProgramsPrefix = "programs-";
constexpr uint32_t kMostBlocksOfARange = 30;  // 1 to 65534
// A template takes about 100 bytes, with its bucket.
constexpr uint32_t kConnectionsPerTemplate = 8;

constexpr std::array<std::string_view, 38> kMaps = {
    kSettingsMap,     kAddressesMap,    kInterfacesMap,    kServicesMap,        kServiceStateMap,
    kListsMap,        kTablesMap,       kRealsMap,         kRealConnsMap,       kConnsMap,
    kDropsMap,        kTunnelPeersMap,  kMssClampsMap,     kServiceCountersMap, kRealCountersMap,
    kLocalityMap,     kAddresses6Map,   kServiceVips6Map,  kReals6Map,          kConns6Map,
    kTunnelPeers6Map, kMssClamps6Map,   kTunnelNetsMap,    kMssNetsMap,         kTunnelNets6Map,
    kMssNets6Map,     kTemplatesMap,    kTemplates6Map,    kRealTemplatesMap,   kWideServicesMap,
    kPortsMap,        kWideStateMap,    kNetworksMap,      kNetworks6Map,       kConnTagsMap,
    kConnTags6Map,    kGuePeersMap,     kGuePeers6Map,
};

// Whether the path, or what exists above it, is on a BPF file system.
absl::Status CheckBpfFs(const std::string& dir) {
  fs::path existing(dir);
  std::error_code error;
  while (!fs::exists(existing, error) && existing.has_relative_path()) {
    existing = existing.parent_path();
  }
  struct statfs info {};
  if (statfs(existing.c_str(), &info) == 0 && static_cast<uint32_t>(info.f_type) == BPF_FS_MAGIC) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(dir +
                                       " is not on a BPF file system; run: mount -t bpf bpf " +
                                       "/sys/fs/bpf (in a pod: mount the node's /sys/fs/bpf)");
}

absl::Status MakeDir(const std::string& dir) {
  std::error_code error;
  fs::create_directories(dir, error);
  if (error) return BpfError("making " + dir, error.value());
  return absl::OkStatus();
}

// The files in a directory; none when it does not exist.
std::vector<std::string> NamesIn(const std::string& dir) {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::directory_iterator it(dir, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    out.push_back(it->path().filename().string());
  }
  std::ranges::sort(out);
  return out;
}

absl::Status RemoveAll(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) return BpfError("removing " + path, error.value());
  return absl::OkStatus();
}

// PROG_ARRAYs by which a director jumps to IPv6's; see abi.h.
constexpr const char* kFamiliesXdp = "klvs_families_xdp";
constexpr const char* kFamiliesTc = "klvs_families_tc";

uint32_t ConnSets(const MapSizes& sizes) {
  return std::bit_ceil(std::max<uint32_t>(sizes.connections / KLVS_CONN_WAYS, 128));
}

std::map<std::string, uint32_t, std::less<>> Capacities(const MapSizes& sizes) {
  const uint32_t sets = ConnSets(sizes);
  const uint32_t sets6 = std::max<uint32_t>(sets / 4, 128);
  std::map<std::string, uint32_t, std::less<>> out;
  const auto set = [&out](std::string_view map, uint32_t size) { out[std::string(map)] = size; };
  set(kAddressesMap, sizes.addresses);
  set(kServicesMap, sizes.services);
  set(kWideServicesMap, sizes.services);
  set(kPortsMap, sizes.services * kMostBlocksOfARange);  // takes no memory but for what is in it
  set(kWideStateMap, sizes.services + 1);
  set(kServiceStateMap, sizes.services + 1);  // id 0 is never used
  set(kServiceCountersMap, sizes.services + 1);
  set(kLocalityMap, sizes.services + 1);
  set(kRealsMap, sizes.reals + 1);
  set(kRealConnsMap, sizes.reals + 1);
  set(kRealCountersMap, sizes.reals + 1);
  set(kListsMap, sizes.list_entries);
  set(kTablesMap, sizes.table_slots);
  set(kConnsMap, sets);
  set(kConnTagsMap, sets);
  set(kAddresses6Map, sizes.addresses);
  set(kNetworksMap, sizes.addresses);  // as klvs_ports, empty ones take no memory
  set(kNetworks6Map, sizes.addresses);
  set(kServiceVips6Map, sizes.services + 1);
  set(kReals6Map, sizes.reals + 1);
  set(kConns6Map, sets6);
  set(kConnTags6Map, sets6);
  set(kTemplatesMap, sets * KLVS_CONN_WAYS / kConnectionsPerTemplate);
  set(kTemplates6Map, sets6 * KLVS_CONN_WAYS / kConnectionsPerTemplate);
  set(kRealTemplatesMap, sizes.reals + 1);
  return out;
}

// Gives each map of the object its pin and the size of what is pinned there, or else ours.
absl::Status Prepare(bpf_object* object, const BpfOptions& options) {
  const auto capacities = Capacities(options.sizes);
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) {
    if (bpf_map__is_internal(map)) continue;
    const std::string name = bpf_map__name(map);
    const std::string path = options.dir + "/" + name;
    const auto pinned = PinnedCapacity(path);
    if (!pinned.ok() && pinned.status().code() != absl::StatusCode::kNotFound) {
      return pinned.status();
    }
    const auto wanted = capacities.find(name);
    const uint32_t size = pinned.ok() ? *pinned : wanted != capacities.end() ? wanted->second : 0;
    if (size != 0 && bpf_map__set_max_entries(map, size) != 0) {
      return BpfError("size of " + name, errno);
    }
    if (bpf_map__set_pin_path(map, path.c_str()) != 0) return BpfError("pin of " + name, errno);
  }
  return absl::OkStatus();
}

// Whether there is memory for the maps that are not pinned yet.
absl::Status CheckMemoryFor(std::span<bpf_object* const> objects, const BpfOptions& options) {
  NewMaps missing;
  for (bpf_object* object : objects) {
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object) {
      const std::string name = bpf_map__name(map);
      if (absl::IsNotFound(PinnedCapacity(options.dir + "/" + name).status())) {
        missing.Add(map, CapacityOf(options.sizes, name));
      }
    }
  }
  return CheckMemory(missing,
                     "raise the limit (agent.resources.limits.memory of the chart), or lower "
                     "connectionTableSize of the LVSDirectorGroup");
}

template <typename Skeleton>
absl::Status LoadAndPin(Skeleton* skeleton, const BpfOptions& options,
                        const std::string& programs_dir, std::string& log) {
  KUBE_LVS_RETURN_IF_ERROR(Prepare(skeleton->obj, options));
  KUBE_LVS_RETURN_IF_ERROR(Load(skeleton->obj, log));
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, skeleton->obj) {
    const std::string path = programs_dir + "/" + bpf_program__name(program);
    if (const int result = bpf_program__pin(program, path.c_str()); result != 0) {
      return BpfError("pinning " + path, -result);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ProgramSet> OpenSet(const std::string& dir) {
  ProgramSet out;
  KUBE_LVS_ASSIGN_OR_RETURN(out.xdp_director, OpenPinnedProgram(dir + "/xdp_director"));
  KUBE_LVS_ASSIGN_OR_RETURN(out.tc_director, OpenPinnedProgram(dir + "/tc_director"));
  KUBE_LVS_ASSIGN_OR_RETURN(out.tc_decap, OpenPinnedProgram(dir + "/tc_decap"));
  KUBE_LVS_ASSIGN_OR_RETURN(out.tc_mss_clamp, OpenPinnedProgram(dir + "/tc_mss_clamp"));
  KUBE_LVS_ASSIGN_OR_RETURN(out.tc_reply, OpenPinnedProgram(dir + "/tc_reply"));
  KUBE_LVS_ASSIGN_OR_RETURN(out.tc_reply6, OpenPinnedProgram(dir + "/tc_reply6"));
  KUBE_LVS_ASSIGN_OR_RETURN(out.sweep, OpenPinnedProgram(dir + "/klvs_sweep"));
  KUBE_LVS_ASSIGN_OR_RETURN(out.xdp_director6, OpenPinnedProgram(dir + "/xdp_director6"));
  KUBE_LVS_ASSIGN_OR_RETURN(out.tc_director6, OpenPinnedProgram(dir + "/tc_director6"));
  KUBE_LVS_ASSIGN_OR_RETURN(out.sweep6, OpenPinnedProgram(dir + "/klvs_sweep6"));
  return out;
}

// What is left of a set; one that was cut short has fewer.
ProgramSet OpenWhatIsThere(const std::string& dir) {
  ProgramSet out;
  const auto open = [&dir](const char* name, Program& program) {
    auto found = OpenPinnedProgram(dir + "/" + name);
    if (found.ok()) program = *std::move(found);
  };
  open("xdp_director", out.xdp_director);
  open("tc_director", out.tc_director);
  open("tc_decap", out.tc_decap);
  open("tc_mss_clamp", out.tc_mss_clamp);
  open("tc_reply", out.tc_reply);
  open("tc_reply6", out.tc_reply6);
  return out;
}

// What a load pins beside what is there. If it ends before Keep(), that goes again: nobody would
// use it, and it would hold all the memory of its maps. What was there has connections in it, and
// stays.
class NewPins {
 public:
  explicit NewPins(const std::string& dir) : dir_(dir), before_(NamesIn(dir)) {}
  ~NewPins() {
    if (kept_) return;
    for (const std::string& name : NamesIn(dir_)) {
      if (!name.starts_with(kProgramsPrefix) && !name.starts_with(kMapPrefix)) continue;
      if (std::ranges::binary_search(before_, name)) continue;
      // The load's own error is the one to tell.
      RemoveAll(dir_ + "/" + name).IgnoreError();
    }
  }
  NewPins(const NewPins&) = delete;
  NewPins& operator=(const NewPins&) = delete;

  void Keep() { kept_ = true; }

 private:
  const std::string dir_;
  const std::vector<std::string> before_;  // sorted
  bool kept_ = false;
};

bool UsesMap(const Program& program, uint32_t map_id) {
  const auto ids = MapIdsOf(program);
  return ids.ok() && std::ranges::find(*ids, map_id) != ids->end();
}

absl::StatusOr<std::unique_ptr<BpfMaps>> OpenMaps(const std::string& dir) {
  auto maps = std::make_unique<BpfMaps>();
  for (const std::string_view name : kMaps) {
    KUBE_LVS_RETURN_IF_ERROR(maps->AddPinned(std::string(name), dir + "/" + std::string(name)));
  }
  return maps;
}

// Of the maps that are pinned; nullopt: none are, for klvs_settings is made first.
absl::StatusOr<std::optional<uint32_t>> PinnedLayout(const std::string& dir) {
  BpfMaps maps;
  const absl::Status found =
      maps.AddPinned(std::string(kSettingsMap), dir + "/" + std::string(kSettingsMap));
  if (found.code() == absl::StatusCode::kNotFound) return std::optional<uint32_t>();
  KUBE_LVS_RETURN_IF_ERROR(found);
  KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t layout, GetLayout(maps));
  return std::optional<uint32_t>(layout);
}

// Maps that a newer or older version made are not ours to write.
absl::Status CheckLayout(const std::string& dir) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::optional<uint32_t> pinned, PinnedLayout(dir));
  const uint32_t layout = pinned.value_or(0);
  if (layout == 0 || layout == KLVS_LAYOUT) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "the maps in " + dir + " have layout " + std::to_string(layout) + ", this version needs " +
      std::to_string(KLVS_LAYOUT) +
      "; run the version that made them, or drain this node and run kube-lvs-agent --cleanup");
}

// Maps of a start that was cut short before InitialiseSettings, when nothing is hooked in yet: maybe
// of other sizes than this one's, and not all of one size.
absl::Status RemoveUnfinishedMaps(const std::string& dir) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::optional<uint32_t> layout, PinnedLayout(dir));
  if (layout != 0U) return absl::OkStatus();
  for (const std::string& name : NamesIn(dir)) {
    if (name.starts_with(kMapPrefix)) KUBE_LVS_RETURN_IF_ERROR(RemoveAll(dir + "/" + name));
  }
  return absl::OkStatus();
}

// Has the attached directors jump to these programs for IPv6.
absl::Status JoinFamilies(const std::string& dir, const ProgramSet& programs) {
  const auto join = [&dir](const char* map, const Program& program) -> absl::Status {
    const UniqueFd fd(bpf_obj_get((dir + "/" + map).c_str()));
    const uint32_t zero = 0;
    const int value = program.fd.get();
    if (!fd.ok() || bpf_map_update_elem(fd.get(), &zero, &value, BPF_ANY) != 0) {
      return BpfError(std::string("the program of IPv6 in ") + map, errno);
    }
    return absl::OkStatus();
  };
  KUBE_LVS_RETURN_IF_ERROR(join(kFamiliesXdp, programs.xdp_director6));
  return join(kFamiliesTc, programs.tc_director6);
}

// Of each CPU; Katran's limit.
constexpr uint32_t kStatefulPerSecond = 125000;

// As the agent has it with IPVS: clients that persistence keeps at a real server get another one
// while it drains.
absl::Status LetQuiescedGo(BpfMaps& maps) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto settings, GetArray<klvs_settings>(maps, kSettingsMap));
  std::atomic_ref<uint32_t>(settings[0].flags).fetch_or(KLVS_SETTING_EXPIRE_QUIESCENT);
  return absl::OkStatus();
}

// Takes back what Network::HearQuestions did for the IPv6 VIPs that are answered.
absl::Status StopHearing(const std::string& dir, std::span<const Link> links, Network& network) {
  BpfMaps maps;
  const auto open = [&](std::string_view map) -> absl::StatusOr<bool> {
    const absl::Status found = maps.AddPinned(std::string(map), dir + "/" + std::string(map));
    if (found.code() == absl::StatusCode::kNotFound) return false;
    KUBE_LVS_RETURN_IF_ERROR(found);
    return true;
  };
  const auto stop = [&](const klvs_in6& wire, const klvs_address& record) -> absl::Status {
    const auto link = std::ranges::find(links, record.ifindex, &Link::index);
    if ((record.flags & KLVS_ADDRESS_ANSWER_ARP) == 0 || link == links.end()) {
      return absl::OkStatus();
    }
    return network.StopHearing(FromWire(wire), *link);
  };
  KUBE_LVS_ASSIGN_OR_RETURN(const bool has_addresses, open(kAddresses6Map));
  if (has_addresses) {
    KUBE_LVS_ASSIGN_OR_RETURN(const auto addresses,
                              (GetAll<klvs_in6, klvs_address>(maps, kAddresses6Map)));
    for (const auto& [wire, record] : addresses) KUBE_LVS_RETURN_IF_ERROR(stop(wire, record));
  }
  // An older version has none.
  KUBE_LVS_ASSIGN_OR_RETURN(const bool has_networks, open(kNetworks6Map));
  if (has_networks) {
    KUBE_LVS_ASSIGN_OR_RETURN(const auto networks,
                              (GetAll<klvs_network_key6, klvs_address>(maps, kNetworks6Map)));
    for (const auto& [key, record] : networks) KUBE_LVS_RETURN_IF_ERROR(stop(key.address, record));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status InitialiseSettings(BpfMaps& maps) {
  KUBE_LVS_ASSIGN_OR_RETURN(const auto settings, GetArray<klvs_settings>(maps, kSettingsMap));
  if (settings[0].layout == KLVS_LAYOUT) return absl::OkStatus();
  klvs_settings initial{};
  timespec tick{};
  if (clock_getres(CLOCK_MONOTONIC_COARSE, &tick) != 0 || tick.tv_nsec <= 0) {
    return BpfError("resolution of the coarse clock", errno);
  }
  initial.hz = static_cast<uint32_t>((1000000000 + tick.tv_nsec / 2) / tick.tv_nsec);
  KUBE_LVS_ASSIGN_OR_RETURN(initial.conn_sets, maps.Capacity(kConnsMap));
  KUBE_LVS_ASSIGN_OR_RETURN(initial.conn_sets6, maps.Capacity(kConns6Map));
  initial.snat_port_base = kFirstSourcePort;
  initial.snat_port_count = kLastSourcePort - kFirstSourcePort + 1;
  initial.stateful_per_second = kStatefulPerSecond;
  if (getrandom(initial.seed, sizeof initial.seed, 0) != sizeof initial.seed) {
    return BpfError("random numbers", errno);
  }
  constexpr uint32_t kSeconds[KLVS_STATES] = KLVS_TIMEOUT_SECONDS;
  for (int state = 0; state < KLVS_STATES; ++state) {
    initial.timeouts[state] = kSeconds[state] * initial.hz;
  }
  settings[0] = initial;
  // Last: a start that was cut short before begins again.
  settings[0].layout = KLVS_LAYOUT;
  return absl::OkStatus();
}

std::span<const std::string_view> MapNames() { return kMaps; }

uint32_t CapacityOf(const MapSizes& sizes, std::string_view map) {
  const auto capacities = Capacities(sizes);
  const auto found = capacities.find(map);
  return found == capacities.end() ? 0 : found->second;
}

absl::StatusOr<uint64_t> MemoryOf(const MapSizes& sizes) {
  Silence();
  std::string log(1 << 18, '\0');
  KUBE_LVS_ASSIGN_OR_RETURN(const auto tc,
                            OpenSkeleton(&director_tc__open_opts, &director_tc__destroy, log));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto xdp,
                            OpenSkeleton(&director_xdp__open_opts, &director_xdp__destroy, log));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto node,
                            OpenSkeleton(&node_tc__open_opts, &node_tc__destroy, log));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto tc6,
                            OpenSkeleton(&director6_tc__open_opts, &director6_tc__destroy, log));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto xdp6,
                            OpenSkeleton(&director6_xdp__open_opts, &director6_xdp__destroy, log));
  NewMaps maps;
  for (bpf_object* object : {tc->obj, xdp->obj, node->obj, tc6->obj, xdp6->obj}) {
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object) maps.Add(map, CapacityOf(sizes, bpf_map__name(map)));
  }
  return maps.bytes();
}

void Silence() {
  libbpf_set_print([](libbpf_print_level, const char*, va_list) { return 0; });
}

absl::StatusOr<BpfObjects> OpenBpfObjects(const BpfOptions& options, Network& network) {
  // What goes wrong is in the statuses.
  Silence();
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<Link> all_links, network.Links());
  KUBE_LVS_RETURN_IF_ERROR(CheckNoneOf(Owner::kLvsadm, all_links));
  KUBE_LVS_RETURN_IF_ERROR(CheckBpfFs(options.dir));
  KUBE_LVS_RETURN_IF_ERROR(MakeDir(options.dir));
  KUBE_LVS_RETURN_IF_ERROR(CheckLayout(options.dir));
  KUBE_LVS_RETURN_IF_ERROR(RemoveUnfinishedMaps(options.dir));

  std::string log(1 << 18, '\0');
  KUBE_LVS_ASSIGN_OR_RETURN(const auto tc,
                            OpenSkeleton(&director_tc__open_opts, &director_tc__destroy, log));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto xdp,
                            OpenSkeleton(&director_xdp__open_opts, &director_xdp__destroy, log));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto node,
                            OpenSkeleton(&node_tc__open_opts, &node_tc__destroy, log));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto tc6,
                            OpenSkeleton(&director6_tc__open_opts, &director6_tc__destroy, log));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto xdp6,
                            OpenSkeleton(&director6_xdp__open_opts, &director6_xdp__destroy, log));
  Fingerprint fingerprint;
  fingerprint.Add(tc->skeleton->data, tc->skeleton->data_sz);
  fingerprint.Add(xdp->skeleton->data, xdp->skeleton->data_sz);
  fingerprint.Add(node->skeleton->data, node->skeleton->data_sz);
  fingerprint.Add(tc6->skeleton->data, tc6->skeleton->data_sz);
  fingerprint.Add(xdp6->skeleton->data, xdp6->skeleton->data_sz);
  const std::string own = std::string(kProgramsPrefix) + fingerprint.Text();
  const std::string programs_dir = options.dir + "/" + own;

  BpfObjects out;
  auto programs = OpenSet(programs_dir);
  auto maps = OpenMaps(options.dir);
  bool same = programs.ok() && maps.ok();
  if (same) {
    KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t id, (*maps)->KernelId(kServicesMap));
    same = UsesMap(programs->tc_director, id) && UsesMap(programs->xdp_director, id) &&
           UsesMap(programs->tc_director6, id) && UsesMap(programs->xdp_director6, id);
  }
  std::vector<ProgramSet> older;
  std::optional<NewPins> pins;
  if (!same) {
    // Before it makes room for ours: what is hooked in must be known as ours.
    if (programs.ok()) older.push_back(*std::move(programs));
    KUBE_LVS_RETURN_IF_ERROR(RemoveAll(programs_dir));
    pins.emplace(options.dir);
    KUBE_LVS_RETURN_IF_ERROR(
        CheckMemoryFor(std::array{tc->obj, xdp->obj, node->obj, tc6->obj, xdp6->obj}, options));
    KUBE_LVS_RETURN_IF_ERROR(LoadAndPin(tc.get(), options, programs_dir, log));
    KUBE_LVS_RETURN_IF_ERROR(LoadAndPin(xdp.get(), options, programs_dir, log));
    KUBE_LVS_RETURN_IF_ERROR(LoadAndPin(node.get(), options, programs_dir, log));
    KUBE_LVS_RETURN_IF_ERROR(LoadAndPin(tc6.get(), options, programs_dir, log));
    KUBE_LVS_RETURN_IF_ERROR(LoadAndPin(xdp6.get(), options, programs_dir, log));
    programs = OpenSet(programs_dir);
    KUBE_LVS_RETURN_IF_ERROR(programs.status());
    maps = OpenMaps(options.dir);
    KUBE_LVS_RETURN_IF_ERROR(maps.status());
    out.loaded = true;
  }
  KUBE_LVS_RETURN_IF_ERROR(InitialiseSettings(**maps));
  KUBE_LVS_RETURN_IF_ERROR(FillFilter(**maps));
  KUBE_LVS_RETURN_IF_ERROR(LetQuiescedGo(**maps));
  KUBE_LVS_RETURN_IF_ERROR(JoinFamilies(options.dir, *programs));
  // From here on, they may be hooked in somewhere.
  if (pins.has_value()) pins->Keep();

  std::vector<std::string> old_dirs;
  for (const std::string& name : NamesIn(options.dir)) {
    if (!name.starts_with(kProgramsPrefix) || name == own) continue;
    old_dirs.push_back(options.dir + "/" + name);
    older.push_back(OpenWhatIsThere(old_dirs.back()));
  }
  const bool replace = !older.empty();
  auto hooks = std::make_unique<BpfHooks>(Owner::kAgent, *std::move(programs), std::move(older),
                                          options.xdp_interfaces);
  if (replace) {
    KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<Link> links, network.Links());
    for (const Link& link : links) {
      KUBE_LVS_ASSIGN_OR_RETURN(const bool has, hooks->HasOlder(link));
      if (!has) continue;
      const absl::Status status = hooks->Attach(link).status();
      if (!status.ok() && status.code() != absl::StatusCode::kNotFound) return status;
    }
    for (const std::string& dir : old_dirs) KUBE_LVS_RETURN_IF_ERROR(RemoveAll(dir));
  }
  out.maps = *std::move(maps);
  out.programs = std::move(hooks);
  return out;
}

absl::StatusOr<std::unique_ptr<MapStore>> OpenPinnedMaps(const std::string& dir) {
  KUBE_LVS_RETURN_IF_ERROR(CheckLayout(dir));
  KUBE_LVS_ASSIGN_OR_RETURN(std::unique_ptr<BpfMaps> maps, OpenMaps(dir));
  return std::unique_ptr<MapStore>(std::move(maps));
}

absl::Status CleanUpBpfObjects(const std::string& dir, Network& network) {
  Silence();
  std::vector<ProgramSet> sets;
  for (const std::string& name : NamesIn(dir)) {
    if (name.starts_with(kProgramsPrefix)) sets.push_back(OpenWhatIsThere(dir + "/" + name));
  }
  BpfHooks hooks(Owner::kAgent, ProgramSet{}, std::move(sets), {});
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<Link> links, network.Links());
  KUBE_LVS_RETURN_IF_ERROR(StopHearing(dir, links, network));
  for (const Link& link : links) KUBE_LVS_RETURN_IF_ERROR(hooks.Detach(link));
  for (const std::string& name : NamesIn(dir)) {
    if (!name.starts_with(kProgramsPrefix) && !name.starts_with(kMapPrefix)) continue;
    KUBE_LVS_RETURN_IF_ERROR(RemoveAll(dir + "/" + name));
  }
  std::error_code error;
  if (NamesIn(dir).empty()) fs::remove(dir, error);
  if (error) return BpfError("removing " + dir, error.value());
  return absl::OkStatus();
}

}  // namespace kube_lvs::ebpf
