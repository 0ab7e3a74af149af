#include "node-agent/desired/desired.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/status.h"
#include "kube/api/pools.h"
#include "kube/api/resolve.h"
#include "node-agent/desired/connection_sync.h"
#include "node-agent/desired/items.h"
#include "node-agent/desired/overlap.h"
#include "node-agent/desired/source_ports.h"
#include "node-agent/desired/vip_owners.h"
#include "node-agent/desired/vips.h"

namespace kube_lvs {
namespace {

// What is the same for all services of one pass.
struct Context {
  const Snapshot& snapshot;
  const NodeFacts& facts;
  const Role& role;
  const std::set<IpAddress>& claims;
  const DesiredOptions& options;
  const Surroundings& around;
  api::SlicesByService slices;
  SourcePortGuard source_ports;
};

// Static real servers that their group permits. A service that names its own VIP as one is wrong by
// itself, and takes nothing from others.
void TakeRealServers(const Snapshot& snapshot, const NodeFacts& facts,
                     std::map<IpAddress, std::string>& taken) {
  for (const auto& [key, service] : *snapshot.services) {
    const auto group = FindGroup(service->spec.director_group, snapshot, facts);
    if (group == nullptr) continue;
    const auto permitted = api::ParseCidrs(group->spec.static_allowed_ranges);
    const std::vector<Cidr> vips = FindVips(*service, snapshot).vips;
    for (const api::BackendSource& backend : service->spec.backends) {
      for (const api::StaticBackend& real : backend.static_reals) {
        const auto ip = IpAddress::Parse(real.address);
        if (!ip.ok() || !api::Contains(permitted, *ip)) continue;
        if (api::Contains(vips, *ip)) continue;
        taken.emplace(*ip, "a real server of LVSService " + service->meta.Key());
      }
    }
  }
}

std::map<IpAddress, std::string> TakenAddresses(const Snapshot& snapshot, const NodeFacts& facts) {
  std::map<IpAddress, std::string> taken;
  for (const RouteFacts& route : facts.routes) {
    if (route.gateway.has_value()) taken.emplace(*route.gateway, "a gateway of this node");
  }
  for (const auto& [name, group] : *snapshot.groups) {
    for (const api::GroupMember& member : group->status.members) {
      const auto ip = IpAddress::Parse(member.address);
      if (ip.ok()) taken.emplace(*ip, "the address of director " + member.node);
    }
  }
  for (const auto& [name, node] : *snapshot.nodes) {
    for (const std::string& text : node->internal_addresses) {
      const auto ip = IpAddress::Parse(text);
      if (ip.ok()) taken.emplace(*ip, "an address of node " + name);
    }
  }
  // In files whoever writes a VIP takes it. In Kubernetes it was granted, and a real server that
  // has it is the one that is wrong.
  if (!snapshot.kubernetes) TakeRealServers(snapshot, facts, taken);
  return taken;
}

std::optional<Persistence> PersistenceFor(const std::optional<api::PersistenceRequest>& request,
                                          const IpAddress& vip) {
  if (!request.has_value()) return std::nullopt;
  Persistence persistence;
  persistence.timeout_seconds = request->timeout_seconds;
  persistence.prefix_length =
      vip.IsV4() ? request->prefix_length_ipv4 : request->prefix_length_ipv6;
  persistence.engine = request->engine == "SIP" ? "sip" : "";
  return persistence;
}

ServiceKey KeyOf(Dataplane dataplane, const Cidr& vips, const api::ServicePort& port) {
  if (!vips.IsHost()) {
    if (port.port == 0) return {dataplane, Prefix{vips}, Protocol::kTcp};
    return {dataplane, Prefix{vips, port.port, port.end_port.value_or(port.port)}, port.protocol};
  }
  const IpAddress& vip = vips.address;
  if (port.port == 0) return {dataplane, AllPorts{vip}, Protocol::kTcp};
  if (port.end_port) return {dataplane, PortRange{vip, port.port, *port.end_port}, port.protocol};
  return {dataplane, Endpoint{vip, port.port}, port.protocol};
}

bool TakesSourcePorts(const ServiceKey& key, const VirtualService& service) {
  return key.dataplane == Dataplane::kEbpf && service.config.source_nat &&
         std::ranges::any_of(service.reals, [](const RealServer& real) {
           return real.method == ForwardingMethod::kNat;
         });
}

class Computation {
 public:
  explicit Computation(const Context& context) : in_(context) {}

