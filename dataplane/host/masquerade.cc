#include "dataplane/host/masquerade.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "dataplane/host/nft.h"

namespace kube_lvs::host {
namespace {

constexpr std::string_view kTable = "inet kube-lvs";
constexpr std::string_view kOf = " prefix ";  // in a comment, before the length

// A rule is found again by its comment, which is the entry as text. (One rule an entry: nftables
// 1.0.6 takes no `ct original proto-dst` into a concatenation, so no set can hold them.)
std::string CommentOf(const Masquerade& entry) {
  return entry.vip.ToString() +
         (entry.last_port != 0 ? "-" + std::to_string(entry.last_port) : "") + "/" +
         ToString(entry.protocol) +
         (entry.prefix_length != 0 ? std::string(kOf) + std::to_string(entry.prefix_length) : "");
}

std::string RuleOf(const Masquerade& entry) {
  const std::string address = std::string("ct original ") + (entry.vip.ip.IsV4() ? "ip" : "ip6") +
                              " daddr " + VipsFrom(entry.vip.ip, entry.prefix_length).ShortText();
  const std::string end = " masquerade comment \"" + CommentOf(entry) + "\"";
  if (entry.vip.port == 0) return "meta l4proto { 6, 17, 132 } " + address + end;
  return "meta l4proto " + std::to_string(static_cast<int>(entry.protocol)) + " " + address +
         " ct original proto-dst " + std::to_string(entry.vip.port) +
         (entry.last_port != 0 ? "-" + std::to_string(entry.last_port) : "") + end;
}

std::optional<Masquerade> ParseComment(std::string comment) {
  int prefix_length = 0;
  if (const size_t of = comment.find(kOf); of != std::string::npos) {
    const auto length = ParseNumber(std::string_view(comment).substr(of + kOf.size()), 128);
    if (!length.ok() || *length == 0) return std::nullopt;
    prefix_length = static_cast<int>(*length);
    comment.resize(of);
  }
  const size_t slash = comment.rfind('/');
  if (slash == std::string::npos) return std::nullopt;
  std::string listener = comment.substr(0, slash);
  uint16_t last_port = 0;
  if (const size_t dash = listener.rfind('-'); dash != std::string::npos) {
    const auto last = ParseNumber(listener.substr(dash + 1), UINT16_MAX);
    if (!last.ok()) return std::nullopt;
    last_port = static_cast<uint16_t>(*last);
    listener.resize(dash);
  }
  const auto vip = Endpoint::Parse(listener);
  if (!vip.ok()) return std::nullopt;
  for (const Protocol known : {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp}) {
    if (ToString(known) == comment.substr(slash + 1)) {
      return Masquerade{*vip, known, last_port, prefix_length};
    }
  }
  return std::nullopt;
}

class NftMasqueradeTable final : public MasqueradeTable {
 public:
  explicit NftMasqueradeTable(Nft nft) : nft_(std::move(nft)) {}

  absl::StatusOr<std::vector<Masquerade>> Read() override {
    KUBE_LVS_ASSIGN_OR_RETURN(const auto rules, Rules());
    std::vector<Masquerade> out;
    for (const Rule& rule : rules) out.push_back(rule.entry);
    return out;
  }

  absl::Status Add(const Masquerade& entry) override {
    KUBE_LVS_ASSIGN_OR_RETURN(const auto rules, Rules());
    if (std::ranges::find(rules, entry, &Rule::entry) != rules.end()) return absl::OkStatus();
    const std::string table(kTable);
    return nft_.Run("add table " + table + "\nadd chain " + table +
                    " postrouting { type nat hook postrouting priority srcnat; policy accept; }\n" +
                    "add rule " + table + " postrouting " + RuleOf(entry) + "\n");
  }

  absl::Status Remove(const Masquerade& entry) override {
    KUBE_LVS_ASSIGN_OR_RETURN(const auto rules, Rules());
    const auto rule = std::ranges::find(rules, entry, &Rule::entry);
    if (rule == rules.end()) return absl::OkStatus();
    const std::string table(kTable);
    if (rules.size() == 1) return nft_.Run("delete table " + table);
    return nft_.Run("delete rule " + table + " postrouting handle " + std::to_string(rule->handle));
  }

 private:
  struct Rule {
    Masquerade entry;
    uint64_t handle = 0;
  };

  absl::StatusOr<std::vector<Rule>> Rules() {
    std::vector<Rule> out;
    KUBE_LVS_ASSIGN_OR_RETURN(const bool there, nft_.HasTable("inet", "kube-lvs"));
    if (!there) return out;
    KUBE_LVS_ASSIGN_OR_RETURN(const nlohmann::json listing,
                              nft_.List("list table " + std::string(kTable)));
    for (const nlohmann::json& object : listing) {
      if (!object.is_object() || !object.contains("rule")) continue;
      const nlohmann::json& rule = object["rule"];
      if (!rule.is_object()) continue;
      const auto entry = ParseComment(rule.value("comment", std::string()));
      if (entry) out.push_back({*entry, rule.value("handle", uint64_t{0})});
    }
    return out;
  }

  Nft nft_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MasqueradeTable>> OpenMasqueradeTable() {
  KUBE_LVS_ASSIGN_OR_RETURN(Nft nft,
                            Nft::Open("source NAT with IPVS needs nf_tables, nft_masq and nft_ct"));
  return std::make_unique<NftMasqueradeTable>(std::move(nft));
}

}  // namespace kube_lvs::host
