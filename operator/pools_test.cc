#include "operator/pools.h"

#include <gtest/gtest.h>

namespace kube_lvs::controller {
namespace {

using Texts = std::vector<std::string>;

std::shared_ptr<const api::LvsAddressPool> Pool(const std::string& name, Texts addresses,
                                                int32_t priority = 0,
                                                const std::string& created = "2026-01-01") {
  auto out = std::make_shared<api::LvsAddressPool>();
  out->meta.name = name;
  out->meta.creation_timestamp = created;
  out->meta.generation = 3;
  out->spec.addresses = std::move(addresses);
  out->spec.priority = priority;
  return out;
}

PoolMap Map(const std::vector<std::shared_ptr<const api::LvsAddressPool>>& pools) {
  PoolMap out;
  for (const auto& pool : pools) out[pool->meta.name] = pool;
  return out;
}

// "name 192.0.2.0/24", or "name OverlapsPool": one per pool, in order.
Texts Shown(const std::vector<PoolView>& views) {
  Texts out;
  for (const PoolView& view : views) {
    std::string text = view.name;
    for (const Cidr& cidr : view.cidrs) text += " " + cidr.ToString();
    if (!view.reason.empty()) text += " " + view.reason;
    out.push_back(text);
  }
  return out;
}

std::vector<Cidr> Ips(const Texts& texts) {
  std::vector<Cidr> out;
  for (const std::string& text : texts) out.push_back(*Cidr::Parse(text));
  return out;
}

TEST(PoolsTest, HighPriorityComesFirstThenTheName) {
  EXPECT_EQ(
      Shown(ViewPools(Map({Pool("b", {"192.0.2.0/30"}), Pool("a", {"192.0.2.4/30"}),
                           Pool("z", {"192.0.2.8/30"}, 7), Pool("low", {"192.0.2.12/30"}, -1)}),
                      {})),
      Texts({"z 192.0.2.8/30", "a 192.0.2.4/30", "b 192.0.2.0/30", "low 192.0.2.12/30"}));
}

TEST(PoolsTest, OfPoolsThatOverlapTheOldestGrants) {
  EXPECT_EQ(Shown(ViewPools(Map({Pool("young", {"192.0.2.0/24"}, 9, "2026-03-01"),
                                 Pool("old", {"192.0.2.128/25"}, 0, "2026-02-01"),
                                 Pool("apart", {"198.51.100.0/24"}, 0, "2026-04-01")}),
                            {})),
            Texts({"young OverlapsPool", "apart 198.51.100.0/24", "old 192.0.2.128/25"}));
}

TEST(PoolsTest, APoolThatGrantsNothingIsInNobodysWay) {
  EXPECT_EQ(Shown(ViewPools(Map({Pool("old", {"10.96.0.0/12"}, 0, "2026-01-01"),
                                 Pool("young", {"10.100.0.0/30"}, 0, "2026-02-01")}),
                            {{.cidr = *Cidr::Parse("10.96.0.0/16"), .what = "Services"}})),
            Texts({"old OverlapsCluster", "young 10.100.0.0/30"}));
}

TEST(PoolsTest, ExclusionsKeepAPoolClearOfTheCluster) {
  auto pool = std::make_shared<api::LvsAddressPool>(*Pool("edge", {"192.0.2.0/29"}));
  const std::vector<ClusterNetwork> cluster = {
      {.cidr = *Cidr::Parse("192.0.2.0/30"), .what = "the pods' network of Node a"}};
  std::vector<PoolView> views = ViewPools(Map({pool}), cluster);
  EXPECT_EQ(views[0].why_not,
            "overlaps 192.0.2.0/30, the pods' network of Node a: exclude it with "
            "excludedAddresses");
  pool->spec.excluded_addresses = {"192.0.2.0-192.0.2.3"};
  EXPECT_EQ(Shown(ViewPools(Map({pool}), cluster)), Texts({"edge 192.0.2.4/30"}));
}

// Or one Node that joins would end all grants.
TEST(PoolsTest, TheAddressesOfNodesAreLeftOut) {
  const auto pool = Pool("edge", {"192.0.2.0/30"});
  const auto node = [](const std::string& ip) {
    return ClusterNetwork{.cidr = Cidr::Host(*IpAddress::Parse(ip)),
                          .what = "the address of Node n" + ip.substr(ip.size() - 1),
                          .node_address = true};
  };
  std::vector<PoolView> views = ViewPools(Map({pool}), {node("192.0.2.1"), node("10.0.0.1")});
  EXPECT_EQ(Shown(views), Texts({"edge 192.0.2.0/32 192.0.2.2/31"}));
  const api::LvsAddressPool::Status status =
      ComputePoolStatus(*pool, views[0], Ips({"192.0.2.1"}), "now");
  EXPECT_EQ(status.conditions[0].status, "True");
  EXPECT_EQ(status.conditions[0].message,
            "addresses are granted from it, but not 192.0.2.1, the address of Node n1");
  // Agents judge a VIP that was granted before the Node came.
  EXPECT_EQ(status.cidrs, Texts({"192.0.2.0/32", "192.0.2.1/32", "192.0.2.2/31"}));
  EXPECT_EQ(std::tuple(status.total_ipv4, status.available_ipv4), std::tuple(3, 3));

  views = ViewPools(Map({pool}),
                    {node("192.0.2.0"), node("192.0.2.1"), node("192.0.2.2"), node("192.0.2.3")});
  EXPECT_EQ(Shown(views), Texts({"edge OverlapsCluster"}));
  EXPECT_EQ(views[0].why_not,
            "Nodes have all its addresses: 192.0.2.0, the address of Node n0; 192.0.2.1, the "
            "address of Node n1; 192.0.2.2, the address of Node n2; and 1 more");
}

TEST(PoolsTest, NonsenseGrantsNothingAndHarmsNoOther) {
  EXPECT_EQ(Shown(ViewPools(Map({Pool("bad", {"oops"}), Pool("loop", {"127.0.0.0/24"}),
                                 Pool("good", {"192.0.2.0/30"})}),
                            {})),
            Texts({"bad InvalidSpec", "good 192.0.2.0/30", "loop InvalidSpec"}));
}

TEST(PoolsTest, StatusCountsAndKeepsWhatIsHeld) {
  const auto pool = Pool("edge", {"192.0.2.0/29", "2001:db8::/126"});
  std::vector<PoolView> views = ViewPools(Map({pool}), {});
  api::LvsAddressPool::Status status =
      ComputePoolStatus(*pool, views[0], Ips({"192.0.2.1", "192.0.2.2", "2001:db8::1"}), "now");
  EXPECT_EQ(status.cidrs, Texts({"192.0.2.0/29", "2001:db8::/126"}));
  EXPECT_EQ(std::tuple(status.total_ipv4, status.allocated_ipv4, status.available_ipv4),
            std::tuple(8, 2, 6));
  EXPECT_EQ(std::tuple(status.total_ipv6, status.allocated_ipv6, status.available_ipv6),
            std::tuple(4, 1, 3));
  EXPECT_EQ(status.observed_generation, 3);
  ASSERT_EQ(status.conditions.size(), 1u);
  EXPECT_EQ(status.conditions[0].status, "True");
  EXPECT_EQ(status.conditions[0].last_transition_time, "now");

  // It shrank: agents still serve what services have.
  const auto less = Pool("edge", {"192.0.2.0/31"});
  status = ComputePoolStatus(*less, ViewPools(Map({less}), {})[0], Ips({"192.0.2.1", "192.0.2.5"}),
                             "later");
  EXPECT_EQ(status.cidrs, Texts({"192.0.2.0/31", "192.0.2.5/32"}));
  EXPECT_EQ(std::tuple(status.total_ipv4, status.allocated_ipv4, status.available_ipv4),
            std::tuple(2, 2, 1));

  // All of a CIDR is held, and what the pool does not grant any more stays in the status.
  status = ComputePoolStatus(*pool, views[0], Ips({"192.0.2.1", "192.0.2.4/30"}), "later");
  EXPECT_EQ(status.cidrs, Texts({"192.0.2.0/29", "2001:db8::/126"}));
  EXPECT_EQ(std::tuple(status.total_ipv4, status.allocated_ipv4, status.available_ipv4),
            std::tuple(8, 5, 3));
  status = ComputePoolStatus(*less, ViewPools(Map({less}), {})[0], Ips({"192.0.2.0/29"}), "later");
  EXPECT_EQ(status.cidrs, Texts({"192.0.2.0/29", "192.0.2.0/31"}));
  EXPECT_EQ(std::tuple(status.total_ipv4, status.allocated_ipv4, status.available_ipv4),
            std::tuple(2, 8, 0));

  views[0].cidrs.clear();
  views[0].reason = "OverlapsPool";
  status = ComputePoolStatus(*pool, views[0], Ips({"192.0.2.1"}), "later");
  EXPECT_EQ(status.cidrs, Texts({"192.0.2.1/32"}));
  EXPECT_EQ(status.available_ipv4, 0);
  EXPECT_EQ(status.conditions[0].reason, "OverlapsPool");
}

}  // namespace
}  // namespace kube_lvs::controller
