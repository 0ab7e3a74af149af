#include "dataplane/ebpf/testing/attached.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>

#include <cstdio>
#include <cstdlib>

#include "base/unique_fd.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/map_names.h"

namespace kube_lvs::ebpf {

uint32_t LvsadmProgramOn(const std::string& interface) {
  libbpf_set_print([](libbpf_print_level, const char*, va_list) { return 0; });
  bpf_tc_hook hook{};
  hook.sz = sizeof hook;
  hook.ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
  hook.attach_point = BPF_TC_INGRESS;
  bpf_tc_opts options{};
  options.sz = sizeof options;
  options.handle = 0x6b6d;
  options.priority = 188;
  return bpf_tc_query(&hook, &options) == 0 ? options.prog_id : 0;
}

std::vector<uint32_t> MapsOfProgram(uint32_t program) {
  const UniqueFd fd(bpf_prog_get_fd_by_id(program));
  std::vector<uint32_t> ids(64);
  bpf_prog_info info{};
  info.nr_map_ids = static_cast<uint32_t>(ids.size());
  info.map_ids = reinterpret_cast<uintptr_t>(ids.data());
  uint32_t size = sizeof info;
  if (!fd.ok() || bpf_obj_get_info_by_fd(fd.get(), &info, &size) != 0) {
    std::perror("maps of a program");
    std::abort();
  }
  ids.resize(info.nr_map_ids);
  return ids;
}

uint32_t RaiseLayout(uint32_t program) {
  for (const uint32_t id : MapsOfProgram(program)) {
    const UniqueFd fd(bpf_map_get_fd_by_id(id));
    bpf_map_info info{};
    uint32_t size = sizeof info;
    if (!fd.ok() || bpf_obj_get_info_by_fd(fd.get(), &info, &size) != 0) continue;
    if (kSettingsMap != info.name) continue;
    const uint32_t zero = 0;
    klvs_settings settings;
    if (bpf_map_lookup_elem(fd.get(), &zero, &settings) == 0) {
      const uint32_t layout = settings.layout++;
      if (bpf_map_update_elem(fd.get(), &zero, &settings, BPF_ANY) == 0) return layout;
    }
  }
  std::perror("layout of a dataplane");
  std::abort();
}

bool ProgramExists(uint32_t program) { return UniqueFd(bpf_prog_get_fd_by_id(program)).ok(); }
bool MapExists(uint32_t map) { return UniqueFd(bpf_map_get_fd_by_id(map)).ok(); }

}  // namespace kube_lvs::ebpf
