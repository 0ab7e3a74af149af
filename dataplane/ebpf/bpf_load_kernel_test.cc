// Programs that this machine's kernel refuses.
#include "dataplane/ebpf/bpf_load.h"

#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "dataplane/ebpf/bpf/node_tc.skel.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/map_store.h"
#include "dataplane/ebpf/open.h"
#include "dataplane/ebpf/testing/namespaces.h"
#include "dataplane/ebpf/testing/xdp.h"
#include "dataplane/plan/diff.h"

namespace kube_lvs::ebpf {
namespace {

TEST(Load, ARefusalNamesTheProgramTheCauseAndTheMend) {
  Silence();
  std::string log(1 << 18, '\0');
  const auto node = OpenSkeleton(&node_tc__open_opts, &node_tc__destroy, log);
  ASSERT_TRUE(node.ok()) << node.status();
  // XDP has no such helper as it begins with.
  ASSERT_EQ(bpf_program__set_type((*node)->progs.tc_mss_clamp, BPF_PROG_TYPE_XDP), 0);
  const absl::Status refused = Load((*node)->obj, log);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  const std::string message = Message(refused);
  EXPECT_TRUE(message.starts_with("the kernel refuses the program tc_mss_clamp: ")) << message;
  EXPECT_NE(message.find("bpf_skb_load_bytes#26 (at "), std::string::npos) << message;
  EXPECT_TRUE(message.ends_with(
      "; Linux 6.1 and 6.12 take it: boot one of these, or have the services "
      "served by dataplane IPVS, and report this"))
      << message;
}

// Without CAP_PERFMON, and CAP_SYS_ADMIN that has it in it, the verifier takes fewer programs.
class WithoutPerfmon {
 public:
  WithoutPerfmon() {
    syscall(SYS_capget, &header_, before_.data());
    auto fewer = before_;
    fewer[CAP_PERFMON / 32].effective &= ~(1U << CAP_PERFMON % 32);
    fewer[CAP_SYS_ADMIN / 32].effective &= ~(1U << CAP_SYS_ADMIN % 32);
    if (syscall(SYS_capset, &header_, fewer.data()) != 0) std::abort();
  }
  ~WithoutPerfmon() {
    if (syscall(SYS_capset, &header_, before_.data()) != 0) std::abort();
  }

 private:
  __user_cap_header_struct header_ = {_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> before_ = {};
};

constexpr MapSizes kSmall = {.addresses = 64,
                             .services = 64,
                             .reals = 128,
                             .list_entries = 1024,
                             .table_slots = 16384,
                             .connections = 1024};

// What is pinned: the kernel's ids of maps, 0 of directories.
std::map<std::string, uint32_t> Pins(const std::string& dir) {
  std::map<std::string, uint32_t> out;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    uint32_t& id = out[entry.path().filename().string()];
    if (entry.is_directory()) continue;
    const UniqueFd fd(bpf_obj_get(entry.path().c_str()));
    bpf_map_info info{};
    uint32_t size = sizeof info;
    if (!fd.ok() || bpf_obj_get_info_by_fd(fd.get(), &info, &size) != 0) std::abort();
    id = info.id;
  }
  return out;
}

// A map that only the programs of XDP have, and that they cannot use: what is loaded before them
// loads.
void PinAnotherFamiliesMap(const std::string& dir) {
  std::filesystem::create_directories(dir);
  const UniqueFd map(bpf_map_create(BPF_MAP_TYPE_ARRAY, "another", 4, 8, 1, nullptr));
  if (!map.ok() || bpf_obj_pin(map.get(), (dir + "/klvs_families_xdp").c_str()) != 0) std::abort();
}

constexpr char kProgramsOfAnother[] = "programs-0123456789abcdef";

// A node, and the dataplane as the agent on it opens it.
class LoadTest : public testing::Test {
 protected:
  LoadTest() {
    options_.dir = PrivateBpfDir(testing::UnitTest::GetInstance()->current_test_info()->name());
    options_.sizes = kSmall;
  }

  absl::StatusOr<EbpfDataplane> Open() {
    return node_.In([&] { return OpenEbpfDataplane(options_, clock_); });
  }
  absl::Status OpenWithoutPerfmon() {
    return node_.In([&] {
      const WithoutPerfmon without;
      return OpenEbpfDataplane(options_, clock_).status();
    });
  }
  std::map<std::string, uint32_t> Pins() { return ebpf::Pins(options_.dir); }

  // What was loaded looks as if another version had left it.
  void LeaveToAnotherVersion() {
    for (const auto& entry : std::filesystem::directory_iterator(options_.dir)) {
      if (entry.is_directory()) {
        std::filesystem::rename(entry.path(), options_.dir + "/" + kProgramsOfAnother);
      }
    }
  }

