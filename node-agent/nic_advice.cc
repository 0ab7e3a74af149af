#include "node-agent/nic_advice.h"

#include <algorithm>
#include <cstdio>

namespace kube_lvs {
namespace {

// A burst of so many minimal packets is 70 us of 10 Gbit/s, about what a CPU may be away for.
constexpr uint32_t kLongEnoughRing = 1024;

// These drivers take XDP only with half of the queues that they could have: the others send
// (ena_xdp_allowed() and verify_xdp_configuration() in Linux 6.12, drivers/net/ethernet/amazon/ena
// and google/gve).
bool KeepsHalfForXdp(const NicFacts& nic) { return nic.driver == "ena" || nic.driver == "gve"; }

// As rps_cpus has it: groups of 32 CPUs, the highest first.
std::string MaskOf(uint32_t cpus) {
  std::string mask;
  for (uint32_t group = (cpus + 31) / 32; group-- > 0;) {
    const uint32_t in_group = std::min(cpus - group * 32, 32u);
    char text[16];
    snprintf(text, sizeof(text), mask.empty() ? "%llx" : ",%08llx", (1ull << in_group) - 1);
    mask += text;
  }
  return mask;
}

std::string Counted(uint32_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

void AdviseOnQueues(const NicFacts& nic, uint32_t cpus, std::vector<NicAdvice>& out) {
  const auto set = [&nic](uint32_t queues) {
    const std::string count = std::to_string(queues);
    return "ethtool -L " + nic.interface +
           (nic.separate ? " rx " + count + " tx " + count : " combined " + count);
  };
  const uint32_t most =
      KeepsHalfForXdp(nic) && nic.most_queues > 1 ? nic.most_queues / 2 : nic.most_queues;
  const uint32_t wanted = std::min(most, cpus);
  if (KeepsHalfForXdp(nic) && nic.queues > most && most > 0) {
    out.push_back(
        {"uses " + std::to_string(nic.queues) + " of " + Counted(nic.most_queues, "queue"),
         nic.driver + " takes native XDP with half of them at most", set(wanted)});
  } else if (nic.queues < wanted) {
    out.push_back({Counted(nic.queues, "queue") + " for " + Counted(cpus, "CPU"),
                   "the other CPUs take no packets", set(wanted)});
  }
  if (nic.driver == "virtio_net" && nic.most_queues > 0 && nic.most_queues < nic.queues + cpus) {
    out.push_back({Counted(nic.most_queues, "queue") + " at most, for " + Counted(cpus, "CPU"),
                   "without another queue for each CPU, native XDP sends under a lock",
                   "give it " + std::to_string(2 * cpus) +
                       " queues on the VM's host (QEMU: queues=" + std::to_string(2 * cpus) + ")"});
  }
  if (nic.queues == 1 && wanted <= 1 && cpus > 1 && !nic.rps) {
    out.push_back(
        {"1 queue, and no RPS", "one CPU takes all packets; RPS spreads what tc serves",
         "echo " + MaskOf(cpus) + " > /sys/class/net/" + nic.interface + "/queues/rx-0/rps_cpus"});
  }
}

bool MayBeOff(const std::optional<NicFacts::Feature>& feature) {
  return feature.has_value() && feature->on && feature->changeable;
}

}  // namespace

std::vector<NicAdvice> AdviseOn(const NicFacts& nic, uint32_t cpus) {
  std::vector<NicAdvice> out;
  // The other end of a veth pair decides.
  if (nic.driver == "veth") return out;
  AdviseOnQueues(nic, cpus, out);
  const uint32_t ring = std::min(nic.longest_ring, kLongEnoughRing);
  if (nic.ring > 0 && nic.ring < ring) {
    out.push_back({"a ring of " + Counted(nic.ring, "packet"), "short bursts are lost",
                   "ethtool -G " + nic.interface + " rx " + std::to_string(ring)});
  }
  const std::string set = "ethtool -K " + nic.interface + " ";
  if (MayBeOff(nic.lro)) {
    out.push_back({"LRO is on",
                   "drivers refuse native XDP with it, and what it joins cannot be forwarded",
                   set + "lro off"});
  }
  // virtio_net turns it off by itself for XDP.
  if (MayBeOff(nic.hardware_gro) && nic.driver != "virtio_net") {
    out.push_back(
        {"GRO by hardware is on", "drivers refuse native XDP with it", set + "rx-gro-hw off"});
  }
  if (nic.rx_checksum && !nic.rx_checksum->on && nic.rx_checksum->changeable) {
    out.push_back({"checksums are not verified by the card",
                   "a CPU sums up what the kernel receives", set + "rx on"});
  }
  return out;
}

}  // namespace kube_lvs
