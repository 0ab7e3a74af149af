// The dataplane without pins: found by what is attached.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>
#include <vector>

#include "base/status.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/address_filter.h"
#include "dataplane/ebpf/bpf/director6_tc.skel.h"
#include "dataplane/ebpf/bpf/director_tc.skel.h"
#include "dataplane/ebpf/bpf_hooks.h"
#include "dataplane/ebpf/bpf_layout.h"
#include "dataplane/ebpf/bpf_load.h"
#include "dataplane/ebpf/bpf_maps.h"
#include "dataplane/ebpf/bpf_objects.h"
#include "dataplane/ebpf/layout.h"
#include "dataplane/ebpf/map_names.h"

namespace kube_lvs::ebpf {
namespace {

// Both families. Nobody stays who could keep a PROG_ARRAY filled (its entries go with the last user
// of the map), so each has a filter of its own.
struct Directors {
  SkeletonPtr<director_tc> v4;
  SkeletonPtr<director6_tc> v6;

  uint64_t Fingerprint() const {
    ebpf::Fingerprint out;
    out.Add(v4->skeleton->data, v4->skeleton->data_sz);
    out.Add(v6->skeleton->data, v6->skeleton->data_sz);
    return out.Number();
  }
};

absl::StatusOr<Directors> OpenDirectors(std::string& log) {
  KUBE_LVS_ASSIGN_OR_RETURN(auto v4,
                            OpenSkeleton(&director_tc__open_opts, &director_tc__destroy, log));
  KUBE_LVS_ASSIGN_OR_RETURN(auto v6,
                            OpenSkeleton(&director6_tc__open_opts, &director6_tc__destroy, log));
  bpf_program__set_autoload(v4->progs.klvs_clock, false);
  return Directors{std::move(v4), std::move(v6)};
}

// A program or map outlives the skeleton that loaded it.
UniqueFd Duplicate(int fd) { return UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 3)); }

absl::StatusOr<Program> Keep(const bpf_program* program) {
  return ProgramOf(Duplicate(bpf_program__fd(program)));
}

// The kernel cuts names.
bool IsNamed(const bpf_map_info& info, std::string_view name) {
  return name.substr(0, BPF_OBJ_NAME_LEN - 1) == info.name;
}

// The maps of abi.h that the program holds; those that `maps` has already are left out.
absl::Status AddMapsOf(const Program& program, BpfMaps& maps) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, MapIdsOf(program));
  for (const uint32_t id : ids) {
    UniqueFd fd(bpf_map_get_fd_by_id(id));
    bpf_map_info map{};
    uint32_t size = sizeof map;
    if (!fd.ok() || bpf_obj_get_info_by_fd(fd.get(), &map, &size) != 0) {
      return BpfError("reading of map " + std::to_string(id), errno);
    }
    const auto name = std::ranges::find_if(
        MapNames(), [&map](std::string_view wanted) { return IsNamed(map, wanted); });
    // Others are the programs' own.
    if (name == MapNames().end() || maps.Fd(*name) >= 0) continue;
    KUBE_LVS_RETURN_IF_ERROR(maps.Add(std::string(*name), std::move(fd)));
  }
  return absl::OkStatus();
}

// Loads the object upon the maps that are there already, and adds to them those that it brings.
absl::Status LoadUpon(bpf_object* object, const MapSizes& sizes, BpfMaps& maps, std::string& log) {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) {
    const char* name = bpf_map__name(map);
    const int fd = maps.Fd(name);
    const uint32_t size = CapacityOf(sizes, name);
    if (fd >= 0 && bpf_map__reuse_fd(map, fd) != 0) {
      return BpfError(std::string("use of ") + name, errno);
    }
    if (fd < 0 && size != 0 && bpf_map__set_max_entries(map, size) != 0) {
      return BpfError(std::string("size of ") + name, errno);
    }
  }
  return Load(object, log);
}

// Whether there is memory for those that LoadUpon would bring.
absl::Status CheckMemoryFor(const Directors& directors, const MapSizes& sizes,
                            const BpfMaps& maps) {
  NewMaps missing;
  for (const bpf_object* object : {directors.v4->obj, directors.v6->obj}) {
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object) {
      const char* name = bpf_map__name(map);
      if (maps.Fd(name) < 0) missing.Add(map, CapacityOf(sizes, name));
    }
  }
  return CheckMemory(missing, "raise that limit, or start lvsadm in another group");
}

