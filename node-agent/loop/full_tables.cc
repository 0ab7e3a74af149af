#include "node-agent/loop/full_tables.h"

namespace kube_lvs {
namespace {

struct Table {
  const char* reason;  // of the drops
  const char* check;
  const char* why;
};
constexpr Table kTables[] = {
    {"no_source_port", "SourcePorts", "no source port was free for their real server"},
    {"table_full", "ConnectionTable", "the connection table had no free slot for them"},
};

uint64_t At(const std::map<std::string, uint64_t>& drops, const char* reason) {
  const auto found = drops.find(reason);
  return found == drops.end() ? 0 : found->second;
}

}  // namespace

std::map<std::string, std::string> FullTables(
    const std::optional<std::map<std::string, uint64_t>>& before,
    const std::map<std::string, uint64_t>& now) {
  std::map<std::string, std::string> out;
  if (!before.has_value()) return out;
  for (const Table& table : kTables) {
    const uint64_t then = At(*before, table.reason), count = At(now, table.reason);
    // It begins anew where the maps were made anew.
    const uint64_t more = count < then ? count : count - then;
    if (more == 0) continue;
    out[table.check] =
        std::to_string(more) +
        " packets that begin connections were dropped since the last look: " + table.why + " (" +
        table.reason + ")";
  }
  return out;
}

}  // namespace kube_lvs
