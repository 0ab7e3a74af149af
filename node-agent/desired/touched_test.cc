// ComputeTouched against ComputeDesired, on random changes. A failure prints its seed.
#include "node-agent/desired/touched.h"

#include <gtest/gtest.h>

#include <random>

#include "kube/api/resolve.h"
#include "kube/store.h"
#include "node-agent/desired/desired.h"
#include "node-agent/sources/objects.h"

namespace kube_lvs {
namespace {

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

NodeFacts Director() {
  NodeFacts facts;
  facts.node_name = "d1";
  facts.node_address = Ip("192.0.2.1");
  for (const auto& [name, address] : std::map<std::string, std::string>{
           {"eth0", "192.0.2.1"}, {"eth1", "10.0.0.1"}, {"eth2", "10.0.1.1"}}) {
    InterfaceFacts interface;
    interface.name = name;
    interface.mtu = 1500;
    interface.up = true;
    interface.addresses = {{Ip(address), 24}};
    facts.interfaces[name] = interface;
  }
  facts.routes = {{*Cidr::Parse("0.0.0.0/0"), 0, "eth0", Ip("192.0.2.254")},
                  {*Cidr::Parse("192.0.2.0/24"), 0, "eth0", std::nullopt},
                  {*Cidr::Parse("10.0.0.0/24"), 0, "eth1", std::nullopt},
                  {*Cidr::Parse("10.0.1.0/24"), 0, "eth2", std::nullopt}};
  return facts;
}

// Some services, most of them of EndpointSlices, and changes of every kind to them.
class World {
 public:
  explicit World(uint32_t seed) : random_(seed) {
    api::LvsDirectorGroup group;
    group.meta.name = "default";
    group.spec.dataplane = api::DataplaneChoice::kEbpf;
    group.spec.static_allowed_ranges = {"10.0.0.0/23", "192.0.2.1/32"};
    group.status.members = {{"d1", "192.0.2.1"}, {"d2", "192.0.2.2"}};
    Put(group);
    api::LvsAddressPool pool;
    pool.meta.name = "edge";
    pool.status.cidrs = {"192.0.2.192/26"};
    Put(pool);
    for (int i = 0; i < 4; ++i) PutKubeService(i);
    for (int i = 0; i < 5; ++i) PutSlice(i, Below(4));
    for (int i = 0; i < 5; ++i) PutService(i);
  }

  Snapshot Now() const {
    Snapshot snapshot = SnapshotOf(objects_);
    snapshot.kubernetes = true;
    snapshot.complete = true;
    return snapshot;
  }

  void Change() {
    ++version_;
    switch (Below(10)) {
      case 0:
        return PutService(Below(6));
      case 1:
        objects_.erase(IdOf(Named<api::LvsService>("s" + std::to_string(Below(5)))));
        return;
      case 2:
        return PutKubeService(Below(4));
      case 3: {
        api::KubeNode node;
        node.meta.name = "w" + std::to_string(Below(2));
        node.internal_addresses = {"10.0.0." + std::to_string(11 + Below(4))};
        return Put(node);
      }
      case 4:
        return EditService([this](api::LvsService& service) {
          service.spec.backends[0].weight = static_cast<uint32_t>(Below(4));
        });
      case 5:
        return EditService([this](api::LvsService& service) {
          service.spec.scheduler = std::vector<std::string>{"rr", "wrr", "mh", "lblc"}[Below(4)];
        });
      case 6:
        return EditService([](api::LvsService& service) { service.status.summary.ports = "x"; });
      default:
        return PutSlice(Below(5), Below(4));
    }
  }

