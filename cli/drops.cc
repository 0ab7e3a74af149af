#include "cli/drops.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/packet_view.h"

namespace kube_lvs::cli {
namespace {

// Keeps the order in which members are written.
using Json = nlohmann::ordered_json;

constexpr const char* kLine = "%-12s %-10s %-3s %-14s %5s %s\n";

std::string Line(const std::string& time, const std::string& interface, const std::string& stage,
                 const std::string& reason, const std::string& length, const std::string& packet) {
  char text[512];
  std::snprintf(text, sizeof text, kLine, time.c_str(), interface.c_str(), stage.c_str(),
                reason.c_str(), length.c_str(), packet.c_str());
  return text;
}

std::string HexOf(const std::vector<uint8_t>& bytes) {
  std::string out;
  char text[3];
  for (const uint8_t byte : bytes) {
    std::snprintf(text, sizeof text, "%02x", byte);
    out += text;
  }
  return out;
}

Json End(const IpAddress& ip, const std::optional<uint16_t>& port) {
  Json out = {{"address", ip.ToString()}};
  if (port) out["port"] = *port;
  return out;
}

std::string Text(const Json& object) {
  return object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string DropTitle() {
  return Line("Time (UTC)", "Interface", "At", "Reason", "Bytes", "Packet");
}

std::string DropLine(const ShownDrop& drop) {
  const size_t clock = drop.time.find('T');
  const std::string time = clock == std::string::npos ? drop.time : drop.time.substr(clock + 1, 12);
  const ebpf::DropSample& sample = drop.sample;
  return Line(time, drop.interface, sample.stage, sample.reason, std::to_string(sample.length),
              ToString(ViewOf(sample.frame)));
}

std::string DropSummary(const DropTotals& totals) {
  uint64_t all = 0;
  std::string reasons;
  for (const auto& [reason, packets] : totals.packets) {
    all += packets;
    reasons += (reasons.empty() ? ": " : ", ") + reason + " " + std::to_string(packets);
  }
  char text[128];
  std::snprintf(text, sizeof text, "%llu dropped in %.1f s, %llu shown",
                static_cast<unsigned long long>(all), totals.seconds,
                static_cast<unsigned long long>(totals.shown));
  return text + reasons + "\n";
}

std::string DropJson(const ShownDrop& drop) {
  const ebpf::DropSample& sample = drop.sample;
  const PacketView packet = ViewOf(sample.frame);
  Json out = {{"time", drop.time},
              {"interface", drop.interface},
              {"stage", sample.stage},
              {"reason", sample.reason},
              {"bytes", sample.length}};
  if (packet.source) {
    out["source"] = End(*packet.source, packet.source_port);
    out["destination"] = End(*packet.destination, packet.destination_port);
    if (!packet.protocol.empty()) out["protocol"] = packet.protocol;
    if (!packet.detail.empty()) out["detail"] = packet.detail;
  }
  out["frame"] = HexOf(sample.frame);
  return Text(out);
}

std::string DropSummaryJson(const DropTotals& totals) {
  Json drops = Json::object();
  for (const auto& [reason, packets] : totals.packets) drops[reason] = packets;
  return Text({{"seconds", totals.seconds}, {"shown", totals.shown}, {"dropped", drops}});
}

}  // namespace kube_lvs::cli
