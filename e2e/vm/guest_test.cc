// What tests may expect of a guest.
#include <sys/utsname.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "gtest/gtest.h"

namespace {

TEST(Guest, RunsOneOfTheKernelsAsRoot) {
  utsname name{};
  ASSERT_EQ(uname(&name), 0);
  const std::string release = name.release;
  EXPECT_TRUE(release.starts_with("6.1.") || release.starts_with("6.12.")) << release;
  EXPECT_EQ(geteuid(), 0u);
}

TEST(Guest, LoadsIpVs) {
  ASSERT_EQ(system("modprobe ip_vs"), 0);
  std::string word;
  std::ifstream("/proc/net/ip_vs") >> word;
  EXPECT_EQ(word, "IP");
}

TEST(Guest, HasBtfAndTheBpfFileSystem) {
  EXPECT_TRUE(std::filesystem::exists("/sys/kernel/btf/vmlinux"));
  EXPECT_TRUE(std::filesystem::create_directory("/sys/fs/bpf/probe"));
}

TEST(Guest, MakesNamespacesAndTheirLinks) {
  EXPECT_EQ(system("ip netns add a && ip -n a link add name v0 type veth peer name v1 && "
                   "ip -n a link add name t0 type ipip local 10.0.0.1 remote 10.0.0.2 && "
                   "ip netns del a"),
            0);
}

}  // namespace
