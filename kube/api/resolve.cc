#include "kube/api/resolve.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

namespace kube_lvs::api {
namespace {

constexpr char kClusterController[] = "endpointslice-controller.k8s.io";

std::string Text(Protocol protocol) {
  return protocol == Protocol::kUdp ? "UDP" : protocol == Protocol::kSctp ? "SCTP" : "TCP";
}

std::string Text(const ServicePort& port) {
  if (port.port == 0) return "allPorts";
  return "port " + port.name + " (" + std::to_string(port.port) +
         (port.end_port ? "-" + std::to_string(*port.end_port) : "") + "/" + Text(port.protocol) +
         ")";
}

// Readiness of an endpoint, worst first.
enum class Rank { kAbsent, kDraining, kReady };

Tunnel TunnelOf(const LvsServiceSpec& spec, ForwardingMethod method) {
  if (method != ForwardingMethod::kTunnel) return {};
  if (spec.tunnel_type == "GUE") {
    return {.type = TunnelType::kGue, .port = spec.tunnel_port.value_or(0)};
  }
  return {.type = spec.tunnel_type == "GRE" ? TunnelType::kGre : TunnelType::kIpip};
}

Rank RankOf(const EndpointSlice::Endpoint& endpoint) {
  if (endpoint.ready && !endpoint.terminating) return Rank::kReady;
  if (endpoint.serving && endpoint.terminating) return Rank::kDraining;
  return Rank::kAbsent;
}

// A real server as one backend offers it for one port.
struct Candidate {
  Endpoint at;
  Rank rank = Rank::kAbsent;
  bool terminating = false;
  bool from_cluster = false;  // of a slice that the cluster's own controller made
};

// Problems of one backend, joined: how many real servers each concerns, and one of them.
class Refusals {
 public:
  void Add(const char* reason, const std::string& why, const Endpoint& real) {
    auto& [count, example] = all_[{reason, why}];
    // A real server that several ports have counts once.
    if (!seen_.insert({reason, why, real.ip}).second) return;
    if (count++ == 0) example = real.ip;
  }
  void MoveTo(const std::string& backend, std::vector<Problem>& out) {
    for (const auto& [key, value] : all_) {
      const auto& [count, example] = value;
      std::string who = example.ToString();
      if (count > 1) who += " and " + std::to_string(count - 1) + " more";
      out.push_back(
          {.reason = key.first, .message = key.second + " (backend " + backend + ": " + who + ")"});
    }
  }

 private:
  std::map<std::pair<std::string, std::string>, std::pair<int, IpAddress>> all_;
  std::set<std::tuple<std::string, std::string, IpAddress>> seen_;
};

class Resolver {
 public:
  explicit Resolver(const ResolveInput& input) : in_(input), ports_(input.service.spec.ports) {
    if (input.service.spec.all_ports) ports_ = {ServicePort{}};
    if (in_.group == nullptr) return;
    for (const std::string& text : in_.group->spec.static_allowed_ranges) {
      if (const absl::StatusOr<Cidr> cidr = Cidr::Parse(text); cidr.ok()) {
        allowed_.push_back(*cidr);
      }
    }
    for (const GroupMember& member : in_.group->status.members) {
      if (const absl::StatusOr<IpAddress> ip = IpAddress::Parse(member.address); ip.ok()) {
        directors_.insert(*ip);
      }
    }
  }

  Resolution Run() {
    const LvsServiceSpec& spec = in_.service.spec;
    std::vector<std::map<Endpoint, RealServer>> reals(ports_.size());
    for (const BackendSource& backend : spec.backends) {
      Refusals refusals;
      if (!backend.service_name.empty()) {
        AddService(backend, reals, refusals);
      } else {
        AddStatic(backend, reals, refusals);
      }
      refusals.MoveTo(backend.name, out_.problems);
    }
    for (size_t i = 0; i < ports_.size(); ++i) {
      ResolvedPort port{.port = ports_[i], .reals = {}};
      for (auto& [at, real] : reals[i]) port.reals.push_back(real);
      SortCanonically(port.reals);
      out_.ports.push_back(std::move(port));
    }
    out_.total = static_cast<int>(counted_.size());
    out_.ready = static_cast<int>(
        std::ranges::count_if(counted_, [](const auto& entry) { return entry.second; }));
    return std::move(out_);
  }

