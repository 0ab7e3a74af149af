#include "dataplane/ebpf/testing/namespaces.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace kube_lvs::ebpf {
namespace {

constexpr char kOwn[] = "/proc/thread-self/ns/net";

[[noreturn]] void Die(const std::string& what) {
  std::perror(what.c_str());
  std::abort();
}

UniqueFd OpenOwn() {
  UniqueFd fd(open(kOwn, O_RDONLY | O_CLOEXEC));
  if (!fd.ok()) Die(kOwn);
  return fd;
}

}  // namespace

Namespace::Visit::Visit(int to) : back_(OpenOwn()) {
  if (setns(to, CLONE_NEWNET) != 0) Die("setns");
}

Namespace::Visit::~Visit() {
  if (setns(back_.get(), CLONE_NEWNET) != 0) Die("setns back");
}

Namespace::Namespace() {
  const UniqueFd back = OpenOwn();
  if (unshare(CLONE_NEWNET) != 0) Die("unshare: kernel tests need root");
  fd_ = OpenOwn();
  // A host without a link-local address, which it would look for doubles of first, asks for no
  // neighbours.
  for (const char* which : {"all", "default"}) {
    std::ofstream("/proc/sys/net/ipv6/conf/" + std::string(which) + "/accept_dad") << 0;
  }
  if (setns(back.get(), CLONE_NEWNET) != 0) Die("setns back");
  Sh("ip link set lo up");
}

std::string Namespace::path() const {
  return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(fd_.get());
}

void Namespace::Sh(std::string_view command) const {
  const std::string line = "PATH=/usr/sbin:/sbin:$PATH nsenter --net=" + path() + " sh -ec '" +
                           std::string(command) + "'";
  if (std::system(line.c_str()) != 0) Die(line);
}

std::string PrivateBpfDir(std::string_view name) {
  static const std::string mounted = [] {
    const char* base = std::getenv("TEST_TMPDIR");
    const std::string path =
        std::string(base == nullptr ? "/tmp" : base) + "/bpf-" + std::to_string(getpid());
    if (unshare(CLONE_NEWNS) != 0) Die("unshare: kernel tests need root");
    if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) Die("private mounts");
    if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) Die(path);
    if (mount("bpf", path.c_str(), "bpf", 0, nullptr) != 0) Die("mount bpf on " + path);
    return path;
  }();
  return mounted + "/" + std::string(name);
}

void Wire(const Namespace& left, std::string_view a, const Namespace& right, std::string_view b) {
  left.Sh("ip link add name " + std::string(a) + " type veth peer name " + std::string(b) +
          " netns " + right.path());
  left.Sh("ip link set " + std::string(a) + " up");
  right.Sh("ip link set " + std::string(b) + " up");
}

}  // namespace kube_lvs::ebpf
