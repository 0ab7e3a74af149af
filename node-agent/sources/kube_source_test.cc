// Objects from an API server that misbehaves: what is taken for complete, what stays.
#include "node-agent/sources/kube_source.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/status.h"
#include "kube/api/kinds.h"
#include "kube/rest_transport.h"
#include "kube/testing/fake_api_server.h"

namespace kube_lvs {
namespace {

using nlohmann::json;

class NoLog final : public Logger {
 public:
  void Log(Level, std::string_view, LogFields) override {}
};

json Service(const std::string& name) {
  return {{"apiVersion", "kube-lvs.io/v1alpha1"},
          {"kind", "LVSService"},
          {"metadata", {{"name", name}, {"namespace", "shop"}}},
          {"spec",
           {{"ports", {{{"name", "http"}, {"port", 80}}}},
            {"backends", {{{"name", "b"}, {"serviceRef", {{"name", "web"}}}}}}}}};
}

json Definition(const kube::Resource& kind) {
  return {{"metadata", {{"name", std::string(kind.plural) + "." + std::string(kind.group)}}}};
}

class KubeSourceTest : public testing::Test {
 protected:
  void SetUp() override {
    kube::FakeApiServer::Options options;
    options.resources = {api::kLvsServices,     api::kLvsDirectorGroups,
                         api::kLvsAddressPools, kube::kServices,
                         kube::kEndpointSlices, kube::kNodes,
                         kube::kServiceCidrs,   kube::kCustomResourceDefinitions};
    auto server = kube::FakeApiServer::Start(options);
    ASSERT_TRUE(server.ok()) << Message(server.status());
    server_ = *std::move(server);
    for (const kube::Resource& kind :
         {api::kLvsServices, api::kLvsDirectorGroups, api::kLvsAddressPools}) {
      server_->Put(kube::kCustomResourceDefinitions, Definition(kind));
    }
    auto transport = kube::NewRestTransport(server_->Config(), clock_);
    ASSERT_TRUE(transport.ok()) << Message(transport.status());
    transport_ = *std::move(transport);
    client_ = std::make_unique<kube::Client>(*transport_);
  }
  void TearDown() override { Stop(); }

  void Start(std::map<ObjectId, api::AnyObject> cached = {},
             Duration patience = std::chrono::milliseconds(50)) {
    source_ = std::make_unique<KubeSource>(*client_, std::move(cached), clock_, log_, patience);
    thread_ = std::jthread([this](std::stop_token stop) {
      const absl::Status status = source_->Run(stop, [this] {
        const std::lock_guard<std::mutex> lock(mu_);
        changed_.notify_all();
      });
      EXPECT_TRUE(status.ok()) << Message(status);
    });
  }
  void Stop() {
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
  }
  // Waits until `holds` of the snapshot; false after 20 s. Errors are not told by a change, so it
  // looks by itself, too.
  template <typename F>
  bool Until(F holds) {
    std::unique_lock<std::mutex> lock(mu_);
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < give_up) {
      if (holds(*source_->Get())) return true;
      changed_.wait_for(lock, std::chrono::milliseconds(10));
    }
    return false;
  }
  static std::map<ObjectId, api::AnyObject> Cached() {
    std::map<ObjectId, api::AnyObject> objects;
    api::LvsService service = *api::DecodeLvsService(Service("cached"));
    objects.emplace(IdOf(service), service);
    return objects;
  }

