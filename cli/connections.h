// The kernel's connection table, /proc/net/ip_vs_conn, as ipvsadm -L -c prints it. Pure but for
// `names`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "cli/names.h"

namespace kube_lvs::cli {

struct Connection {
  std::string protocol;  // "TCP"
  Endpoint client, vip, real;
  std::string state;
  uint32_t expires_seconds = 0;
  std::string engine, engine_data;  // of a template that a persistence engine made
  bool operator==(const Connection&) const = default;
};

// One line of the file. Nothing: it is the heading, or none that we know.
std::optional<Connection> ParseConnection(std::string_view line);

// All lines of the file that we know.
std::vector<Connection> ParseConnections(std::string_view text);

// `engines`: with the columns of --persistent-conn.
std::string ConnectionTitle(bool engines);
std::string ConnectionLine(const Connection& connection, bool engines, const Names& names);

}  // namespace kube_lvs::cli
