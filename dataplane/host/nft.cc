#include "dataplane/host/nft.h"

#include <nftables/libnftables.h>

#include <utility>

#include "base/status.h"

namespace kube_lvs::host {

void Nft::Deleter::operator()(nft_ctx* context) const { nft_ctx_free(context); }

absl::StatusOr<Nft> Nft::Open(std::string needs) {
  std::unique_ptr<nft_ctx, Deleter> context(nft_ctx_new(NFT_CTX_DEFAULT));
  if (context == nullptr) return absl::InternalError("libnftables gives no context");
  nft_ctx_buffer_output(context.get());
  nft_ctx_buffer_error(context.get());
  nft_ctx_output_set_flags(context.get(), NFT_CTX_OUTPUT_JSON | NFT_CTX_OUTPUT_HANDLE);
  return Nft(std::move(context), std::move(needs));
}

absl::Status Nft::Run(const std::string& commands) {
  if (nft_run_cmd_from_buffer(context_.get(), commands.c_str()) == 0) return absl::OkStatus();
  std::string error = nft_ctx_get_error_buffer(context_.get());
  error = error.substr(0, error.find('\n'));
  if (error.find("Operation not permitted") != std::string::npos) {
    return absl::PermissionDeniedError("nftables: " + error + "; the agent needs NET_ADMIN");
  }
  return absl::FailedPreconditionError("nftables: " + error + "; " + needs_);
}

absl::StatusOr<nlohmann::json> Nft::List(const std::string& command) {
  KUBE_LVS_RETURN_IF_ERROR(Run(command));
  const char* text = nft_ctx_get_output_buffer(context_.get());
  nlohmann::json parsed = nlohmann::json::parse(text, nullptr, false);
  if (!parsed.is_object() || !parsed.contains("nftables") || !parsed["nftables"].is_array()) {
    return absl::InternalError("nftables answered no listing to \"" + command + "\"");
  }
  return parsed["nftables"];
}

absl::StatusOr<bool> Nft::HasTable(const std::string& family, const std::string& name) {
  KUBE_LVS_ASSIGN_OR_RETURN(const nlohmann::json tables, List("list tables " + family));
  for (const nlohmann::json& object : tables) {
    if (object.is_object() && object.contains("table") &&
        object["table"].value("name", std::string()) == name) {
      return true;
    }
  }
  return false;
}

}  // namespace kube_lvs::host
