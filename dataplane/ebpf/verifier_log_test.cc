#include "dataplane/ebpf/verifier_log.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

namespace kube_lvs::ebpf {
namespace {

TEST(CauseOf, IsTheLastLineBeforeWhatItCostAndTheInstructionBeforeIt) {
  EXPECT_EQ(CauseOf("0: R1=ctx(off=0,imm=0) R10=fp0\n"
                    "; if (ctx->vlan_present)\n"
                    "0: (79) r0 = *(u64 *)(r1 +1000)      ; R0_w=scalar()\n"
                    "invalid bpf_context access off=1000 size=8\n"
                    "processed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0\n"),
            "invalid bpf_context access off=1000 size=8 (at 0: (79) r0 = *(u64 *)(r1 +1000))");
  EXPECT_EQ(CauseOf("12: (85) call bpf_loop#181\n"
                    "13: R0=scalar()\n"
                    "R1 has no valid type; 8 is the least\n"
                    "verification time 12 usec\n"
                    "stack depth 0+24\n"),
            "R1 has no valid type, 8 is the least (at 12: (85) call bpf_loop#181)");
}

TEST(CauseOf, OfALogThatEndsEarlyIsWhatThereIs) {
  EXPECT_EQ(CauseOf(""), "");
  EXPECT_EQ(CauseOf("\n\n"), "");
  EXPECT_EQ(CauseOf("BPF program is too large. Processed 1000001 insn\n"
                    "processed 1000001 insns (limit 1000000)"),
            "BPF program is too large. Processed 1000001 insn");
  EXPECT_EQ(CauseOf("7: (95) exit"), "7: (95) exit");
  EXPECT_EQ(CauseOf("; a; b"), ", a, b");
  EXPECT_EQ(CauseOf("12"), "12");
  EXPECT_EQ(CauseOf("12: (\nx"), "x (at 12: ()");
}

TEST(RefusalOf, NamesTheProgramAndTheCause) {
  const std::string log =
      "12: (85) call bpf_skb_load_bytes#26\nunknown func bpf_skb_load_bytes#26\n";
  const std::string refusal =
      "the kernel refuses the program sweep: unknown func bpf_skb_load_bytes#26 (at 12: (85) call "
      "bpf_skb_load_bytes#26)";
  EXPECT_EQ(RefusalOf("sweep", EINVAL, log), refusal);
  // The end of one that was too long.
  EXPECT_EQ(RefusalOf("sweep", ENOSPC, "r1 +1000)\n" + log + "processed 13 insns (limit 10)\n"),
            refusal);
}

TEST(RefusalOf, WhereTheBeginningOfALogEndsIsNoCause) {
  for (const std::string log :
       {"0: (bf) r6 = r1\n1: (79) r0 = *(u64 *)(r1 +0)\n", "0: (bf) r6 = r1\n1: (7", "0", ""}) {
    EXPECT_EQ(RefusalOf("sweep", ENOSPC, log),
              "the kernel does not load the program sweep, and the cause is not known: its log is "
              "full, and this kernel keeps the beginning");
  }
}

}  // namespace
}  // namespace kube_lvs::ebpf
