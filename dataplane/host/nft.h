// Commands for nftables, in its own words, and its listings.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct nft_ctx;

namespace kube_lvs::host {

// Not thread-safe. Works in the network namespace of the thread that calls.
class Nft {
 public:
  // `needs`: for whom it works and what the kernel must have for that, for the error.
  static absl::StatusOr<Nft> Open(std::string needs);

  // One transaction: all of the commands, or none. kPermissionDenied: without NET_ADMIN.
  // kFailedPrecondition: the kernel has no nf_tables, or refuses a command.
  absl::Status Run(const std::string& commands);

  // The objects of a listing ("list table inet x").
  absl::StatusOr<nlohmann::json> List(const std::string& command);

  absl::StatusOr<bool> HasTable(const std::string& family, const std::string& name);

 private:
  struct Deleter {
    void operator()(nft_ctx* context) const;
  };
  Nft(std::unique_ptr<nft_ctx, Deleter> context, std::string needs)
      : context_(std::move(context)), needs_(std::move(needs)) {}

  std::unique_ptr<nft_ctx, Deleter> context_;
  std::string needs_;
};

}  // namespace kube_lvs::host
