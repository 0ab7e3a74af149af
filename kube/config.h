// Where the API server is and how to prove who we are: from a kubeconfig file or from inside a pod.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace kube_lvs::kube {

// PEM text, either as such or in a file that is read anew for every connection (so that a rotated
// certificate is picked up). Both empty: none.
struct Pem {
  std::string data = {};
  std::string file = {};

  bool Empty() const { return data.empty() && file.empty(); }
  bool operator==(const Pem&) const = default;
};

struct ClientConfig {
  std::string server = {};         // "https://10.96.0.1:443", without a path at the end
  Pem certificate_authority = {};  // empty: the machine's own roots
  bool insecure_skip_tls_verify = false;
  std::string token = {};       // a bearer token, or
  std::string token_file = {};  // the file that holds it: re-read each minute and after a 401
  Pem client_certificate = {};
  Pem client_key = {};
  std::string default_namespace =
      {};  // of the kubeconfig's context, or the pod's own; may be empty

  bool operator==(const ClientConfig&) const = default;
};

// Reads a kubeconfig. `context` empty means its current-context. Relative paths in it are relative
// to the file. kInvalidArgument names what is missing, malformed or not supported (exec and
// auth-provider plug-ins, basic auth, proxies, impersonation); kNotFound if there is no such file.
absl::StatusOr<ClientConfig> LoadKubeconfig(const std::string& path, std::string_view context = "");

// The same on text; `directory` is what relative paths are relative to.
absl::StatusOr<ClientConfig> ParseKubeconfig(std::string_view text, const std::string& directory,
                                             std::string_view context = "");

// The pod's service account. `host` and `port` are KUBERNETES_SERVICE_HOST and _PORT, which main
// reads. kFailedPrecondition if they are empty (not in a pod) or `directory` has no token.
inline constexpr char kServiceAccountDirectory[] = "/var/run/secrets/kubernetes.io/serviceaccount";
absl::StatusOr<ClientConfig> InClusterConfig(
    std::string_view host, std::string_view port,
    const std::string& directory = kServiceAccountDirectory);

}  // namespace kube_lvs::kube
