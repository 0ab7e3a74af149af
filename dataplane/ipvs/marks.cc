#include "dataplane/ipvs/marks.h"

#include <string>

namespace kube_lvs::ipvs {
namespace {

constexpr uint32_t kNeverSet = 0x8000cf00;

// FNV-1a of 64 bits, xor-folded to 32 (Fowler, Noll, Vo).
uint32_t Hash(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return static_cast<uint32_t>(hash ^ (hash >> 32));
}

}  // namespace

uint32_t ChooseMark(const ServiceKey& key, const std::set<uint32_t>& taken) {
  const std::string name = ToString(key);
  for (int attempt = 0;; ++attempt) {
    const uint32_t mark = Hash(name + " " + std::to_string(attempt)) & ~kNeverSet;
    if (mark != 0 && !taken.contains(mark)) return mark;
  }
}

Marks WithMarks(Marks there, const Marks& added) {
  for (const auto& [key, mark] : added) {
    std::erase_if(there, [&k = key](const auto& entry) { return Overlap(entry.first, k); });
    there[key] = mark;
  }
  return there;
}

}  // namespace kube_lvs::ipvs
