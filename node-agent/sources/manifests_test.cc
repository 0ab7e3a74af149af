#include "node-agent/sources/manifests.h"

#include <gtest/gtest.h>

namespace kube_lvs {
namespace {

std::string Service(const std::string& name, const std::string& vip, const std::string& more = "") {
  return "apiVersion: kube-lvs.io/v1alpha1\nkind: LVSService\nmetadata: {name: " + name +
         "}\nspec:\n  addresses: [{type: IP, value: " + vip +
         "}]\n  ports: [{name: http, port: 80}]\n  backends:\n  - name: b\n    static: [{address: "
         "10.0.0.1}]\n" +
         more;
}

std::set<std::string> Names(const Manifests& manifests) {
  std::set<std::string> names;
  for (const auto& [id, object] : manifests.objects()) names.insert(ToString(id));
  return names;
}

std::string VipOfFirst(const Manifests& manifests) {
  return std::get<api::LvsService>(manifests.objects().begin()->second).spec.addresses[0].value;
}

TEST(Manifests, ObjectsOfAllFilesAreTaken) {
  Manifests manifests({});
  manifests.Update({{"a.yaml", Service("web", "192.0.2.1") + "---\n" + Service("dns", "192.0.2.2")},
                    {"b.yaml", std::string("apiVersion: apps/v1\nkind: Deployment\n"
                                           "metadata: {name: x}\n")},
                    {"c.yaml", Service("mail", "192.0.2.3")}});
  EXPECT_EQ(Names(manifests),
            (std::set<std::string>{"LVSService default/web", "LVSService default/dns",
                                   "LVSService default/mail"}));
  EXPECT_TRUE(manifests.problems().empty()) << manifests.problems()[0].message;
}

TEST(Manifests, ABrokenFileKeepsItsObjectsAndIsNamed) {
  Manifests manifests({});
  manifests.Update(
      {{"a.yaml", Service("web", "192.0.2.1")}, {"b.yaml", Service("dns", "192.0.2.2")}});
  manifests.Update(
      {{"a.yaml", std::string("]] no yaml {{")}, {"b.yaml", Service("dns", "192.0.2.9")}});
  EXPECT_EQ(Names(manifests),
            (std::set<std::string>{"LVSService default/web", "LVSService default/dns"}));
  ASSERT_EQ(manifests.problems().size(), 1u);
  EXPECT_EQ(manifests.problems()[0].where, "a.yaml");
}

TEST(Manifests, AnEmptiedFileIsBrokenNotEmpty) {
  Manifests manifests({});
  manifests.Update({{"a.yaml", Service("web", "192.0.2.1")}});
  manifests.Update({{"a.yaml", std::string("\n")}});
  EXPECT_EQ(manifests.objects().size(), 1u);
  EXPECT_EQ(manifests.problems().size(), 1u);
}

TEST(Manifests, ABrokenObjectKeepsItsLastGoodVersionTheOthersOfItsFileGoOn) {
  Manifests manifests({});
  manifests.Update(
      {{"a.yaml", Service("web", "192.0.2.1") + "---\n" + Service("zoo", "192.0.2.2")}});
  manifests.Update({{"a.yaml", Service("web", "192.0.2.1", "  scheduler: {name: nonsense}\n") +
                                   "---\n" + Service("zoo", "192.0.2.3")}});
  EXPECT_EQ(VipOfFirst(manifests), "192.0.2.1");
  EXPECT_EQ(std::get<api::LvsService>(manifests.objects().rbegin()->second).spec.addresses[0].value,
            "192.0.2.3");
  ASSERT_EQ(manifests.problems().size(), 1u);
  EXPECT_EQ(manifests.problems()[0].where, "a.yaml:1: LVSService default/web");
}

TEST(Manifests, AnUnknownFieldIsRefused) {
  Manifests manifests({});
  manifests.Update({{"a.yaml", Service("web", "192.0.2.1", "  colour: blue\n")}});
  EXPECT_TRUE(manifests.objects().empty());
  ASSERT_EQ(manifests.problems().size(), 1u);
  EXPECT_NE(manifests.problems()[0].message.find("colour"), std::string::npos)
      << manifests.problems()[0].message;
}

TEST(Manifests, ARemovedFileRemovesItsObjects) {
  Manifests manifests({});
  manifests.Update(
      {{"a.yaml", Service("web", "192.0.2.1")}, {"b.yaml", Service("dns", "192.0.2.2")}});
  manifests.Update({{"a.yaml", Service("web", "192.0.2.1")}});
  EXPECT_EQ(Names(manifests), std::set<std::string>{"LVSService default/web"});
}

TEST(Manifests, AnObjectMayMoveToAnotherFile) {
  Manifests manifests({});
  manifests.Update({{"a.yaml", Service("web", "192.0.2.1")}});
  manifests.Update({{"b.yaml", Service("web", "192.0.2.5")}});
  EXPECT_EQ(VipOfFirst(manifests), "192.0.2.5");
  EXPECT_TRUE(manifests.problems().empty());
}

TEST(Manifests, OfTwoFilesWithOneObjectTheFirstHasIt) {
  Manifests manifests({});
  manifests.Update(
      {{"a.yaml", Service("web", "192.0.2.1")}, {"b.yaml", Service("web", "192.0.2.2")}});
  EXPECT_EQ(VipOfFirst(manifests), "192.0.2.1");
  ASSERT_EQ(manifests.problems().size(), 1u);
  EXPECT_EQ(manifests.problems()[0].where, "b.yaml:1: LVSService default/web");
}

TEST(Manifests, WhatIsBrokenFromTheStartComesFromTheCache) {
  Manifests before({});
  before.Update({{"a.yaml", Service("web", "192.0.2.1")}, {"b.yaml", Service("dns", "192.0.2.2")}});
  Manifests manifests(before.objects());
  manifests.Update({{"a.yaml", std::string("{")}, {"b.yaml", Service("dns", "192.0.2.2")}});
  EXPECT_EQ(manifests.objects().size(), 2u);
  // Mended, and the service is no longer in it: now it is gone.
  manifests.Update(
      {{"a.yaml", Service("mail", "192.0.2.7")}, {"b.yaml", Service("dns", "192.0.2.2")}});
  EXPECT_EQ(Names(manifests),
            (std::set<std::string>{"LVSService default/mail", "LVSService default/dns"}));
}

TEST(Manifests, TheCacheDoesNotBringBackWhatWasRemovedMeanwhile) {
  Manifests before({});
  before.Update({{"a.yaml", Service("web", "192.0.2.1")}});
  Manifests manifests(before.objects());
  manifests.Update({{"b.yaml", Service("dns", "192.0.2.2")}});
  EXPECT_EQ(Names(manifests), std::set<std::string>{"LVSService default/dns"});
}

TEST(Objects, SurviveTheWayThroughTheLastGoodText) {
  Manifests manifests({});
  manifests.Update(
      {{"a.yaml", Service("web", "192.0.2.1") + "---\n" + Service("dns", "192.0.2.2")}});
  std::vector<SourceProblem> problems;
  EXPECT_EQ(FromOwnYaml(ToYaml(SnapshotOf(manifests.objects())), problems), manifests.objects());
  EXPECT_TRUE(problems.empty());
}

}  // namespace
}  // namespace kube_lvs
