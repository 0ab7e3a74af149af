// Backends -> real servers: which endpoints stand behind each port of a service. Pure; the operator
// (counts, conditions) and the agent (rules) use the same.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/ip.h"
#include "dataplane/model/service.h"
#include "kube/api/types.h"
#include "kube/api/validate.h"
#include "kube/object_map.h"

namespace kube_lvs::api {

using KubeServiceMap = std::map<std::string, std::shared_ptr<const KubeService>, std::less<>>;
using EndpointSliceMap = std::map<std::string, std::shared_ptr<const EndpointSlice>, std::less<>>;
// "namespace/name of the Service" -> its slices, in the order of their names.
using SlicesByService =
    std::map<std::string, std::vector<std::shared_ptr<const EndpointSlice>>, std::less<>>;

SlicesByService GroupByService(const EndpointSliceMap& slices);
// Of these Services ("namespace/name") alone; of a store that sees ServicesOf, at their cost alone.
SlicesByService SlicesOf(const std::set<std::string>& services,
                         const kube::ObjectMap<EndpointSlice>& slices);

// What the cluster is beside the service. All borrowed.
struct ResolveInput {
  const LvsService& service;
  const LvsDirectorGroup* group = nullptr;  // nullptr: no static real server is permitted
  const KubeServiceMap& services;           // by "namespace/name"
  const SlicesByService& slices;
  const std::set<IpAddress>& node_addresses;  // of all Nodes
  const std::set<IpAddress>& vips;            // of all services
  const std::vector<Cidr>& service_cidrs;     // of the cluster; empty where unknown
  Family family = Family::kIpv4;              // of the VIP: others' real servers are left out
  std::span<const Cidr> vip_prefixes = {};    // of all services
  std::optional<Dataplane> dataplane = {};    // that balances it; nullopt: not known yet
};

struct ResolvedPort {
  ServicePort port;
  std::vector<RealServer> reals;  // canonical order; weight 0: quiesced
  bool operator==(const ResolvedPort&) const = default;
};

struct Resolution {
  std::vector<ResolvedPort> ports;  // as the spec has them; allPorts is one, with port 0
  // BackendNotPermitted, UnsupportedByDataplane, InvalidSpec (real servers left out),
  // PortNotFound, NoBackends (a Service that does not exist). One per reason and object.
  std::vector<Problem> problems;
  // Distinct addresses of real servers, and how many of them are ready; terminating ones and those
  // that are left out do not count.
  int ready = 0;
  int total = 0;
  bool operator==(const Resolution&) const = default;
};

// The rules:
// * An endpoint that several slices have counts once: the best of ready > serving > terminating.
//   Ready: the backend's weight. Terminating but still serving: weight 0. Else it is absent.
// * The port, with serviceRef: targetPort names a port of the Service, by name or number; without
//   it the Service's port of the same name, else of the same number, else its only one. Protocols
//   must be equal. The real server's port is what its slice says for that port's name.
// * A range of ports, and allPorts: every endpoint of the Service, whatever ports it has, at port
// 0:
//   each packet keeps the port that it was sent to. With static, the same.
// * With static: the entry's port, else targetPort, else the service's port.
// * Static real servers, and endpoints of slices that the cluster's own controller did not make,
//   must lie in the group's staticBackends.allowedRanges, and not be a director's own address.
//   No real server is a VIP, in a Service CIDR, or IsNeverAllowed.
// * DirectRouting and Tunnel: the real server's port is the service's, and endpoints of pods with
//   an address of their own are not supported yet.
// * SCTP by NAT with dataplane eBPF: the real server's port is the service's.
// * Neither does a CIDR with persistence, where IPVS looks at the mark alone and not at the port.
// * A real server that several backends have belongs to the first.
Resolution Resolve(const ResolveInput& input);

}  // namespace kube_lvs::api