  SystemClock clock_;
  NoLog log_;
  std::unique_ptr<kube::FakeApiServer> server_;
  std::unique_ptr<kube::HttpTransport> transport_;
  std::unique_ptr<kube::Client> client_;
  std::unique_ptr<KubeSource> source_;
  std::mutex mu_;
  std::condition_variable changed_;
  std::jthread thread_;
};

TEST_F(KubeSourceTest, IsCompleteOnceEveryKindWasListedAndFollowsChanges) {
  server_->Put(api::kLvsServices, Service("web"));
  Start();
  ASSERT_TRUE(Until([](const Snapshot& s) { return s.complete; }));
  EXPECT_TRUE(source_->Get()->kubernetes);
  EXPECT_EQ(source_->Get()->services->count("shop/web"), 1u);
  const SnapshotPtr before = source_->Get();
  EXPECT_EQ(source_->Get(), before);
  server_->Put(api::kLvsServices, Service("mail"));
  EXPECT_TRUE(Until([](const Snapshot& s) { return s.services->contains("shop/mail"); }));
  server_->Remove(api::kLvsServices, {"shop", "web"});
  EXPECT_TRUE(Until([](const Snapshot& s) { return !s.services->contains("shop/web"); }));
  EXPECT_FALSE(before->services->contains("shop/mail"));
}

TEST_F(KubeSourceTest, WhoUsesAServiceAndWhatIsItsIsFoundWithoutALookAtAll) {
  server_->Put(api::kLvsServices, Service("shop"));
  server_->Put(kube::kEndpointSlices,
               {{"apiVersion", "discovery.k8s.io/v1"},
                {"kind", "EndpointSlice"},
                {"metadata",
                 {{"name", "web-1"},
                  {"namespace", "shop"},
                  {"labels", {{"kubernetes.io/service-name", "web"}}}}},
                {"addressType", "IPv4"},
                {"endpoints", json::array()},
                {"ports", json::array()}});
  Start();
  ASSERT_TRUE(Until([](const Snapshot& s) { return s.complete && !s.endpoint_slices->empty(); }));
  const SnapshotPtr snapshot = source_->Get();
  const auto users = snapshot->services->Naming("shop/web");
  const auto slices = snapshot->endpoint_slices->Naming("shop/web");
  ASSERT_TRUE(users && slices);
  EXPECT_EQ(std::vector<std::string>(users->begin(), users->end()),
            std::vector<std::string>{"shop/shop"});
  EXPECT_EQ(std::vector<std::string>(slices->begin(), slices->end()),
            std::vector<std::string>{"shop/web-1"});
}

TEST_F(KubeSourceTest, WithoutAnAnswerTheCacheIsUsedAndIsNotComplete) {
  server_->Inject({.type = kube::FaultType::kStatus, .times = 1000000, .http_status = 503});
  Start(Cached());
  ASSERT_TRUE(Until([](const Snapshot& s) { return s.services->contains("shop/cached"); }));
  EXPECT_FALSE(source_->Get()->complete);
  EXPECT_TRUE(Until([](const Snapshot& s) { return !s.problems.empty(); }));
  server_->ClearFaults();
  EXPECT_TRUE(Until([](const Snapshot& s) { return s.complete && s.services->empty(); }));
}

TEST_F(KubeSourceTest, HalfAListIsNotTheWhole) {
  server_->Put(api::kLvsServices, Service("web"));
  server_->Inject({.type = kube::FaultType::kStatus,
                   .times = 1000000,
                   .path_contains = "endpointslices",
                   .http_status = 403});
  Start();
  ASSERT_TRUE(Until([](const Snapshot& s) { return !s.problems.empty(); }));
  EXPECT_FALSE(source_->Get()->complete);
  EXPECT_TRUE(source_->Get()->services->empty());
  EXPECT_EQ(source_->Get()->problems[0].where, "EndpointSlice");
}

TEST_F(KubeSourceTest, ObjectsThatGoWithTheirDefinitionStay) {
  server_->Put(api::kLvsServices, Service("web"));
  Start();
  ASSERT_TRUE(Until([](const Snapshot& s) { return s.complete; }));
  json going = Definition(api::kLvsServices);
  going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z";
  server_->Put(kube::kCustomResourceDefinitions, going);
  server_->Remove(api::kLvsServices, {"shop", "web"});
  EXPECT_TRUE(Until([](const Snapshot& s) { return !s.problems.empty(); }));
  EXPECT_TRUE(source_->Get()->services->contains("shop/web"));
}

// As when a backup is restored, whose objects have no status.
TEST_F(KubeSourceTest, AServiceThatWentWithItsDefinitionStaysUntilItIsBackAndHasItsVip) {
  json web = Service("web");
  web["status"]["addresses"] = {{{"type", "IP"}, {"value", "192.0.2.1"}, {"ipFamily", "IPv4"}}};
  server_->Put(api::kLvsServices, web);
  Start();
  ASSERT_TRUE(Until([](const Snapshot& s) { return s.complete; }));
  const kube::ObjectName definition{.name = "lvsservices.kube-lvs.io"};
  server_->Remove(kube::kCustomResourceDefinitions, definition);
  server_->RemoveResource(api::kLvsServices);
  ASSERT_TRUE(Until([](const Snapshot& s) { return !s.problems.empty(); }));
  server_->AddResource(api::kLvsServices);
  server_->Put(kube::kCustomResourceDefinitions, Definition(api::kLvsServices));
  ASSERT_TRUE(Until([](const Snapshot& s) {
    return s.problems.size() == 1 && s.problems[0].where == "LVSService shop/web";
  }));
  json bare = Service("web");
  bare["spec"]["ports"][0]["port"] = 81;
  server_->Put(api::kLvsServices, bare);
  server_->Put(api::kLvsServices, Service("new"));
  ASSERT_TRUE(Until([](const Snapshot& s) { return s.services->contains("shop/new"); }));
  EXPECT_EQ(source_->Get()->services->at("shop/web")->spec.ports[0].port, 80);
  bare["status"] = web["status"];
  server_->Put(api::kLvsServices, bare);
  EXPECT_TRUE(Until(
      [](const Snapshot& s) { return s.services->at("shop/web")->spec.ports[0].port == 81; }));
  EXPECT_TRUE(Until([](const Snapshot& s) { return s.problems.empty(); }));
  server_->Remove(api::kLvsServices, {"shop", "web"});
  EXPECT_TRUE(Until([](const Snapshot& s) { return !s.services->contains("shop/web"); }));
}

TEST_F(KubeSourceTest, NetworksOfServicesAreKnown) {
  server_->Put(kube::kServiceCidrs,
               {{"metadata", {{"name", "kubernetes"}}}, {"spec", {{"cidrs", {"10.96.0.0/16"}}}}});
  Start();
  ASSERT_TRUE(Until([](const Snapshot& s) { return s.complete; }));
  EXPECT_EQ(source_->Get()->service_cidrs->at("kubernetes")->cidrs,
            std::vector<std::string>{"10.96.0.0/16"});
}

TEST_F(KubeSourceTest, AnApiServerWithoutNetworksOfServicesHoldsUpNothing) {
  server_->RemoveResource(kube::kServiceCidrs);
  Start();
  EXPECT_TRUE(Until([](const Snapshot& s) { return s.complete && s.problems.empty(); }));
}

TEST_F(KubeSourceTest, NetworksOfServicesThatAreForbiddenAreAProblemThatHoldsUpNothing) {
  server_->Inject({.type = kube::FaultType::kStatus,
                   .times = 1000000,
                   .path_contains = "servicecidrs",
                   .http_status = 403});
  Start();
  EXPECT_TRUE(Until([](const Snapshot& s) { return s.complete && !s.problems.empty(); }));
  EXPECT_EQ(source_->Get()->problems[0].where, "ServiceCIDR");
}

TEST_F(KubeSourceTest, ADeletedKindRemovesNothing) {
  server_->Put(api::kLvsServices, Service("web"));
  Start();
  ASSERT_TRUE(Until([](const Snapshot& s) { return s.complete; }));
  server_->RemoveResource(api::kLvsServices);
  server_->CloseConnections();
  EXPECT_TRUE(Until([](const Snapshot& s) { return !s.problems.empty(); }));
  EXPECT_TRUE(source_->Get()->complete);
  EXPECT_TRUE(source_->Get()->services->contains("shop/web"));
}

TEST_F(KubeSourceTest, AnObjectThatCannotBeReadComesFromTheCacheAndIsNamed) {
  json broken = Service("cached");
  broken["spec"]["ports"] = 7;
  server_->Put(api::kLvsServices, broken);
  server_->Put(api::kLvsServices, Service("web"));
  Start(Cached());
  ASSERT_TRUE(Until([](const Snapshot& s) { return s.complete; }));
  EXPECT_EQ(source_->Get()->services->size(), 2u);
  ASSERT_EQ(source_->Get()->problems.size(), 1u);
  EXPECT_EQ(source_->Get()->problems[0].where, "LVSService shop/cached");
}

}  // namespace
}  // namespace kube_lvs
