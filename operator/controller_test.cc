// The controller against an API server that misbehaves: what it writes, keeps and survives.
#include "operator/controller.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "base/status.h"
#include "kube/api/kinds.h"
#include "kube/json.h"
#include "kube/rest_transport.h"
#include "kube/testing/fake_api_server.h"

namespace kube_lvs::controller {
namespace {

using kube::Fault;
using kube::FaultType;
using nlohmann::json;

class QuietLogger final : public Logger {
 public:
  void Log(Level, std::string_view, LogFields) override {}
};

// One replica that leads from its making to its end.
class Replica {
 public:
  explicit Replica(const kube::FakeApiServer& server, bool may_write = true,
                   ControllerOptions options = {})
      : transport_(*kube::NewRestTransport(server.Config(), clock_)),
        client_(*transport_),
        events_(client_, "kube-lvs-operator", "test", clock_, log_),
        cluster_(
            client_,
            [this](Kind kind, const std::vector<std::string>& keys) {
              controller_.Changed(kind, keys);
            },
            1, clock_, log_),
        controller_(
            client_, cluster_, events_, metrics_, [may_write] { return may_write; }, options,
            clock_, log_),
        watching_([this](const std::stop_token& stop) { EXPECT_TRUE(cluster_.Run(stop).ok()); }),
        leading_([this](const std::stop_token& stop) { controller_.Lead(stop); }) {}

  std::string Metrics() const { return metrics_.Text(); }

 private:
  SystemClock clock_;
  QuietLogger log_;
  std::unique_ptr<kube::HttpTransport> transport_;
  kube::Client client_;
  kube::EventRecorder events_;
  controller::Metrics metrics_;
  Cluster cluster_;
  Controller controller_;
  std::jthread watching_;
  std::jthread leading_;
};

class ControllerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto server = kube::FakeApiServer::Start(
        {.resources = {api::kLvsServices, api::kLvsAddressPools, api::kLvsDirectorGroups,
                       api::kLvsNodes, kube::kServices, kube::kEndpointSlices, kube::kNodes,
                       kube::kNamespaces, kube::kServiceCidrs, kube::kEvents}});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    Put(kube::kNamespaces, R"({"metadata": {"name": "shop"}})");
    Put(kube::kNodes, R"({"metadata": {"name": "a", "labels": {}}, "status": {
        "addresses": [{"type": "InternalIP", "address": "172.30.0.1"}],
        "conditions": [{"type": "Ready", "status": "True"}]}})");
    Put(kube::kServices, R"({"metadata": {"name": "web", "namespace": "shop"},
        "spec": {"ports": [{"name": "http", "port": 80}]}})");
    Put(kube::kEndpointSlices, R"({"metadata": {"name": "web-1", "namespace": "shop", "labels": {
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": ["10.244.0.1"]}]})");
    Put(api::kLvsDirectorGroups, R"({"metadata": {"name": "default"}, "spec": {}})");
    Put(api::kLvsNodes, R"({"metadata": {"name": "a"}, "status": {
        "capabilities": {"kernel": "6.1", "dataplanes": ["eBPF"]}}})");
    Put(api::kLvsAddressPools, R"({"metadata": {"name": "edge"},
        "spec": {"addresses": ["192.0.2.0/29"]}})");
  }

  void Put(const kube::Resource& resource, const std::string& text) {
    json object = json::parse(text);
    object["apiVersion"] = resource.ApiVersion();
    object["kind"] = std::string(resource.kind);
    server_->Put(resource, object);
  }
  void PutService(const std::string& name, const std::string& more = "") {
    Put(api::kLvsServices, R"({"metadata": {"name": ")" + name + R"(", "namespace": "shop"},
        "spec": {"ports": [{"name": "http", "port": 80}],
                 "backends": [{"name": "b", "serviceRef": {"name": "web"}}])" +
                               more + "}}");
  }
  json Status(const kube::Resource& resource, const kube::ObjectName& name) const {
    const absl::StatusOr<json> object = server_->Read(resource, name);
    return object.ok() ? object->value("status", json::object()) : json::object();
  }
  json Status(const std::string& name) const { return Status(api::kLvsServices, {"shop", name}); }
  // "True Assigned"; empty while there is none.
  std::string Condition(const std::string& name, const std::string& type) const {
    for (const json& condition : Status(name).value("conditions", json::array())) {
      if (condition["type"] == type) {
        return condition["status"].get<std::string>() + " " +
               condition["reason"].get<std::string>();
      }
    }
    return "";
  }
  std::string Vip(const std::string& name) const {
    const json addresses = Status(name).value("addresses", json::array());
    return addresses.empty() ? "" : addresses[0]["value"].get<std::string>();
  }
  // Real time, because real threads and sockets are waited for.
  template <typename Probe>
  static bool Eventually(Probe probe) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!probe()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
  }
  int StatusWrites() const {
    int out = 0;
    for (const std::string& request : server_->Requests()) {
      out += request.starts_with("PATCH ") && request.find("/status") != std::string::npos;
    }
    return out;
  }

  std::unique_ptr<kube::FakeApiServer> server_;
};

