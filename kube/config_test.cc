#include "kube/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/status.h"

namespace kube_lvs::kube {
namespace {

std::string Kubeconfig(const std::string& cluster, const std::string& user) {
  return "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n"
         "- {name: c, context: {cluster: k, user: u, namespace: shop}}\n"
         "- {name: other, context: {cluster: missing, user: u}}\n"
         "clusters:\n- name: k\n  cluster: " +
         cluster + "\nusers:\n- name: u\n  user: " + user + "\n";
}

TEST(KubeconfigTest, EveryKindOfCredential) {
  const auto config =
      ParseKubeconfig(Kubeconfig("{server: 'https://h:6443/', certificate-authority-data: Q0E=}",
                                 "{token: t, tokenFile: sub/tok, client-certificate: /abs/crt, "
                                 "client-key-data: S0VZ}"),
                      "/dir");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(*config, (ClientConfig{.server = "https://h:6443",
                                   .certificate_authority = {.data = "CA"},
                                   .token = "t",
                                   .token_file = "/dir/sub/tok",
                                   .client_certificate = {.file = "/abs/crt"},
                                   .client_key = {.data = "KEY"},
                                   .default_namespace = "shop"}));
}

TEST(KubeconfigTest, InsecureAndWithoutUser) {
  const auto config = ParseKubeconfig(
      "{current-context: c, contexts: [{name: c, context: {cluster: k}}], clusters: [{name: k, "
      "cluster: {server: 'https://[fd00::1]:6443', insecure-skip-tls-verify: true}}]}",
      "/dir");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(*config,
            (ClientConfig{.server = "https://[fd00::1]:6443", .insecure_skip_tls_verify = true}));
}

TEST(KubeconfigTest, RefusesAndNamesWhatItCannotDo) {
  const std::string good = "{server: 'https://h'}";
  struct Case {
    std::string text;
    const char* names;
  };
  for (const Case& c : std::vector<Case>{
           {Kubeconfig(good, "{exec: {command: aws}}"), "users[u].user.exec"},
           {Kubeconfig(good, "{auth-provider: {name: gcp}}"), "users[u].user.auth-provider"},
           {Kubeconfig(good, "{username: a, password: b}"), "users[u].user.username"},
           {Kubeconfig(good, "{as: admin}"), "users[u].user.as"},
           {Kubeconfig(good, "{client-certificate: x}"), "client certificate and its key"},
           {Kubeconfig(good, "{token: [1]}"), "users[u].user.token"},
           {Kubeconfig(good, "[]"), "users[u].user"},
           {Kubeconfig("{server: h}", "{}"), "\"h\""},
           {Kubeconfig("{}", "{}"), "clusters[k].cluster"},
           {Kubeconfig("{server: 'https://h', proxy-url: 'http://p'}", "{}"), "proxy-url"},
           {Kubeconfig("{server: 'https://h', tls-server-name: x}", "{}"), "tls-server-name"},
           {Kubeconfig("{server: 'https://h', certificate-authority-data: '*'}", "{}"), "base64"},
           {Kubeconfig("{server: 'https://h', insecure-skip-tls-verify: maybe}", "{}"), "true"},
           {Kubeconfig("{server: 'https://h', insecure-skip-tls-verify: true, "
                       "certificate-authority: x}",
                       "{}"),
            "exclude each other"},
           {"", "not a map"},
           {"[1]", "not a map"},
           {"a: [", "not YAML"},
           {"{current-context: c}", "contexts: has no entry named \"c\""},
           {"{current-context: c, contexts: 5}", "contexts: has no entry"},
           {"{contexts: []}", "current-context"},
       }) {
    const absl::Status status = ParseKubeconfig(c.text, "/dir").status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << c.text;
    EXPECT_NE(Message(status).find(c.names), std::string::npos) << Message(status);
  }
  EXPECT_TRUE(
      absl::IsInvalidArgument(ParseKubeconfig(Kubeconfig(good, "{}"), "/dir", "other").status()));
}

TEST(KubeconfigTest, FileThatIsNotThere) {
  EXPECT_TRUE(absl::IsNotFound(LoadKubeconfig("/nonexistent/kubeconfig").status()));
}

TEST(InClusterConfigTest, ServiceAccountOfThePod) {
  const std::string directory = testing::TempDir() + "/sa-" + std::to_string(getpid());
  std::filesystem::create_directory(directory);
  EXPECT_TRUE(absl::IsFailedPrecondition(InClusterConfig("", "", directory).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(InClusterConfig("10.96.0.1", "443", directory).status()));
  std::ofstream(directory + "/token") << "t";
  std::ofstream(directory + "/ca.crt") << "CA";
  std::ofstream(directory + "/namespace") << "kube-lvs";
  const auto config = InClusterConfig("fd00::1", "443", directory);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(*config, (ClientConfig{.server = "https://[fd00::1]:443",
                                   .certificate_authority = {.file = directory + "/ca.crt"},
                                   .token_file = directory + "/token",
                                   .default_namespace = "kube-lvs"}));
  EXPECT_EQ(InClusterConfig("10.96.0.1", "443", directory)->server, "https://10.96.0.1:443");
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace kube_lvs::kube
