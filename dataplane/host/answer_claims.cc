#include "dataplane/host/answer_claims.h"

#include <chrono>
#include <map>
#include <string>
#include <utility>

#include "base/status.h"
#include "dataplane/host/nft.h"

namespace kube_lvs::host {
namespace {

constexpr char kName[] = "kube-lvs";

struct Table {
  Family family;
  std::string nft_family, address_type, rules;
};

// The kernel answers a neighbour solicitation from the address that is asked for.
const Table kTables[] = {
    {Family::kIpv4, "arp", "ipv4_addr",
     "add rule arp kube-lvs input arp operation request arp daddr ip @vips arp daddr ip != @claims "
     "drop\n"
     "add rule arp kube-lvs output arp saddr ip @vips arp saddr ip != @claims drop\n"
     "add chain arp kube-lvs prefix_requests\nadd chain arp kube-lvs prefix_senders\n"
     "add rule arp kube-lvs input arp operation request jump prefix_requests\n"
     "add rule arp kube-lvs output jump prefix_senders\n"},
    {Family::kIpv6, "ip6", "ipv6_addr",
     "add rule ip6 kube-lvs output icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } "
     "ip6 saddr @vips ip6 saddr != @claims drop\n"}};

std::string NameOf(const Table& table) { return table.nft_family + " " + kName; }

// Of a prefix the first address stands in the sets.
std::string Elements(const std::set<Cidr>& vips, const std::string& suffix) {
  std::set<IpAddress> first;  // of a prefix of IPv6, which is answered for by itself, too
  for (const Cidr& cidr : vips) first.insert(cidr.address);
  std::string out;
  for (const IpAddress& ip : first) out += (out.empty() ? "" : ", ") + ip.ToString() + suffix;
  return "{ " + out + " }";
}

// What the chains for prefixes hold of each: the claim is looked for by the first address.
std::string PrefixRules(const Table& table, const std::set<Cidr>& vips) {
  std::string out;
  for (const Cidr& cidr : vips) {
    if (cidr.IsHost() || table.family != Family::kIpv4) continue;
    const std::string mask = IpAddress::FromV4(~uint32_t{0} << (32 - cidr.length)).ToString();
    for (const auto& [chain, field] : {std::pair("prefix_requests", "arp daddr ip"),
                                       std::pair("prefix_senders", "arp saddr ip")}) {
      out += "add rule " + NameOf(table) + " " + chain + " " + field + " " + cidr.ToString() + " " +
             field + " & " + mask + " != @claims drop\n";
    }
  }
  return out;
}

// Adds nothing that is there already.
std::string Frame(const Table& table) {
  const std::string name = NameOf(table);
  std::string out = "add table " + name + "\nadd set " + name + " vips { type " +
                    table.address_type + "; }\nadd set " + name + " claims { type " +
                    table.address_type + "; flags timeout; }\n";
  for (const std::string hook : {"input", "output"}) {
    out += "add chain " + name + " " + hook + " { type filter hook " + hook +
           " priority 0; policy accept; }\nflush chain " + name + " " + hook + "\n";
  }
  return out + table.rules;
}

std::string FlushPrefixes(const Table& table) {
  if (table.family != Family::kIpv4) return "";
  return "flush chain arp kube-lvs prefix_requests\nflush chain arp kube-lvs prefix_senders\n";
}

std::string AddVips(const Table& table, const std::set<Cidr>& vips,
                    std::optional<Duration> lifetime) {
  std::string timeout;
  if (lifetime.has_value()) {
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(*lifetime).count();
    timeout = " timeout " + std::to_string(ms) + "ms";
  }
  const std::string add = "add element " + NameOf(table);
  return add + " vips " + Elements(vips, "") + "\n" + add + " claims " + Elements(vips, timeout) +
         "\n" + PrefixRules(table, vips);
}

class NftAnswerClaims final : public AnswerClaims {
 public:
  explicit NftAnswerClaims(Nft nft) : nft_(std::move(nft)) {}

  absl::StatusOr<std::set<IpAddress>> RunOut() override {
    std::set<IpAddress> run_out;
    for (const Table& table : kTables) {
      KUBE_LVS_ASSIGN_OR_RETURN(const bool there, nft_.HasTable(table.nft_family, kName));
      if (!there) continue;
      KUBE_LVS_ASSIGN_OR_RETURN(auto vips, Read(table, "vips"));
      KUBE_LVS_ASSIGN_OR_RETURN(const auto claims, Read(table, "claims"));
      for (const IpAddress& vip : vips) {
        if (!claims.contains(vip)) run_out.insert(vip);
      }
    }
    return run_out;
  }

  absl::Status Write(const std::set<Cidr>& vips, std::optional<Duration> lifetime) override {
    std::string commands;
    for (const Table& table : kTables) {
      std::set<Cidr> of_family;
      for (const Cidr& cidr : vips) {
        if (cidr.address.family == table.family) of_family.insert(cidr);
      }
      if (!of_family.empty()) {
        // An element's time is not set anew by adding it again, so all go and come in one step.
        commands += Frame(table) + "flush set " + NameOf(table) + " vips\nflush set " +
                    NameOf(table) + " claims\n" + FlushPrefixes(table) +
                    AddVips(table, of_family, lifetime);
        continue;
      }
      KUBE_LVS_ASSIGN_OR_RETURN(const bool there, nft_.HasTable(table.nft_family, kName));
      if (there) commands += "delete table " + NameOf(table) + "\n";
    }
    return commands.empty() ? absl::OkStatus() : nft_.Run(commands);
  }

  absl::Status Add(const Cidr& vips, std::optional<Duration> lifetime) override {
    const Table& table = kTables[vips.address.IsV4() ? 0 : 1];
    return nft_.Run(Frame(table) + AddVips(table, {vips}, lifetime));
  }

 private:
  absl::StatusOr<std::set<IpAddress>> Read(const Table& table, const std::string& set) {
    KUBE_LVS_ASSIGN_OR_RETURN(const nlohmann::json listing,
                              nft_.List("list set " + NameOf(table) + " " + set));
    std::set<IpAddress> out;
    for (const nlohmann::json& object : listing) {
      if (!object.is_object() || !object.contains("set")) continue;
      const nlohmann::json elements = object["set"].value("elem", nlohmann::json::array());
      for (const nlohmann::json& element : elements) {
        const bool plain = element.is_string();
        const nlohmann::json value = plain ? element
                                     : element.is_object() && element.contains("elem")
                                         ? element["elem"].value("val", nlohmann::json())
                                         : nlohmann::json();
        if (!value.is_string()) continue;
        if (const auto ip = IpAddress::Parse(value.get<std::string>()); ip.ok()) out.insert(*ip);
      }
    }
    return out;
  }

  Nft nft_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<AnswerClaims>> OpenAnswerClaims() {
  KUBE_LVS_ASSIGN_OR_RETURN(
      Nft nft, Nft::Open("answering for a VIP with IPVS needs nf_tables with the ARP family"));
  return std::make_unique<NftAnswerClaims>(std::move(nft));
}

}  // namespace kube_lvs::host
