// The preflight table: what this node has and lacks, with the mend.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "node-agent/facts/facts.h"
#include "node-agent/facts/nic.h"

namespace kube_lvs {

// What the table is made from, beside the facts.
struct CheckInput {
  std::set<int> capabilities;    // effective ones, by number
  bool bpf_file_system = false;  // is there one where --bpf-dir shall be
  std::string bpf_dir, state_dir;
  bool state_dir_writable = false;
  bool sysctls_writable = false;
  uint32_t cpus = 0;           // online
  std::vector<NicFacts> nics;  // filled in by the caller
};
CheckInput GatherCheckInput(const std::string& bpf_dir, const std::string& state_dir);

struct CheckRow {
  std::string name;
  bool ok = false;
  std::string found;
  std::string mend;  // empty if nothing is amiss; of one that is ok, advice
  bool operator==(const CheckRow&) const = default;
};

// Pure.
std::vector<CheckRow> Check(const NodeFacts& facts, const CheckInput& input);
std::string ToTable(const std::vector<CheckRow>& rows);

// Whether the eBPF dataplane can be expected to work: kernel 6.1 with BTF. Pure.
bool CanDoEbpf(const NodeFacts& facts);

// Major and minor of "6.1.0-56-cloud-amd64"; {0, 0} for what is none.
std::pair<int, int> KernelVersion(const std::string& release);

}  // namespace kube_lvs
