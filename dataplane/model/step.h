// One change to a node. A plan is a list of these, in order, and printable; that is all it is.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "dataplane/model/state.h"

namespace kube_lvs {

struct AddService {
  ServiceKey key;
  ServiceConfig config;
  bool operator==(const AddService&) const = default;
};
struct SetService {
  ServiceKey key;
  ServiceConfig config;
  bool operator==(const SetService&) const = default;
};
struct RemoveService {
  ServiceKey key;
  bool operator==(const RemoveService&) const = default;
};
struct AddReal {
  ServiceKey key;
  RealServer real;
  bool operator==(const AddReal&) const = default;
};
struct SetReal {
  ServiceKey key;
  RealServer real;
  bool operator==(const SetReal&) const = default;
};
struct RemoveReal {
  ServiceKey key;
  Endpoint at;
  bool operator==(const RemoveReal&) const = default;
};
struct AddItem {
  NodeItem item;
  bool operator==(const AddItem&) const = default;
};
struct RemoveItem {
  NodeItem item;
  bool operator==(const RemoveItem&) const = default;
};

using Step = std::variant<AddItem, AddService, SetService, AddReal, SetReal, RemoveReal,
                          RemoveService, RemoveItem>;

struct Plan {
  std::vector<Step> steps;
  bool operator==(const Plan&) const = default;
};

// The service a step changes; nullptr for node items.
const ServiceKey* KeyOf(const Step& step);

std::string ToString(
    const Step& step);  // "add eBPF 192.0.2.1:80/tcp -> 10.0.0.1:8080 NAT weight 3"
std::string ToString(const Plan& plan);  // a line a step

}  // namespace kube_lvs
