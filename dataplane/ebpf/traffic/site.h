// A client, a director and two real servers on one segment, each in a network namespace of its own;
// behind the client, one more that it is the router of. Making one takes a second or two, so that
// tests of one variant share it: a test leaves it as it was.
//
//   far --- client --+-- director
//                (switch)
//                    +-- real servers 1 and 2
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ip.h"
#include "dataplane/ebpf/open.h"
#include "dataplane/ebpf/testing/namespaces.h"
#include "dataplane/ebpf/testing/tcp.h"
#include "dataplane/model/service.h"

namespace kube_lvs::ebpf {

// How packets are forwarded.
struct Variant {
  ForwardingMethod method = ForwardingMethod::kNat;
  bool source_nat = false;
  bool xdp = false;  // native; without it, tc
  Family family = Family::kIpv4;
  auto operator<=>(const Variant&) const = default;

  bool IsNat() const { return method == ForwardingMethod::kNat; }
  bool IsV4() const { return family == Family::kIpv4; }
};
std::vector<Variant> Variants();  // all
std::string ToString(const Variant& variant);

// The addresses of one family.
struct Addresses4Or6 {
  std::string vip, vips;          // 192.0.2. and the network of all
  std::string network;            // more VIPs, all of one service
  std::string client, clients;    // and their network
  std::string director;           // towards clients
  std::string director_in;        // towards real servers
  std::string real;               // without its last digit
  std::string far, router, fars;  // and their network
  std::string any;
  int length;      // of networks
  uint16_t clamp;  // of the MSS in a tunnel
};
const Addresses4Or6& AddressesOf(Family family);

inline constexpr uint16_t kNatPort = 8080;  // where real servers of NAT listen
inline constexpr uint16_t kPort = 80;       // a VIP's, and the other real servers'

// The numbers of tests on one site begin at 1, and each has a VIP and client ports of its own, so
// that connections of earlier ones are nothing to it.
class Site {
 public:
  explicit Site(const Variant& variant);
  Site(const Site&) = delete;

  // The one of this variant, made when it is first asked for.
  static Site& Of(const Variant& variant);

  int NextTest();

  const Variant& variant() const { return variant_; }
  const Addresses4Or6& at() const { return AddressesOf(variant_.family); }
  IpAddress Vip(int test) const;
  IpAddress Real(int n) const;

  const Namespace& far() const { return far_; }
  const Namespace& client() const { return client_; }
  const Namespace& director() const { return director_; }
  const std::string& bpf_dir() const { return dir_; }  // where the director's dataplane is pinned
  const Namespace& real(int n) const { return n == 1 ? real1_ : real2_; }  // 1 or 2

  // Of the director; attached to nothing.
  EbpfDataplane& dataplane() { return dataplane_; }
  // As by an agent that starts again.
  void ReopenDataplane();
  // Of the real servers, which take off the outer header of tunnels; attached. None without.
  std::vector<EbpfDataplane>& of_reals() { return of_reals_; }

 private:
  void Connect();
  void SetUpClient();
  void SetUpReals();
  std::string Add(const std::string& address, const std::string& device = "eth0") const;
  EbpfDataplane Open(const Namespace& where, const std::string& dir);

  const Variant variant_;
  const Namespace switch_;
  const Namespace far_;
  const Namespace client_;
  const Namespace director_;
  const Namespace real1_;
  const Namespace real2_;
  const SystemClock clock_;
  std::string dir_;
  EbpfDataplane dataplane_;
  std::vector<EbpfDataplane> of_reals_;
  // "real1:80" and so on: at every port that a test may use.
  std::vector<std::unique_ptr<TcpServer>> servers_;
  int tests_ = 0;
};

// Aborts at a step that fails.
void Apply(const Namespace& where, EbpfDataplane& dataplane, const std::vector<Step>& steps);

}  // namespace kube_lvs::ebpf
