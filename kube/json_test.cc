#include "kube/json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

namespace kube_lvs::kube {
namespace {

using nlohmann::json;

TEST(ParseJsonTest, DropsManagedFieldsOfTheObjectOnly) {
  const auto value =
      ParseJson(R"({"metadata":{"name":"a","managedFields":[1]},"spec":{"managedFields":[2]}})");
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_EQ(*value, json::parse(R"({"metadata":{"name":"a"},"spec":{"managedFields":[2]}})"));
}

TEST(ParseJsonTest, RefusesWhatIsNotOneSaneValue) {
  const std::string deep = std::string(100'000, '[');
  for (const std::string& text :
       {std::string(""), std::string("{"), std::string("{}x"), std::string("[1,]"),
        std::string("{\"a\":1e999}"), std::string("\"\xff\""), std::string("nul"),
        std::string("{\"a\" 1}"), std::string("\"\\"), std::string(1, '\0'), deep,
        deep + std::string(100'000, ']'), std::string(129, '[') + std::string(129, ']')}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseJson(text).status())) << text.substr(0, 40);
  }
  EXPECT_TRUE(ParseJson(std::string(128, '[') + std::string(128, ']')).ok());
  EXPECT_TRUE(ParseJson("\"" + std::string(1000, '[') + "\"").ok());
}

TEST(FindJsonTest, MissingNullAndWrongStepsAreAbsent) {
  const json value = {{"a", {{"b", 5}, {"c", nullptr}}}, {"d", 3}};
  EXPECT_EQ(*FindJson(value, {"a", "b"}), 5);
  EXPECT_EQ(FindJson(value, {"a", "c"}), nullptr);
  EXPECT_EQ(FindJson(value, {"a", "x"}), nullptr);
  EXPECT_EQ(FindJson(value, {"d", "x"}), nullptr);
  EXPECT_EQ(*FindJson(value, {}), value);
}

TEST(JsonValueTest, WrongTypesAreErrorsThatNameThePath) {
  const json value = json::parse(R"({"s":"x","n":5,"f":5.5,"b":true,"big":18446744073709551615})");
  EXPECT_EQ(*JsonString(value, {"s"}), "x");
  EXPECT_EQ(*JsonString(value, {"absent"}, "default"), "default");
  EXPECT_EQ(*JsonInt(value, {"n"}), 5);
  EXPECT_EQ(*JsonInt(value, {"absent"}, 9), 9);
  EXPECT_EQ(*JsonBool(value, {"b"}), true);
  EXPECT_EQ(JsonString(value, {"n"}).status(),
            absl::InvalidArgumentError("n: is a number, not a string"));
  EXPECT_TRUE(absl::IsInvalidArgument(JsonInt(value, {"f"}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(JsonInt(value, {"s"}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(JsonInt(value, {"big"}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(JsonBool(value, {"n"}).status()));
}

TEST(DecodeMetaTest, ReadsWhatIsThere) {
  const auto meta = DecodeMeta(json::parse(R"({"metadata":{"name":"web","namespace":"shop",
      "uid":"u","resourceVersion":"12","generation":3,"deletionTimestamp":"2026-01-01T00:00:00Z",
      "labels":{"a":"b"},"annotations":{"c":"d"}}})"));
  ASSERT_TRUE(meta.ok()) << meta.status();
  EXPECT_EQ(*meta, (ObjectMeta{.ns = "shop",
                               .name = "web",
                               .uid = "u",
                               .resource_version = "12",
                               .generation = 3,
                               .deleting = true,
                               .labels = {{"a", "b"}},
                               .annotations = {{"c", "d"}}}));
}

TEST(DecodeMetaTest, WrongTypesAreErrors) {
  for (const char* text :
       {"[]", "5", R"({"metadata":{"name":5}})", R"({"metadata":{"labels":["a"]}})",
        R"({"metadata":{"labels":{"a":1}}})", R"({"metadata":{"generation":"x"}})"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(DecodeMeta(json::parse(text)).status())) << text;
  }
}

TEST(SplitListTest, FindsTheItemsWithoutReadingThem) {
  const auto page = SplitList(
      " {\"kind\":\"List\", \"items\":[ {\"a\":\"]}\\\"\"} ,[1,[2]],3], \"metadata\":"
      "{\"resourceVersion\":\"7\",\"continue\":\"c\"}, \"x\":null}\n");
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(page->resource_version, "7");
  EXPECT_EQ(page->continue_token, "c");
  EXPECT_EQ(page->items, (std::vector<std::string_view>{"{\"a\":\"]}\\\"\"}", "[1,[2]]", "3"}));
}

TEST(SplitListTest, EmptyAndNullItemsAreAnEmptyList) {
  for (const char* text : {R"({"metadata":{},"items":[]})", R"({"items":null,"metadata":{}})"}) {
    const auto page = SplitList(text);
    ASSERT_TRUE(page.ok()) << text << page.status();
    EXPECT_TRUE(page->items.empty());
  }
}

TEST(SplitListTest, RefusesWhatIsNotAWholeList) {
  for (const char* text :
       {"", "[]", "{", "{}", R"({"items":[]})", R"({"metadata":{}})",
        R"({"metadata":{},"items":{}})", R"({"metadata":{},"items":[{])",
        R"({"metadata":{},"items":[{},]})", R"({"metadata":{},"items":[]}x)",
        R"({"metadata":{},"items":[])", R"({"metadata":{},"items":[{"a":"b})",
        R"({"metadata":{"continue":5},"items":[]})", R"({"metadata":{},"items":[],"items":[]})",
        R"({"metadata":{},"items":[1 2]})", R"({metadata:{},"items":[]})",
        R"({"metadata":,"items":[]})"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(SplitList(text).status())) << text;
  }
}

// Any cut and any changed byte of a list gives an answer, right or wrong, and never a crash.
TEST(SplitListTest, SurvivesAnyDamage) {
  const std::string good =
      R"({"kind":"List","metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"a"},)"
      R"("spec":{"ports":[1,2.5,"\u00e9\\\"",null,true]}},{"metadata":{"name":"b"}}]})";
  for (size_t cut = 0; cut < good.size(); ++cut) {
    EXPECT_FALSE(SplitList(good.substr(0, cut)).ok()) << cut;
  }
  const unsigned seed = 42;
  std::mt19937 random(seed);
  for (int i = 0; i < 20'000; ++i) {
    std::string bad = good;
    for (int n = 0; n < 3; ++n) bad[random() % bad.size()] = static_cast<char>(random());
    if (const auto page = SplitList(bad); page.ok()) {
      for (const std::string_view item : page->items) {
        if (const auto value = ParseJson(item); value.ok()) (void)DecodeMeta(*value);
      }
    }
  }
}

}  // namespace
}  // namespace kube_lvs::kube