  const Namespace node_;
  const SystemClock clock_;
  BpfOptions options_;
};

TEST_F(LoadTest, AFirstLoadThatIsRefusedLeavesNothingPinned) {
  const absl::Status unprivileged = OpenWithoutPerfmon();
  EXPECT_EQ(unprivileged.code(), absl::StatusCode::kFailedPrecondition) << unprivileged;
  EXPECT_EQ(Pins(), (std::map<std::string, uint32_t>{}));
  PinAnotherFamiliesMap(options_.dir);
  const auto before = Pins();
  for (int attempt = 0; attempt < 2; ++attempt) {
    const absl::Status refused = Open().status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition) << refused;
    EXPECT_NE(Message(refused).find("director_xdp"), std::string::npos) << refused;
    EXPECT_EQ(Pins(), before);
  }
  std::filesystem::remove(options_.dir + "/klvs_families_xdp");
  const absl::Status loaded = Open().status();
  EXPECT_TRUE(loaded.ok()) << loaded;
}

TEST_F(LoadTest, ALoadThatIsRefusedLeavesTheMapsThatWereThere) {
  const absl::Status loaded = Open().status();
  ASSERT_TRUE(loaded.ok()) << loaded;
  LeaveToAnotherVersion();
  // It had not every map.
  std::filesystem::remove(options_.dir + "/klvs_gue_peers");
  std::filesystem::remove(options_.dir + "/klvs_families_xdp");
  PinAnotherFamiliesMap(options_.dir);
  const auto before = Pins();
  ASSERT_TRUE(before.contains("klvs_conns"));
  ASSERT_TRUE(before.contains(kProgramsOfAnother));
  const absl::Status refused = Open().status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition) << refused;
  EXPECT_EQ(Pins(), before);
}

TEST_F(LoadTest, MapsOfAStartThatWasCutShortAreMadeAnew) {
  {
    const auto loaded = Open();
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    GetArray<klvs_settings>(*loaded->objects.maps, kSettingsMap).value()[0].layout = 0;
  }
  for (const auto& [name, id] : Pins()) {
    if (id == 0 || name == "klvs_conn_tags") std::filesystem::remove_all(options_.dir + "/" + name);
  }
  options_.sizes.connections = 4096;
  const auto loaded = Open();
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(*loaded->objects.maps->Capacity(kConnsMap), 512U);
  EXPECT_EQ(*loaded->objects.maps->Capacity(kConnTagsMap), 512U);
}

// As where an agent of this version comes after another one, and may do less.
TEST_F(LoadTest, WhatWasLoadedBeforeServesOnWhenTheKernelRefusesWhatIsToReplaceIt) {
  const Namespace peer;
  Wire(node_, "up0", peer, "p0");
  options_.xdp_interfaces = {"up0"};
  State state;
  const IpAddress vip = *IpAddress::Parse("192.0.2.1");
  VirtualService web;
  web.config.scheduler = "rr";
  web.reals = {{*Endpoint::Parse("10.0.0.1:80"), ForwardingMethod::kDirectRouting, 1, 0, 0}};
  state.services[{Dataplane::kEbpf, Endpoint{vip, 80}, Protocol::kTcp}] = web;
  state.items = {Attachment{"up0"}, AnsweredVip{Dataplane::kEbpf, vip, "up0"}};
  uint32_t before = 0;
  {
    auto dataplane = Open();
    ASSERT_TRUE(dataplane.ok()) << dataplane.status();
    for (const absl::Status& status :
         node_.In([&] { return dataplane->backend->Apply(Diff(state, State{}).steps); })) {
      ASSERT_TRUE(status.ok()) << status;
    }
    before = node_.In([] { return XdpProgramId("up0"); });
    ASSERT_NE(before, 0U);
  }
  LeaveToAnotherVersion();
  for (int attempt = 0; attempt < 2; ++attempt) {
    const absl::Status refused = OpenWithoutPerfmon();
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition) << refused;
    const std::string message = Message(refused);
    EXPECT_TRUE(message.starts_with("the kernel refuses the program ")) << message;
    EXPECT_TRUE(message.ends_with("; run it with CAP_PERFMON")) << message;
    EXPECT_NE(message.find(" (at "), std::string::npos) << message;
  }
  EXPECT_EQ(node_.In([] { return XdpProgramId("up0"); }), before);
  node_.Sh("tc filter show dev up0 ingress | grep -q director");
  // With the right to it, the same takes over.
  auto dataplane = Open();
  ASSERT_TRUE(dataplane.ok()) << dataplane.status();
  EXPECT_TRUE(dataplane->objects.loaded);
  EXPECT_EQ(node_.In([&] { return dataplane->backend->Read().value(); }), state);
  EXPECT_NE(node_.In([] { return XdpProgramId("up0"); }), before);
}

}  // namespace
}  // namespace kube_lvs::ebpf
