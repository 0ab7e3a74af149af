#include "dataplane/ipvs/nft_marks.h"

#include <optional>
#include <string>
#include <utility>

#include "base/status.h"
#include "dataplane/host/nft.h"
#include "dataplane/ipvs/mark_commands.h"

namespace kube_lvs::ipvs {
namespace {

class NftMarkTable final : public MarkTable {
 public:
  explicit NftMarkTable(host::Nft nft) : nft_(std::move(nft)) {}

  absl::StatusOr<MarkReading> Read() override {
    KUBE_LVS_ASSIGN_OR_RETURN(const Found found, Look());
    return found.whole.value_or(MarkReading{});
  }

  absl::Status Write(const Marks& marks) override {
    KUBE_LVS_ASSIGN_OR_RETURN(const Found found, Look());
    const std::optional<Marks> there =
        found.whole ? std::optional(found.whole->marks) : std::nullopt;
    const std::string commands = MarkCommands(there, found.exists, marks);
    return commands.empty() ? absl::OkStatus() : nft_.Run(commands);
  }

 private:
  struct Found {
    bool exists = false;
    std::optional<MarkReading> whole;
  };

  absl::StatusOr<Found> Look() {
    const auto listing = nft_.List(std::string("list table inet ") + kMarkTable);
    if (listing.ok()) return Found{.exists = true, .whole = ParseMarkTable(*listing)};
    KUBE_LVS_ASSIGN_OR_RETURN(const bool exists, nft_.HasTable("inet", kMarkTable));
    if (exists) return listing.status();
    return Found{};
  }

  host::Nft nft_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MarkTable>> OpenMarkTable() {
  KUBE_LVS_ASSIGN_OR_RETURN(
      host::Nft nft,
      host::Nft::Open(
          "port ranges, allPorts and CIDRs need nf_tables with maps of ranges (Linux 5.6)"));
  return std::make_unique<NftMarkTable>(std::move(nft));
}

}  // namespace kube_lvs::ipvs
