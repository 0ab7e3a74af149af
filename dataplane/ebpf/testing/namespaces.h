// Network namespaces for kernel tests: they have no name in the file system and vanish with the
// process, so that a test that dies leaves nothing behind.
#pragma once

#include <sched.h>

#include <string>
#include <string_view>
#include <utility>

#include "base/unique_fd.h"

namespace kube_lvs::ebpf {

// A new, empty network namespace with lo up. Aborts when it cannot be made: a kernel test that
// cannot run must fail. One thread only.
class Namespace {
 public:
  Namespace();
  Namespace(const Namespace&) = delete;

  // Runs `function` with the calling thread in this namespace, then returns to where it was.
  template <typename Function>
  auto In(Function function) const {
    const Visit visit(fd_.get());
    return function();
  }

  // Runs a shell command in it; aborts when that fails, after printing it.
  void Sh(std::string_view command) const;

  // A path that names it: for "ip link ... netns PATH" and nsenter.
  std::string path() const;

 private:
  class Visit {
   public:
    explicit Visit(int to);
    ~Visit();

   private:
    UniqueFd back_;
  };
  UniqueFd fd_;
};

// A BPF file system of this process alone, and a directory in it. Gone with the process.
std::string PrivateBpfDir(std::string_view name);

// A veth pair: `a` in `left`, `b` in `right`, both up.
void Wire(const Namespace& left, std::string_view a, const Namespace& right, std::string_view b);

}  // namespace kube_lvs::ebpf