  void Add(const api::LvsService& service);
  Desired Take() {
    Answer();
    KeepLeastClamps(out_.state.items);
    if (out_.state.items.contains(Attachment{kLocalLinkFar})) {
      out_.state.items.insert(LocalLink{local_mtu_.value_or(0)});
    }
    return std::move(out_);
  }
  // Without who answers for what.
  Desired TakeRules() { return std::move(out_); }

 private:
  void Report(const api::LvsService& service, const std::string& reason,
              const std::string& message) {
    out_.problems.push_back({service.meta.name_space, service.meta.name, service.meta.uid,
                             service.meta.generation, reason, message});
  }
  void Report(const api::LvsService& service, const std::vector<api::Problem>& problems) {
    for (const api::Problem& problem : problems) Report(service, problem.reason, problem.message);
  }
  void HoldVips(const VipsOfService& found) {
    for (const Cidr& vips : found.vips) out_.hold.vips.insert(vips.address);
    HoldHeld(found);
  }
  void HoldHeld(const VipsOfService& found) {
    for (const Cidr& vips : found.held) out_.hold.vips.insert(vips.address);
  }
  // Why the service may not have these VIPs.
  std::optional<api::Problem> Obstacle(const api::LvsService& service, Dataplane dataplane,
                                       const Cidr& vips) const;
  void AddAsDirector(const api::LvsService& service, const api::LvsDirectorGroup& group,
                     Dataplane dataplane, const Cidr& vips, const api::Resolution& resolution);
  // The addresses of the other members, of that family: who may tunnel to this node.
  std::vector<IpAddress> DirectorsOf(const api::LvsDirectorGroup& group, Family family) const;
  void AddAsRealServer(const api::LvsService& service, const api::LvsDirectorGroup& group,
                       const Cidr& vips, const api::Resolution& resolution);
  void ReportSilentPrefixes();
  void Answer();

  // VIPs of ours that are programmed, to be answered if the election says so.
  struct Answerable {
    Cidr vips;
    const api::LvsService* service = nullptr;  // the first of it
    bool in_ipvs = false;
    std::vector<const InterfaceFacts*> uplinks;
  };

