// The dataplane without pins: found by what is attached.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <optional>
#include <span>
#include <utility>

#include "base/status.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/bpf/director_tc.skel.h"
#include "dataplane/ebpf/bpf_hooks.h"
#include "dataplane/ebpf/bpf_load.h"
#include "dataplane/ebpf/bpf_maps.h"
#include "dataplane/ebpf/bpf_objects.h"
#include "dataplane/ebpf/map_names.h"

namespace kube_lvs::ebpf {
namespace {

using Director = SkeletonPtr<director_tc>;

absl::StatusOr<Director> OpenDirector(std::string& log) {
  return OpenSkeleton(&director_tc__open_opts, &director_tc__destroy, log);
}

uint64_t FingerprintOf(const Director& director) {
  Fingerprint out;
  out.Add(director->skeleton->data, director->skeleton->data_sz);
  return out.Number();
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

absl::StatusOr<std::unique_ptr<BpfMaps>> MapsOf(const Program& program) {
  std::array<uint32_t, 64> ids{};
  bpf_prog_info info{};
  info.nr_map_ids = ids.size();
  info.map_ids = reinterpret_cast<uintptr_t>(ids.data());
  uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(program.fd.get(), &info, &size) != 0) {
    return BpfError("reading of the attached program", errno);
  }
  auto out = std::make_unique<BpfMaps>();
  for (const uint32_t id : std::span(ids).first(std::min<size_t>(info.nr_map_ids, ids.size()))) {
    UniqueFd fd(bpf_map_get_fd_by_id(id));
    bpf_map_info map{};
    size = sizeof map;
    if (!fd.ok() || bpf_obj_get_info_by_fd(fd.get(), &map, &size) != 0) {
      return BpfError("reading of map " + std::to_string(id), errno);
    }
    const auto name = std::ranges::find_if(
        MapNames(), [&map](std::string_view wanted) { return IsNamed(map, wanted); });
    if (name == MapNames().end()) continue;  // the programs' own
    KUBE_LVS_RETURN_IF_ERROR(out->Add(std::string(*name), std::move(fd)));
  }
  return out;
}

// The attached program; without a number when there is none.
absl::StatusOr<Program> FindProgram(Network& network) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<Link> links, network.Links());
  for (const Link& link : links) {
    KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t id, DirectorProgramOn(link, Owner::kLvsadm));
    if (id == 0) continue;
    UniqueFd fd(bpf_prog_get_fd_by_id(id));
    if (fd.ok()) return ProgramOf(std::move(fd));
    // Taken off meanwhile: the next one.
    if (errno != ENOENT) return BpfError("program " + std::to_string(id), errno);
  }
  return Program{};
}

absl::Status CheckNoAgents(Network& network) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<Link> links, network.Links());
  return CheckNoneOf(Owner::kAgent, links);
}

absl::Status CheckLayout(const klvs_settings& settings) {
  if (settings.layout == KLVS_LAYOUT) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "the eBPF dataplane of this network namespace was made by a lvsadm of another version "
      "(layout " +
      std::to_string(settings.layout) + ", this one has " + std::to_string(KLVS_LAYOUT) +
      "); use that one, or take the dataplane off: lvsadm --dataplane ebpf -C");
}

absl::StatusOr<BpfObjects> Made(std::unique_ptr<BpfMaps> maps, Program director,
                                const Director& skeleton) {
  ProgramSet set;
  set.tc_director = std::move(director);
  KUBE_LVS_ASSIGN_OR_RETURN(set.sweep, Keep(skeleton->progs.klvs_sweep));
  BpfObjects out;
  out.maps = std::move(maps);
  out.programs = std::make_unique<BpfHooks>(Owner::kLvsadm, std::move(set),
                                            std::vector<ProgramSet>{}, std::vector<std::string>{});
  return out;
}

}  // namespace

