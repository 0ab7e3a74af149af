#include "kube/resource.h"

#include <gtest/gtest.h>

namespace kube_lvs::kube {
namespace {

constexpr Resource kThings{"example.com", "v1", "things", "Thing", true};

TEST(ResourceTest, ApiVersionHasTheGroupUnlessItIsTheCore) {
  EXPECT_EQ(kNodes.ApiVersion(), "v1");
  EXPECT_EQ(kThings.ApiVersion(), "example.com/v1");
}

TEST(ObjectNameTest, KeyAndBack) {
  for (const ObjectName& name : {ObjectName{"ns", "a"}, ObjectName{"", "a"}}) {
    EXPECT_EQ(ObjectName::FromKey(name.Key()), name);
  }
  EXPECT_EQ((ObjectName{"ns", "a"}).Key(), "ns/a");
}

TEST(PathTest, CollectionsAndObjects) {
  EXPECT_EQ(CollectionPath(kNodes, ""), "/api/v1/nodes");
  EXPECT_EQ(CollectionPath(kServices, "shop"), "/api/v1/namespaces/shop/services");
  EXPECT_EQ(CollectionPath(kThings, ""), "/apis/example.com/v1/things");
  EXPECT_EQ(*ObjectPath(kThings, {"shop", "web"}, "status"),
            "/apis/example.com/v1/namespaces/shop/things/web/status");
  EXPECT_EQ(*ObjectPath(kNodes, {"", "n1"}), "/api/v1/nodes/n1");
}

TEST(PathTest, NamesThatDoNotFitAreRefused) {
  for (const ObjectName& name : {ObjectName{"shop", ""}, ObjectName{"", "web"},
                                 ObjectName{"shop", ".."}, ObjectName{".", "web"}}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ObjectPath(kThings, name).status())) << name.Key();
  }
  EXPECT_TRUE(absl::IsInvalidArgument(ObjectPath(kNodes, {"shop", "n1"}).status()));
}

TEST(PathTest, NothingInANameLeavesItsPlace) {
  EXPECT_EQ(*ObjectPath(kNodes, {"", "a/b?c#d%e f"}), "/api/v1/nodes/a%2Fb%3Fc%23d%25e%20f");
  EXPECT_EQ(UrlEncode("a=b,!c in (d)\xc3\xa9"), "a%3Db%2C%21c%20in%20%28d%29%C3%A9");
  EXPECT_EQ(UrlEncode("AZaz09-._~"), "AZaz09-._~");
}

}  // namespace
}  // namespace kube_lvs::kube
