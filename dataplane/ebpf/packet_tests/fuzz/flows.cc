#include "dataplane/ebpf/packet_tests/fuzz/flows.h"

#include <arpa/inet.h>

#include <cstring>
#include <map>
#include <set>
#include <utility>

namespace kube_lvs::ebpf {
namespace {

template <typename Address>
Bytes ToBytes(const Address& address) {
  Bytes out(sizeof address);
  std::memcpy(out.data(), &address, sizeof address);
  return out;
}

uint32_t FlagsOf(uint64_t ctl) { return KLVS_CTL_FLAGS(ctl); }
bool IsLive(uint64_t ctl) { return (FlagsOf(ctl) & KLVS_CONN_LIVE) != 0; }
bool IsReply(uint64_t ctl) { return (FlagsOf(ctl) & KLVS_CONN_REPLY) != 0; }

template <typename Conn>
bool Has(const Conn& c, const FlowKey& key) {
  return c.key.protocol == key.protocol && ntohs(c.key.sport) == key.sport &&
         ntohs(c.key.dport) == key.dport &&
         std::memcmp(&c.key.src, key.src.data(), sizeof c.key.src) == 0 &&
         std::memcmp(&c.key.dst, key.dst.data(), sizeof c.key.dst) == 0;
}

template <typename Conn>
Flow ToFlow(const Conn& c) {
  Flow flow;
  flow.key = {ToBytes(c.key.src), ToBytes(c.key.dst), ntohs(c.key.sport), ntohs(c.key.dport),
              c.key.protocol};
  flow.real = c.real;
  flow.service = c.service;
  flow.flags = FlagsOf(c.ctl);
  flow.state = KLVS_CTL_STATE(c.ctl);
  flow.expires = c.expires;
  flow.nat = ToBytes(c.nat_addr);
  flow.nat_port = ntohs(c.nat_port);
  std::memcpy(flow.client.data(), c.client_mac, flow.client.size());
  return flow;
}

// nullptr: a handle of no place in the table.
template <typename Set>
auto* At(std::span<Set> sets, uint32_t handle) {
  const size_t index = (handle - size_t{1}) / KLVS_CONN_WAYS;
  auto* none = sets[0].ways;
  none = nullptr;
  return handle == 0 || index >= sets.size() ? none
                                             : &sets[index].ways[(handle - 1) % KLVS_CONN_WAYS];
}

template <typename Set>
std::optional<Flow> Find(std::span<Set> sets, const FlowKey& key, bool reply) {
  for (Set& set : sets) {
    for (auto& c : set.ways) {
      if (!IsLive(c.ctl) || IsReply(c.ctl) != reply || !Has(c, key)) continue;
      if (!reply) return ToFlow(c);
      const auto* of = At(sets, c.peer);
      if (of == nullptr || !IsLive(of->ctl)) return std::nullopt;
      return ToFlow(*of);
    }
  }
  return std::nullopt;
}

template <typename Set>
auto* Near(std::span<Set> sets, size_t place) {
  const size_t size = sets.size() * KLVS_CONN_WAYS;
  for (size_t i = 0; i < size; ++i) {
    auto* c = At(sets, static_cast<uint32_t>(1 + (place + i) % size));
    if (IsLive(c->ctl) && !IsReply(c->ctl)) return c;
  }
  return At(sets, 0);
}

bool IsActive(uint64_t ctl) {
  const uint32_t state = KLVS_CTL_STATE(ctl);
  return state == KLVS_ESTABLISHED || state == KLVS_SYN_SENT || state == KLVS_SYN_RECV ||
         state == KLVS_SYNACK;
}

using Counts = std::map<uint32_t, std::pair<uint32_t, uint32_t>>;  // real -> active, inactive

template <typename Set>
std::string SetsFault(std::span<Set> sets, std::span<klvs_set_tags> tags, const char* name,
                      Counts& counts) {
  const auto at = [&](uint32_t handle) {
    return std::string(name) + ": entry " + std::to_string(handle);
  };
  std::set<Bytes> keys;
  for (size_t i = 0; i < sets.size(); ++i) {
    for (uint32_t way = 0; way < KLVS_CONN_WAYS; ++way) {
      const uint32_t handle = static_cast<uint32_t>(1 + i * KLVS_CONN_WAYS + way);
      const auto& c = sets[i].ways[way];
      if (IsLive(c.ctl) != (tags[i].way[way] != 0)) return at(handle) + ": LIVE and tag disagree";
      if (!IsLive(c.ctl)) continue;
      if (!keys.insert(ToBytes(c.key)).second) return at(handle) + ": its key is there twice";
      if (FlagsOf(c.ctl) & KLVS_CONN_PENDING) return at(handle) + " is PENDING for ever";
      const auto* peer = At(sets, c.peer);
      if (IsReply(c.ctl)) {
        if (peer == nullptr || !IsLive(peer->ctl) || IsReply(peer->ctl) || peer->peer != handle ||
            KLVS_CTL_GENERATION(peer->ctl) != c.peer_generation) {
          return at(handle) + " is a reply key of no connection";
        }
        continue;
      }
      if (FlagsOf(c.ctl) & KLVS_CONN_NAT) {
        if (peer == nullptr || !IsLive(peer->ctl) || !IsReply(peer->ctl) || peer->peer != handle) {
          return at(handle) + " has lost its reply key";
        }
      } else if (c.peer != 0) {
        return at(handle) + " has a reply key without NAT";
      }
      ++(IsActive(c.ctl) ? counts[c.real].first : counts[c.real].second);
    }
  }
  return "";
}

}  // namespace

FlowKey KeyOf(const Reading& reading) {
  return {reading.src, reading.dst, reading.sport, reading.dport, reading.protocol};
}

FlowKey Reversed(FlowKey key) {
  std::swap(key.src, key.dst);
  std::swap(key.sport, key.dport);
  return key;
}

std::optional<Flow> FindFlow(std::span<klvs_conn_set> sets, std::span<klvs_conn_set6> sets6,
                             const FlowKey& key) {
  return key.src.size() == 4 ? Find(sets, key, false) : Find(sets6, key, false);
}

std::optional<Flow> FindFlow(Director& director, const FlowKey& key) {
  return FindFlow(director.conns(), director.conns6(), key);
}

std::optional<Flow> FindFlowOfReply(Director& director, const FlowKey& key) {
  return key.src.size() == 4 ? Find(director.conns(), key, true)
                             : Find(director.conns6(), key, true);
}

std::optional<Flow> FlowNear(Director& director, bool ipv6, size_t place) {
  if (ipv6) {
    const auto* c = Near(director.conns6(), place);
    return c == nullptr ? std::nullopt : std::optional(ToFlow(*c));
  }
  const auto* c = Near(director.conns(), place);
  return c == nullptr ? std::nullopt : std::optional(ToFlow(*c));
}

void ExpireNear(Director& director, bool ipv6, size_t place) {
  if (ipv6) {
    if (auto* c = Near(director.conns6(), place)) c->expires = 0;
  } else {
    if (auto* c = Near(director.conns(), place)) c->expires = 0;
  }
}

std::string TableFault(const ConnTables& tables, std::span<const klvs_real_conns> counts) {
  Counts found;
  std::string fault = SetsFault(tables.sets, tables.tags, "IPv4", found);
  if (fault.empty()) fault = SetsFault(tables.sets6, tables.tags6, "IPv6", found);
  for (uint32_t id = 0; id < counts.size() && fault.empty(); ++id) {
    const auto has = found.find(id);
    const auto [active, inactive] =
        has == found.end() ? std::pair<uint32_t, uint32_t>{} : has->second;
    if (counts[id].active == active && counts[id].inactive == inactive) continue;
    fault = "real server " + std::to_string(id) + " counts " + std::to_string(counts[id].active) +
            "+" + std::to_string(counts[id].inactive) + " connections, the table has " +
            std::to_string(active) + "+" + std::to_string(inactive);
  }
  return fault;
}

}  // namespace kube_lvs::ebpf
