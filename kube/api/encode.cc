#include "kube/api/encode.h"

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "kube/api/kinds.h"

namespace kube_lvs::api {
namespace {

using nlohmann::json;

void PutText(json& out, const char* key, const std::string& text) {
  if (!text.empty()) out[key] = text;
}

template <typename T>
void PutOptional(json& out, const char* key, const std::optional<T>& value) {
  if (value) out[key] = *value;
}

const char* Text(Protocol protocol) {
  switch (protocol) {
    case Protocol::kTcp:
      return "TCP";
    case Protocol::kUdp:
      return "UDP";
    case Protocol::kSctp:
      return "SCTP";
  }
  return "TCP";
}

const char* Text(Family family) { return family == Family::kIpv4 ? "IPv4" : "IPv6"; }

const char* Text(DataplaneChoice choice) {
  switch (choice) {
    case DataplaneChoice::kAuto:
      return "Auto";
    case DataplaneChoice::kIpvs:
      return "IPVS";
    case DataplaneChoice::kEbpf:
      return "eBPF";
  }
  return "Auto";
}

const char* Text(SourceNatChoice choice) {
  switch (choice) {
    case SourceNatChoice::kAuto:
      return "Auto";
    case SourceNatChoice::kEnabled:
      return "Enabled";
    case SourceNatChoice::kDisabled:
      return "Disabled";
  }
  return "Auto";
}

const char* Text(AddressRequest::Type type) {
  switch (type) {
    case AddressRequest::Type::kPool:
      return "Pool";
    case AddressRequest::Type::kIp:
      return "IP";
    case AddressRequest::Type::kCidr:
      return "CIDR";
  }
  return "Pool";
}

const char* EnabledOrNot(bool on) { return on ? "Enabled" : "Disabled"; }

json List(const std::vector<std::string>& texts) {
  json out = json::array();
  for (const std::string& text : texts) out.push_back(text);
  return out;
}

json EncodeSelector(const LabelSelector& selector) {
  json out = json::object();
  if (!selector.match_labels.empty()) out["matchLabels"] = selector.match_labels;
  for (const LabelSelector::Requirement& requirement : selector.match_expressions) {
    json item = {{"key", requirement.key}, {"operator", requirement.op}};
    if (!requirement.values.empty()) item["values"] = List(requirement.values);
    out["matchExpressions"].push_back(std::move(item));
  }
  return out;
}

json EncodeConditions(const std::vector<Condition>& conditions) {
  json out = json::array();
  for (const Condition& condition : conditions) {
    json item = {{"type", condition.type},
                 {"status", condition.status},
                 {"reason", condition.reason},
                 {"message", condition.message},
                 {"lastTransitionTime", condition.last_transition_time}};
    if (condition.observed_generation != 0) {
      item["observedGeneration"] = condition.observed_generation;
    }
    out.push_back(std::move(item));
  }
  return out;
}

json EncodeMeta(const ObjectMeta& meta) {
  json out = {{"name", meta.name}};
  PutText(out, "namespace", meta.name_space);
  PutText(out, "uid", meta.uid);
  PutText(out, "resourceVersion", meta.resource_version);
  if (meta.generation != 0) out["generation"] = meta.generation;
  PutText(out, "creationTimestamp", meta.creation_timestamp);
  if (!meta.labels.empty()) out["labels"] = meta.labels;
  if (!meta.annotations.empty()) out["annotations"] = meta.annotations;
  return out;
}

json Frame(const kube::Resource& kind, const ObjectMeta& meta) {
  return {{"apiVersion", kind.ApiVersion()},
          {"kind", std::string(kind.kind)},
          {"metadata", EncodeMeta(meta)}};
}

json EncodePortRef(const PortRef& port) {
  return port.name.empty() ? json(port.number) : json(port.name);
}

json EncodeAddressRequest(const AddressRequest& request) {
  json out = {{"type", Text(request.type)}};
  PutText(out, "poolName", request.pool_name);
  if (request.ip_family) out["ipFamily"] = Text(*request.ip_family);
  PutText(out, "value", request.value);
  return out;
}

json EncodeServicePort(const ServicePort& port) {
  json out = {{"name", port.name}, {"protocol", Text(port.protocol)}, {"port", port.port}};
  PutOptional(out, "endPort", port.end_port);
  if (port.target_port) out["targetPort"] = EncodePortRef(*port.target_port);
  return out;
}

json EncodeStatic(const StaticBackend& real) {
  json out = {{"address", real.address}};
  PutOptional(out, "port", real.port);
  PutOptional(out, "weight", real.weight);
  if (real.method) out["method"] = ToString(*real.method);
  if (real.upper_threshold != 0) out["upperThreshold"] = real.upper_threshold;
  if (real.lower_threshold != 0) out["lowerThreshold"] = real.lower_threshold;
  return out;
}

json EncodeBackend(const BackendSource& backend) {
  json out = {{"name", backend.name}, {"weight", backend.weight}};
  if (!backend.service_name.empty()) out["serviceRef"] = {{"name", backend.service_name}};
  if (backend.selector) out["selector"] = EncodeSelector(*backend.selector);
  if (backend.is_static) {
    out["static"] = json::array();
    for (const StaticBackend& real : backend.static_reals) {
      out["static"].push_back(EncodeStatic(real));
    }
  }
  return out;
}

json EncodeHealthCheck(const HealthCheck& check) {
  json out = {{"type", check.type},
              {"via", check.via},
              {"intervalSeconds", check.interval_seconds},
              {"timeoutSeconds", check.timeout_seconds},
              {"failureThreshold", check.failure_threshold},
              {"successThreshold", check.success_threshold}};
  PutOptional(out, "port", check.port);
  if (check.http) {
    out["http"] = {{"path", check.http->path},
                   {"expectedStatuses", List(check.http->expected_statuses)}};
    PutText(out["http"], "host", check.http->host);
  }
  return out;
}

json EncodeAvailability(const Availability& availability) {
  json out = {{"quorum", availability.quorum},
              {"hysteresis", availability.hysteresis},
              {"realServerFailurePolicy", availability.real_server_failure_policy},
              {"onQuorumLost", availability.on_quorum_lost}};
  if (availability.sorry_server) {
    out["sorryServer"] = {{"address", availability.sorry_server->address}};
    PutOptional(out["sorryServer"], "port", availability.sorry_server->port);
  }
  return out;
}

json EncodeForwarding(const LvsServiceSpec& spec) {
  json out = {{"method", ToString(spec.method)},
              {"sourceNAT", Text(spec.source_nat)},
              {"mssClamp", spec.mss_clamp ? "Auto" : "Disabled"},
              {"fallback", spec.fallback}};
  if (spec.tunnel_type != "IPIP" || spec.tunnel_port) {
    out["tunnel"] = {{"type", spec.tunnel_type}};
    PutOptional(out["tunnel"], "port", spec.tunnel_port);
  }
  return out;
}

json EncodeScheduler(const LvsServiceSpec& spec) {
  json out = {{"name", spec.scheduler}, {"slowStartSeconds", spec.slow_start_seconds}};
  if (spec.hash != HashFlags{}) {
    out["hash"] = {{"sourcePort", EnabledOrNot(spec.hash.source_port)},
                   {"fallback", EnabledOrNot(spec.hash.fallback)},
                   {"tableSize", spec.hash.table_size}};
  }
  return out;
}

json EncodeSpec(const LvsServiceSpec& spec) {
  json out = {{"directorGroupName", spec.director_group},
              {"ipFamilyPolicy", spec.ip_family_policy},
              {"allPorts", EnabledOrNot(spec.all_ports)},
              {"forwarding", EncodeForwarding(spec)},
              {"scheduler", EncodeScheduler(spec)},
              {"backends", json::array()},
              {"onePacketScheduling", EnabledOrNot(spec.one_packet)},
              {"availability", EncodeAvailability(spec.availability)},
              {"draining", {{"timeoutSeconds", spec.drain_timeout_seconds}}},
              {"dataplane", Text(spec.dataplane)}};
  for (const AddressRequest& request : spec.addresses) {
    out["addresses"].push_back(EncodeAddressRequest(request));
  }
  for (const ServicePort& port : spec.ports) out["ports"].push_back(EncodeServicePort(port));
  for (const BackendSource& backend : spec.backends) {
    out["backends"].push_back(EncodeBackend(backend));
  }
  if (spec.persistence) {
    out["persistence"] = {{"engine", spec.persistence->engine},
                          {"timeoutSeconds", spec.persistence->timeout_seconds},
                          {"prefixLengthIPv4", spec.persistence->prefix_length_ipv4},
                          {"prefixLengthIPv6", spec.persistence->prefix_length_ipv6}};
  }
  if (spec.health_check) out["healthCheck"] = EncodeHealthCheck(*spec.health_check);
  if (!spec.allowed_source_ranges.empty()) {
    out["access"]["allowedSourceRanges"] = List(spec.allowed_source_ranges);
  }
  if (!spec.icmp_echo.empty()) out["access"]["icmpEcho"] = spec.icmp_echo;
  if (!spec.topology_prefer.empty()) out["topology"] = {{"prefer", spec.topology_prefer}};
  return out;
}

template <typename Port>
json EncodeKubePort(const Port& port) {
  json out = {{"protocol", Text(port.protocol)}, {"port", port.port}};
  PutText(out, "name", port.name);
  return out;
}

}  // namespace

json EncodeStatus(const LvsServiceStatus& status) {
  json out = {{"observedGeneration", status.observed_generation},
              {"addresses", json::array()},
              {"directors", json::array()},
              {"conditions", EncodeConditions(status.conditions)}};
  for (const AssignedAddress& address : status.addresses) {
    json item = {{"type", address.IsCidr() ? "CIDR" : "IP"},
                 {"value", address.value},
                 {"ipFamily", Text(address.ip_family)}};
    PutText(item, "poolName", address.pool_name);
    out["addresses"].push_back(std::move(item));
  }
  json effective = {{"fallbackUsed", status.effective.fallback_used}};
  PutText(effective, "method", status.effective.method);
  PutText(effective, "sourceNAT", status.effective.source_nat);
  PutText(effective, "dataplane", status.effective.dataplane);
  out["effective"] = std::move(effective);
  for (const DirectorStatus& director : status.directors) {
    out["directors"].push_back({{"node", director.node}, {"role", director.role}});
  }
  out["summary"] = {{"addresses", status.summary.addresses},
                    {"ports", status.summary.ports},
                    {"realServers", status.summary.real_servers},
                    {"directors", status.summary.directors}};
  return out;
}

json EncodeStatus(const LvsAddressPool::Status& status) {
  return {{"observedGeneration", status.observed_generation},
          {"cidrs", List(status.cidrs)},
          {"ipv4",
           {{"total", status.total_ipv4},
            {"allocated", status.allocated_ipv4},
            {"available", status.available_ipv4}}},
          {"ipv6",
           {{"total", status.total_ipv6},
            {"allocated", status.allocated_ipv6},
            {"available", status.available_ipv6}}},
          {"conditions", EncodeConditions(status.conditions)}};
}

json EncodeStatus(const LvsDirectorGroup::Status& status) {
  json out = {{"observedGeneration", status.observed_generation},
              {"epoch", status.epoch},
              {"members", json::array()},
              {"counts",
               {{"selected", status.counts.selected},
                {"members", status.counts.members},
                {"maintenance", status.counts.maintenance},
                {"services", status.counts.services}}},
              {"conditions", EncodeConditions(status.conditions)}};
  for (const GroupMember& member : status.members) {
    out["members"].push_back({{"node", member.node}, {"address", member.address}});
  }
  PutText(out, "dataplane", status.dataplane);
  return out;
}

json EncodeStatus(const LvsNode::Status& status) {
  json can = {{"dataplanes", List(status.dataplanes)},
              {"schedulers", List(status.schedulers)},
              {"tunnels", List(status.tunnels)},
              {"interfaces", json::array()}};
  PutText(can, "kernel", status.kernel);
  for (const NodeInterface& interface : status.interfaces) {
    json item = {{"name", interface.name},
                 {"mtu", interface.mtu},
                 {"xdpMode", interface.xdp_native ? "Native" : "None"}};
    PutText(item, "xdpReason", interface.xdp_reason);
    can["interfaces"].push_back(std::move(item));
  }
  json services = json::array();
  for (const NodeServiceReport& report : status.services) {
    json item = {{"uid", report.uid},
                 {"generation", report.generation},
                 {"reason", report.reason},
                 {"ready", report.ready},
                 {"total", report.total}};
    PutText(item, "namespace", report.name_space);
    PutText(item, "name", report.name);
    PutText(item, "message", report.message);
    services.push_back(std::move(item));
  }
  json problems = json::array();
  std::string names;
  for (const NodeProblem& problem : status.problems) {
    json item = {{"check", problem.check}, {"message", problem.message}};
    PutText(item, "mend", problem.mend);
    problems.push_back(std::move(item));
    names += (names.empty() ? "" : ",") + problem.check;
  }
  json advices = json::array();
  for (const NodeAdvice& advice : status.advice) {
    json item = {{"interface", advice.interface}, {"message", advice.message}};
    PutText(item, "mend", advice.mend);
    advices.push_back(std::move(item));
  }
  json out = {{"epoch", status.epoch},
              {"answersFor", List(status.answers_for)},
              {"servicesProgrammed", status.services_programmed},
              {"services", std::move(services)},
              {"servicesOmitted", status.services_omitted},
              {"capabilities", std::move(can)},
              {"problems", std::move(problems)},
              {"advice", std::move(advices)},
              {"summary", {{"problems", names.empty() ? "none" : names}}}};
  PutText(out, "agentVersion", status.agent_version);
  PutText(out, "address", status.address);
  PutText(out, "role", status.role);
  PutText(out, "directorGroup", status.director_group);
  PutText(out, "dataplane", status.dataplane);
  PutText(out, "resourceVersion", status.programmed_resource_version);
  return out;
}

json Encode(const LvsService& object) {
  json out = Frame(kLvsServices, object.meta);
  out["spec"] = EncodeSpec(object.spec);
  out["status"] = EncodeStatus(object.status);
  return out;
}

json Encode(const LvsAddressPool& object) {
  json out = Frame(kLvsAddressPools, object.meta);
  json spec = {{"addresses", List(object.spec.addresses)},
               {"allocation", object.spec.automatic ? "Automatic" : "OnRequest"},
               {"priority", object.spec.priority}};
  if (!object.spec.excluded_addresses.empty()) {
    spec["excludedAddresses"] = List(object.spec.excluded_addresses);
  }
  if (object.spec.namespace_selector) {
    spec["namespaceSelector"] = EncodeSelector(*object.spec.namespace_selector);
  }
  out["spec"] = std::move(spec);
  out["status"] = EncodeStatus(object.status);
  return out;
}

json Encode(const LvsDirectorGroup& object) {
  json out = Frame(kLvsDirectorGroups, object.meta);
  json spec = {{"nodeSelector", EncodeSelector(object.spec.node_selector)},
               {"interfaces", List(object.spec.interfaces)},
               {"dataplane", Text(object.spec.dataplane)},
               {"announcement", {{"type", object.spec.layer2 ? "Layer2" : "None"}}},
               {"failover",
                {{"heartbeatIntervalMilliseconds", object.spec.heartbeat_milliseconds},
                 {"missedHeartbeats", object.spec.missed_heartbeats}}},
               {"connectionSync", EnabledOrNot(object.spec.connection_sync)},
               {"connectionTableSize", object.spec.connection_table_size},
               {"maintenance", {{"nodes", List(object.spec.maintenance_nodes)}}},
               {"staticBackends", {{"allowedRanges", List(object.spec.static_allowed_ranges)}}}};
  if (object.spec.timeouts) {
    spec["timeouts"] = json::object();
    PutOptional(spec["timeouts"], "tcpSeconds", object.spec.timeouts->tcp_seconds);
    PutOptional(spec["timeouts"], "tcpFinSeconds", object.spec.timeouts->tcp_fin_seconds);
    PutOptional(spec["timeouts"], "udpSeconds", object.spec.timeouts->udp_seconds);
  }
  out["spec"] = std::move(spec);
  out["status"] = EncodeStatus(object.status);
  return out;
}

json Encode(const LvsNode& object) {
  json out = Frame(kLvsNodes, object.meta);
  out["status"] = EncodeStatus(object.status);
  return out;
}

json Encode(const KubeService& object) {
  json out = Frame(kube::kServices, object.meta);
  json spec = {{"type", object.type}, {"ports", json::array()}};
  if (!object.cluster_ips.empty()) spec["clusterIPs"] = List(object.cluster_ips);
  for (const KubeService::Port& port : object.ports) spec["ports"].push_back(EncodeKubePort(port));
  out["spec"] = std::move(spec);
  return out;
}

json Encode(const EndpointSlice& object) {
  json out = Frame(kube::kEndpointSlices, object.meta);
  if (!object.service_name.empty()) {
    out["metadata"]["labels"]["kubernetes.io/service-name"] = object.service_name;
  }
  if (!object.managed_by.empty()) {
    out["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] = object.managed_by;
  }
  out["addressType"] = Text(object.family);
  out["ports"] = json::array();
  for (const EndpointSlice::Port& port : object.ports) out["ports"].push_back(EncodeKubePort(port));
  out["endpoints"] = json::array();
  for (const EndpointSlice::Endpoint& endpoint : object.endpoints) {
    json item = {{"addresses", List(endpoint.addresses)},
                 {"conditions",
                  {{"ready", endpoint.ready},
                   {"serving", endpoint.serving},
                   {"terminating", endpoint.terminating}}}};
    PutText(item, "nodeName", endpoint.node_name);
    PutText(item, "zone", endpoint.zone);
    out["endpoints"].push_back(std::move(item));
  }
  return out;
}

json Encode(const KubeNode& object) {
  json out = Frame(kube::kNodes, object.meta);
  out["spec"] = json::object();
  if (!object.pod_cidrs.empty()) out["spec"]["podCIDRs"] = List(object.pod_cidrs);
  if (object.unschedulable) out["spec"]["unschedulable"] = true;
  out["status"]["addresses"] = json::array();
  for (const std::string& address : object.internal_addresses) {
    out["status"]["addresses"].push_back({{"type", "InternalIP"}, {"address", address}});
  }
  out["status"]["conditions"] =
      json::array({json{{"type", "Ready"}, {"status", object.ready ? "True" : "False"}}});
  return out;
}

json Encode(const KubeNamespace& object) { return Frame(kube::kNamespaces, object.meta); }

json Encode(const KubeServiceCidr& object) {
  json out = Frame(kube::kServiceCidrs, object.meta);
  out["spec"]["cidrs"] = List(object.cidrs);
  return out;
}

}  // namespace kube_lvs::api
