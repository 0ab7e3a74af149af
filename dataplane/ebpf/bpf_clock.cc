// The programs' clock, which no system call tells.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <string>

#include "base/status.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/bpf/director_tc.skel.h"
#include "dataplane/ebpf/bpf_load.h"
#include "dataplane/ebpf/bpf_objects.h"

namespace kube_lvs::ebpf {

absl::StatusOr<uint64_t> ProgramsJiffies() {
  Silence();
  std::string log(1 << 16, '\0');
  KUBE_LVS_ASSIGN_OR_RETURN(const auto skeleton,
                            OpenSkeleton(&director_tc__open_opts, &director_tc__destroy, log));
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, skeleton->obj) {
    bpf_program__set_autoload(program, program == skeleton->progs.klvs_clock);
  }
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, skeleton->obj) bpf_map__set_autocreate(map, false);
  KUBE_LVS_RETURN_IF_ERROR(Load(skeleton->obj, log));
  klvs_clock clock{};
  bpf_test_run_opts options{};
  options.sz = sizeof options;
  options.ctx_in = &clock;
  options.ctx_size_in = sizeof clock;
  const int result = bpf_prog_test_run_opts(bpf_program__fd(skeleton->progs.klvs_clock), &options);
  if (result != 0) return BpfError("reading the programs' clock", -result);
  return clock.jiffies;
}

}  // namespace kube_lvs::ebpf