TEST_F(ControllerTest, AServiceGetsAVipAndAStatus) {
  const Replica replica(*server_);
  PutService("web");
  EXPECT_TRUE(Eventually([&] { return Vip("web") == "192.0.2.0"; }));
  EXPECT_TRUE(Eventually([&] { return Condition("web", "Accepted") == "True Accepted"; }));
  EXPECT_TRUE(Eventually([&] { return Condition("web", "BackendsReady") == "True QuorumMet"; }));
  EXPECT_EQ(Condition("web", "Announced"), "False NoDirector");
  EXPECT_EQ(Status(api::kLvsDirectorGroups, {"", "default"})["members"][0]["node"], "a");
  EXPECT_TRUE(Eventually([&] {
    return Status(api::kLvsAddressPools, {"", "edge"}).value("/ipv4/allocated"_json_pointer, 0) ==
           1;
  }));
  server_->Remove(api::kLvsServices, {"shop", "web"});
  EXPECT_TRUE(Eventually([&] {
    return Status(api::kLvsAddressPools, {"", "edge"}).value("/ipv4/allocated"_json_pointer, 1) ==
           0;
  }));
}

TEST_F(ControllerTest, FailingWritesAreTriedAgain) {
  server_->Inject({.type = FaultType::kStatus,
                   .times = 2,
                   .method = "PATCH",
                   .path_contains = "/lvsservices/",
                   .http_status = 500});
  server_->Inject({.type = FaultType::kStatus,
                   .times = 2,
                   .method = "PATCH",
                   .path_contains = "/lvsservices/",
                   .http_status = 409,
                   .reason = "Conflict"});
  server_->Inject({.type = FaultType::kStatus,
                   .times = 1,
                   .method = "PATCH",
                   .path_contains = "/lvsservices/",
                   .http_status = 429});
  server_->Inject({.type = FaultType::kGarbage, .times = 1, .path_contains = "/lvsaddresspools"});
  server_->Inject({.type = FaultType::kClose, .times = 1, .path_contains = "/endpointslices"});
  PutService("web");
  const Replica replica(*server_);
  EXPECT_TRUE(Eventually([&] { return Vip("web") == "192.0.2.0"; }));
  EXPECT_EQ(replica.Metrics().find("reconciles_total{result=\"error\"} 0"), std::string::npos);
}

TEST_F(ControllerTest, WhoMayNotWriteWritesNothing) {
  PutService("web");
  const Replica replica(*server_, false);
  EXPECT_TRUE(Eventually([&] {
    return replica.Metrics().find("reconciles_total{result=\"error\"} 0") == std::string::npos;
  }));
  EXPECT_EQ(StatusWrites(), 0);
}

TEST_F(ControllerTest, WhoMayNotWriteMakesNoGroup) {
  server_->Remove(api::kLvsDirectorGroups, {"", "default"});
  server_->Remove(api::kLvsAddressPools, {"", "edge"});
  const Replica replica(*server_, false, {.create_default_group = true});
  // Nothing else is there to write: this error is the group's.
  EXPECT_TRUE(Eventually([&] {
    return replica.Metrics().find("reconciles_total{result=\"error\"} 0") == std::string::npos;
  }));
  EXPECT_FALSE(server_->Read(api::kLvsDirectorGroups, {"", "default"}).ok());
}

