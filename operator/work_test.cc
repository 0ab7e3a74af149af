#include "operator/work.h"

#include <gtest/gtest.h>

namespace kube_lvs::controller {
namespace {

TEST(WorkTest, EveryKindsKeyTellsTheKindAndTheName) {
  for (const Kind kind :
       {Kind::kService, Kind::kPool, Kind::kGroup, Kind::kLvsNode, Kind::kKubeService,
        Kind::kEndpointSlice, Kind::kNode, Kind::kNamespace, Kind::kServiceCidr}) {
    const std::string key = KeyOf(kind, "shop/web");
    EXPECT_EQ(ParseKey(key), (Work{kind, "shop/web"})) << key;
  }
  EXPECT_EQ(KeyOf(Kind::kService, "shop/web"), "service/shop/web");
}

TEST(WorkTest, OtherKeysAreAboutNoObject) {
  EXPECT_EQ(ParseKey(kTickKey), std::nullopt);
  EXPECT_EQ(ParseKey(kDefaultGroupKey), std::nullopt);
  EXPECT_EQ(ParseKey(""), std::nullopt);
}

}  // namespace
}  // namespace kube_lvs::controller
