// lvsadm: lists the rules of both dataplanes. Exit status as ipvsadm's: 0, 1 failed, 2 bad usage.
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "base/status.h"
#include "cli/arguments.h"
#include "cli/listing.h"
#include "dataplane/ebpf/open.h"
#include "dataplane/ipvs/codec.h"
#include "dataplane/ipvs/netlink_channel.h"
#include "dataplane/ipvs/reading.h"

namespace kube_lvs::cli {
namespace {

struct Everything {
  std::string heading;
  ServiceTable services;
  Stats stats;
};

// All of the kernel's IPVS, whoever set it.
absl::StatusOr<Everything> ReadIpvs() {
  ipvs::NetlinkChannel channel;
  KUBE_LVS_ASSIGN_OR_RETURN(const ipvs::Bytes answer,
                            channel.Ask(ipvs::EncodePlain(ipvs::Command::kGetInfo)));
  KUBE_LVS_ASSIGN_OR_RETURN(const ipvs::Info info, ipvs::DecodeInfo(answer));
  Everything out;
  char heading[96];
  std::snprintf(heading, sizeof(heading), "IP Virtual Server version %u.%u.%u (size=%u)",
                info.version >> 16 & 0xff, info.version >> 8 & 0xff, info.version & 0xff,
                info.connection_table_size);
  out.heading = heading;
  KUBE_LVS_ASSIGN_OR_RETURN(const auto services, ipvs::ReadServices(channel));
  for (const ipvs::ServiceEntry& service : services) {
    VirtualService& shown = out.services[service.key];
    shown.config = service.config;
    KUBE_LVS_ASSIGN_OR_RETURN(const auto reals, ipvs::ReadReals(channel, service.key));
    for (const ipvs::RealEntry& real : reals) {
      shown.reals.push_back(real.real);
      RealServerStats& stats = out.stats.reals[{service.key, real.real.at}];
      stats.active_connections = real.active_connections;
      stats.inactive_connections = real.inactive_connections;
    }
  }
  return out;
}

absl::StatusOr<Everything> ReadEbpf(const std::string& dir) {
  KUBE_LVS_ASSIGN_OR_RETURN(ebpf::Rules rules, ebpf::ReadPinnedRules(dir));
  return Everything{"kube-lvs eBPF dataplane (" + dir + ")", std::move(rules.services),
                    std::move(rules.stats)};
}

// Whether the dataplane is not on this machine, as opposed to unreadable.
bool IsAbsent(const absl::Status& status) {
  return absl::IsNotFound(status) || absl::IsFailedPrecondition(status);
}

int Main(const std::vector<std::string>& words) {
  const absl::StatusOr<Arguments> arguments = ParseArguments(words);
  if (!arguments.ok()) {
    std::cerr << "lvsadm: " << Message(arguments.status()) << "\n";
    return 2;
  }
  if (arguments->help) {
    std::cout << kHelp;
    return 0;
  }
  if (arguments->version) {
    std::cout << "lvsadm (kube-lvs) 0.1.0\n";
    return 0;
  }
  std::vector<absl::StatusOr<Everything>> all;
  if (arguments->ipvs) all.push_back(ReadIpvs());
  if (arguments->ebpf) all.push_back(ReadEbpf(arguments->bpf_dir));
  int status = 0;
  bool shown = false;
  for (const absl::StatusOr<Everything>& read : all) {
    if (!read.ok()) continue;
    std::cout << Listing(read->heading, read->services, read->stats);
    shown = true;
  }
  for (const absl::StatusOr<Everything>& read : all) {
    if (read.ok() || (shown && IsAbsent(read.status()))) continue;
    std::cerr << "lvsadm: " << Message(read.status()) << "\n";
    status = 1;
  }
  return status;
}

}  // namespace
}  // namespace kube_lvs::cli

int main(int argc, char** argv) {
  return kube_lvs::cli::Main(std::vector<std::string>(argv + 1, argv + argc));
}
