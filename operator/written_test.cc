#include "operator/written.h"

#include <gtest/gtest.h>

#include "kube/api/types.h"

namespace kube_lvs::controller {
namespace {

std::shared_ptr<const api::KubeNode> Node(const std::string& version) {
  auto out = std::make_shared<api::KubeNode>();
  out->meta.name = "a";
  out->meta.resource_version = version;
  return out;
}

TEST(WrittenTest, OursIsTheNewestUntilTheStoreHasAnotherVersion) {
  Written<api::KubeNode> written;
  EXPECT_EQ(written.Newest("a", Node("1"))->meta.resource_version, "1");
  written.Put("a", "1", *Node("2"));
  EXPECT_EQ(written.Newest("a", Node("1"))->meta.resource_version, "2");
  EXPECT_EQ(written.Newest("a", Node("3"))->meta.resource_version, "3");
  EXPECT_FALSE(written.Contains("a"));
}

TEST(WrittenTest, OneThatIsGoneFromTheStoreIsGone) {
  Written<api::KubeNode> written;
  written.Put("a", "1", *Node("2"));
  EXPECT_EQ(written.Newest("a", nullptr), nullptr);
  EXPECT_FALSE(written.Contains("a"));
}

TEST(WrittenTest, OneThatTheStoreNeverHadIsPerhapsOnlyNotThereYet) {
  Written<api::KubeNode> written;
  written.Put("a", "", *Node("2"));
  EXPECT_EQ(written.Newest("a", nullptr), nullptr);
  EXPECT_TRUE(written.Contains("a"));
}

}  // namespace
}  // namespace kube_lvs::controller