 private:
  size_t Below(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random_); }
  template <typename T>
  void Put(T object) {
    object.meta.resource_version = std::to_string(version_);
    objects_.insert_or_assign(IdOf(object), object);
  }
  template <typename T>
  T Named(const std::string& name) {
    T object;
    object.meta.name = name;
    object.meta.name_space = "shop";
    return object;
  }
  void PutKubeService(size_t i) {
    auto service = Named<api::KubeService>("k" + std::to_string(i));
    service.ports = {
        {.name = Below(5) == 0 ? "other" : "http", .protocol = Protocol::kTcp, .port = 80}};
    Put(service);
  }
  void PutSlice(size_t i, size_t of) {
    auto slice = Named<api::EndpointSlice>("e" + std::to_string(i));
    slice.service_name = "k" + std::to_string(of);
    slice.managed_by = "endpointslice-controller.k8s.io";
    slice.ports = {{.name = "http", .protocol = Protocol::kTcp, .port = 8080}};
    for (size_t n = Below(4); n > 0; --n) {
      api::EndpointSlice::Endpoint endpoint;
      endpoint.addresses = {"10.0." + std::to_string(Below(8) == 0 ? 1 : 0) + "." +
                            std::to_string(20 + Below(6))};
      endpoint.ready = Below(4) != 0;
      endpoint.serving = Below(2) == 0;
      endpoint.terminating = !endpoint.ready;
      slice.endpoints.push_back(endpoint);
    }
    Put(slice);
  }
  void PutService(size_t i) {
    auto service = Named<api::LvsService>("s" + std::to_string(i));
    service.meta.uid = "uid-" + service.meta.name;
    service.meta.creation_timestamp = "2026-01-0" + std::to_string(1 + i) + "T00:00:00Z";
    // Sometimes that of another one, which then is in the way.
    const std::string vip = "192.0.2." + std::to_string(200 + (Below(6) == 0 ? Below(5) : i));
    service.status.addresses = {{.value = vip, .pool_name = "edge", .ip_family = Family::kIpv4}};
    api::ServicePort port;
    port.name = "http";
    port.port = 80;
    service.spec.ports = {port};
    service.spec.method = Below(3) == 0 ? ForwardingMethod::kDirectRouting : ForwardingMethod::kNat;
    service.spec.scheduler = "wrr";
    api::BackendSource backend;
    backend.name = "web";
    if (service.spec.method == ForwardingMethod::kNat && Below(4) != 0) {
      backend.service_name = "k" + std::to_string(Below(4));
    } else {
      backend.is_static = true;
      for (size_t n = 1 + Below(3); n > 0; --n) {
        api::StaticBackend real;
        real.address = Below(8) == 0 ? "192.0.2.1" : "10.0.0." + std::to_string(11 + Below(4));
        backend.static_reals.push_back(real);
      }
    }
    service.spec.backends = {backend};
    Put(service);
  }
  void EditService(const std::function<void(api::LvsService&)>& edit) {
    const auto found = objects_.find(IdOf(Named<api::LvsService>("s" + std::to_string(Below(5)))));
    if (found == objects_.end()) return;
    auto service = std::get<api::LvsService>(found->second);
    edit(service);
    Put(service);
  }

  std::mt19937 random_;
  std::map<ObjectId, api::AnyObject> objects_;
  int version_ = 1;
};

TEST(Touched, TheRulesOfWhatWasTouchedAreThoseOfALookAtEverything) {
  const uint32_t first = std::random_device()();
  int partly = 0;
  for (uint32_t seed = first; seed != first + 12; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(seed);
    for (int change = 0; change < 40; ++change) {
      const Snapshot before = world.Now();
      world.Change();
      const Snapshot after = world.Now();
      const NodeFacts facts = Director();
      const Role role = FindRole(before, facts);
      const Desired was = ComputeDesired(before, facts, role, {}, {});
      const Desired is = ComputeDesired(after, facts, FindRole(after, facts), {}, {});
      const auto touched = ServicesTouched(before, after);
      if (!touched.has_value()) continue;
      const auto rules = ComputeTouched(*touched, before, after, facts, role,
                                        FindSurroundings(before, facts), was.origins, {});
      if (!rules.has_value()) continue;
      if (was.state != is.state) ++partly;
      State expected = was.state;
      for (const auto& [key, service] : rules->services) expected.services[key] = service;
      ASSERT_EQ(expected, is.state) << change;
      for (const auto& [key, timeout] : rules->drain) EXPECT_EQ(is.drain.at(key), timeout);
      ASSERT_EQ(was.problems.size(), is.problems.size()) << change;
    }
  }
  EXPECT_GT(partly, 20) << "the changes were hardly ever taken, from seed " << first;
}

// What a source's reflectors write, kind by kind.
class Stores {
 public:
  Snapshot Of(Snapshot snapshot) {
    Write(*snapshot.services, services_);
    Write(*snapshot.kube_services, kube_services_);
    Write(*snapshot.endpoint_slices, slices_);
    snapshot.services = services_.Snapshot();
    snapshot.kube_services = kube_services_.Snapshot();
    snapshot.endpoint_slices = slices_.Snapshot();
    return snapshot;
  }

 private:
  template <typename T>
  static void Write(const ObjectMap<T>& objects, kube::Store<T>& store) {
    const auto there = store.Snapshot();
    for (const auto& [key, object] : *there) {
      if (!objects.contains(key)) store.Remove(key);
    }
    for (const auto& [key, object] : objects) {
      const auto was = store.Get(key);
      if (was == nullptr || *was != *object) store.Set(key, object);
    }
  }

