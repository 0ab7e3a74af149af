#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstdlib>

#include "base/unique_fd.h"
#include "dataplane/ipvs/backend.h"
#include "dataplane/ipvs/contract_suite.h"
#include "dataplane/ipvs/netlink_channel.h"
#include "dataplane/ipvs/nft_marks.h"
#include "e2e/vm/lab.h"
#include "gtest/gtest.h"

namespace kube_lvs::ipvs {
namespace {

// A network namespace of its own, which the kernel empties after us.
class Real final : public Kernel {
 public:
  Real() {
    // Before any namespace with IPVS goes away: see schedulers.h.
    static const bool loaded = [] {
      EXPECT_EQ(CheckSchedulerOfThisNode("lblc").code(), absl::StatusCode::kFailedPrecondition);
      vm::Run("modprobe -a ip_vs_lblc ip_vs_lblcr");
      return true;
    }();
    EXPECT_TRUE(loaded);
    if (unshare(CLONE_NEWNET) != 0) std::abort();
    marks_ = *OpenMarkTable();
    // Without lo there is no routing table, and every address is a broadcast one.
    const UniqueFd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    request.ifr_name[0] = 'l';
    request.ifr_name[1] = 'o';
    request.ifr_flags = IFF_UP;
    if (ioctl(fd.get(), SIOCSIFFLAGS, &request) != 0) std::abort();
  }
  Channel& channel() override { return channel_; }
  MarkTable& marks() override { return *marks_; }
  uint64_t changes_sent() const override { return channel_.changes_sent(); }
  absl::StatusOr<std::string> Show() override { return RulesOfThisThread(); }
  SchedulerCheck Check() const override { return CheckSchedulerOfThisNode; }
  std::string Interface() override {
    vm::Run(
        "ip link add name d0 type dummy && ip addr add 10.44.0.1/24 dev d0 && "
        "ip addr add fd44::1/64 dev d0 nodad && ip link set d0 up");
    return "d0";
  }

 private:
  NetlinkChannel channel_;
  std::unique_ptr<MarkTable> marks_;
};

TEST(NetlinkChannel, TheFirstMessageLoadsIpVs) {
  // Runs in a guest that has not loaded it, whichever test comes first.
  NetlinkChannel channel;
  EXPECT_EQ(channel.Ask({15, 1, 0, 0}).status(), absl::OkStatus());
}

}  // namespace

std::unique_ptr<Kernel> MakeKernel() { return std::make_unique<Real>(); }

}  // namespace kube_lvs::ipvs
