// Hooks our programs into interfaces through libbpf: the Programs of production. tc by clsact
// filters of fixed preference and handle, XDP by netlink with the expected old program, so that
// others' are never replaced. Only for bpf_objects.cc.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "dataplane/ebpf/programs.h"

namespace kube_lvs::ebpf {

// A loaded program and its number in the kernel.
struct Program {
  UniqueFd fd;
  uint32_t id = 0;
};
absl::StatusOr<Program> OpenPinnedProgram(const std::string& path);

absl::StatusOr<Program> ProgramOf(UniqueFd fd);
// Numbers of the maps that it holds.
absl::StatusOr<std::vector<uint32_t>> MapIdsOf(const Program& program);

// Whose programs: their tc filters have different handles. A network namespace has one owner.
enum class Owner { kAgent, kLvsadm };

// One set of programs, as one version of kube-lvs loads them. Those that are not there (number 0)
// are hooked in nowhere; without xdp_director there is no XDP.
struct ProgramSet {
  Program xdp_director;
  Program tc_director;
  Program tc_decap;
  Program tc_mss_clamp;
  Program tc_reply;
  Program tc_reply6;
  // Never hooked in: the agent's directors jump to those of IPv6. Only lvsadm hooks in
  // tc_director6.
  Program sweep;
  Program sweep6;
  Program xdp_director6;
  Program tc_director6;
};
using ProgramOfSet = Program ProgramSet::*;

// The number of the program that `owner` hooked in there; 0: none.
absl::StatusOr<uint32_t> ProgramOn(const Link& link, Owner owner, ProgramOfSet which);
// That program of lvsadm, on whichever interface it is; without a number when it is on none.
absl::StatusOr<Program> FindLvsadmProgram(Network& network, ProgramOfSet which);
// kAlreadyExists, with the mend: there is one on some interface.
absl::Status CheckNoneOf(Owner owner, const std::vector<Link>& links);

class BpfHooks final : public Programs {
 public:
  // `older`: sets that may still be hooked in somewhere; ours to replace.
  BpfHooks(Owner owner, ProgramSet programs, std::vector<ProgramSet> older,
           std::vector<std::string> xdp_interfaces)
      : owner_(owner),
        programs_(std::move(programs)),
        older_(std::move(older)),
        xdp_interfaces_(std::move(xdp_interfaces)) {}

  absl::StatusOr<AttachReport> Attach(const Link& link) override;
  absl::Status Detach(const Link& link) override;
  absl::StatusOr<std::optional<AttachReport>> Find(const Link& link) override;
  absl::Status SweepConnections(uint32_t sets, uint32_t sets6) override;
  absl::Status AwaitRunning() override;

  // Whether a program of an older set is hooked in there.
  absl::StatusOr<bool> HasOlder(const Link& link) const;
  // Whether a tc program of this owner is hooked in there, of whatever version.
  absl::StatusOr<bool> HasAny(const Link& link) const;

 private:
  // Why XDP is not even tried there; nullopt when it is.
  std::optional<std::string> XdpRefused(const Link& link) const;
  // The fd of the attached XDP program if it is ours of any version; -1 when it is another's.
  int OwnXdp(uint32_t attached_id, UniqueFd& looked_up) const;
  absl::Status AttachXdp(const Link& link, AttachReport& report);
  absl::Status DetachXdp(const Link& link);

  Owner owner_;
  ProgramSet programs_;
  std::vector<ProgramSet> older_;
  std::vector<std::string> xdp_interfaces_;
  struct XdpFailure {
    uint32_t mtu = 0;  // of the interface at that time
    std::string why;   // what its driver said
  };
  std::map<uint32_t, XdpFailure> xdp_failed_;  // by interface
};

}  // namespace kube_lvs::ebpf
