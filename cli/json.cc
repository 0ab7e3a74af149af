#include "cli/json.h"

#include <linux/ip_vs.h>

#include <nlohmann/json.hpp>

namespace kube_lvs::cli {
namespace {

// Keeps the order in which members are written.
using Json = nlohmann::ordered_json;

Json AddressPort(const Endpoint& at) { return {{"address", at.ip.ToString()}, {"port", at.port}}; }

// A service without a mark; of the eBPF dataplane, it may have many ports, and a network of VIPs.
Json Matched(const ServiceKey& key) {
  Json out = {{"address", VipsOf(key).value_or(Cidr::Host({})).ShortText()}};
  if (const auto* one = std::get_if<Endpoint>(&key.match)) out["port"] = one->port;
  if (const auto* range = std::get_if<PortRange>(&key.match)) {
    out["port"] = range->first;
    out["endPort"] = range->last;
  }
  if (const auto* network = std::get_if<Prefix>(&key.match); network && !network->HasAllPorts()) {
    out["port"] = network->first;
    if (network->last != network->first) out["endPort"] = network->last;
  }
  if (IsOfAllPorts(key)) out["allPorts"] = true;
  out["protocol"] = IsOfAllPorts(key) ? "all" : ToString(key.protocol);
  return out;
}

Json NumbersOf(const Counters& c) {
  return {{"connections", c.connections},
          {"packetsIn", c.packets},
          {"packetsOut", c.reply_packets},
          {"bytesIn", c.bytes},
          {"bytesOut", c.reply_bytes}};
}

Json NumbersOf(const Rates& r) {
  return {{"connections", r.connections},
          {"packetsIn", r.packets},
          {"packetsOut", r.reply_packets},
          {"bytesIn", r.bytes},
          {"bytesOut", r.reply_bytes}};
}

std::string Netmask(const Persistence& persistence) {
  const uint32_t mask = persistence.mask_with_holes != 0 ? persistence.mask_with_holes
                        : persistence.prefix_length == 0
                            ? 0
                            : ~uint32_t{0} << (32 - persistence.prefix_length);
  return IpAddress::FromV4(mask).ToString();
}

Json FlagsOf(const ServiceConfig& config) {
  Json out = Json::array();
  if (config.hash.fallback) out.push_back(config.scheduler + "-fallback");
  if (config.hash.source_port) out.push_back(config.scheduler + "-port");
  if (config.hash.table_size != kMaglevDefaultSize) {
    out.push_back(config.scheduler + "-table-size=" + std::to_string(config.hash.table_size));
  }
  if ((config.unnamed_flags & IP_VS_SVC_F_SCHED1) != 0) out.push_back("flag-1");
  if ((config.unnamed_flags & IP_VS_SVC_F_SCHED2) != 0) out.push_back("flag-2");
  if ((config.unnamed_flags & IP_VS_SVC_F_SCHED3) != 0) out.push_back("flag-3");
  return out;
}

// As LVSService names them, and what only other programs make.
std::string MethodOf(const ipvs::RealEntry& entry) {
  switch (entry.kernel_method) {
    case IP_VS_CONN_F_LOCALNODE:
      return "Local";
    case IP_VS_CONN_F_BYPASS:
      return "Bypass";
    default:
      return ToString(entry.real.method);
  }
}

Json RealOf(const ipvs::RealEntry& entry) {
  Json out = AddressPort(entry.real.at);
  out["method"] = MethodOf(entry);
  if (entry.kernel_method == IP_VS_CONN_F_TUNNEL) {
    const Tunnel& tunnel = entry.real.tunnel;
    Json shown = {{"type", ToString(tunnel.type)}};
    if (tunnel.port != 0) shown["port"] = tunnel.port;
    shown["checksum"] = tunnel.remote_checksum ? "remote" : tunnel.checksum ? "yes" : "no";
    out["tunnel"] = std::move(shown);
  }
  out["weight"] = entry.real.weight;
  out["upperThreshold"] = entry.real.upper_threshold;
  out["lowerThreshold"] = entry.real.lower_threshold;
  out["activeConnections"] = entry.active_connections;
  out["inactiveConnections"] = entry.inactive_connections;
  out["persistentConnections"] = entry.persistent_connections;
  out["counters"] = NumbersOf(entry.counters);
  out["rates"] = NumbersOf(entry.rates);
  return out;
}

Json ServiceOf(const ListedService& listed) {
  const ServiceConfig& config = listed.service.config;
  const Family family = ipvs::FamilyOf(listed.service.key);
  Json out;
  if (const auto* mark = std::get_if<FwMark>(&listed.service.key.match)) {
    out["fwmark"] = mark->mark;
    out["family"] = family == Family::kIpv4 ? "IPv4" : "IPv6";
  } else {
    out = Matched(listed.service.key);
    out["family"] = family == Family::kIpv4 ? "IPv4" : "IPv6";
  }
  out["scheduler"] = config.scheduler;
  out["schedulerFlags"] = FlagsOf(config);
  if (config.persistence) {
    Json shown = {{"timeoutSeconds", config.persistence->timeout_seconds}};
    if (family == Family::kIpv4) {
      shown["netmask"] = Netmask(*config.persistence);
    } else {
      shown["prefixLength"] = config.persistence->prefix_length;
    }
    out["persistence"] = std::move(shown);
  }
  if (!listed.service.engine.empty()) out["persistenceEngine"] = listed.service.engine;
  out["onePacket"] = config.one_packet;
  out["sourceNat"] = config.source_nat;
  out["counters"] = NumbersOf(listed.service.counters);
  out["rates"] = NumbersOf(listed.service.rates);
  out["realServers"] = Json::array();
  for (const ipvs::RealEntry& entry : listed.reals) out["realServers"].push_back(RealOf(entry));
  return out;
}

std::string Text(const Json& document) {
  // What is no UTF-8 (a name that another program made) is replaced, never thrown about.
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string ServicesJson(const std::vector<JsonDataplane>& dataplanes) {
  Json document = {{"dataplanes", Json::array()}};
  for (const JsonDataplane& dataplane : dataplanes) {
    Json shown = {{"name", dataplane.name}, {"services", Json::array()}};
    for (const ListedService& listed : dataplane.table) {
      shown["services"].push_back(ServiceOf(listed));
    }
    document["dataplanes"].push_back(std::move(shown));
  }
  return Text(document);
}

std::string ConnectionsJson(const std::vector<Connection>& connections) {
  Json document = {{"connections", Json::array()}};
  for (const Connection& connection : connections) {
    Json shown = {{"protocol", connection.protocol},
                  {"state", connection.state},
                  {"expiresSeconds", connection.expires_seconds},
                  {"client", AddressPort(connection.client)},
                  {"vip", AddressPort(connection.vip)},
                  {"realServer", AddressPort(connection.real)}};
    if (!connection.engine.empty()) {
      shown["persistenceEngine"] = connection.engine;
      shown["persistenceData"] = connection.engine_data;
    }
    document["connections"].push_back(std::move(shown));
  }
  return Text(document);
}

std::string TimeoutsJson(const IpvsTimeouts& timeouts) {
  return Text({{"timeouts",
                {{"tcpSeconds", timeouts.tcp_seconds},
                 {"tcpFinSeconds", timeouts.tcp_fin_seconds},
                 {"udpSeconds", timeouts.udp_seconds}}}});
}

std::string DaemonsJson(const std::vector<SyncDaemon>& daemons) {
  Json document = {{"daemons", Json::array()}};
  for (const SyncDaemon& daemon : daemons) {
    document["daemons"].push_back({{"role", ToString(daemon.role)},
                                   {"interface", daemon.interface},
                                   {"syncId", daemon.sync_id},
                                   {"maxLength", daemon.max_length},
                                   {"group", daemon.group.ToString()},
                                   {"port", daemon.port},
                                   {"ttl", daemon.ttl}});
  }
  return Text(document);
}

}  // namespace kube_lvs::cli
