#include "operator/networks.h"

#include <gtest/gtest.h>

namespace kube_lvs::controller {
namespace {

TEST(NetworksTest, NodesPodsAndServicesOfTheCluster) {
  auto node = std::make_shared<api::KubeNode>();
  node->internal_addresses = {"172.30.0.1", "not an address", "2001:db8::1"};
  node->pod_cidrs = {"10.244.1.0/24"};
  auto cidr = std::make_shared<api::KubeServiceCidr>();
  cidr->cidrs = {"fd00::/108", "10.96.0.0/16"};
  const Networks networks = NetworksOf({{"a", node}}, {{"kubernetes", cidr}});
  EXPECT_EQ(networks.all, (std::vector<ClusterNetwork>{
                              {*Cidr::Parse("172.30.0.1/32"), "the address of Node a", true},
                              {*Cidr::Parse("2001:db8::1/128"), "the address of Node a", true},
                              {*Cidr::Parse("10.244.1.0/24"), "the pods' network of Node a"},
                              {*Cidr::Parse("fd00::/108"), "the Services' network kubernetes"},
                              {*Cidr::Parse("10.96.0.0/16"), "the Services' network kubernetes"}}));
  EXPECT_EQ(networks.node_addresses, (std::set<IpAddress>{*IpAddress::Parse("172.30.0.1"),
                                                          *IpAddress::Parse("2001:db8::1")}));
  EXPECT_EQ(networks.service_cidrs,
            (std::vector<Cidr>{*Cidr::Parse("fd00::/108"), *Cidr::Parse("10.96.0.0/16")}));
  EXPECT_EQ(networks.default_family, Family::kIpv6);
}

TEST(NetworksTest, TheNetworkOfAnAddress) {
  const std::vector<ClusterNetwork> networks = {{*Cidr::Parse("10.96.0.0/16"), "Services"},
                                                {*Cidr::Parse("172.30.0.1/32"), "Node", true}};
  EXPECT_EQ(NetworkWith(networks, *Cidr::Parse("172.30.0.1"))->what, "Node");
  EXPECT_EQ(NetworkWith(networks, *Cidr::Parse("10.96.3.1"))->what, "Services");
  EXPECT_EQ(NetworkWith(networks, *Cidr::Parse("172.30.0.2")), nullptr);
  EXPECT_EQ(NetworkWith(networks, *Cidr::Parse("172.30.0.0/31"))->what, "Node");
  EXPECT_EQ(NetworkWith(networks, *Cidr::Parse("10.96.8.0/24"))->what, "Services");
  EXPECT_EQ(NetworkWith(networks, *Cidr::Parse("172.30.0.2/31")), nullptr);
}

TEST(NetworksTest, WithoutServiceCidrsServicesAreIpv4) {
  EXPECT_EQ(NetworksOf({}, {}).default_family, Family::kIpv4);
}

}  // namespace
}  // namespace kube_lvs::controller
