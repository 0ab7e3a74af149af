// The backend on maps and a network in memory, and what its tests look for in them.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "dataplane/ebpf/backend.h"
#include "dataplane/ebpf/codec.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/testing/fake_maps.h"
#include "dataplane/ebpf/testing/fake_network.h"

namespace kube_lvs::ebpf {

inline IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }
inline ServiceKey Key(const std::string& at, Protocol protocol = Protocol::kTcp) {
  return {Dataplane::kEbpf, *Endpoint::Parse(at), protocol};
}
inline RealServer Real(const std::string& at, uint32_t weight = 1,
                       ForwardingMethod method = ForwardingMethod::kNat) {
  RealServer real;
  real.at = *Endpoint::Parse(at);
  real.weight = weight;
  real.method = method;
  return real;
}
inline ServiceConfig Config(const std::string& scheduler, bool source_nat = false) {
  ServiceConfig config;
  config.scheduler = scheduler;
  config.source_nat = source_nat;
  return config;
}

// Routes lead to 10.0.0.1 to 10.0.0.9 and 2001:db8::1 to 2001:db8::9 by eth0.
class EbpfBackendTest : public testing::Test {
 protected:
  explicit EbpfBackendTest(const FakeMapSizes& sizes = {}) {
    MakeMaps(maps_, sizes);
    network_.AddLink(2, "eth0");
    network_.AddLink(3, "eth1");
    for (uint8_t host = 1; host < 10; ++host) {
      network_.AddRoute(Ip("2001:db8::" + std::to_string(host)), 2, Ip("2001:db8::250"), host);
      network_.AddRoute(Ip("10.0.0." + std::to_string(host)), 2, Ip("10.0.0.250"), host);
    }
    Start();
  }

  // As after a start of the agent: nothing of the old object is left but the maps.
  void Start() {
    backend_.reset();
    auto backend = EbpfBackend::Adopt(maps_, programs_, network_, clock_);
    ASSERT_TRUE(backend.ok()) << backend.status();
    backend_ = *std::move(backend);
  }

  absl::Status Do(const std::vector<Step>& steps) {
    for (const absl::Status& status : backend_->Apply(steps)) {
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  VirtualService Actual(const ServiceKey& key) {
    const auto state = backend_->Read();
    EXPECT_TRUE(state.ok()) << state.status();
    const auto found = state->services.find(key);
    return found == state->services.end() ? VirtualService{} : found->second;
  }

  std::span<klvs_real> Reals() { return GetArray<klvs_real>(maps_, kRealsMap).value(); }
  std::span<klvs_real_conns> Conns() {
    return GetArray<klvs_real_conns>(maps_, kRealConnsMap).value();
  }
  std::span<TemplateCount> Templates() {
    return GetArray<TemplateCount>(maps_, kRealTemplatesMap).value();
  }
  std::span<klvs_service_state> States() {
    return GetArray<klvs_service_state>(maps_, kServiceStateMap).value();
  }

  klvs_address Address(const std::string& ip) {
    const IpAddress address = Ip(ip);
    const auto found = address.IsV4() ? Get<klvs_address>(maps_, kAddressesMap, ToWire(address))
                                      : Get<klvs_address>(maps_, kAddresses6Map, ToWire6(address));
    return found->value_or(klvs_address{});
  }
  klvs_service Service(const ServiceKey& key) {
    const klvs_address vip = Address(std::get<Endpoint>(key.match).ip.ToString());
    return Get<klvs_service>(maps_, kServicesMap, EncodeKey(vip.vip_id, key))
        ->value_or(klvs_service{});
  }
  std::vector<klvs_list_entry> List(const ServiceKey& key) {
    const klvs_service service = Service(key);
    const auto all = GetArray<klvs_list_entry>(maps_, kListsMap).value();
    const auto list = all.subspan(service.list_base, service.list_count);
    return {list.begin(), list.end()};
  }
  // The real server behind each slot.
  std::vector<std::string> Table(const ServiceKey& key) {
    const klvs_service service = Service(key);
    std::vector<std::string> out;
    for (const TableCell& cell : GetArray<TableCell>(maps_, kTablesMap)
                                     .value()
                                     .subspan(service.table_base, service.table_size)) {
      out.push_back(cell.real == 0 ? "" : FromWire(Reals()[cell.real].address).ToString());
    }
    return out;
  }
  uint32_t IdOf(const ServiceKey& key, const std::string& ip) {
    for (const klvs_list_entry& entry : List(key)) {
      if (FromWire(Reals()[entry.real].address) == Ip(ip)) return entry.real;
    }
    return 0;
  }

  FakeMapStore maps_;
  FakePrograms programs_;
  FakeNetwork network_;
  FakeClock clock_;
  std::unique_ptr<EbpfBackend> backend_;
  const ServiceKey web_ = Key("192.0.2.1:80");
};

}  // namespace kube_lvs::ebpf