TEST_F(ControllerTest, TheNextLeaderKeepsAllAndWritesNothing) {
  const std::vector<std::string> names = {"a", "b", "c", "d"};
  for (const std::string& name : names) PutService(name);
  std::map<std::string, std::string> vips;
  {
    const Replica first(*server_);
    EXPECT_TRUE(Eventually([&] {
      return Status(api::kLvsAddressPools, {"", "edge"}).value("/ipv4/allocated"_json_pointer, 0) ==
                 4 &&
             Status(api::kLvsDirectorGroups, {"", "default"})
                     .value("/counts/services"_json_pointer, 0) == 4;
    }));
    EXPECT_TRUE(Eventually([&] {
      return std::ranges::all_of(
          names, [&](const auto& name) { return Condition(name, "Accepted") == "True Accepted"; });
    }));
  }
  for (const std::string& name : names) vips[name] = Vip(name);
  const int written = StatusWrites();
  const Replica second(*server_);
  PutService("e");
  EXPECT_TRUE(Eventually([&] { return !Vip("e").empty(); }));
  for (const std::string& name : names) EXPECT_EQ(Vip(name), vips[name]);
  EXPECT_TRUE(
      std::ranges::none_of(vips, [&](const auto& entry) { return entry.second == Vip("e"); }));
  // The new one's status, and the counts of its pool and group, which may follow in two steps.
  EXPECT_LE(StatusWrites(), written + 6);
}

TEST_F(ControllerTest, ANodeThatJoinsWithAnAddressOfThePoolTakesOnlyThatOne) {
  PutService("web");
  const Replica replica(*server_);
  EXPECT_TRUE(Eventually([&] { return Vip("web") == "192.0.2.0"; }));
  for (const char* address : {"192.0.2.0", "192.0.2.1"}) {
    Put(kube::kNodes, std::string(R"({"metadata": {"name": "n)") + (address + 8) +
                          R"("}, "status": {"addresses": [{"type": "InternalIP", "address": ")" +
                          address + R"("}]}})");
  }
  EXPECT_TRUE(
      Eventually([&] { return Condition("web", "AddressesAssigned") == "False AddressConflict"; }));
  EXPECT_EQ(Vip("web"), "192.0.2.0");
  PutService("next");
  EXPECT_TRUE(Eventually([&] { return Vip("next") == "192.0.2.2"; }));
  PutService("wrong", R"(, "addresses": [{"type": "IP", "value": "192.0.2.1"}])");
  EXPECT_TRUE(Eventually(
      [&] { return Condition("wrong", "AddressesAssigned") == "False AddressConflict"; }));
  server_->Remove(kube::kNodes, {"", "n0"});
  EXPECT_TRUE(Eventually([&] { return Condition("web", "AddressesAssigned") == "True Assigned"; }));
}

TEST_F(ControllerTest, OneThatCannotBeReadSaysSoAndKeepsItsVip) {
  Put(api::kLvsServices, R"({"metadata": {"name": "odd", "namespace": "shop"},
      "spec": {"ports": "all of them", "backends": []},
      "status": {"addresses": [{"type": "IP", "value": "192.0.2.0", "ipFamily": "IPv4",
                                "poolName": "edge"}]}})");
  PutService("web");
  const Replica replica(*server_);
  EXPECT_TRUE(Eventually([&] { return Vip("web") == "192.0.2.1"; }));
  EXPECT_TRUE(Eventually([&] { return Condition("odd", "Accepted") == "False InvalidSpec"; }));
  EXPECT_EQ(Condition("odd", "Ready"), "False InvalidSpec");
  EXPECT_EQ(Vip("odd"), "192.0.2.0");
}