  kube::Store<api::LvsService> services_{
      nullptr, [](const api::LvsService& service) { return api::ServicesOf(service); }};
  kube::Store<api::KubeService> kube_services_;
  kube::Store<api::EndpointSlice> slices_{
      nullptr, [](const api::EndpointSlice& slice) { return api::ServicesOf(slice); }};
};

TEST(Touched, StoresThatTellWhatChangedGiveTheSame) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  World world(seed);
  Stores stores;
  const NodeFacts facts = Director();
  Snapshot before = world.Now(), before_stored = stores.Of(before);
  int told = 0, computed = 0;
  for (int change = 0; change < 400; ++change) {
    world.Change();
    const Snapshot after = world.Now(), after_stored = stores.Of(after);
    told += after_stored.services->ChangedSince(*before_stored.services).has_value();
    const auto touched = ServicesTouched(before, after);
    ASSERT_EQ(ServicesTouched(before_stored, after_stored), touched);
    if (touched.has_value()) {
      const Role role = FindRole(before, facts);
      const Desired was = ComputeDesired(before, facts, role, {}, {});
      const auto rules = [&](const Snapshot& from, const Snapshot& to) {
        return ComputeTouched(*touched, from, to, facts, role, FindSurroundings(before, facts),
                              was.origins, {});
      };
      const auto walked = rules(before, after), found = rules(before_stored, after_stored);
      ASSERT_EQ(found.has_value(), walked.has_value());
      if (found.has_value()) {
        ASSERT_EQ(found->services, walked->services);
      }
      computed += found.has_value() && !found->services.empty();
    }
    before = after;
    before_stored = after_stored;
  }
  EXPECT_GT(told, 300);
  EXPECT_GT(computed, 20);
}

// Stores that see nothing in what is not looked up: a walk over all would find it.
TEST(Touched, AChangedSliceIsNoReasonToLookAtEveryService) {
  const auto service = [](const std::string& name) {
    api::LvsService out;
    out.meta.name_space = "shop";
    out.meta.name = name;
    out.spec.backends.resize(1);
    out.spec.backends[0].service_name = "k";
    return std::make_shared<const api::LvsService>(out);
  };
  const auto slice = [](const std::string& name) {
    api::EndpointSlice out;
    out.meta.name_space = "shop";
    out.meta.name = name;
    out.service_name = "k";
    return out;
  };
  kube::Store<api::LvsService> services(nullptr, [](const api::LvsService& object) {
    return object.meta.name == "seen" ? api::ServicesOf(object) : std::vector<std::string>();
  });
  kube::Store<api::EndpointSlice> slices(nullptr, [](const api::EndpointSlice& object) {
    return object.meta.name == "seen" ? api::ServicesOf(object) : std::vector<std::string>();
  });
  for (const char* name : {"seen", "walked"}) {
    services.Set(std::string("shop/") + name, service(name));
    slices.Set(std::string("shop/") + name,
               std::make_shared<const api::EndpointSlice>(slice(name)));
  }
  Snapshot before, after;
  before.services = after.services = services.Snapshot();
  before.endpoint_slices = slices.Snapshot();
  api::EndpointSlice changed = slice("seen");
  changed.endpoints.resize(1);
  slices.Set("shop/seen", std::make_shared<const api::EndpointSlice>(changed));
  after.endpoint_slices = slices.Snapshot();
  EXPECT_EQ(ServicesTouched(before, after), std::set<std::string>{"shop/seen"});
  EXPECT_EQ(api::SlicesOf({"shop/k"}, *after.endpoint_slices).at("shop/k").size(), 1U);
}

TEST(Touched, WritesThatAreNotAboutRulesTouchNothing) {
  Snapshot before, after;
  api::LvsService service;
  service.meta.name = "web";
  service.meta.resource_version = "1";
  const auto map = [](const api::LvsService& of) {
    return std::make_shared<const ObjectMap<api::LvsService>>(
        ObjectMap<api::LvsService>{{of.meta.name, std::make_shared<const api::LvsService>(of)}});
  };
  before.services = map(service);
  service.meta.resource_version = "2";
  service.status.summary.directors = "n1";
  after.services = map(service);
  EXPECT_EQ(ServicesTouched(before, after), std::set<std::string>{});
  service.spec.scheduler = "rr";
  after.services = map(service);
  EXPECT_EQ(ServicesTouched(before, after), std::set<std::string>{"web"});
  service.spec.ports.emplace_back();
  after.services = map(service);
  EXPECT_EQ(ServicesTouched(before, after), std::nullopt);
}

}  // namespace
}  // namespace kube_lvs
