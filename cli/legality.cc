#include "cli/legality.h"

#include <array>
#include <string_view>

namespace kube_lvs::cli {
namespace {

// A letter an option, in the order of enum Option: '+' must be given, 'x' must not, '1' excludes
// the other '1's of its row, ' ' may be.
struct Row {
  const char* name;
  std::string_view rule;
};

constexpr std::string_view kNothing = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
constexpr std::string_view kOfService = "xx+   xxxxxxxxxxxxxxx   xxxxxxxxxx";
constexpr std::string_view kOfServer = "xx+xxx+    xxxxxxxxxxxxxxxxxx     ";

// In the order of enum Action.
constexpr std::array<Row, 14> kRows = {{
    {"add-service", kOfService},
    {"edit-service", kOfService},
    {"delete-service", "xx+xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"flush", kNothing},
    {"list", " 11xxxxxxxxx11       xxxxxxx xxxxx"},
    {"add-server", kOfServer},
    {"delete-server", "xx+xxx+xxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"edit-server", kOfServer},
    {"set", kNothing},
    {"start-daemon", "xxxxxxxxxxx xxxxxxx xxxx    xxxxxx"},
    {"stop-daemon", "xxxxxxxxxxxxxxxxxxx xxxxxxxxxxxxxx"},
    {"restore", kNothing},
    {"save", " xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
    {"zero", "xx xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},
}};

constexpr std::array<const char*, kOptions> kNames = {"numeric",
                                                      "connection",
                                                      "service-address",
                                                      "scheduler",
                                                      "persistent",
                                                      "netmask",
                                                      "real-server",
                                                      "forwarding-method",
                                                      "weight",
                                                      "u-threshold",
                                                      "l-threshold",
                                                      "mcast-interface",
                                                      "timeout",
                                                      "daemon",
                                                      "stats",
                                                      "rate",
                                                      "thresholds",
                                                      "persistent-conn",
                                                      "nosort",
                                                      "syncid",
                                                      "exact",
                                                      "ops",
                                                      "pe",
                                                      "sched-flags",
                                                      "mcast-group",
                                                      "mcast-port",
                                                      "mcast-ttl",
                                                      "sync-maxlen",
                                                      "tun-info",
                                                      "tun-type",
                                                      "tun-port",
                                                      "tun-nocsum",
                                                      "tun-csum",
                                                      "tun-remcsum"};

// By number of the tunnel type; the options are the four from kTunnelPort on.
constexpr std::array<Row, 3> kTunnels = {{{"ipip", "xxxx"}, {"gue", "+111"}, {"gre", "x11x"}}};

// `of`: "the 'list' command".
std::string Check(std::string_view rule, int first, uint64_t given, const std::string& kind,
                  const char* name) {
  const std::string of = "the '" + std::string(name) + "' " + kind;
  const char* exclusive = nullptr;
  for (size_t i = 0; i < rule.size(); ++i) {
    const int option = first + static_cast<int>(i);
    const std::string quoted = "'" + std::string(kNames[static_cast<size_t>(option)]) + "'";
    if ((given >> option & 1) == 0) {
      if (rule[i] == '+') return "You need to supply the " + quoted + " option for " + of;
      continue;
    }
    if (rule[i] == 'x') return "Illegal " + quoted + " option with " + of;
    if (rule[i] != '1') continue;
    if (exclusive != nullptr) {
      return "The option " + quoted + " conflicts with the '" + exclusive + "' option in " + of;
    }
    exclusive = kNames[static_cast<size_t>(option)];
  }
  return "";
}

}  // namespace

std::string CheckOptions(Action action, uint64_t given) {
  const Row& row = kRows[static_cast<size_t>(action)];
  return Check(row.rule, 0, given, "command", row.name);
}

std::string CheckTunnelOptions(uint8_t tunnel_type, uint64_t given) {
  const Row& row = kTunnels[tunnel_type];
  return Check(row.rule, static_cast<int>(Option::kTunnelPort), given, "tunnel type", row.name);
}

const char* NameOf(Action action) { return kRows[static_cast<size_t>(action)].name; }
const char* NameOf(Option option) { return kNames[static_cast<size_t>(option)]; }

}  // namespace kube_lvs::cli
