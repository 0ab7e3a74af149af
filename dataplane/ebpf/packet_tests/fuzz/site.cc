#include "dataplane/ebpf/packet_tests/fuzz/site.h"

#include <algorithm>
#include <cstring>

namespace kube_lvs::ebpf {
namespace {

constexpr uint32_t kTableCells = 4093;

// A table of anything: which place has whom is for other tests.
void FillTable(Director& director, const Service& service) {
  std::vector<uint32_t> ids;
  for (size_t i = 0; i < service.reals.size(); ++i) {
    if (service.reals[i].weight > 0) ids.push_back(service.first_real + i);
  }
  for (uint32_t i = 0; i < kTableCells; ++i) {
    director.tables()[service.table + i].real = ids.empty() ? 0 : ids[i * 7 % ids.size()];
  }
}

std::vector<Real> RandomReals(const Service& service, bool ipv6, Chance& chance) {
  std::vector<Real> reals;
  const size_t count = chance.OneIn(8) ? 0 : 1 + chance.Below(5);
  for (size_t i = 0; i < count; ++i) {
    Real real;
    // One endpoint once in a service; services may share them.
    const std::string host = std::to_string(1 + i * 4 + chance.Below(4));
    real.address = (ipv6 ? "2001:db8:1::c:" : "10.1.200.") + host;
    real.port = service.method == KLVS_METHOD_NAT ? 8000 + chance.Below(3) : service.port;
    real.weight = chance.OneIn(6) ? 0 : 1 + chance.Below(4);
    if (chance.OneIn(4)) {
      real.upper = 1 + chance.Below(6);
      real.lower = chance.Below(real.upper + 1);
    }
    reals.push_back(real);
  }
  return reals;
}

// The first VIP of each family, by the site's claim; the others have none.
void SetClaims(Director& director, const Site& site) {
  uint32_t& flags = director.settings().flags;
  flags = site.claims ? flags | KLVS_SETTING_CLAIMS : flags & ~uint32_t{KLVS_SETTING_CLAIMS};
  for (const std::string& vip : {site.vips.front(), site.vips6.front()}) {
    director.SetAddress(vip, KLVS_ADDRESS_VIP | KLVS_ADDRESS_ANSWER_ARP,
                        site.claimed ? UINT64_MAX : 1);
  }
}

}  // namespace

bool HasTable(uint8_t scheduler) {
  return scheduler == KLVS_SCHEDULER_MH || scheduler == KLVS_SCHEDULER_SH ||
         scheduler == KLVS_SCHEDULER_DH;
}

Bytes AddressBytes(const std::string& text) {
  if (text.find(':') != std::string::npos) {
    const klvs_in6 address = Ip6(text);
    Bytes out(sizeof address);
    std::memcpy(out.data(), &address, sizeof address);
    return out;
  }
  const uint32_t v = Ip(text);
  return {static_cast<uint8_t>(v >> 24), static_cast<uint8_t>(v >> 16 & 255),
          static_cast<uint8_t>(v >> 8 & 255), static_cast<uint8_t>(v & 255)};
}

bool Site::IsVip(const Bytes& address) const {
  const std::vector<std::string>& all = address.size() == 4 ? vips : vips6;
  return std::any_of(all.begin(), all.end(),
                     [&](const std::string& vip) { return AddressBytes(vip) == address; });
}

bool Site::IsClaimed(const Bytes& vip) const {
  return claimed && (vip == AddressBytes(vips.front()) || vip == AddressBytes(vips6.front()));
}

const Service* Site::Find(const Bytes& vip, uint16_t port, uint8_t protocol) const {
  for (const Service& service : services) {
    if (service.port == port && service.protocol == protocol && AddressBytes(service.vip) == vip) {
      return &service;
    }
  }
  return nullptr;
}

Site MakeSite(Director& director, Chance& chance) {
  Site site;
  site.vips = {"10.9.0.1", "10.9.0.2", "10.9.0.3"};
  site.vips6 = {"2001:db8:9::1", "2001:db8:9::2", "2001:db8:9::3"};
  director.settings().flags |= KLVS_SETTING_PLAIN_NAT;
  director.SetAddress(kDip, KLVS_ADDRESS_SNAT);
  director.SetAddress(kDip6, KLVS_ADDRESS_SNAT);
  uint32_t id = 0, tables = 0;
  for (uint8_t scheduler = KLVS_SCHEDULER_RR; scheduler <= KLVS_SCHEDULER_LBLCR; ++scheduler) {
    for (const bool ipv6 : {false, true}) {
      Service service;
      service.id = ++id;
      service.scheduler = scheduler;
      service.protocol = chance.OneIn(2) ? 6 : 17;
      service.port = 80 + scheduler;
      service.vip = chance.Of(ipv6 ? site.vips6 : site.vips);
      service.method = chance.OneIn(4) ? 0 : chance.Below(3);  // NAT has most to go wrong
      service.first_real = 8 * id;
      service.reals = RandomReals(service, ipv6, chance);
      if (service.method != KLVS_METHOD_NAT && !service.reals.empty() && chance.OneIn(2)) {
        const size_t here = chance.Below(service.reals.size());
        service.reals[here].flags = KLVS_REAL_VALID | KLVS_REAL_LOCAL;
        service.local = service.first_real + static_cast<uint32_t>(here);
        service.delivers = chance.OneIn(3) ? KLVS_DELIVERED : KLVS_DELIVERS;
      }
      const bool limited = std::any_of(service.reals.begin(), service.reals.end(),
                                       [](const Real& real) { return real.upper != 0; });
      if (limited) service.flags |= KLVS_SERVICE_THRESHOLDS;
      const bool nat = service.method == KLVS_METHOD_NAT;
      if (service.method == KLVS_METHOD_TUNNEL && chance.OneIn(2)) service.gue_port = 6080;
      if (nat && chance.OneIn(2)) service.flags |= KLVS_SERVICE_SOURCE_NAT;
      if (!nat && service.protocol == 17 && chance.OneIn(3)) {
        service.flags |= KLVS_SERVICE_ONE_PACKET;
      }
      if (chance.OneIn(2)) service.flags |= KLVS_SERVICE_HASH_PORT;
      if (chance.OneIn(2)) service.flags |= KLVS_SERVICE_HASH_FALLBACK;
      if (HasTable(scheduler)) {
        service.table = kTableCells * tables++;
        FillTable(director, service);
      }
      director.Add(service);
      if (nat && !(service.flags & KLVS_SERVICE_SOURCE_NAT)) {
        for (const Real& real : service.reals) {
          director.SetAddress(real.address, KLVS_ADDRESS_NAT_REAL);
        }
      }
      site.services.push_back(service);
    }
  }
  site.reals = 8 * (id + 1);
  for (const auto* vips : {&site.vips, &site.vips6}) {
    for (const std::string& vip : *vips) {
      director.SetAddress(vip, KLVS_ADDRESS_VIP);
    }
  }
  site.claims = chance.OneIn(2);
  SetClaims(director, site);
  // One by a network, whose other address is a VIP by itself.
  director.Spread(site.vips[2], "10.9.0.2/31");
  director.Spread(site.vips6[2], "2001:db8:9::2/127");
  return site;
}

void Reclaim(Director& director, Site& site, Chance& chance) {
  (chance.OneIn(2) ? site.claims : site.claimed) ^= true;
  SetClaims(director, site);
}

void Reweight(Director& director, Site& site, Chance& chance) {
  Service& service = site.services[chance.Below(site.services.size())];
  for (Real& real : service.reals) real.weight = chance.OneIn(6) ? 0 : 1 + chance.Below(4);
  if (HasTable(service.scheduler)) FillTable(director, service);
  director.Replace(service, {.start_weight = 1, .start_position = 0});
}

}  // namespace kube_lvs::ebpf