 private:
  using Reals = std::map<Endpoint, RealServer>;

  // Why this real server may not be one; nullopt if it may.
  std::optional<Problem> Refuse(const ServicePort& port, const Candidate& real,
                                ForwardingMethod method) const {
    const auto refused = [](const char* reason, std::string message) {
      return Problem{.reason = reason, .message = std::move(message)};
    };
    if (IsNeverAllowed(real.at.ip)) {
      return refused(kBackendNotPermitted,
                     "loopback, link-local and multicast addresses cannot be real servers");
    }
    if (in_.vips.contains(real.at.ip) ||
        std::ranges::any_of(in_.vip_prefixes,
                            [&](const Cidr& cidr) { return cidr.Contains(real.at.ip); })) {
      return refused(kBackendNotPermitted, "a VIP cannot be a real server");
    }
    if (std::ranges::any_of(in_.service_cidrs,
                            [&](const Cidr& cidr) { return cidr.Contains(real.at.ip); })) {
      return refused(kBackendNotPermitted, "an address of a Service cannot be a real server");
    }
    if (!real.from_cluster) {
      if (directors_.contains(real.at.ip)) {
        return refused(kBackendNotPermitted, "a director's own address cannot be a real server");
      }
      if (std::ranges::none_of(allowed_,
                               [&](const Cidr& cidr) { return cidr.Contains(real.at.ip); })) {
        return refused(kBackendNotPermitted, "not in staticBackends.allowedRanges of group " +
                                                 in_.service.spec.director_group);
      }
    }
    const bool of_cidr =
        HasCidr(in_.service.spec) ||
        std::ranges::any_of(in_.service.status.addresses, &AssignedAddress::IsCidr);
    if (method == ForwardingMethod::kNat && of_cidr && in_.service.spec.persistence &&
        !port.KeepsPorts() && real.at.port != port.port) {
      return refused(kInvalidSpec,
                     "persistence with an address of type CIDR cannot map ports: real servers "
                     "listen on " +
                         std::to_string(real.at.port) + ", the service on " +
                         std::to_string(port.port) + "; make them equal or leave persistence out");
    }
    if (method == ForwardingMethod::kNat && in_.dataplane == Dataplane::kEbpf &&
        port.protocol == Protocol::kSctp && real.at.port != port.port) {
      return refused(kUnsupportedByDataplane,
                     "dataplane eBPF cannot map ports of SCTP: real servers listen on " +
                         std::to_string(real.at.port) + ", the service on " +
                         std::to_string(port.port) + "; make them equal or use dataplane IPVS");
    }
    if (method == ForwardingMethod::kNat) return std::nullopt;
    if (real.from_cluster && !in_.node_addresses.contains(real.at.ip)) {
      return refused(kUnsupportedByDataplane,
                     ToString(method) +
                         " to pods is not supported yet: use hostNetwork pods, "
                         "static backends or method NAT");
    }
    if (!port.KeepsPorts() && real.at.port != port.port) {
      return refused(kInvalidSpec, ToString(method) + " cannot map ports: real servers listen on " +
                                       std::to_string(real.at.port) + ", the service on " +
                                       std::to_string(port.port) +
                                       "; make them equal or use method NAT");
    }
    return std::nullopt;
  }

  void Count(const Candidate& real) {
    if (real.terminating) return;
    bool& ready = counted_[real.at.ip];
    ready = ready || real.rank == Rank::kReady;
  }

