#include "kube/config.h"

#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>

#include "base/status.h"

namespace kube_lvs::kube {
namespace {

constexpr size_t kMaxKubeconfig = 4 << 20;

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError(path + ": cannot be read");
  std::string text;
  text.resize(kMaxKubeconfig + 1);
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad()) return absl::NotFoundError(path + ": cannot be read");
  text.resize(static_cast<size_t>(in.gcount()));
  if (text.size() > kMaxKubeconfig) return absl::InvalidArgumentError(path + ": is too long");
  return text;
}

std::optional<std::string> DecodeBase64(std::string_view text) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  int padding = 0;
  for (const char c : text) {
    int value = 0;
    if (c >= 'A' && c <= 'Z') {
      value = c - 'A';
    } else if (c >= 'a' && c <= 'z') {
      value = c - 'a' + 26;
    } else if (c >= '0' && c <= '9') {
      value = c - '0' + 52;
    } else if (c == '+') {
      value = 62;
    } else if (c == '/') {
      value = 63;
    } else if (c == '\n' || c == '\r' || c == ' ') {
      continue;
    } else if (c == '=') {
      ++padding;
      continue;
    } else {
      return std::nullopt;
    }
    if (padding > 0) return std::nullopt;
    bits = (bits << 6) | static_cast<uint32_t>(value);
    if (++count == 4) {
      out += static_cast<char>(bits >> 16);
      out += static_cast<char>(bits >> 8);
      out += static_cast<char>(bits);
      bits = 0;
      count = 0;
    }
  }
  if (count == 1 || padding > 2 || (count + padding) % 4 != 0) return std::nullopt;
  if (count == 2) out += static_cast<char>(bits >> 4);
  if (count == 3) {
    out += static_cast<char>(bits >> 10);
    out += static_cast<char>(bits >> 2);
  }
  return out;
}

// A node of the file and its place in it, for messages. All calls may throw YAML::Exception.
struct Place {
  YAML::Node node;
  std::string name;

  absl::StatusOr<std::string> String(const char* key) const {
    const YAML::Node value = node[key];
    if (!value || value.IsNull()) return std::string();
    if (!value.IsScalar()) {
      return absl::InvalidArgumentError(name + "." + key + ": is not a string");
    }
    return value.Scalar();
  }

  absl::StatusOr<bool> Bool(const char* key) const {
    const YAML::Node value = node[key];
    if (!value || value.IsNull()) return false;
    bool out = false;
    if (!value.IsScalar() || !YAML::convert<bool>::decode(value, out)) {
      return absl::InvalidArgumentError(name + "." + key + ": is not true or false");
    }
    return out;
  }

