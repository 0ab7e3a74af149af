// What a node should hold, of objects and of facts as a test has them.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "dataplane/plan/text.h"
#include "node-agent/desired/desired.h"
#include "node-agent/desired/vips.h"
#include "node-agent/sources/objects.h"

namespace kube_lvs {

inline IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

inline InterfaceFacts Interface(const std::string& name, const std::string& address, int prefix) {
  InterfaceFacts interface;
  interface.name = name;
  interface.mtu = 1500;
  interface.up = true;
  interface.loopback = name == "lo";
  interface.addresses = {{Ip(address), prefix}};
  return interface;
}

// A node with an uplink 192.0.2.N/24 and an inner leg 10.0.0.N/24.
inline NodeFacts Node(const std::string& name, int n) {
  NodeFacts facts;
  facts.node_name = name;
  facts.node_address = Ip("192.0.2." + std::to_string(n));
  facts.interfaces["lo"] = Interface("lo", "127.0.0.1", 8);
  facts.interfaces["eth0"] = Interface("eth0", "192.0.2." + std::to_string(n), 24);
  facts.interfaces["eth1"] = Interface("eth1", "10.0.0." + std::to_string(n), 24);
  facts.routes = {{*Cidr::Parse("0.0.0.0/0"), 0, "eth0", Ip("192.0.2.254")},
                  {*Cidr::Parse("192.0.2.0/24"), 0, "eth0", std::nullopt},
                  {*Cidr::Parse("10.0.0.0/24"), 0, "eth1", std::nullopt}};
  return facts;
}

// Its default route and the one to 10.0.0.0/24 have two legs each.
inline NodeFacts Multipath(const std::string& name, int n) {
  NodeFacts facts = Node(name, n);
  facts.interfaces["eth2"] = Interface("eth2", "198.51.100." + std::to_string(n), 24);
  facts.interfaces["eth3"] = Interface("eth3", "10.0.3." + std::to_string(n), 24);
  facts.routes.push_back({*Cidr::Parse("0.0.0.0/0"), 0, "eth2", Ip("198.51.100.254")});
  facts.routes.push_back({*Cidr::Parse("10.0.0.0/24"), 0, "eth3", Ip("10.0.3.254")});
  return facts;
}

// shop/NAME: port 80 of the VIP by wrr, with these real servers.
inline api::LvsService Service(const std::string& name, const std::string& vip,
                               ForwardingMethod method, const std::vector<std::string>& reals) {
  api::LvsService service;
  service.meta.name = name;
  service.meta.name_space = "shop";
  service.meta.uid = "uid-" + name;
  service.spec.addresses = {{.type = api::AddressRequest::Type::kIp,
                             .pool_name = "",
                             .ip_family = std::nullopt,
                             .value = vip}};
  service.status.addresses = {{.value = vip, .pool_name = "edge", .ip_family = Family::kIpv4}};
  api::ServicePort port;
  port.name = "http";
  port.port = 80;
  service.spec.ports = {port};
  service.spec.method = method;
  service.spec.scheduler = "wrr";
  api::BackendSource source;
  source.name = "servers";
  source.is_static = true;
  for (const std::string& real : reals) {
    api::StaticBackend entry;
    entry.address = real;
    source.static_reals.push_back(entry);
  }
  service.spec.backends = {source};
  return service;
}

inline api::LvsService CidrService(const std::string& name, const std::string& cidr,
                                   ForwardingMethod method) {
  api::LvsService service = Service(name, cidr, method, {"10.0.0.11"});
  service.spec.addresses[0].type = api::AddressRequest::Type::kCidr;
  return service;
}

// Directors d1, 192.0.2.1, and d2, 192.0.2.2; VIPs of 192.0.2.192/26; eBPF, save where a test says
// otherwise.
class DesiredTest : public testing::Test {
 protected:
  DesiredTest() {
    group_.meta.name = "default";
    group_.spec.dataplane = api::DataplaneChoice::kEbpf;
    group_.spec.static_allowed_ranges = {"10.0.0.0/24"};
    group_.status.epoch = 4;
    group_.status.members = {{"d1", "192.0.2.1"}, {"d2", "192.0.2.2"}};
    pool_.meta.name = "edge";
    pool_.status.cidrs = {"192.0.2.192/26"};
  }

  Desired Compute(const NodeFacts& facts, const std::set<IpAddress>& claims = {}) {
    std::map<ObjectId, api::AnyObject> objects;
    const auto put = [&objects](const api::AnyObject& object) {
      objects.emplace(IdOf(object), object);
    };
    for (const api::LvsService& service : services_) put(service);
    if (with_group_) put(group_);
    if (with_pool_) put(pool_);
    for (auto& [name, node] : nodes_) {
      node.meta.name = name;
      put(node);
    }
    Snapshot snapshot = SnapshotOf(objects);
    snapshot.kubernetes = kubernetes_;
    snapshot.complete = complete_;
    role_ = FindRole(snapshot, facts);
    return ComputeDesired(snapshot, facts, role_, claims, {});
  }
  std::string Text(const Desired& desired) { return ToText(desired.state); }

  std::vector<api::LvsService> services_;
  api::LvsDirectorGroup group_;
  api::LvsAddressPool pool_;
  std::map<std::string, api::KubeNode> nodes_;
  bool kubernetes_ = true, complete_ = true, with_group_ = true, with_pool_ = true;
  Role role_;
};

inline void ExpectNoProblems(const Desired& desired) {
  for (const ServiceProblem& problem : desired.problems) ADD_FAILURE() << problem.message;
}

inline bool Has(const Desired& desired, const NodeItem& item) {
  return desired.state.items.contains(item);
}

inline std::set<std::string> Attached(const Desired& desired) {
  std::set<std::string> interfaces;
  for (const NodeItem& item : desired.state.items) {
    if (const auto* attachment = std::get_if<Attachment>(&item)) {
      interfaces.insert(attachment->interface);
    }
  }
  return interfaces;
}

}  // namespace kube_lvs