  void Add(const ServicePort& port, const Candidate& candidate, RealServer real, Reals& reals,
           Refusals& refusals) {
    if (const std::optional<Problem> problem = Refuse(port, candidate, real.method)) {
      refusals.Add(problem->reason.c_str(), problem->message, candidate.at);
      return;
    }
    Count(candidate);
    if (candidate.rank == Rank::kAbsent) return;
    if (candidate.rank == Rank::kDraining) real.weight = 0;
    reals.emplace(real.at, std::move(real));  // an earlier backend's stays
  }

  // Which port of the Service stands behind a port of ours: its name, which its slices use.
  std::optional<std::string> PortOfService(const ServicePort& port, const KubeService& service) {
    std::vector<const KubeService::Port*> same;
    for (const KubeService::Port& candidate : service.ports) {
      if (candidate.protocol == port.protocol) same.push_back(&candidate);
    }
    const auto by_name = [&](const std::string& name) -> const KubeService::Port* {
      const auto it = std::ranges::find(same, name, &KubeService::Port::name);
      return it == same.end() ? nullptr : *it;
    };
    const auto by_number = [&](uint16_t number) -> const KubeService::Port* {
      const auto it = std::ranges::find(same, number, &KubeService::Port::port);
      return it == same.end() ? nullptr : *it;
    };
    const KubeService::Port* found = nullptr;
    if (port.target_port) {
      found = port.target_port->name.empty() ? by_number(port.target_port->number)
                                             : by_name(port.target_port->name);
    } else {
      found = by_name(port.name);
      if (found == nullptr) found = by_number(port.port);
      if (found == nullptr && same.size() == 1) found = same.front();
    }
    if (found != nullptr) return found->name;
    std::string wanted =
        port.target_port
            ? (port.target_port->name.empty() ? "number " + std::to_string(port.target_port->number)
                                              : "name " + port.target_port->name)
            : "this name or number";
    out_.problems.push_back({.reason = kPortNotFound,
                             .message = Text(port) + ": Service " + service.meta.Key() +
                                        " has no " + Text(port.protocol) + " port of " + wanted +
                                        "; set targetPort to one of its ports"});
    return std::nullopt;
  }

  void AddService(const BackendSource& backend, std::vector<Reals>& reals, Refusals& refusals) {
    const std::string key = in_.service.meta.name_space + "/" + backend.service_name;
    const auto service = in_.services.find(key);
    if (service == in_.services.end()) {
      out_.problems.push_back(
          {.reason = kNoBackends,
           .message = "Service " + key + " does not exist (backend " + backend.name + ")"});
      return;
    }
    const auto slices = in_.slices.find(key);
    for (size_t i = 0; i < reals.size(); ++i) {
      const ServicePort& port = ports_[i];
      const std::optional<std::string> name =
          port.KeepsPorts() ? std::nullopt : PortOfService(port, *service->second);
      if ((!name && !port.KeepsPorts()) || slices == in_.slices.end()) continue;
      for (const auto& [at, candidate] : Candidates(slices->second, name, port.protocol)) {
        Add(port, candidate,
            RealServer{.at = at,
                       .method = in_.service.spec.method,
                       .weight = backend.weight,
                       .tunnel = TunnelOf(in_.service.spec, in_.service.spec.method)},
            reals[i], refusals);
      }
    }
  }

  // The ports of a slice that a port of ours leads to. Without a name it is ports of its own that
  // real servers listen on, whatever the slice says: one, number 0, stands for them.
  static std::vector<uint16_t> Numbers(const EndpointSlice& slice,
                                       const std::optional<std::string>& port_name,
                                       Protocol protocol) {
    if (!port_name) return {0};
    std::vector<uint16_t> out;
    for (const EndpointSlice::Port& port : slice.ports) {
      if (port.name == *port_name && port.protocol == protocol) out.push_back(port.port);
    }
    return out;
  }