  absl::Status Refuse(const char* key, const std::string& mend) const {
    const YAML::Node value = node[key];
    if (!value || value.IsNull()) return absl::OkStatus();
    if (value.IsScalar() && value.Scalar().empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(name + "." + key + ": not supported; " + mend);
  }

  // The pair `key` (a file's name) and `key`-data (base64).
  absl::StatusOr<Pem> ReadPem(const std::string& key, const std::string& directory) const {
    Pem pem;
    KUBE_LVS_ASSIGN_OR_RETURN(const std::string data, String((key + "-data").c_str()));
    if (!data.empty()) {
      std::optional<std::string> decoded = DecodeBase64(data);
      if (!decoded) return absl::InvalidArgumentError(name + "." + key + "-data: is not base64");
      pem.data = *std::move(decoded);
      return pem;
    }
    KUBE_LVS_ASSIGN_OR_RETURN(const std::string file, String(key.c_str()));
    if (!file.empty()) pem.file = (std::filesystem::path(directory) / file).string();
    return pem;
  }
};

// The member `inner` of the entry called `name` in the list `list`.
absl::StatusOr<Place> FindNamed(const YAML::Node& root, const std::string& list,
                                const std::string& inner, const std::string& name) {
  const YAML::Node entries = root[list];
  if (entries && entries.IsSequence()) {
    for (const YAML::Node& entry : entries) {
      if (!entry.IsMap() || !entry["name"] || !entry["name"].IsScalar()) continue;
      if (entry["name"].Scalar() != name) continue;
      const YAML::Node found = entry[inner];
      std::string place = list + "[" + name + "]." + inner;
      if (!found || found.IsNull()) return Place{YAML::Node(YAML::NodeType::Map), place};
      if (!found.IsMap()) return absl::InvalidArgumentError(place + ": is not a map");
      return Place{found, place};
    }
  }
  return absl::InvalidArgumentError(list + ": has no entry named \"" + name + "\"");
}

absl::Status CheckServer(const std::string& server) {
  const bool https = server.rfind("https://", 0) == 0;
  const bool http = server.rfind("http://", 0) == 0;
  if ((!https && !http) || server.size() == (https ? 8u : 7u)) {
    return absl::InvalidArgumentError("server \"" + server + "\": is not an http or https address");
  }
  return absl::OkStatus();
}

absl::Status ReadUser(const Place& user, const std::string& directory, ClientConfig& config) {
  constexpr char kUseToken[] =
      "use token, tokenFile or a client certificate (kubectl create token NAME makes a token)";
  for (const char* key : {"exec", "auth-provider", "username", "password"}) {
    KUBE_LVS_RETURN_IF_ERROR(user.Refuse(key, kUseToken));
  }
  for (const char* key : {"as", "as-uid", "as-groups", "as-user-extra"}) {
    KUBE_LVS_RETURN_IF_ERROR(user.Refuse(key, "use the credentials of that user"));
  }
  KUBE_LVS_ASSIGN_OR_RETURN(config.token, user.String("token"));
  KUBE_LVS_ASSIGN_OR_RETURN(const std::string token_file, user.String("tokenFile"));
  if (!token_file.empty()) {
    config.token_file = (std::filesystem::path(directory) / token_file).string();
  }
  KUBE_LVS_ASSIGN_OR_RETURN(config.client_certificate,
                            user.ReadPem("client-certificate", directory));
  KUBE_LVS_ASSIGN_OR_RETURN(config.client_key, user.ReadPem("client-key", directory));
  if (config.client_certificate.Empty() != config.client_key.Empty()) {
    return absl::InvalidArgumentError(user.name + ": a client certificate and its key go together");
  }
  return absl::OkStatus();
}

absl::StatusOr<ClientConfig> FromYaml(const YAML::Node& root, const std::string& directory,
                                      std::string_view wanted_context) {
  if (!root.IsMap()) return absl::InvalidArgumentError("is not a kubeconfig: not a map");
  std::string context_name(wanted_context);
  if (context_name.empty()) {
    KUBE_LVS_ASSIGN_OR_RETURN(context_name, (Place{root, "kubeconfig"}.String("current-context")));
  }
  if (context_name.empty()) {
    return absl::InvalidArgumentError("current-context: is not set; name a context");
  }
  KUBE_LVS_ASSIGN_OR_RETURN(const Place context,
                            FindNamed(root, "contexts", "context", context_name));
  KUBE_LVS_ASSIGN_OR_RETURN(const std::string cluster_name, context.String("cluster"));
  KUBE_LVS_ASSIGN_OR_RETURN(const std::string user_name, context.String("user"));
  KUBE_LVS_ASSIGN_OR_RETURN(const Place cluster,
                            FindNamed(root, "clusters", "cluster", cluster_name));
  KUBE_LVS_RETURN_IF_ERROR(cluster.Refuse("proxy-url", "name the API server itself"));
  KUBE_LVS_RETURN_IF_ERROR(
      cluster.Refuse("tls-server-name", "use a server name that its certificate has"));

  ClientConfig config;
  KUBE_LVS_ASSIGN_OR_RETURN(config.default_namespace, context.String("namespace"));
  KUBE_LVS_ASSIGN_OR_RETURN(config.server, cluster.String("server"));
  while (!config.server.empty() && config.server.back() == '/') config.server.pop_back();
  KUBE_LVS_RETURN_IF_ERROR(Annotate(CheckServer(config.server), cluster.name));
  KUBE_LVS_ASSIGN_OR_RETURN(config.certificate_authority,
                            cluster.ReadPem("certificate-authority", directory));
  KUBE_LVS_ASSIGN_OR_RETURN(config.insecure_skip_tls_verify,
                            cluster.Bool("insecure-skip-tls-verify"));
  if (config.insecure_skip_tls_verify && !config.certificate_authority.Empty()) {
    return absl::InvalidArgumentError(
        cluster.name + ": certificate-authority and insecure-skip-tls-verify exclude each other");
  }
  if (!user_name.empty()) {
    KUBE_LVS_ASSIGN_OR_RETURN(const Place user, FindNamed(root, "users", "user", user_name));
    KUBE_LVS_RETURN_IF_ERROR(ReadUser(user, directory, config));
  }
  return config;
}

}  // namespace

absl::StatusOr<ClientConfig> ParseKubeconfig(std::string_view text, const std::string& directory,
                                             std::string_view context) {
  try {
    return FromYaml(YAML::Load(std::string(text)), directory, context);
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(std::string("is not YAML: ") + error.what());
  }
}

absl::StatusOr<ClientConfig> LoadKubeconfig(const std::string& path, std::string_view context) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  std::error_code error;
  const std::filesystem::path whole = std::filesystem::absolute(path, error);
  absl::StatusOr<ClientConfig> config =
      ParseKubeconfig(text, whole.parent_path().string(), context);
  if (!config.ok()) return Annotate(config.status(), "kubeconfig " + path);
  return config;
}

absl::StatusOr<ClientConfig> InClusterConfig(std::string_view host, std::string_view port,
                                             const std::string& directory) {
  if (host.empty() || port.empty()) {
    return absl::FailedPreconditionError(
        "not in a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; "
        "give --kubeconfig");
  }
  ClientConfig config;
  const bool bare_ipv6 = host.find(':') != std::string_view::npos && host.front() != '[';
  config.server = "https://";
  config.server += bare_ipv6 ? "[" + std::string(host) + "]" : std::string(host);
  config.server += ":" + std::string(port);
  config.token_file = directory + "/token";
  config.certificate_authority.file = directory + "/ca.crt";
  for (const std::string& file : {config.token_file, config.certificate_authority.file}) {
    if (!std::ifstream(file)) {
      return absl::FailedPreconditionError(
          file + ": cannot be read; the pod needs automountServiceAccountToken");
    }
  }
  if (std::ifstream in(directory + "/namespace"); in) std::getline(in, config.default_namespace);
  return config;
}

}  // namespace kube_lvs::kube
