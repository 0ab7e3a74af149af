#include "cli/frame.h"

#include <linux/ip_vs.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "cli/listing.h"

namespace kube_lvs::cli {
namespace {

constexpr int kLongestName = 46, kLongestBar = 30, kShortestBar = 5;

struct Row {
  std::string name;
  std::string method;
  std::array<std::string, 7> cells;  // in the order of kColumns
  double share = -1;                 // below 0: no bar
};

struct Column {
  const char* title;
  int width;
};
// In this order as long as they fit; the rest is left out.
constexpr std::array<Column, 7> kColumns = {{{"Weight", 10},
                                             {"Active", 6},
                                             {"Conn/s", 6},
                                             {"Pkts/s", 6},
                                             {"In B/s", 6},
                                             {"Out B/s", 7},
                                             {"InAct", 6}}};

// Of ASCII, or of whole blocks: `width` counts characters.
std::string Fit(std::string text, int width, bool right = false) {
  const size_t wanted = static_cast<size_t>(std::max(width, 0));
  if (text.size() > wanted) text.resize(wanted);
  const std::string blanks(wanted - text.size(), ' ');
  return right ? blanks + text : text + blanks;
}

const char* MethodText(uint32_t method) {
  switch (method) {
    case IP_VS_CONN_F_MASQ:
      return "Masq";
    case IP_VS_CONN_F_LOCALNODE:
      return "Local";
    case IP_VS_CONN_F_TUNNEL:
      return "Tunnel";
    case IP_VS_CONN_F_DROUTE:
      return "Route";
  }
  return "?";
}

std::array<std::string, 7> Cells(const std::string& weight, uint64_t active, uint64_t inactive,
                                 const Rates& rates) {
  return {weight,
          Short(active),
          Short(rates.connections),
          Short(rates.packets),
          Short(rates.bytes),
          Short(rates.reply_bytes),
          Short(inactive)};
}

std::vector<Row> RowsOf(const ListedService& listed, const Names& names) {
  std::vector<Row> out;
  uint64_t active = 0, inactive = 0, packets = 0;
  for (const ipvs::RealEntry& entry : listed.reals) {
    active += entry.active_connections;
    inactive += entry.inactive_connections;
    packets += entry.rates.packets;
  }
  std::string name;
  uint16_t protocol = 0;
  if (const auto* mark = std::get_if<FwMark>(&listed.service.key.match)) {
    name = "FWM " + std::to_string(mark->mark) + (mark->family == Family::kIpv6 ? " IPv6" : "");
  } else {
    protocol = static_cast<uint16_t>(listed.service.key.protocol);
    name = IsOfAllPorts(listed.service.key) ? "all" : ToString(listed.service.key.protocol);
    std::ranges::transform(name, name.begin(),
                           [](char c) { return static_cast<char>(c - 'a' + 'A'); });
    name += " " + MatchText(listed.service.key, names);
  }
  name += " " + listed.service.config.scheduler;
  out.push_back({.name = name,
                 .method = "",
                 .cells = Cells("", active, inactive, listed.service.rates),
                 .share = -1});
  for (const ipvs::RealEntry& entry : listed.reals) {
    const double all = static_cast<double>(packets != 0 ? packets : active);
    const double own =
        static_cast<double>(packets != 0 ? entry.rates.packets : entry.active_connections);
    out.push_back({.name = "  -> " + EndpointText(entry.real.at, protocol, names),
                   .method = MethodText(entry.kernel_method),
                   .cells = Cells(std::to_string(entry.real.weight), entry.active_connections,
                                  entry.inactive_connections, entry.rates),
                   .share = all > 0 ? own / all : 0});
  }
  return out;
}

std::string Bar(double share, int width, bool unicode) {
  const int blocks = static_cast<int>(share * width + 0.5);
  std::string out;
  for (int i = 0; i < blocks; ++i) out += unicode ? "█" : "#";
  return out;
}

}  // namespace

std::string Short(uint64_t number) {
  if (number < 1000) return std::to_string(number);
  constexpr std::array<char, 6> kUnits = {'k', 'M', 'G', 'T', 'P', 'E'};
  double value = static_cast<double>(number);
  size_t unit = 0;
  for (value /= 1000; value >= 999.5 && unit + 1 < kUnits.size(); value /= 1000) ++unit;
  char text[24];
  std::snprintf(text, sizeof text, value < 9.95 ? "%.1f%c" : "%.0f%c", value, kUnits[unit]);
  return text;
}

std::vector<std::string> Frame(const std::string& first_line,
                               const std::vector<FrameSection>& sections, const FrameSize& size,
                               const Names& names) {
  const int width = std::max(size.width, 20);
  std::vector<std::string> out;
  const auto plain = [&](const std::string& text) {
    std::string line = Fit(text, width);
    while (!line.empty() && line.back() == ' ') line.pop_back();
    out.push_back(line);
  };

  std::vector<std::vector<Row>> rows(sections.size());
  int name_width = 20;
  for (size_t i = 0; i < sections.size(); ++i) {
    for (const ListedService& listed : sections[i].table) {
      for (Row& row : RowsOf(listed, names)) {
        name_width = std::max(name_width, static_cast<int>(row.name.size()));
        rows[i].push_back(std::move(row));
      }
    }
  }
  name_width = std::min({name_width, kLongestName, width});

  // What fits: the name, the method, then columns in turn, and a bar in what is left.
  int used = name_width;
  const bool with_method = used + 7 <= width;
  if (with_method) used += 7;
  size_t columns = 0;
  while (columns < kColumns.size() && used + 1 + kColumns[columns].width <= width) {
    used += 1 + kColumns[columns++].width;
  }
  int bar_width = std::min(width - used - 1, kLongestBar);
  // A bar says more than the last columns.
  while (bar_width < kShortestBar && columns > 3) {
    used -= 1 + kColumns[--columns].width;
    bar_width = std::min(width - used - 1, kLongestBar);
  }
  const auto line_of = [&](const Row& row) {
    std::string line = Fit(row.name, name_width);
    if (with_method) line += " " + Fit(row.method, 6);
    for (size_t i = 0; i < columns; ++i) {
      line += " " + Fit(row.cells[i], kColumns[i].width, true);
    }
    if (row.share > 0 && bar_width >= kShortestBar) {
      line += " " + Bar(row.share, bar_width, size.unicode);
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    return line;
  };

  plain(first_line);
  for (size_t i = 0; i < sections.size(); ++i) {
    plain(sections[i].heading);
    if (!sections[i].trouble.empty()) {
      plain("  " + sections[i].trouble);
      continue;
    }
    Row title{.name = "  services", .method = "Method", .cells = {}, .share = -1};
    for (size_t c = 0; c < kColumns.size(); ++c) title.cells[c] = kColumns[c].title;
    out.push_back(line_of(title));
    for (const Row& row : rows[i]) out.push_back(line_of(row));
    if (rows[i].empty()) plain("  no services");
  }

  if (size.height > 1 && out.size() > static_cast<size_t>(size.height)) {
    const size_t missing = out.size() - static_cast<size_t>(size.height) + 1;
    out.resize(static_cast<size_t>(size.height) - 1);
    plain("... " + std::to_string(missing) + " more lines");
  }
  return out;
}

}  // namespace kube_lvs::cli
