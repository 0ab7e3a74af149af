// How a network card is set up, as far as it bears on what passes our programs.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "node-agent/facts/facts.h"

namespace kube_lvs {

struct NicFacts {
  struct Feature {
    bool on = false;
    bool changeable = false;
    bool operator==(const Feature&) const = default;
  };
  std::string interface;
  std::string driver = "";                    // "mlx5_core"
  uint32_t queues = 0;                        // that receive now
  uint32_t most_queues = 0;                   // that it can be told to have; 0: none can be told
  bool separate = false;                      // queues that receive and that send are told apart
  uint32_t ring = 0;                          // packets in a queue that receives; 0: not told
  uint32_t longest_ring = 0;                  // that it can be told to have
  std::optional<Feature> lro = std::nullopt;  // nullopt, also below: no such feature
  std::optional<Feature> hardware_gro = std::nullopt;
  std::optional<Feature> rx_checksum = std::nullopt;
  bool rps = false;  // some queue hands packets on to other CPUs
  bool operator==(const NicFacts&) const = default;
};

// The interfaces that are up and devices of their own, not of software (veth, VLAN, bond, ...).
std::vector<std::string> NicsOf(const NodeFacts& facts);

// Those of them by which packets of `interfaces` come and go: themselves, or what is below them.
std::vector<std::string> NicsBelow(const NodeFacts& facts, const std::set<std::string>& interfaces);

// By ioctls of ethtool and from /sys/class/net, which must be of this network namespace. Needs no
// privilege. kNotFound: no such interface.
absl::StatusOr<NicFacts> ReadNic(const std::string& interface);

}  // namespace kube_lvs
