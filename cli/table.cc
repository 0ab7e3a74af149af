#include "cli/table.h"

#include <linux/ip_vs.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <utility>

namespace kube_lvs::cli {
namespace {

int32_t Difference(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b); }

uint32_t Word(const IpAddress& ip, size_t i) {
  uint32_t out = 0;
  for (size_t byte = 0; byte < 4; ++byte) out = out << 8 | ip.bytes[4 * i + byte];
  return out;
}

// `six`: compares four words, whatever the second address is.
int32_t Compare(const IpAddress& a, const IpAddress& b, bool six) {
  for (size_t i = 0; i < (six ? 4u : 1u); ++i) {
    if (const int32_t r = Difference(Word(a, i), Word(b, i)); r != 0) return r;
  }
  return 0;
}

// eBPF knows services of many ports, or VIPs, by these; all ports come first.
Endpoint FirstPort(const ServiceKey& key) {
  if (const auto* one = std::get_if<Endpoint>(&key.match)) return *one;
  const auto* range = std::get_if<PortRange>(&key.match);
  const auto* network = std::get_if<Prefix>(&key.match);
  return {VipOf(key).value_or(IpAddress{}), range != nullptr     ? range->first
                                            : network != nullptr ? network->first
                                                                 : uint16_t{0}};
}

struct Key {
  uint32_t mark = 0;
  Family family = Family::kIpv4;
  int protocol = 0;  // of a mark 0
  Endpoint at;
};

Key KeyOf(const ServiceKey& key) {
  Key out{.mark = 0, .family = ipvs::FamilyOf(key), .protocol = 0, .at = {}};
  if (const auto* mark = std::get_if<FwMark>(&key.match)) {
    out.mark = mark->mark;
  } else {
    out.at = FirstPort(key);
    out.protocol = static_cast<int>(key.protocol);
  }
  return out;
}

int32_t CompareServices(const ListedService& left, const ListedService& right) {
  const Key a = KeyOf(left.service.key), b = KeyOf(right.service.key);
  if (const int32_t r = Difference(a.mark, b.mark); r != 0) return r;
  if (a.family != b.family) return a.family < b.family ? -1 : 1;
  if (a.protocol != b.protocol) return a.protocol - b.protocol;
  if (const int32_t r = Compare(a.at.ip, b.at.ip, a.family == Family::kIpv6); r != 0) return r;
  return a.at.port - b.at.port;
}

int32_t CompareReals(const ipvs::RealEntry& a, const ipvs::RealEntry& b) {
  const bool six = a.real.at.ip.family == Family::kIpv6;
  if (const int32_t r = Compare(a.real.at.ip, b.real.at.ip, six); r != 0) return r;
  return a.real.at.port - b.real.at.port;
}

// Sorts [begin, end) by way of `spare`, which has as many places.
template <typename T, typename F>
void MergeSort(const T** begin, const T** end, const T** spare, F compare) {
  const auto size = end - begin;
  if (size < 2) return;
  const T** const middle = begin + size / 2;
  MergeSort(begin, middle, spare, compare);
  MergeSort(middle, end, spare, compare);
  const T **l = begin, **r = middle;
  for (std::ptrdiff_t i = 0; i < size; ++i) {
    const bool from_left = r == end || (l != middle && compare(**l, **r) <= 0);
    spare[i] = from_left ? *l++ : *r++;
  }
  std::copy_n(spare, size, begin);
}

template <typename T, typename F>
void MergeSort(std::vector<T>& items, F compare) {
  std::vector<const T*> order, spare(items.size());
  order.reserve(items.size());
  for (const T& item : items) order.push_back(&item);
  MergeSort(order.data(), order.data() + order.size(), spare.data(), compare);
  std::vector<T> sorted;
  sorted.reserve(items.size());
  for (const T* item : order) sorted.push_back(std::move(items[item - items.data()]));
  items = std::move(sorted);
}

uint32_t MethodNumber(ForwardingMethod method) {
  switch (method) {
    case ForwardingMethod::kNat:
      return IP_VS_CONN_F_MASQ;
    case ForwardingMethod::kDirectRouting:
      return IP_VS_CONN_F_DROUTE;
    case ForwardingMethod::kTunnel:
      return IP_VS_CONN_F_TUNNEL;
  }
  return IP_VS_CONN_F_MASQ;
}

Rates RatesBetween(const Counters& before, const Counters& now, double seconds) {
  const auto rate = [seconds](uint64_t old, uint64_t fresh) {
    // Zeroed or made anew meanwhile.
    if (fresh < old) return uint64_t{0};
    return static_cast<uint64_t>(static_cast<double>(fresh - old) / seconds + 0.5);
  };
  return {.packets = rate(before.packets, now.packets),
          .bytes = rate(before.bytes, now.bytes),
          .connections = rate(before.connections, now.connections),
          .reply_packets = rate(before.reply_packets, now.reply_packets),
          .reply_bytes = rate(before.reply_bytes, now.reply_bytes)};
}

}  // namespace

void SortAsIpvsadm(Table& table) {
  MergeSort(table, CompareServices);
  for (ListedService& listed : table) MergeSort(listed.reals, CompareReals);
}

Table TableOf(ebpf::Rules rules) {
  Table out;
  out.reserve(rules.size());
  for (ebpf::ReadService& rule : rules) {
    ListedService& listed = out.emplace_back();
    listed.service.key = rule.key;
    listed.service.counters = rule.counters;
    if (rule.config.persistence) listed.service.engine = rule.config.persistence->engine;
    listed.service.config = std::move(rule.config);
    listed.reals.reserve(rule.reals.size());
    for (const ebpf::ReadReal& real : rule.reals) {
      ipvs::RealEntry& entry = listed.reals.emplace_back();
      entry.real = real.real;
      entry.kernel_method = MethodNumber(real.real.method);
      entry.counters = real.stats.counters;
      entry.active_connections = static_cast<uint32_t>(real.stats.active_connections);
      entry.inactive_connections = static_cast<uint32_t>(real.stats.inactive_connections);
      entry.persistent_connections = static_cast<uint32_t>(real.stats.persistent_connections);
    }
  }
  return out;
}

void FillRates(const Table& before, std::chrono::duration<double> between, Table& now) {
  const double seconds = std::max(between.count(), 0.001);
  std::map<ServiceKey, const ListedService*> old;
  for (const ListedService& listed : before) old[listed.service.key] = &listed;
  for (ListedService& listed : now) {
    const auto found = old.find(listed.service.key);
    if (found == old.end()) continue;
    const ListedService& was = *found->second;
    listed.service.rates = RatesBetween(was.service.counters, listed.service.counters, seconds);
    for (ipvs::RealEntry& entry : listed.reals) {
      const auto same = std::ranges::find(was.reals, entry.real.at,
                                          [](const ipvs::RealEntry& e) { return e.real.at; });
      if (same == was.reals.end()) continue;
      entry.rates = RatesBetween(same->counters, entry.counters, seconds);
    }
  }
}

}  // namespace kube_lvs::cli
