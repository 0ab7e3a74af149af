#include "dataplane/ebpf/testing/xdp.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>

#include <cstdio>
#include <cstdlib>

#include "base/unique_fd.h"

namespace kube_lvs::ebpf {

uint32_t XdpProgramId(const std::string& interface) {
  uint32_t id = 0;
  const int result = bpf_xdp_query_id(static_cast<int>(if_nametoindex(interface.c_str())),
                                      XDP_FLAGS_DRV_MODE, &id);
  return result == 0 ? id : 0;
}

void AttachXdpPass(const std::string& interface) {
  const bpf_insn code[] = {
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = XDP_PASS},
      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
  };
  const UniqueFd program(
      bpf_prog_load(BPF_PROG_TYPE_XDP, "pass", "GPL", code, std::size(code), nullptr));
  if (!program.ok() ||
      bpf_xdp_attach(static_cast<int>(if_nametoindex(interface.c_str())), program.get(),
                     XDP_FLAGS_DRV_MODE | XDP_FLAGS_UPDATE_IF_NOEXIST, nullptr) != 0) {
    std::perror("XDP_PASS on a test interface");
    std::abort();
  }
}

}  // namespace kube_lvs::ebpf
