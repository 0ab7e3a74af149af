// A node's network and its hooks in memory.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/ebpf/network.h"
#include "dataplane/ebpf/programs.h"

namespace kube_lvs::ebpf {

class FakeNetwork final : public Network {
 public:
  std::map<IpAddress, NextHop> routes;  // an address that is not in it has no route
  std::vector<Link> links;
  std::vector<std::pair<Cidr, std::string>> announced;
  std::set<std::pair<IpAddress, std::string>> heard;  // IPv6 VIPs, and where
  int kept = 0;                                       // calls of KeepResolved
  bool changed = false;

  // An interface with a MAC made of its index.
  void AddLink(uint32_t index, const std::string& name) {
    Link link;
    link.index = index;
    link.name = name;
    link.up = true;
    link.mtu = 1500;
    link.mac.bytes = {2, 0, 0, 0, 0, static_cast<uint8_t>(index)};
    links.push_back(link);
  }
  // `to` is on the link, its MAC known when `host` is not 0.
  void AddRoute(const IpAddress& to, uint32_t ifindex, const IpAddress& source, uint8_t host) {
    NextHop hop;
    hop.ifindex = ifindex;
    hop.neighbour = to;
    hop.source = source;
    hop.mtu = 1500;
    hop.source_mac.bytes = {2, 0, 0, 0, 0, static_cast<uint8_t>(ifindex)};
    if (host != 0) hop.neighbour_mac.bytes = {2, 0, 0, 0, 1, host};
    routes[to] = hop;
  }

  absl::StatusOr<NextHop> Route(const IpAddress& to) override {
    const auto found = routes.find(to);
    if (found == routes.end()) return absl::NotFoundError("no route to " + to.ToString());
    return found->second;
  }
  absl::Status KeepResolved(const NextHop&) override {
    ++kept;
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<Link>> Links() override { return links; }
  absl::StatusOr<Link> LinkByName(const std::string& name) override {
    const auto found = std::ranges::find(links, name, &Link::name);
    if (found == links.end()) return absl::NotFoundError("no interface " + name);
    return *found;
  }
  absl::Status Announce(const Cidr& vips, const Link& link) override {
    announced.emplace_back(vips, link.name);
    return absl::OkStatus();
  }
  absl::Status HearQuestions(const IpAddress& vip, const Link& link) override {
    if (!vip.IsV4()) heard.insert({vip, link.name});
    return absl::OkStatus();
  }
  absl::Status StopHearing(const IpAddress& vip, const Link& link) override {
    heard.erase({vip, link.name});
    return absl::OkStatus();
  }
  int fd() const override { return -1; }
  bool TakeChanges() override { return std::exchange(changed, false); }
};

class FakePrograms final : public Programs {
 public:
  std::set<uint32_t> attached;             // by interface number
  absl::Status refuse;                     // what Attach returns when not OK
  uint32_t swept_sets = 0;                 // over all SweepConnections
  std::function<void()> on_await = [] {};  // what programs do meanwhile

  absl::StatusOr<AttachReport> Attach(const Link& link) override {
    if (!refuse.ok()) return refuse;
    attached.insert(link.index);
    return Report(link);
  }
  absl::Status Detach(const Link& link) override {
    attached.erase(link.index);
    return absl::OkStatus();
  }
  absl::StatusOr<std::optional<AttachReport>> Find(const Link& link) override {
    if (!attached.contains(link.index)) return std::optional<AttachReport>();
    return std::optional<AttachReport>(Report(link));
  }
  absl::Status SweepConnections(uint32_t sets, uint32_t) override {
    swept_sets += sets;
    return absl::OkStatus();
  }
  absl::Status AwaitRunning() override {
    on_await();
    return absl::OkStatus();
  }

 private:
  static AttachReport Report(const Link& link) { return {link.name, false, "it is a fake"}; }
};

}  // namespace kube_lvs::ebpf
