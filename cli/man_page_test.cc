// The help text and the manual name the same options.
#include <gtest/gtest.h>
#include <regex.h>

#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "cli/help.h"

namespace kube_lvs::cli {
namespace {

// What the first group matches, each time; the search goes on behind the group, not behind the
// match.
std::set<std::string> Matches(const std::string& text, const char* pattern) {
  std::set<std::string> out;
  regex_t regex;
  EXPECT_EQ(regcomp(&regex, pattern, REG_EXTENDED), 0) << pattern;
  regmatch_t at[2];
  for (const char* from = text.c_str(); regexec(&regex, from, 2, at, 0) == 0; from += at[1].rm_eo) {
    out.emplace(from + at[1].rm_so, from + at[1].rm_eo);
  }
  regfree(&regex);
  return out;
}

// "--add-service" of a help text.
std::set<std::string> LongInHelp(const std::string& help) {
  return Matches(help, "--([a-z][a-z-]+)");
}

// "A" of the lines that explain options: " -A --add-service", " -L -l --list".
std::set<std::string> ShortInHelp(const std::string& help) {
  return Matches(help, "-([A-Za-z6]) (-[a-z] )?--[a-z]");
}

std::string ManPage() {
  std::ostringstream out;
  out << std::ifstream("docs/lvsadm.8").rdbuf();
  return out.str();
}

// Of mdoc's ".It Fl A , Fl Fl add-service".
std::set<std::string> LongInMan(const std::string& page) {
  return Matches(page, "Fl Fl ([a-z][a-z-]+)");
}
std::set<std::string> ShortInMan(const std::string& page) {
  return Matches(page, "Fl ([A-Za-z6])[ \n]");
}

TEST(ManPage, NamesTheOptionsOfTheHelpText) {
  const std::string help = Help({.program = "lvsadm", .extensions = true});
  const std::string page = ManPage();
  ASSERT_GT(page.size(), 1000u);
  ASSERT_GT(LongInHelp(help).size(), 40u);
  ASSERT_GT(ShortInHelp(help).size(), 20u);
  EXPECT_EQ(LongInMan(page), LongInHelp(help));
  EXPECT_EQ(ShortInMan(page), ShortInHelp(help));
}

}  // namespace
}  // namespace kube_lvs::cli