  const Context& in_;
  Desired out_;
  std::map<IpAddress, Answerable> answerable_;  // by the first address
  VipOwners owners_;
  std::optional<uint32_t> local_mtu_;            // see LocalMtu; the least of eBPF's VIPs
  std::map<IpAddress, Dataplane> dataplane_of_;  // of the first service; eBPF drops what is not its
};

std::optional<api::Problem> Computation::Obstacle(const api::LvsService& service,
                                                  Dataplane dataplane, const Cidr& vips) const {
  const auto taken = in_.around.taken.lower_bound(vips.address);
  if (taken != in_.around.taken.end() && vips.Contains(taken->first) &&
      !(vips.IsHost() && in_.around.own_addresses.contains(vips.address))) {
    return api::Problem{kAddressConflict, (vips.IsHost() ? "" : vips.ToString() + " has ") +
                                              taken->first.ToString() +
                                              (vips.IsHost() ? " is " : ", which is ") +
                                              taken->second + "; take another VIP"};
  }
  const std::string other = owners_.Conflict(vips, service.meta.Key());
  if (!other.empty()) return api::Problem{kAddressConflict, other};
  if (vips.IsHost() || dataplane != Dataplane::kEbpf) return std::nullopt;
  // Of files these are invalid. The API may have assigned the prefix to an earlier specification.
  if (const absl::Status able = api::CheckCidrByEbpf(service.spec); !able.ok()) {
    return api::Problem{api::kUnsupportedByDataplane, vips.ToString() + ": " + Message(able)};
  }
  return std::nullopt;
}

// The kernel answers ARP for a prefix (of IPv4) only where it may for what no interface has. Our
// programs answer by themselves.
void Computation::ReportSilentPrefixes() {
  const bool silent = std::ranges::any_of(out_.state.items, [](const NodeItem& item) {
    const auto* sysctl = std::get_if<Sysctl>(&item);
    return sysctl != nullptr && sysctl->name.ends_with("/arp_ignore");
  });
  if (!silent) return;
  for (const auto& [vip, answerable] : answerable_) {
    if (answerable.vips.IsHost() || !vip.IsV4() || !answerable.in_ipvs) continue;
    out_.unable.insert(vip);
    Report(*answerable.service, kPrerequisiteMissing,
           answerable.vips.ToString() +
               " cannot be answered for by this node, which is also a real server of "
               "DirectRouting or Tunnel, and so silent by ARP for what is no address of an "
               "interface; give directors and such real servers nodes of their own");
  }
}

void Computation::Answer() {
  out_.hold.elected = in_.role.vips;
  ReportSilentPrefixes();
  for (const IpAddress& vip : in_.claims) {
    const auto found = answerable_.find(vip);
    if (found == answerable_.end()) {
      if (out_.hold.vips.contains(vip)) out_.hold.answered.insert(vip);
      continue;
    }
    // A VIP with services in both dataplanes must be the host's: IPVS sees only local packets, and
    // our programs see all of them first.
    out_.state.items.merge(AnswerItems(found->second.in_ipvs ? Dataplane::kIpvs : Dataplane::kEbpf,
                                       found->second.vips, found->second.uplinks));
  }
}

void Computation::Add(const api::LvsService& service) {
  const auto group = FindGroup(service.spec.director_group, in_.snapshot, in_.facts);
  const VipsOfService found = FindVips(service, in_.snapshot);
  const bool director =
      in_.role.group != nullptr && service.spec.director_group == in_.role.group->meta.name;
  // A node that is not concerned by a NAT service has nothing to say about it.
  if (!director && service.spec.method == ForwardingMethod::kNat &&
      std::none_of(service.spec.backends.begin(), service.spec.backends.end(),
                   [](const api::BackendSource& source) { return !source.static_reals.empty(); })) {
    return;
  }
  const auto report = [&](const std::vector<api::Problem>& problems) {
    if (director) Report(service, problems);
  };
  if (group == nullptr) {
    // Members of no group have no rules of it; whoever was one keeps them until it is clear.
    HoldVips(found);
    return;
  }
  std::optional<Dataplane> dataplane = api::EffectiveDataplane(service.spec, group.get());
  if (!dataplane.has_value()) dataplane = in_.options.auto_dataplane;
  if (!dataplane.has_value() && !in_.snapshot.kubernetes) dataplane = Dataplane::kEbpf;
  const std::vector<api::Problem> invalid = api::Validate(service, dataplane);
  if (!invalid.empty()) {
    report(invalid);
    HoldVips(found);
    return;
  }
  report(found.problems);
  HoldHeld(found);
  if (!dataplane.has_value()) {  // the operator has not resolved the group's Auto yet
    HoldVips(found);
    return;
  }
  std::vector<api::Problem> reported;
  for (const Cidr& vips : found.vips) {
    const IpAddress& vip = vips.address;
    if (const auto obstacle = Obstacle(service, *dataplane, vips)) {
      report({*obstacle});
      out_.hold.vips.insert(vip);
      continue;
    }
    owners_.Add(vips, service.meta.Key());
    const api::Resolution resolution =
        api::Resolve({service, group.get(), *in_.snapshot.kube_services, in_.slices,
                      in_.around.node_addresses, in_.around.vips, in_.around.service_cidrs,
                      vip.family, in_.around.vip_prefixes, dataplane});
    for (const api::Problem& problem : resolution.problems) {
      if (std::find(reported.begin(), reported.end(), problem) == reported.end()) {
        reported.push_back(problem);
      }
    }
    const Duration drain = std::chrono::seconds(service.spec.drain_timeout_seconds);
    Duration& linger = out_.linger[vip];
    linger = std::max(linger, drain);
    AddAsRealServer(service, *group, vips, resolution);
    if (director) AddAsDirector(service, *group, *dataplane, vips, resolution);
  }
  report(reported);
}

void Computation::AddAsDirector(const api::LvsService& service, const api::LvsDirectorGroup& group,
                                Dataplane dataplane, const Cidr& vips,
                                const api::Resolution& resolution) {
  const IpAddress& vip = vips.address;
  const Dataplane first = dataplane_of_.try_emplace(vip, dataplane).first->second;
  if (first != dataplane) {
    Report(service, kAddressConflict,
           vips.ToString() + " is balanced by dataplane " + ToString(first) +
               " for an older service, and a VIP has one dataplane: set spec.dataplane: " +
               ToString(first) + ", or take another VIP");
    out_.hold.vips.insert(vip);
    return;
  }
  const auto own = in_.around.own_addresses.lower_bound(vip);
  if (own != in_.around.own_addresses.end() && vips.Contains(*own)) {
    for (const auto& [name, interface] : in_.facts.interfaces) {
      for (const InterfaceFacts::Address& address : interface.addresses) {
        // Our own VIPs are host addresses; this one is the node's.
        if (!vips.Contains(address.ip) || address.prefix_length >= vip.Bits()) continue;
        Report(service, kAddressConflict,
               address.ip.ToString() + (vips.IsHost() ? "" : " of " + vips.ToString()) +
                   " is an address of this node's interface " + name +
                   "; take another VIP, or remove the address");
        out_.hold.vips.insert(vip);
        return;
      }
    }
  }
  const std::vector<const InterfaceFacts*> uplinks = Uplinks(group.spec, in_.facts, vip);
  if (uplinks.empty()) {
    Report(service, kPrerequisiteMissing,
           group.spec.interfaces.empty()
               ? "this node has no default route and no interface in the subnet of " +
                     vip.ToString() + "; name the uplinks in spec.interfaces of LVSDirectorGroup " +
                     group.meta.name
               : "no interface of this node matches spec.interfaces of LVSDirectorGroup " +
                     group.meta.name);
    out_.hold.vips.insert(vip);
    out_.unable.insert(vip);
    return;
  }
  const ServiceOrigin origin{service.meta.name_space, service.meta.name, service.meta.uid,
                             service.meta.generation};
  bool programmed = false;
  for (const api::ResolvedPort& resolved : resolution.ports) {
    const ServiceKey key = KeyOf(dataplane, vips, resolved.port);
    const auto other = FindOverlap(out_.origins, key);
    if (other != out_.origins.end()) {
      // The older one was added first.
      Report(service, kAddressConflict,
             ToString(other->first) + " belongs to LVSService " + other->second.name_space + "/" +
                 other->second.name + "; take another port or VIP");
      continue;
    }
    VirtualService rules;
    rules.config.scheduler = service.spec.scheduler;
    rules.config.hash = service.spec.hash;
    rules.config.persistence = PersistenceFor(service.spec.persistence, vip);
    rules.config.one_packet = service.spec.one_packet && key.protocol == Protocol::kUdp;
    rules.config.source_nat = api::EffectiveSourceNat(service.spec);
    rules.reals = resolved.reals;
    SortCanonically(rules.reals);
    out_.state.items.merge(DirectorItems(key, rules, uplinks, in_.facts));
    if (TakesSourcePorts(key, rules)) {
      if (in_.source_ports.reservation) out_.state.items.insert(*in_.source_ports.reservation);
      if (!in_.source_ports.problem.empty()) {
        out_.node_problems["LocalPorts"] = in_.source_ports.problem;
      }
    }
    out_.state.services.emplace(key, std::move(rules));
    out_.origins.emplace(key, origin);
    out_.drain.emplace(key, std::chrono::seconds(service.spec.drain_timeout_seconds));
    programmed = true;
  }
  if (!programmed) return;
  if (dataplane == Dataplane::kEbpf) {
    out_.state.items.merge(LocalClientItems(vips, service.spec.method, uplinks));
    for (const InterfaceFacts* uplink : uplinks) {
      const uint32_t mtu = LocalMtu(service.spec, vip, uplink->mtu);
      local_mtu_ = std::min(local_mtu_.value_or(mtu), mtu);
    }
  }
  if (!group.spec.layer2) return;
  Answerable& answerable = answerable_[vip];
  answerable.vips = vips;
  if (answerable.service == nullptr) answerable.service = &service;
  answerable.in_ipvs |= dataplane == Dataplane::kIpvs;
  answerable.uplinks = uplinks;
}

std::vector<IpAddress> Computation::DirectorsOf(const api::LvsDirectorGroup& group,
                                                Family family) const {
  std::vector<IpAddress> directors;
  for (const api::GroupMember& member : group.status.members) {
    // A director that is its own real server delivers to itself without a tunnel.
    if (member.node == in_.facts.node_name) continue;
    std::set<IpAddress> addresses;
    if (const auto ip = IpAddress::Parse(member.address); ip.ok()) addresses.insert(*ip);
    // status.members has one address, and that is IPv4's where there is one.
    if (const auto node = in_.snapshot.nodes->find(member.node);
        family == Family::kIpv6 && node != in_.snapshot.nodes->end()) {
      for (const std::string& text : node->second->internal_addresses) {
        if (const auto ip = IpAddress::Parse(text); ip.ok()) addresses.insert(*ip);
      }
    }
    std::ranges::copy_if(addresses, std::back_inserter(directors),
                         [family](const IpAddress& ip) { return ip.family == family; });
  }
  return directors;
}

void Computation::AddAsRealServer(const api::LvsService& service,
                                  const api::LvsDirectorGroup& group, const Cidr& vips,
                                  const api::Resolution& resolution) {
  const std::vector<IpAddress> directors = DirectorsOf(group, vips.address.family);
  std::set<IpAddress> done;
  for (const api::ResolvedPort& resolved : resolution.ports) {
    for (const RealServer& real : resolved.reals) {
      if (real.method == ForwardingMethod::kNat || !in_.around.own_addresses.contains(real.at.ip) ||
          !done.insert(real.at.ip).second) {
        continue;
      }
      // Whoever asks for GRE decapsulates by himself; what comes out is as from a director on the
      // same segment.
      RealServer here = real;
      if (real.tunnel.type == TunnelType::kGre) here.method = ForwardingMethod::kDirectRouting;
      if (here.method == ForwardingMethod::kTunnel && directors.empty()) {
        Report(service, kPrerequisiteMissing,
               "LVSDirectorGroup " + group.meta.name +
                   (vips.address.IsV4() ? " has no member with an IPv4 address in status.members"
                                        : " has no member whose Node has an IPv6 InternalIP") +
                   ", so this real server may take tunnelled packets from nobody");
      }
      out_.state.items.merge(
          RealServerItems(here, vips, directors, service.spec.mss_clamp, in_.facts));
      // Requests arrive without the clamp, too.
      out_.setups[{vips.address, real.method}].merge(
          RealServerItems(here, vips, directors, false, in_.facts));
    }
  }
}

void AddConnectionSync(const Role& role, const NodeFacts& facts, Desired& desired) {
  const auto of_ipvs = [](const auto& service) {
    return service.first.dataplane == Dataplane::kIpvs;
  };
  if (role.group == nullptr || std::ranges::none_of(desired.state.services, of_ipvs)) return;
  ConnectionSync sync = FindConnectionSync(*role.group, facts);
  desired.state.items.merge(sync.items);
  if (!sync.problem.empty()) desired.node_problems["ConnectionSync"] = std::move(sync.problem);
}

void AddTimeouts(const Role& role, Desired& desired) {
  if (role.group == nullptr || !role.group->spec.timeouts) return;
  const auto& timeouts = *role.group->spec.timeouts;
  std::set<Dataplane> used;
  for (const auto& [key, service] : desired.state.services) used.insert(key.dataplane);
  const auto add = [&](ConnectionKind kind, const std::optional<uint32_t>& seconds) {
    if (!seconds) return;
    for (const Dataplane dataplane : used) {
      // Nobody else sets those of eBPF, and it says only what is not as it began.
      if (dataplane == Dataplane::kEbpf && *seconds == DefaultSeconds(kind)) continue;
      desired.state.items.insert(ConnectionTimeout{dataplane, kind, *seconds});
    }
  };
  add(ConnectionKind::kTcp, timeouts.tcp_seconds);
  add(ConnectionKind::kTcpFin, timeouts.tcp_fin_seconds);
  add(ConnectionKind::kUdp, timeouts.udp_seconds);
}

}  // namespace

Surroundings FindSurroundings(const Snapshot& snapshot, const NodeFacts& facts) {
  Surroundings out;
  const std::set<Cidr> vips = AllVips(snapshot);
  out.own_addresses = OwnAddresses(facts);
  out.taken = TakenAddresses(snapshot, facts);
  for (const Cidr& cidr : vips) {
    // A request for somebody's address must not take that real server from other services.
    const auto taken = out.taken.lower_bound(cidr.address);
    if (taken != out.taken.end() && cidr.Contains(taken->first)) continue;
    if (cidr.IsHost()) {
      out.vips.insert(cidr.address);
    } else {
      out.vip_prefixes.push_back(cidr);
    }
  }
  for (const auto& [name, node] : *snapshot.nodes) {
    for (const std::string& text : node->internal_addresses) {
      if (const auto ip = IpAddress::Parse(text); ip.ok()) out.node_addresses.insert(*ip);
    }
  }
  for (const auto& [name, cidrs] : *snapshot.service_cidrs) {
    const auto parsed = api::ParseCidrs(cidrs->cidrs);
    out.service_cidrs.insert(out.service_cidrs.end(), parsed.begin(), parsed.end());
  }
  return out;
}

Desired ComputeDesired(const Snapshot& snapshot, const NodeFacts& facts, const Role& role,
                       const std::set<IpAddress>& claims, const DesiredOptions& options) {
  const Surroundings around = FindSurroundings(snapshot, facts);
  const Context context{snapshot,
                        facts,
                        role,
                        claims,
                        options,
                        around,
                        api::GroupByService(*snapshot.endpoint_slices),
                        GuardSourcePorts(facts)};
  // The older of two services that want the same address and port has it.
  std::vector<const api::LvsService*> services;
  for (const auto& [key, service] : *snapshot.services) services.push_back(service.get());
  std::stable_sort(services.begin(), services.end(),
                   [](const api::LvsService* a, const api::LvsService* b) {
                     return a->meta.creation_timestamp < b->meta.creation_timestamp;
                   });
  Computation computation(context);
  for (const api::LvsService* service : services) computation.Add(*service);
  Desired desired = computation.Take();
  AddConnectionSync(role, facts, desired);
  AddTimeouts(role, desired);
  // What may exist must not be taken for deleted.
  const bool no_groups = snapshot.kubernetes && !snapshot.services->empty() &&
                         (snapshot.groups->empty() || snapshot.pools->empty());
  desired.hold.all = !snapshot.complete || no_groups;
  desired.agents = around.node_addresses;
  for (const auto& [name, group] : *snapshot.groups) {
    for (const api::GroupMember& member : group->status.members) {
      if (const auto ip = IpAddress::Parse(member.address); ip.ok()) desired.agents.insert(*ip);
    }
  }
  return desired;
}

namespace {

// What ComputeDesired would say of some services if there were no others.
Desired ComputeSome(const std::set<std::string>& keys, const Snapshot& snapshot,
                    const NodeFacts& facts, const Role& role, const Surroundings& around,
                    const DesiredOptions& options) {
  std::set<std::string> kube_services;
  for (const std::string& key : keys) {
    for (std::string& name : api::ServicesOf(*snapshot.services->at(key))) {
      kube_services.insert(std::move(name));
    }
  }
  const std::set<IpAddress> no_claims;
  const Context context{snapshot,
                        facts,
                        role,
                        no_claims,
                        options,
                        around,
                        api::SlicesOf(kube_services, *snapshot.endpoint_slices),
                        GuardSourcePorts(facts)};
  Computation computation(context);
  for (const std::string& key : keys) computation.Add(*snapshot.services->at(key));
  return computation.TakeRules();
}

bool AtFault(const Desired& desired) {
  return !desired.problems.empty() || !desired.hold.vips.empty();
}

}  // namespace

std::optional<TouchedRules> ComputeTouched(const std::set<std::string>& touched,
                                           const Snapshot& before, const Snapshot& after,
                                           const NodeFacts& facts, const Role& role,
                                           const Surroundings& around, const Owners& owners,
                                           const DesiredOptions& options) {
  const Desired was = ComputeSome(touched, before, facts, role, around, options);
  Desired is = ComputeSome(touched, after, facts, role, around, options);
  if (AtFault(was) || AtFault(is) || was.state.items != is.state.items ||
      was.node_problems != is.node_problems) {
    return std::nullopt;
  }
  for (const auto& [key, origin] : is.origins) {
    const auto owner = owners.find(key);
    if (owner == owners.end() || owner->second.name_space != origin.name_space ||
        owner->second.name != origin.name) {
      return std::nullopt;
    }
  }
  for (const auto& [key, service] : was.state.services) {
    if (!is.state.services.contains(key)) return std::nullopt;
  }
  return TouchedRules{std::move(is.state.services), std::move(is.drain)};
}

}  // namespace kube_lvs
