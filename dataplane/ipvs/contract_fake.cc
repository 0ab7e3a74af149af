#include "dataplane/ipvs/contract_suite.h"
#include "dataplane/ipvs/fake_kernel.h"
#include "dataplane/ipvs/fake_marks.h"

namespace kube_lvs::ipvs {
namespace {

class Fake final : public Kernel {
 public:
  Channel& channel() override { return kernel_; }
  MarkTable& marks() override { return marks_; }
  uint64_t changes_sent() const override { return kernel_.changes_sent(); }
  absl::StatusOr<std::string> Show() override { return kernel_.Show(); }
  SchedulerCheck Check() const override {
    return [](const std::string&) { return absl::OkStatus(); };
  }
  std::string Interface() override { return "eth0"; }

 private:
  FakeKernel kernel_;
  FakeMarks marks_;
};

}  // namespace

std::unique_ptr<Kernel> MakeKernel() { return std::make_unique<Fake>(); }

}  // namespace kube_lvs::ipvs
