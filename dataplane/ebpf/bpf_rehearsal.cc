// The director's program in maps of its own.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>

#include <cerrno>
#include <string>
#include <utility>

#include "base/status.h"
#include "dataplane/ebpf/bpf/director6_tc.skel.h"
#include "dataplane/ebpf/bpf/director_tc.skel.h"
#include "dataplane/ebpf/bpf_layout.h"
#include "dataplane/ebpf/bpf_load.h"
#include "dataplane/ebpf/bpf_maps.h"
#include "dataplane/ebpf/bpf_objects.h"
#include "dataplane/ebpf/trace.h"

namespace kube_lvs::ebpf {
namespace {

// Loads `director` alone, of an object that is open, and runs it. `log` is the object's.
absl::StatusOr<Trace> Run(bpf_object* object, bpf_program* director, MapStore& maps,
                          const TracePacket& packet, std::string& log) {
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object) {
    bpf_program__set_autoload(program, program == director);
  }
  for (const std::string_view name : MapNames()) {
    bpf_map* map = bpf_object__find_map_by_name(object, std::string(name).c_str());
    const auto capacity = maps.Capacity(name);
    if (map == nullptr || !capacity.ok()) continue;
    if (bpf_map__set_max_entries(map, *capacity) != 0) {
      return BpfError("size of " + std::string(name), errno);
    }
  }
  KUBE_LVS_RETURN_IF_ERROR(Load(object, log));
  BpfMaps copy;
  for (const std::string_view name : MapNames()) {
    const bpf_map* map = bpf_object__find_map_by_name(object, std::string(name).c_str());
    if (map == nullptr) continue;
    KUBE_LVS_RETURN_IF_ERROR(
        copy.Add(std::string(name), UniqueFd(fcntl(bpf_map__fd(map), F_DUPFD_CLOEXEC, 3))));
  }
  KUBE_LVS_RETURN_IF_ERROR(CopyMaps(packet.vip.ip.family, maps, copy));

  std::vector<uint8_t> frame = FrameOf(packet);
  std::vector<uint8_t> sent(frame.size() + 256);  // an outer header may be in front
  bpf_test_run_opts options{};
  options.sz = sizeof options;
  options.data_in = frame.data();
  options.data_size_in = static_cast<uint32_t>(frame.size());
  options.data_out = sent.data();
  options.data_size_out = static_cast<uint32_t>(sent.size());
  const int result = bpf_prog_test_run_opts(bpf_program__fd(director), &options);
  if (result != 0) return BpfError("running the director's program", -result);
  return Explain(maps, copy, packet, options.retval);
}

}  // namespace

absl::StatusOr<Trace> Rehearse(MapStore& maps, const TracePacket& packet) {
  Silence();
  std::string log(1 << 18, '\0');
  if (packet.vip.ip.IsV4()) {
    KUBE_LVS_ASSIGN_OR_RETURN(const auto v4,
                              OpenSkeleton(&director_tc__open_opts, &director_tc__destroy, log));
    return Run(v4->obj, v4->progs.tc_director, maps, packet, log);
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const auto v6,
                            OpenSkeleton(&director6_tc__open_opts, &director6_tc__destroy, log));
  return Run(v6->obj, v6->progs.tc_director6, maps, packet, log);
}

}  // namespace kube_lvs::ebpf