  // The union of all slices; of an endpoint that is there twice the best.
  std::map<Endpoint, Candidate> Candidates(
      const std::vector<std::shared_ptr<const EndpointSlice>>& slices,
      const std::optional<std::string>& port_name, Protocol protocol) const {
    std::map<Endpoint, Candidate> out;
    for (const std::shared_ptr<const EndpointSlice>& slice : slices) {
      if (slice->family != in_.family) continue;
      for (const uint16_t number : Numbers(*slice, port_name, protocol)) {
        for (const EndpointSlice::Endpoint& endpoint : slice->endpoints) {
          // All addresses of an endpoint lead to the same place: consumers take the first.
          if (endpoint.addresses.empty()) continue;
          const absl::StatusOr<IpAddress> ip = IpAddress::Parse(endpoint.addresses.front());
          if (!ip.ok() || ip->family != in_.family) continue;
          const Candidate candidate{.at = {*ip, number},
                                    .rank = RankOf(endpoint),
                                    .terminating = endpoint.terminating,
                                    .from_cluster = slice->managed_by == kClusterController};
          const auto [it, fresh] = out.try_emplace(candidate.at, candidate);
          if (!fresh && candidate.rank > it->second.rank) it->second = candidate;
        }
      }
    }
    return out;
  }

  void AddStatic(const BackendSource& backend, std::vector<Reals>& reals, Refusals& refusals) {
    for (size_t i = 0; i < reals.size(); ++i) {
      const ServicePort& port = ports_[i];
      bool port_known = true;
      for (const StaticBackend& real : backend.static_reals) {
        const absl::StatusOr<IpAddress> ip = IpAddress::Parse(real.address);
        if (!ip.ok() || ip->family != in_.family) continue;
        uint16_t number = real.port.value_or(0);
        if (number == 0) number = port.target_port ? port.target_port->number : port.port;
        if (port.KeepsPorts()) {
          number = 0;
        } else if (number == 0) {
          port_known = false;  // a name: static real servers have no names for their ports
          continue;
        }
        const ForwardingMethod method = real.method.value_or(in_.service.spec.method);
        const Candidate candidate{
            .at = {*ip, number}, .rank = Rank::kReady, .terminating = false, .from_cluster = false};
        Add(port, candidate,
            RealServer{.at = candidate.at,
                       .method = method,
                       .weight = real.weight.value_or(backend.weight),
                       .upper_threshold = real.upper_threshold,
                       .lower_threshold = real.lower_threshold,
                       .tunnel = TunnelOf(in_.service.spec, method)},
            reals[i], refusals);
      }
      if (!port_known) {
        out_.problems.push_back(
            {.reason = kPortNotFound,
             .message =
                 Text(port) + ": targetPort " + port.target_port->name +
                 " is a name, which static real servers do not have; use a number (backend " +
                 backend.name + ")"});
      }
    }
  }

  const ResolveInput& in_;
  std::vector<ServicePort> ports_;
  std::vector<Cidr> allowed_;
  std::set<IpAddress> directors_;
  std::map<IpAddress, bool> counted_;  // -> is ready
  Resolution out_;
};

SlicesByService SlicesOfAll(const std::set<std::string>& services, const EndpointSliceMap& slices) {
  SlicesByService out;
  for (const auto& [key, slice] : slices) {
    for (const std::string& service : ServicesOf(*slice)) {
      if (services.contains(service)) out[service].push_back(slice);
    }
  }
  return out;
}

}  // namespace

SlicesByService GroupByService(const EndpointSliceMap& slices) {
  SlicesByService out;
  for (const auto& [key, slice] : slices) {
    for (const std::string& service : ServicesOf(*slice)) out[service].push_back(slice);
  }
  return out;
}

SlicesByService SlicesOf(const std::set<std::string>& services,
                         const kube::ObjectMap<EndpointSlice>& slices) {
  SlicesByService out;
  for (const std::string& service : services) {
    const auto keys = slices.Naming(service);
    if (!keys) return SlicesOfAll(services, slices);
    for (const std::string& key : *keys) out[service].push_back(slices.at(key));
  }
  return out;
}

Resolution Resolve(const ResolveInput& input) { return Resolver(input).Run(); }

}  // namespace kube_lvs::api
