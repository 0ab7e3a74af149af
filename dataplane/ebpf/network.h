// What the eBPF dataplane must know of the node's network: how a real server is reached, and which
// links there are. A seam: production asks the kernel over rtnetlink, tests use FakeNetwork.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ip.h"

namespace kube_lvs::ebpf {

// How packets for one address leave this node.
struct NextHop {
  bool local = false;  // an address of this node: the rest is empty
  uint32_t ifindex = 0;
  IpAddress neighbour;       // the gateway, or the address itself when it is on the link
  IpAddress source;          // of our own packets on that way: the DIP
  uint32_t mtu = 0;          // IP packet, bytes
  MacAddress source_mac;     // zero on links without such addresses
  MacAddress neighbour_mac;  // zero: not resolved yet
  bool operator==(const NextHop&) const = default;
};

struct Link {
  uint32_t index = 0;
  std::string name;
  std::string kind;       // "veth", "bridge", ...; "" for a real device
  bool hardware = false;  // sits on a bus (PCI, virtio), so its driver owns real queues
  bool loopback = false;
  bool up = false;
  uint32_t mtu = 0;
  MacAddress mac;
  uint32_t master = 0;  // number of the bridge, bond or VRF that it is part of
  uint32_t lower =
      0;  // number of the link below, such as a VLAN device's; 0: none in this namespace
  bool carries_vlans = false;  // CarriesVlans
  bool operator==(const Link&) const = default;
};

// Whether a VLAN device among `links` sits on `link`, or on the bridge or bond that it is part of.
// Pure.
bool CarriesVlans(const Link& link, std::span<const Link> links);

// Not thread-safe. All of it is about the network namespace in which the object was made.
class Network {
 public:
  virtual ~Network() = default;

  // kNotFound: there is no route, or one that refuses.
  virtual absl::StatusOr<NextHop> Route(const IpAddress& to) = 0;

  // Asks the kernel to resolve the neighbour now and, where it can (5.16), to keep it resolved. A
  // permanent one stays as it is.
  virtual absl::Status KeepResolved(const NextHop& hop) = 0;

  virtual absl::StatusOr<std::vector<Link>> Links() = 0;
  virtual absl::StatusOr<Link> LinkByName(const std::string& name) = 0;  // kNotFound

  // IPv6: has the link take the frames by which neighbours ask for `vip`, until StopHearing: by a
  // proxy neighbour entry, which joins the VIP's solicited-node group and outlives the process. The
  // kernel itself answers nothing for it, unless proxy_ndp is on. Nothing to do for IPv4. Both may
  // be called again.
  virtual absl::Status HearQuestions(const IpAddress& vip, const Link& link) = 0;
  virtual absl::Status StopHearing(const IpAddress& vip, const Link& link) = 0;

  // Tells the link's neighbours that these VIPs are at this node's MAC: ARP announcements in both
  // forms, or an unsolicited neighbour advertisement. Of a network of IPv6, its first address.
  virtual absl::Status Announce(const Cidr& vips, const Link& link) = 0;

  // Readable when routes, addresses, links or neighbours changed since TakeChanges().
  virtual int fd() const = 0;

  // Whether anything changed since the last call; also when notifications were lost.
  virtual bool TakeChanges() = 0;
};

}  // namespace kube_lvs::ebpf
