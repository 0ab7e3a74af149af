// Services made at random, for packets made at random.
#pragma once

#include <cstdint>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "dataplane/ebpf/packet_tests/director.h"
#include "dataplane/ebpf/packet_tests/fuzz/reading.h"

namespace kube_lvs::ebpf {

class Chance {
 public:
  explicit Chance(uint64_t seed) : engine_(seed) {}
  // 0 .. n - 1.
  size_t Below(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(engine_); }
  bool OneIn(size_t n) { return Below(n) == 0; }
  template <typename Container>
  const auto& Of(const Container& from) {
    return from[Below(std::size(from))];
  }

 private:
  std::mt19937_64 engine_;
};

inline constexpr char kDip[] = "10.1.0.254", kDip6[] = "2001:db8:1::254";

// "10.1.0.1" or "2001:db8::1" as in a packet.
Bytes AddressBytes(const std::string& text);

// mh, sh, dh.
bool HasTable(uint8_t scheduler);

struct Site {
  std::vector<std::string> vips, vips6;  // ARP or ND is answered for the first of each
  std::vector<Service> services;
  uint32_t reals = 1;  // ids are below
  // Whether a VIP is balanced only where it is claimed, and whether the first of each family is.
  bool claims = false, claimed = true;

  bool IsVip(const Bytes& address) const;
  bool IsClaimed(const Bytes& vip) const;
  // nullptr: none.
  const Service* Find(const Bytes& vip, uint16_t port, uint8_t protocol) const;
};

// Every scheduler with every method, of both families; weights, thresholds and flags at random.
Site MakeSite(Director& director, Chance& chance);

// Other claims.
void Reclaim(Director& director, Site& site, Chance& chance);

// Other weights for one of its services.
void Reweight(Director& director, Site& site, Chance& chance);

}  // namespace kube_lvs::ebpf