// The program holds every map of its object that user space knows, also one that it never reads.
absl::Status HoldMaps(const Program& program, bpf_object* object) {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) {
    if (std::ranges::find(MapNames(), std::string_view(bpf_map__name(map))) == MapNames().end()) {
      continue;
    }
    // EEXIST: it reads that one.
    if (bpf_prog_bind_map(program.fd.get(), bpf_map__fd(map), nullptr) != 0 && errno != EEXIST) {
      return BpfError(std::string("keeping ") + bpf_map__name(map), errno);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckNoAgents(Network& network) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<Link> links, network.Links());
  return CheckNoneOf(Owner::kAgent, links);
}

absl::Status CheckLayout(MapStore& maps) {
  KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t layout, GetLayout(maps));
  if (layout == KLVS_LAYOUT) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "the eBPF dataplane of this network namespace was made by a lvsadm of another version "
      "(layout " +
      std::to_string(layout) + ", this one has " + std::to_string(KLVS_LAYOUT) +
      "); use that one, or take the dataplane off: lvsadm --dataplane ebpf -C");
}

// Wherever lvsadm's programs are hooked in, of any version, these are from now on.
absl::Status TakePlaces(BpfHooks& hooks, Network& network) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<Link> links, network.Links());
  for (const Link& link : links) {
    KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t there,
                              ProgramOn(link, Owner::kLvsadm, &ProgramSet::tc_director));
    if (there == 0) continue;
    const absl::Status attached = hooks.Attach(link).status();
    if (!attached.ok() && !absl::IsNotFound(attached)) return attached;
  }
  return absl::OkStatus();
}

// Loads what is not attached yet, and the programs that are never attached.
absl::StatusOr<BpfObjects> Make(ProgramSet set, const MapSizes& sizes, Access access,
                                Network& network) {
  std::string log(1 << 18, '\0');
  KUBE_LVS_ASSIGN_OR_RETURN(const Directors directors, OpenDirectors(log));
  auto maps = std::make_unique<BpfMaps>();
  if (set.tc_director.id != 0) KUBE_LVS_RETURN_IF_ERROR(AddMapsOf(set.tc_director, *maps));
  if (set.tc_director6.id != 0) KUBE_LVS_RETURN_IF_ERROR(AddMapsOf(set.tc_director6, *maps));
  bool other_version = false;
  if (set.tc_director.id != 0) {
    KUBE_LVS_RETURN_IF_ERROR(CheckLayout(*maps));
    KUBE_LVS_ASSIGN_OR_RETURN(const auto settings, GetArray<klvs_settings>(*maps, kSettingsMap));
    other_version = access == Access::kWrite && settings[0].programs != directors.Fingerprint();
  }
  const bool load_v4 = set.tc_director.id == 0 || set.tc_reply.id == 0 || other_version;
  const bool load_v6 = set.tc_director6.id == 0 || set.tc_reply6.id == 0 || other_version;
  bpf_program__set_autoload(directors.v4->progs.tc_director, load_v4);
  bpf_program__set_autoload(directors.v4->progs.tc_reply, load_v4);
  bpf_program__set_autoload(directors.v6->progs.tc_director6, load_v6);
  bpf_program__set_autoload(directors.v6->progs.tc_reply6, load_v6);
  KUBE_LVS_RETURN_IF_ERROR(CheckMemoryFor(directors, sizes, *maps));
  KUBE_LVS_RETURN_IF_ERROR(LoadUpon(directors.v4->obj, sizes, *maps, log));
  if (load_v4) {
    KUBE_LVS_ASSIGN_OR_RETURN(set.tc_director, Keep(directors.v4->progs.tc_director));
    KUBE_LVS_ASSIGN_OR_RETURN(set.tc_reply, Keep(directors.v4->progs.tc_reply));
    KUBE_LVS_RETURN_IF_ERROR(HoldMaps(set.tc_director, directors.v4->obj));
    KUBE_LVS_RETURN_IF_ERROR(AddMapsOf(set.tc_director, *maps));
  }
  KUBE_LVS_RETURN_IF_ERROR(LoadUpon(directors.v6->obj, sizes, *maps, log));
  if (load_v6) {
    KUBE_LVS_ASSIGN_OR_RETURN(set.tc_director6, Keep(directors.v6->progs.tc_director6));
    KUBE_LVS_ASSIGN_OR_RETURN(set.tc_reply6, Keep(directors.v6->progs.tc_reply6));
    KUBE_LVS_RETURN_IF_ERROR(HoldMaps(set.tc_director6, directors.v6->obj));
    KUBE_LVS_RETURN_IF_ERROR(AddMapsOf(set.tc_director6, *maps));
  }
  KUBE_LVS_ASSIGN_OR_RETURN(set.sweep, Keep(directors.v4->progs.klvs_sweep));
  KUBE_LVS_ASSIGN_OR_RETURN(set.sweep6, Keep(directors.v6->progs.klvs_sweep6));
  // Maps that programs of an older version, which stay, do not have: empty. The sweeps read few.
  KUBE_LVS_RETURN_IF_ERROR(HoldMaps(set.sweep, directors.v4->obj));
  KUBE_LVS_RETURN_IF_ERROR(HoldMaps(set.sweep6, directors.v6->obj));
  KUBE_LVS_RETURN_IF_ERROR(AddMapsOf(set.sweep, *maps));
  KUBE_LVS_RETURN_IF_ERROR(AddMapsOf(set.sweep6, *maps));
  auto hooks = std::make_unique<BpfHooks>(Owner::kLvsadm, std::move(set), std::vector<ProgramSet>{},
                                          std::vector<std::string>{});
  if (access == Access::kWrite && (load_v4 || load_v6)) {
    KUBE_LVS_RETURN_IF_ERROR(InitialiseSettings(*maps));
    KUBE_LVS_ASSIGN_OR_RETURN(const auto settings, GetArray<klvs_settings>(*maps, kSettingsMap));
    settings[0].flags |= KLVS_SETTING_SHARED_VIPS;
    KUBE_LVS_RETURN_IF_ERROR(FillFilter(*maps));
    KUBE_LVS_RETURN_IF_ERROR(TakePlaces(*hooks, network));
    settings[0].programs = directors.Fingerprint();
  }
  BpfObjects out;
  out.maps = std::move(maps);
  out.programs = std::move(hooks);
  return out;
}

}  // namespace