TEST_F(ControllerTest, OneThatIsWrongHarmsNoOther) {
  PutService("bad", R"(, "forwarding": {"method": "Tunnel", "tunnel": {"type": "GRE"}})");
  PutService("worse", R"(, "scheduler": {"name": "fastest"})");
  PutService("nowhere", R"(, "directorGroupName": "nowhere")");
  PutService("web");
  const Replica replica(*server_);
  EXPECT_TRUE(Eventually([&] { return Condition("web", "Accepted") == "True Accepted"; }));
  EXPECT_TRUE(
      Eventually([&] { return Condition("bad", "Accepted") == "False UnsupportedByDataplane"; }));
  EXPECT_TRUE(Eventually(
      [&] { return Condition("nowhere", "Accepted") == "False DirectorGroupNotFound"; }));
  EXPECT_TRUE(Eventually([&] { return Condition("worse", "Accepted") == "False InvalidSpec"; }));
  EXPECT_EQ(Vip("worse"), "");
  // It becomes right.
  PutService("bad");
  EXPECT_TRUE(Eventually([&] { return Condition("bad", "Accepted") == "True Accepted"; }));
}

TEST_F(ControllerTest, TheDefaultGroupIsMadeWheneverThereIsNoGroup) {
  const kube::ObjectName name{"", "default"};
  const auto made = [&] { return server_->Read(api::kLvsDirectorGroups, name).ok(); };
  server_->Remove(api::kLvsDirectorGroups, name);
  server_->Inject({.type = FaultType::kStatus,
                   .method = "POST",
                   .path_contains = "/lvsdirectorgroups",
                   .http_status = 500});
  PutService("web");
  const Replica replica(*server_, true, {.create_default_group = true});
  EXPECT_TRUE(Eventually([&] { return Condition("web", "Accepted") == "True Accepted"; }));
  server_->Remove(api::kLvsDirectorGroups, name);
  EXPECT_TRUE(Eventually(made));
  // While there is another, it stays away.
  Put(api::kLvsDirectorGroups, R"({"metadata": {"name": "edge"}, "spec": {}})");
  const auto edge = [&] { return Status(api::kLvsDirectorGroups, {"", "edge"}); };
  EXPECT_TRUE(Eventually([&] { return edge().contains("members"); }));
  server_->Remove(api::kLvsDirectorGroups, name);
  EXPECT_TRUE(Eventually([&] { return !edge()["members"].empty(); }));
  EXPECT_FALSE(made());
}

TEST_F(ControllerTest, WithoutTheFlagNoGroupIsMade) {
  server_->Remove(api::kLvsDirectorGroups, {"", "default"});
  PutService("web");
  const Replica replica(*server_);
  EXPECT_TRUE(
      Eventually([&] { return Condition("web", "Accepted") == "False DirectorGroupNotFound"; }));
  EXPECT_FALSE(server_->Read(api::kLvsDirectorGroups, {"", "default"}).ok());
}

TEST_F(ControllerTest, AKindThatIsGoneAndHistoryThatIsLostAreSurvived) {
  PutService("web");
  const Replica replica(*server_);
  EXPECT_TRUE(Eventually([&] { return Vip("web") == "192.0.2.0"; }));
  server_->RemoveResource(api::kLvsNodes);
  server_->Compact();
  server_->CloseConnections();
  PutService("more");
  EXPECT_TRUE(Eventually([&] { return Vip("more") == "192.0.2.1"; }));
  EXPECT_EQ(Vip("web"), "192.0.2.0");
  server_->AddResource(api::kLvsNodes);
  Put(api::kLvsNodes, R"({"metadata": {"name": "a"}, "status": {"answersFor": ["192.0.2.0"],
      "resourceVersion": "999999", "capabilities": {"kernel": "6.1", "dataplanes": ["eBPF"]}}})");
  EXPECT_TRUE(Eventually([&] { return Condition("web", "Ready") == "True Ready"; }));
}

TEST_F(ControllerTest, ManyAtOnceGetOneEach) {
  Put(api::kLvsAddressPools, R"({"metadata": {"name": "edge"},
      "spec": {"addresses": ["192.0.2.0/24"]}})");
  const Replica replica(*server_);
  for (int i = 0; i < 200; ++i) PutService("s" + std::to_string(i));
  std::set<std::string> vips;
  EXPECT_TRUE(Eventually([&] {
    vips.clear();
    for (int i = 0; i < 200; ++i) vips.insert(Vip("s" + std::to_string(i)));
    return !vips.contains("");
  }));
  EXPECT_EQ(vips.size(), 200u);
}

}  // namespace
}  // namespace kube_lvs::controller
