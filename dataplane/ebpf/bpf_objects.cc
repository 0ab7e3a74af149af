#include "dataplane/ebpf/bpf_objects.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <filesystem>
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
#include "dataplane/ebpf/bpf_layout.h"
#include "dataplane/ebpf/bpf_load.h"
#include "dataplane/ebpf/bpf_maps.h"
#include "dataplane/ebpf/bpf_pins.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/map_names.h"

namespace kube_lvs::ebpf {
namespace {

namespace fs = std::filesystem;

// PROG_ARRAYs by which a director jumps to IPv6's; see abi.h.
constexpr const char* kFamiliesXdp = "klvs_families_xdp";
constexpr const char* kFamiliesTc = "klvs_families_tc";

// Gives each map of the object its pin and the size of what is pinned there, or else ours.
absl::Status Prepare(bpf_object* object, const BpfOptions& options) {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) {
    if (bpf_map__is_internal(map)) continue;
    const std::string name = bpf_map__name(map);
    const std::string path = options.dir + "/" + name;
    const auto pinned = PinnedCapacity(path);
    if (!pinned.ok() && pinned.status().code() != absl::StatusCode::kNotFound) {
      return pinned.status();
    }
    const uint32_t size = pinned.ok() ? *pinned : CapacityOf(options.sizes, name);
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

bool UsesMap(const Program& program, uint32_t map_id) {
  const auto ids = MapIdsOf(program);
  return ids.ok() && std::ranges::find(*ids, map_id) != ids->end();
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
  KUBE_LVS_RETURN_IF_ERROR(MakePinDir(options.dir));
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
