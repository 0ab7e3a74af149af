// A dataplane that would not fit into the memory of its control group is not begun.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "dataplane/ebpf/open.h"
#include "dataplane/ebpf/testing/namespaces.h"
#include "dataplane/ebpf/testing/xdp.h"

namespace kube_lvs::ebpf {
namespace {

bool Write(const std::string& path, const std::string& text) {
  std::ofstream out(path);
  out << text;
  out.close();
  return out.good();
}

// This process is in a control group of its own, with a limit of memory.
class ControlGroup {
 public:
  explicit ControlGroup(uint64_t mebibytes) {
    const std::string root = "/sys/fs/cgroup", version1 = root + "/memory";
    const bool v1 = std::filesystem::exists(version1 + "/memory.limit_in_bytes");
    base_ = v1 ? version1 : root;
    if (!v1 && !Write(base_ + "/cgroup.subtree_control", "+memory")) return;
    std::ifstream groups("/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {
      const std::string controller = v1 ? ":memory:" : "0::";
      const size_t at = line.find(controller);
      if (at != std::string::npos) before_ = base_ + line.substr(at + controller.size());
    }
    const std::string path = base_ + "/kube-lvs-test-" + std::to_string(getpid());
    std::error_code error;
    if (!std::filesystem::create_directory(path, error)) return;
    path_ = path;
    is_limited_ = Write(path_ + (v1 ? "/memory.limit_in_bytes" : "/memory.max"),
                        std::to_string(mebibytes << 20)) &&
                  Write(path_ + "/cgroup.procs", std::to_string(getpid()));
  }
  ~ControlGroup() {
    if (path_.empty()) return;
    Write(before_ + "/cgroup.procs", std::to_string(getpid()));
    rmdir(path_.c_str());
  }
  ControlGroup(const ControlGroup&) = delete;
  ControlGroup& operator=(const ControlGroup&) = delete;

  bool is_limited() const { return is_limited_; }
  const std::string& path() const { return path_; }

 private:
  std::string base_, before_, path_;
  bool is_limited_ = false;
};

class MemoryTest : public testing::Test {
 protected:
  MemoryTest() { options_.dir = PrivateBpfDir("memory"); }
  void ExpectRefusal(const absl::Status& status, const ControlGroup& group,
                     const std::string& mend) {
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    const std::string message = Message(status);
    EXPECT_TRUE(message.starts_with("the eBPF maps take ")) << message;
    EXPECT_NE(message.find("memory limit of the control group " + group.path() + " is "),
              std::string::npos)
        << message;
    EXPECT_NE(message.find(mend), std::string::npos) << message;
  }

  const Namespace node_;
  const SystemClock clock_;
  BpfOptions options_;
};

TEST_F(MemoryTest, OfAnAgentIsCheckedBeforeAnythingIsPinned) {
  const ControlGroup group(32);
  ASSERT_TRUE(group.is_limited()) << "no control group with a limit of memory can be made";
  const auto open = [&] { return node_.In([&] { return OpenEbpfDataplane(options_, clock_); }); };
  options_.sizes.connections = 1 << 20;
  ExpectRefusal(open().status(), group, "lower connectionTableSize");
  EXPECT_TRUE(std::filesystem::is_empty(options_.dir));
}

TEST_F(MemoryTest, OfLvsadmAloneIsChecked) {
  const ControlGroup group(12);
  ASSERT_TRUE(group.is_limited()) << "no control group with a limit of memory can be made";
  const auto opened = node_.In([&] { return OpenAlone(true, clock_); });
  ExpectRefusal(opened.status(), group, "start lvsadm in another group");
}

}  // namespace
}  // namespace kube_lvs::ebpf
