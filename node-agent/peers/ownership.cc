#include "node-agent/peers/ownership.h"

namespace kube_lvs {
namespace {

// FNV-1a, then the finaliser of SplitMix64 (Steele, Lea, Flood, 2014): FNV alone leaves the high
// bits of similar names alike, and comparison looks at those first.
class Hash {
 public:
  void Add(uint8_t byte) { value_ = (value_ ^ byte) * 0x100000001b3ULL; }
  uint64_t Final() const {
    uint64_t x = value_;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
  }

 private:
  uint64_t value_ = 0xcbf29ce484222325ULL;
};

}  // namespace

uint64_t OwnershipScore(std::string_view node, const IpAddress& vip) {
  Hash hash;
  for (const char c : node) hash.Add(static_cast<uint8_t>(c));
  hash.Add(0);  // no name has it, so name and address cannot run into each other
  for (size_t i = 0; i < vip.Size(); ++i) hash.Add(vip.bytes[i]);
  return hash.Final();
}

bool HasBetterRight(std::string_view a, std::string_view b, const IpAddress& vip) {
  const uint64_t score_a = OwnershipScore(a, vip);
  const uint64_t score_b = OwnershipScore(b, vip);
  return score_a != score_b ? score_a > score_b : a > b;
}

std::string OwnerOf(const IpAddress& vip, const std::set<std::string>& candidates) {
  std::string owner;
  for (const std::string& node : candidates) {
    if (owner.empty() || HasBetterRight(node, owner, vip)) owner = node;
  }
  return owner;
}

}  // namespace kube_lvs
