#include "dataplane/ebpf/map_memory.h"

#include <linux/bpf.h>

#include <map>
#include <string>

#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

TEST(MapMemory, OfEachTypeAsTheKernelAllocatesIt) {
  EXPECT_EQ(BytesOf({BPF_MAP_TYPE_ARRAY, 4, 576, 131072, BPF_F_MMAPABLE}, 64),
            4096U + 131072 * 576);
  EXPECT_EQ(BytesOf({BPF_MAP_TYPE_ARRAY, 4, 4, 1000, BPF_F_MMAPABLE}, 64), 4096U + 8192);
  EXPECT_EQ(BytesOf({BPF_MAP_TYPE_ARRAY, 4, 4, 4096, 0}, 64), 4096U * 8);
  EXPECT_EQ(BytesOf({BPF_MAP_TYPE_PERCPU_ARRAY, 4, 40, 100, 0}, 64), 100U * (8 + 40 * 64));
  EXPECT_EQ(BytesOf({BPF_MAP_TYPE_HASH, 4, 32, 1000, 0}, 64),
            1024U * 16 + (1000 + 64) * (48 + 8 + 32));
  EXPECT_EQ(BytesOf({BPF_MAP_TYPE_LRU_HASH, 12, 16, 8192, 0}, 64), 8192U * (16 + 48 + 16 + 16));
  EXPECT_EQ(BytesOf({BPF_MAP_TYPE_RINGBUF, 0, 0, 262144, 0}, 64), 262144U + 3 * 4096);
  EXPECT_EQ(BytesOf({BPF_MAP_TYPE_LPM_TRIE, 12, 4, 122880, BPF_F_NO_PREALLOC}, 64), 0U);
}

struct Files {
  std::map<std::string, std::string> all;
  std::optional<MemoryRoom> Find() const {
    return FindMemoryRoom([this](const std::string& path) -> absl::StatusOr<std::string> {
      const auto found = all.find(path);
      if (found == all.end()) return absl::NotFoundError(path);
      return found->second;
    });
  }
};

TEST(MemoryRoom, OfVersionTwoIsTheTightestGroupInSight) {
  Files files;
  files.all = {
      {"/proc/self/cgroup", "0::/kubepods/pod1/agent\n"},
      {"/proc/self/mountinfo",
       "20 1 0:5 / /proc rw - proc proc rw\n"
       "30 1 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"},
      {"/sys/fs/cgroup/kubepods/pod1/agent/memory.max", "max\n"},
      {"/sys/fs/cgroup/kubepods/pod1/memory.max", "1073741824\n"},
      {"/sys/fs/cgroup/kubepods/pod1/memory.current", "104857600\n"},
      {"/sys/fs/cgroup/kubepods/pod1/memory.stat", "anon 1\ninactive_file 4857600\nfile 9\n"},
      {"/sys/fs/cgroup/kubepods/memory.max", "17179869184\n"},
      {"/sys/fs/cgroup/kubepods/memory.current", "5000000000\n"}};
  EXPECT_EQ(files.Find(), (MemoryRoom{"/sys/fs/cgroup/kubepods/pod1", 1073741824, 100000000}));
  // Little is left in the outer one.
  files.all["/sys/fs/cgroup/kubepods/memory.current"] = "17179000000\n";
  EXPECT_EQ(files.Find(), (MemoryRoom{"/sys/fs/cgroup/kubepods", 17179869184, 17179000000}));
}

TEST(MemoryRoom, OfVersionOneInAContainerIsWhatItsMountShows) {
  Files files;
  files.all = {
      {"/proc/self/cgroup",
       "5:cpu,cpuacct:/docker/abc\n4:hugetlb,memory:/docker/abc\n0::/docker/abc\n"},
      {"/proc/self/mountinfo",
       "31 30 0:28 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct\n"
       "32 30 0:27 /docker/abc /sys/fs/cgroup/memory ro master:3 - cgroup cgroup "
       "rw,hugetlb,memory\n"
       "33 30 0:29 /docker/abc /sys/fs/cgroup/unified ro - cgroup2 cgroup rw\n"},
      {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n"},
      {"/sys/fs/cgroup/memory/memory.usage_in_bytes", "2000000\n"},
      {"/sys/fs/cgroup/memory/memory.stat", "inactive_file 7\ntotal_inactive_file 500000\n"}};
  EXPECT_EQ(files.Find(), (MemoryRoom{"/sys/fs/cgroup/memory", 536870912, 1500000}));
  files.all["/sys/fs/cgroup/memory/memory.limit_in_bytes"] = "9223372036854771712\n";
  EXPECT_EQ(files.Find(), std::nullopt);
}

TEST(MemoryRoom, WhereNothingCanBeReadThereIsNoLimit) { EXPECT_EQ(Files().Find(), std::nullopt); }

TEST(MemoryRoom, TooLittleIsToldWithBothNumbers) {
  const MemoryRoom room{"/sys/fs/cgroup/pod", 128 << 20, 20 << 20};
  EXPECT_TRUE(CheckRoom(108 << 20, room, "").ok());
  EXPECT_TRUE(CheckRoom(uint64_t{1} << 40, std::nullopt, "").ok());
  const absl::Status status = CheckRoom((108 << 20) + 1, room, "raise it");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(std::string(status.message()),
            "the eBPF maps take 109 MiB, but the memory limit of the control group "
            "/sys/fs/cgroup/pod is 128 MiB, of which 20 MiB are used; raise it");
}

}  // namespace
}  // namespace kube_lvs::ebpf
