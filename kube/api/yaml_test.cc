#include "kube/api/yaml.h"

#include <gtest/gtest.h>

#include <string>

#include "base/status.h"

namespace kube_lvs::api {
namespace {

using nlohmann::json;

json One(std::string_view text) {
  const absl::StatusOr<std::vector<YamlDocument>> documents = ParseYaml(text);
  EXPECT_TRUE(documents.ok()) << documents.status();
  if (!documents.ok() || documents->size() != 1) return "not one document";
  return documents->front().value;
}

std::string ErrorOf(std::string_view text, const YamlLimits& limits = {}) {
  const absl::StatusOr<std::vector<YamlDocument>> documents = ParseYaml(text, limits);
  return documents.ok() ? "OK" : Message(documents.status());
}

TEST(YamlTest, ScalarsHaveTheTypesOfJson) {
  EXPECT_EQ(One(R"(
int: 80
negative: -5
zero: 0
float: 1.5
exponent: 1e3
bool: true
off: false
none: ~
empty:
text: web
quoted: "80"
single: 'true'
address: 192.0.2.1
range: 192.0.2.0/24
octal: 010
time: 10:30
version: 1.2.3
huge: 123456789012345678901234567890
tagged: !!str 7
block: |
  a
  b
)"),
            json::parse(R"({"int": 80, "negative": -5, "zero": 0, "float": 1.5, "exponent": 1000.0,
              "bool": true, "off": false, "none": null, "empty": null, "text": "web",
              "quoted": "80", "single": "true", "address": "192.0.2.1", "range": "192.0.2.0/24",
              "octal": "010", "time": "10:30", "version": "1.2.3",
              "huge": "123456789012345678901234567890", "tagged": "7", "block": "a\nb\n"})"));
}

TEST(YamlTest, DocumentsComeWithTheirLines) {
  const auto documents = ParseYaml("# head\na: 1\n---\n---\n\nb: [1, {c: d}]\n...\n");
  ASSERT_TRUE(documents.ok()) << documents.status();
  ASSERT_EQ(documents->size(), 2u);
  EXPECT_EQ((*documents)[0].line, 2);
  EXPECT_EQ((*documents)[1].line, 6);
  EXPECT_EQ((*documents)[1].value, json::parse(R"({"b": [1, {"c": "d"}]})"));
  EXPECT_TRUE(ParseYaml("")->empty());
  EXPECT_TRUE(ParseYaml("# nothing\n")->empty());
}

TEST(YamlTest, AnchorsAreResolved) {
  EXPECT_EQ(One("a: &x {p: 1}\nb: *x\n"), json::parse(R"({"a": {"p": 1}, "b": {"p": 1}})"));
}

TEST(YamlTest, WhatIsWrongIsNamedWithItsLine) {
  EXPECT_EQ(ErrorOf("a: 1\nb: 2\na: 3\n"), "line 3: key \"a\" is there twice");
  EXPECT_EQ(ErrorOf("a: 1\n? [x]\n: 2\n"), "line 2: a key must be a text");
  EXPECT_EQ(ErrorOf("a: &x {p: 1}\nb:\n  <<: *x\n"), "line 3: merge keys (<<) are not supported");
  EXPECT_EQ(ErrorOf("a: !!binary eA==\n"), "line 1: tag tag:yaml.org,2002:binary is not supported");
  EXPECT_EQ(ErrorOf("a: [1, 2\nb: }\n").substr(0, 5), "line ");
  EXPECT_EQ(ErrorOf("a: *nobody\n").substr(0, 8), "line 1: ");
  EXPECT_NE(ErrorOf("a:\n\t- b\n"), "OK");
}

TEST(YamlTest, LimitsHold) {
  EXPECT_EQ(ErrorOf("abcdef", {.bytes = 3}), "the text is longer than 3 bytes");
  EXPECT_EQ(ErrorOf("[[[[1]]]]", {.depth = 3}), "line 1: is nested deeper than 3");
  EXPECT_NE(ErrorOf(std::string(100000, '[')), "OK");
  // Each line ten times the one before: a thousand bytes, ten billion values.
  std::string bomb = "a0: &a0 [x]\n";
  for (int i = 1; i <= 10; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int j = 1; j < 10; ++j) bomb += ", " + before;
    bomb += "]\n";
  }
  EXPECT_NE(ErrorOf(bomb, {.nodes = 10000}).find("stands for more than 10000 values"),
            std::string::npos);
  EXPECT_NE(
      ErrorOf("a: &a " + std::string(900, 'x') + "\nb: [*a, *a, *a, *a, *a]\n", {.bytes = 1000})
          .find("too many bytes"),
      std::string::npos);
}

}  // namespace
}  // namespace kube_lvs::api
