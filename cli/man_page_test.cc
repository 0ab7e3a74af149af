// The help text and the manual name the same options.
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "cli/help.h"

namespace kube_lvs::cli {
namespace {

std::set<std::string> Matches(const std::string& text, const std::regex& pattern) {
  std::set<std::string> out;
  for (std::sregex_iterator at(text.begin(), text.end(), pattern), end; at != end; ++at) {
    out.insert((*at)[1]);
  }
  return out;
}

// "--add-service" of a help text.
std::set<std::string> LongInHelp(const std::string& help) {
  return Matches(help, std::regex("--([a-z][a-z-]+)"));
}

// "A" of the lines that explain options: " -A --add-service", " -L -l --list".
std::set<std::string> ShortInHelp(const std::string& help) {
  return Matches(help, std::regex("-([A-Za-z6])(?= (?:-[a-z] )?--[a-z])"));
}

std::string ManPage() {
  std::ostringstream out;
  out << std::ifstream("docs/lvsadm.8").rdbuf();
  return out.str();
}

// Of mdoc's ".It Fl A , Fl Fl add-service".
std::set<std::string> LongInMan(const std::string& page) {
  return Matches(page, std::regex("Fl Fl ([a-z][a-z-]+)"));
}
std::set<std::string> ShortInMan(const std::string& page) {
  return Matches(page, std::regex("Fl ([A-Za-z6])(?=[ \\n])"));
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
