#include "dataplane/ebpf/network.h"

#include "gtest/gtest.h"

namespace kube_lvs::ebpf {
namespace {

Link Make(uint32_t index, const std::string& kind, uint32_t lower, uint32_t master) {
  Link link;
  link.index = index;
  link.kind = kind;
  link.lower = lower;
  link.master = master;
  return link;
}

TEST(Network, ALinkCarriesVlansIfAVlanDeviceSitsOnItOrOnItsMaster) {
  const std::vector<Link> links = {
      Make(2, "", 0, 0),         // with a VLAN device
      Make(3, "", 0, 0),         // with a macvlan only
      Make(4, "", 0, 5),         // a leg of the bond
      Make(5, "bond", 0, 0),     // with a VLAN device
      Make(6, "vlan", 2, 0),     //
      Make(7, "macvlan", 3, 0),  //
      Make(8, "vlan", 5, 0),     //
      Make(9, "vlan", 0, 0),     // on a link of another namespace
  };
  std::vector<uint32_t> carriers;
  for (const Link& link : links) {
    if (CarriesVlans(link, links)) carriers.push_back(link.index);
  }
  EXPECT_EQ(carriers, (std::vector<uint32_t>{2, 4, 5}));
}

}  // namespace
}  // namespace kube_lvs::ebpf
