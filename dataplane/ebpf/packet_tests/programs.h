// The programs in the kernel, with maps of their own, and a network namespace for their packets.
// Both take seconds to make in an emulated guest, so that one test hands them on to the next, with
// every map empty again. For tests only: whatever fails aborts. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/packet_tests/frame.h"
#include "dataplane/ebpf/testing/namespaces.h"

struct bpf_map;
struct director6_tc;
struct director6_xdp;
struct director_tc;
struct director_xdp;
struct node_tc;

namespace kube_lvs::ebpf {

enum class Stage { kXdp, kTc };

// Of the one interface of the director under test.
inline constexpr Mac kOwnMac = {2, 0, 0, 0, 0, 1};

void Check(bool ok, const std::string& what);

// What waits in klvs_drop_ring, which is empty then.
std::vector<klvs_drop_sample> TakeDropSamples(const bpf_map* map);

class LoadedPrograms {
 public:
  // With a connection table of `sets` sets of 8: those that GiveBack got, or new ones.
  static std::unique_ptr<LoadedPrograms> Take(Stage stage, uint32_t sets);
  static void GiveBack(std::unique_ptr<LoadedPrograms> programs);

  ~LoadedPrograms();
  LoadedPrograms(const LoadedPrograms&) = delete;

  // Has those that are there jump to those of IPv6, with such a table of theirs. Only tests of IPv6
  // pay for it.
  void JoinIpv6(uint32_t sets);
  bool has_ipv6() const { return joined_; }

  director_tc& tc() { return *tc_; }
  director_xdp& xdp() { return *xdp_; }
  director6_tc& tc6() { return *tc6_; }
  node_tc& node();  // of a real server

  const Namespace& network() const { return network_; }
  uint32_t ifindex() const { return ifindex_; }

  // Of the director's, any family that is there. Aborts if there is none.
  bpf_map* Find(const char* name);

 private:
  LoadedPrograms(Stage stage, uint32_t sets);
  void LoadIpv6(uint32_t sets);
  void Empty();

  Namespace network_;
  uint32_t ifindex_ = 0;
  Stage stage_;
  uint32_t sets_;
  director_tc* tc_ = nullptr;
  director_xdp* xdp_ = nullptr;
  director6_tc* tc6_ = nullptr;
  director6_xdp* xdp6_ = nullptr;
  node_tc* node_ = nullptr;
  bool joined_ = false;
};

}  // namespace kube_lvs::ebpf
