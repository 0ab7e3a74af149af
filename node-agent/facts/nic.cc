#include "node-agent/facts/nic.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace kube_lvs {
namespace {

// What the kernel fills in behind a struct that ends in an array (linux/ethtool.h).
template <typename Command, typename Element>
struct WithArray {
  explicit WithArray(size_t count)
      : words((sizeof(Command) + count * sizeof(Element)) / sizeof(uint64_t) + 1) {}
  Command& command() { return *reinterpret_cast<Command*>(words.data()); }
  const Element* elements() const {
    return reinterpret_cast<const Element*>(reinterpret_cast<const char*>(words.data()) +
                                            sizeof(Command));
  }
  std::vector<uint64_t> words;
};

class Ethtool {
 public:
  explicit Ethtool(const std::string& interface)
      : socket_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    std::strncpy(request_.ifr_name, interface.c_str(), IFNAMSIZ - 1);
  }

  // 0 or an errno: EOPNOTSUPP where the driver does not tell.
  template <typename Command>
  int Ask(Command& command, uint32_t what) {
    command.cmd = what;
    request_.ifr_data = reinterpret_cast<char*>(&command);
    return ioctl(socket_.get(), SIOCETHTOOL, &request_) == 0 ? 0 : errno;
  }

  std::map<std::string, NicFacts::Feature> Features() {
    const uint32_t count = CountFeatures();
    if (count == 0) return {};
    using Name = char[ETH_GSTRING_LEN];
    WithArray<ethtool_gstrings, Name> names(count);
    names.command().string_set = ETH_SS_FEATURES;
    names.command().len = count;
    const uint32_t blocks = (count + 31) / 32;
    WithArray<ethtool_gfeatures, ethtool_get_features_block> features(blocks);
    features.command().size = blocks;
    if (Ask(names.command(), ETHTOOL_GSTRINGS) != 0 ||
        Ask(features.command(), ETHTOOL_GFEATURES) != 0) {
      return {};
    }
    std::map<std::string, NicFacts::Feature> out;
    for (uint32_t i = 0; i < count; ++i) {
      const ethtool_get_features_block& block = features.elements()[i / 32];
      const uint32_t bit = 1u << i % 32;
      const char* name = names.elements()[i];
      out[std::string(name, strnlen(name, ETH_GSTRING_LEN))] = {
          (block.active & bit) != 0,
          (block.available & bit) != 0 && (block.never_changed & bit) == 0};
    }
    return out;
  }

 private:
  uint32_t CountFeatures() {
    WithArray<ethtool_sset_info, uint32_t> info(1);
    info.command().sset_mask = 1ull << ETH_SS_FEATURES;
    if (Ask(info.command(), ETHTOOL_GSSET_INFO) != 0 || info.command().sset_mask == 0) return 0;
    return info.elements()[0];
  }

  const UniqueFd socket_;
  ifreq request_ = {};
};

struct Queues {
  uint32_t count = 0;
  bool rps = false;
};

Queues QueuesIn(const std::string& folder) {
  Queues out;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (!entry.path().filename().string().starts_with("rx-")) continue;
    ++out.count;
    const auto mask = ReadFile(entry.path().string() + "/rps_cpus");
    out.rps |= mask.ok() && mask->find_first_not_of("0,\n") != std::string::npos;
  }
  return out;
}

}  // namespace

std::vector<std::string> NicsOf(const NodeFacts& facts) {
  std::vector<std::string> nics;
  for (const auto& [name, interface] : facts.interfaces) {
    if (interface.up && !interface.loopback && interface.kind.empty()) nics.push_back(name);
  }
  return nics;
}

std::vector<std::string> NicsBelow(const NodeFacts& facts,
                                   const std::set<std::string>& interfaces) {
  std::set<std::string> seen;
  std::vector<std::string> next(interfaces.begin(), interfaces.end());
  while (!next.empty()) {
    const std::string name = std::move(next.back());
    next.pop_back();
    const auto found = facts.interfaces.find(name);
    if (found == facts.interfaces.end() || !seen.insert(name).second) continue;
    next.insert(next.end(), found->second.below.begin(), found->second.below.end());
  }
  std::vector<std::string> nics = NicsOf(facts);
  std::erase_if(nics, [&seen](const std::string& nic) { return !seen.contains(nic); });
  return nics;
}

absl::StatusOr<NicFacts> ReadNic(const std::string& interface) {
  NicFacts nic;
  nic.interface = interface;
  Ethtool ethtool(interface);
  ethtool_drvinfo driver = {};
  if (const int error = ethtool.Ask(driver, ETHTOOL_GDRVINFO); error == 0) {
    nic.driver = std::string(driver.driver, strnlen(driver.driver, sizeof(driver.driver)));
  } else if (error == ENODEV) {
    return absl::NotFoundError("no interface " + interface);
  } else if (error != EOPNOTSUPP) {
    return FileError(error, "ask the driver of", interface);
  }
  const Queues queues = QueuesIn("/sys/class/net/" + interface + "/queues");
  nic.queues = queues.count;
  nic.rps = queues.rps;
  ethtool_channels channels = {};
  if (ethtool.Ask(channels, ETHTOOL_GCHANNELS) == 0) {
    const uint32_t receiving = channels.combined_count + channels.rx_count;
    if (receiving != 0) nic.queues = receiving;
    nic.separate = channels.max_combined == 0;
    nic.most_queues =
        nic.separate ? std::min(channels.max_rx, channels.max_tx) : channels.max_combined;
  }
  ethtool_ringparam ring = {};
  if (ethtool.Ask(ring, ETHTOOL_GRINGPARAM) == 0) {
    nic.ring = ring.rx_pending;
    nic.longest_ring = ring.rx_max_pending;
  }
  const auto features = ethtool.Features();
  for (const auto& [name, field] :
       {std::pair("rx-lro", &nic.lro), std::pair("rx-gro-hw", &nic.hardware_gro),
        std::pair("rx-checksum", &nic.rx_checksum)}) {
    if (const auto found = features.find(name); found != features.end()) *field = found->second;
  }
  return nic;
}

}  // namespace kube_lvs