absl::StatusOr<BpfObjects> OpenUnpinned(const MapSizes& sizes, Network& network, Access access) {
  Silence();
  ProgramSet set;
  KUBE_LVS_ASSIGN_OR_RETURN(set.tc_director, FindLvsadmProgram(network, &ProgramSet::tc_director));
  if (set.tc_director.id == 0) {
    if (access == Access::kWrite) KUBE_LVS_RETURN_IF_ERROR(CheckNoAgents(network));
    return absl::NotFoundError("lvsadm has no eBPF dataplane in this network namespace");
  }
  // Without one of these a command was cut short: they are made anew.
  KUBE_LVS_ASSIGN_OR_RETURN(set.tc_director6, FindLvsadmProgram(network, &ProgramSet::tc_director6));
  KUBE_LVS_ASSIGN_OR_RETURN(set.tc_reply, FindLvsadmProgram(network, &ProgramSet::tc_reply));
  KUBE_LVS_ASSIGN_OR_RETURN(set.tc_reply6, FindLvsadmProgram(network, &ProgramSet::tc_reply6));
  return Make(std::move(set), sizes, access, network);
}

absl::StatusOr<BpfObjects> LoadUnpinned(const MapSizes& sizes, Network& network) {
  Silence();
  KUBE_LVS_RETURN_IF_ERROR(CheckNoAgents(network));
  return Make(ProgramSet{}, sizes, Access::kWrite, network);
}

absl::Status RemoveUnpinned(Network& network) {
  Silence();
  BpfHooks hooks(Owner::kLvsadm, ProgramSet{}, {}, {});
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<Link> links, network.Links());
  bool found = false;
  for (const Link& link : links) {
    KUBE_LVS_ASSIGN_OR_RETURN(const bool any, hooks.HasAny(link));
    if (!any) continue;
    KUBE_LVS_RETURN_IF_ERROR(hooks.Detach(link));
    found = true;
  }
  return found ? absl::OkStatus() : CheckNoneOf(Owner::kAgent, links);
}

}  // namespace kube_lvs::ebpf
