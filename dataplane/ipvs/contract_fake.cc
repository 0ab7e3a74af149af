#include "dataplane/ipvs/contract_suite.h"
#include "dataplane/ipvs/fake_kernel.h"

namespace kube_lvs::ipvs {
namespace {

class Fake final : public Kernel {
 public:
  Channel& channel() override { return kernel_; }
  uint64_t changes_sent() const override { return kernel_.changes_sent(); }
  absl::StatusOr<std::string> Show() override { return kernel_.Show(); }
  SchedulerCheck Check() const override {
    return [](const std::string&) { return absl::OkStatus(); };
  }
  std::string Interface() override { return "eth0"; }

 private:
  FakeKernel kernel_;
};

}  // namespace

std::unique_ptr<Kernel> MakeKernel() { return std::make_unique<Fake>(); }

}  // namespace kube_lvs::ipvs