absl::StatusOr<BpfObjects> OpenUnpinned(Network& network, Access access) {
  Silence();
  KUBE_LVS_ASSIGN_OR_RETURN(Program attached, FindProgram(network));
  if (attached.id == 0) {
    if (access == Access::kWrite) KUBE_LVS_RETURN_IF_ERROR(CheckNoAgents(network));
    return absl::NotFoundError("lvsadm has no eBPF dataplane in this network namespace");
  }
  KUBE_LVS_ASSIGN_OR_RETURN(std::unique_ptr<BpfMaps> maps, MapsOf(attached));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto settings, GetArray<klvs_settings>(*maps, kSettingsMap));
  KUBE_LVS_RETURN_IF_ERROR(CheckLayout(settings[0]));

  std::string log(1 << 18, '\0');
  KUBE_LVS_ASSIGN_OR_RETURN(const Director skeleton, OpenDirector(log));
  const uint64_t fingerprint = FingerprintOf(skeleton);
  const bool replace = access == Access::kWrite && settings[0].programs != fingerprint;
  bpf_program__set_autoload(skeleton->progs.tc_director, replace);
  bpf_program__set_autoload(skeleton->progs.klvs_clock, false);
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, skeleton->obj) {
    const int fd = maps->Fd(bpf_map__name(map));
    if (fd >= 0 && bpf_map__reuse_fd(map, fd) != 0) {
      return BpfError(std::string("use of ") + bpf_map__name(map), errno);
    }
  }
  KUBE_LVS_RETURN_IF_ERROR(Load(skeleton->obj, log));
  if (replace) {
    KUBE_LVS_ASSIGN_OR_RETURN(attached, Keep(skeleton->progs.tc_director));
    settings[0].programs = fingerprint;
  }
  return Made(std::move(maps), std::move(attached), skeleton);
}

absl::StatusOr<BpfObjects> LoadUnpinned(const MapSizes& sizes, Network& network) {
  Silence();
  KUBE_LVS_RETURN_IF_ERROR(CheckNoAgents(network));
  std::string log(1 << 18, '\0');
  KUBE_LVS_ASSIGN_OR_RETURN(const Director skeleton, OpenDirector(log));
  bpf_program__set_autoload(skeleton->progs.klvs_clock, false);
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, skeleton->obj) {
    const uint32_t size = CapacityOf(sizes, bpf_map__name(map));
    if (size != 0 && bpf_map__set_max_entries(map, size) != 0) {
      return BpfError(std::string("size of ") + bpf_map__name(map), errno);
    }
  }
  KUBE_LVS_RETURN_IF_ERROR(Load(skeleton->obj, log));
  KUBE_LVS_ASSIGN_OR_RETURN(Program director, Keep(skeleton->progs.tc_director));
  KUBE_LVS_ASSIGN_OR_RETURN(std::unique_ptr<BpfMaps> maps, MapsOf(director));
  KUBE_LVS_RETURN_IF_ERROR(InitialiseSettings(*maps));
  KUBE_LVS_ASSIGN_OR_RETURN(const auto settings, GetArray<klvs_settings>(*maps, kSettingsMap));
  settings[0].flags |= KLVS_SETTING_SHARED_VIPS;
  settings[0].programs = FingerprintOf(skeleton);
  return Made(std::move(maps), std::move(director), skeleton);
}

absl::Status RemoveUnpinned(Network& network) {
  Silence();
  BpfHooks hooks(Owner::kLvsadm, ProgramSet{}, {}, {});
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<Link> links, network.Links());
  bool found = false;
  for (const Link& link : links) {
    KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t there, DirectorProgramOn(link, Owner::kLvsadm));
    if (there == 0) continue;
    KUBE_LVS_RETURN_IF_ERROR(hooks.Detach(link));
    found = true;
  }
  return found ? absl::OkStatus() : CheckNoneOf(Owner::kAgent, links);
}

}  // namespace kube_lvs::ebpf
