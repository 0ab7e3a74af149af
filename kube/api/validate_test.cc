#include "kube/api/validate.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kube/api/decode.h"
#include "kube/api/yaml.h"

namespace kube_lvs::api {
namespace {

constexpr char kGood[] = R"(
metadata: {name: web, namespace: shop}
spec:
  ports: [{name: http, port: 80}]
  backends: [{name: stable, serviceRef: {name: web}}]
)";

// The good service, with a merge patch in YAML over its spec.
LvsService With(std::string_view patch) {
  nlohmann::json object = ParseYaml(kGood)->front().value;
  if (!patch.empty()) object["spec"].merge_patch(ParseYaml(patch)->front().value);
  const absl::StatusOr<LvsService> service = DecodeLvsService(object, {.strict = true});
  EXPECT_TRUE(service.ok()) << service.status() << "\n" << patch;
  return service.ok() ? *service : LvsService{};
}

std::string ReasonsOf(const std::vector<Problem>& problems) {
  std::string out;
  for (const Problem& problem : problems) {
    out += (out.empty() ? "" : " | ") + problem.reason + " " + problem.message;
  }
  return out;
}

std::string ProblemsOf(std::string_view patch, std::optional<Dataplane> dataplane = {}) {
  return ReasonsOf(Validate(With(patch), dataplane));
}

TEST(ValidateTest, GoodOnesHaveNoProblem) {
  for (const auto dataplane : {std::optional<Dataplane>{}, std::optional(Dataplane::kIpvs),
                               std::optional(Dataplane::kEbpf)}) {
    EXPECT_EQ(ProblemsOf("", dataplane), "");
    EXPECT_EQ(ProblemsOf("scheduler: {name: mh}", dataplane), "");
    EXPECT_EQ(ProblemsOf("addresses: [{type: IP, value: 192.0.2.10}]", dataplane), "");
    EXPECT_EQ(ProblemsOf("addresses: [{type: IP, value: '2001:db8::1'}]", dataplane), "");
    EXPECT_EQ(ProblemsOf("addresses: [{type: Pool, ipFamily: IPv6}]", dataplane), "");
    EXPECT_EQ(
        ProblemsOf("{ports: [{name: a, port: 53, protocol: UDP}, {name: b, port: 53}]}", dataplane),
        "");
    EXPECT_EQ(ProblemsOf("forwarding: {method: DirectRouting}", dataplane), "");
    EXPECT_EQ(ProblemsOf("forwarding: {method: Tunnel, tunnel: {type: IPIP}}", dataplane), "");
    EXPECT_EQ(ProblemsOf("{forwarding: {method: DirectRouting}, ports: [{name: a, port: 80, "
                         "targetPort: 80}], backends: [{name: s, static: [{address: 10.0.0.1, "
                         "port: 80}]}]}",
                         dataplane),
              "");
    EXPECT_EQ(ProblemsOf("healthCheck: {type: None}", dataplane), "");
    EXPECT_EQ(ProblemsOf("access: {allowedSourceRanges: [0.0.0.0/0]}", dataplane), "");
  }
}

TEST(ValidateTest, SpecsThatMakeNoSenseAreInvalid) {
  const struct {
    const char* patch;
    const char* problem;
  } kCases[] = {
      {"ports: []", "InvalidSpec spec.ports: at least one port is needed"},
      {"ports: [{name: A_, port: 80}]",
       "InvalidSpec spec.ports[0].name: must be 1 to 15 characters of a-z, 0-9 and -, no - at an "
       "end"},
      {"ports: [{name: a, port: 80}, {name: a, port: 81}]",
       "InvalidSpec spec.ports[1].name: \"a\" is there twice"},
      {"ports: [{name: a, port: 80}, {name: b, port: 80}]",
       "InvalidSpec spec.ports[1]: overlaps port a: each port and protocol may be named once"},
      {"ports: [{name: a, port: 80, endPort: 80}]",
       "InvalidSpec spec.ports[0]: endPort must be above port, and a range has no targetPort"},
      {"ports: [{name: a, port: 80, endPort: 90, targetPort: 8080}]",
       "InvalidSpec spec.ports[0]: endPort must be above port, and a range has no targetPort"},
      {"ports: [{name: a, port: 80, endPort: 90}, {name: b, port: 90}]",
       "InvalidSpec spec.ports[1]: overlaps port a: each port and protocol may be named once"},
      {"allPorts: Enabled", "InvalidSpec spec: set ports, or allPorts: Enabled, but not both"},
      {"{allPorts: Enabled, ports: null, onePacketScheduling: Enabled}",
       "InvalidSpec spec.onePacketScheduling: is for UDP ports only"},
      {"{ports: [{name: a, port: 80, endPort: 90}], backends: [{name: s, static: [{address: "
       "10.0.0.1, port: 80}]}]}",
       "InvalidSpec spec.backends[0].static[0].port: with a port range or allPorts each packet "
       "keeps its port: leave port out, or give the single ports an LVSService of their own"},
      {"addresses: [{type: IP, value: 192.0.2}]",
       "InvalidSpec spec.addresses[0].value: \"192.0.2\" is not an IP address"},
      {"addresses: [{type: IP, value: 127.0.0.1}]",
       "InvalidSpec spec.addresses[0].value: loopback, link-local, multicast and unspecified "
       "addresses cannot be VIPs"},
      {"addresses: [{type: Pool, value: 192.0.2.1}]",
       "InvalidSpec spec.addresses[0]: type Pool takes poolName and ipFamily"},
      {"addresses: [{type: IP, value: 192.0.2.1, poolName: a}]",
       "InvalidSpec spec.addresses[0]: types IP and CIDR take value only"},
      {"addresses: [{type: CIDR, value: 198.51.100.1/24}]",
       "InvalidSpec spec.addresses[0].value: \"198.51.100.1/24\" is not a CIDR without host bits"},
      {"addresses: [{type: CIDR, value: 198.51.96.0/19}]",
       "InvalidSpec spec.addresses[0].value: must be of /20 to /31; a single address is of type "
       "IP"},
      {"addresses: [{type: CIDR, value: 198.51.100.1/32}]",
       "InvalidSpec spec.addresses[0].value: must be of /20 to /31; a single address is of type "
       "IP"},
      {"addresses: [{type: CIDR, value: 198.51.100.1}]",
       "InvalidSpec spec.addresses[0].value: must be of /20 to /31; a single address is of type "
       "IP"},
      {"addresses: [{type: CIDR, value: '2001:db8::/47'}]",
       "InvalidSpec spec.addresses[0].value: must be of /48 to /127; a single address is of type "
       "IP"},
      {"addresses: [{type: CIDR, value: '2001:db8::1/128'}]",
       "InvalidSpec spec.addresses[0].value: must be of /48 to /127; a single address is of type "
       "IP"},
      {"addresses: [{type: CIDR, value: '::/64'}]",
       "InvalidSpec spec.addresses[0].value: loopback, link-local, multicast and unspecified "
       "addresses cannot be VIPs"},
      {"addresses: [{type: CIDR, value: 169.254.16.0/24}]",
       "InvalidSpec spec.addresses[0].value: loopback, link-local, multicast and unspecified "
       "addresses cannot be VIPs"},
      {"addresses: [{type: CIDR, value: 198.51.100.0/24, poolName: a}]",
       "InvalidSpec spec.addresses[0]: types IP and CIDR take value only"},
      {"{forwarding: {method: DirectRouting}, ports: [{name: a, port: 80, targetPort: 8080}]}",
       "InvalidSpec spec.ports[0].targetPort: DirectRouting cannot map ports: leave targetPort "
       "out, or set it to port"},
      {"{forwarding: {method: Tunnel}, ports: [{name: a, port: 80, targetPort: http}]}",
       "InvalidSpec spec.ports[0].targetPort: Tunnel cannot map ports: leave targetPort out, or "
       "set "
       "it to port"},
      {"{forwarding: {method: Tunnel}, backends: [{name: s, static: [{address: 10.0.0.1, port: "
       "81}]}]}",
       "InvalidSpec spec.backends[0].static[0].port: Tunnel cannot map ports: leave port out, or "
       "set it to the port of the service"},
      {"forwarding: {method: Tunnel, sourceNAT: Enabled}",
       "InvalidSpec spec.forwarding.sourceNAT: is for method NAT only"},
      {"scheduler: {name: fastest}",
       "InvalidSpec spec.scheduler.name: \"fastest\" is no scheduler that LVS has"},
      {"scheduler: {name: rr, hash: {sourcePort: Enabled}}",
       "InvalidSpec spec.scheduler.hash: is for schedulers sh and mh only"},
      {"onePacketScheduling: Enabled",
       "InvalidSpec spec.onePacketScheduling: is for UDP ports only"},
      {"backends: []", "InvalidSpec spec.backends: at least one backend is needed"},
      {"backends: [{name: a}]",
       "InvalidSpec spec.backends[0]: set exactly one of serviceRef, selector and static"},
      {"backends: [{name: a, serviceRef: {name: x}, static: []}]",
       "InvalidSpec spec.backends[0]: set exactly one of serviceRef, selector and static"},
      {"backends: [{name: a, serviceRef: {name: x}}, {name: a, serviceRef: {name: y}}]",
       "InvalidSpec spec.backends[1].name: \"a\" is there twice"},
      {"backends: [{name: a, static: [{address: 169.254.169.254}]}]",
       "BackendNotPermitted spec.backends[0].static[0].address: loopback, link-local (metadata), "
       "multicast "
       "and unspecified addresses are refused"},
      {"backends: [{name: a, static: [{address: host.example}]}]",
       "InvalidSpec spec.backends[0].static[0].address: \"host.example\" is not an IP address"},
      {"backends: [{name: a, static: [{address: 10.0.0.1, lowerThreshold: 5}]}]",
       "InvalidSpec spec.backends[0].static[0]: lowerThreshold must be below upperThreshold"},
      {"healthCheck: {type: None, port: 80}",
       "InvalidSpec spec.healthCheck.port: type None takes no port"},
      {"access: {allowedSourceRanges: [10.0.0.1/8]}",
       "InvalidSpec spec.access.allowedSourceRanges[0]: \"10.0.0.1/8\" is not a CIDR without host "
       "bits"},
  };
  for (const auto& c : kCases)
    EXPECT_EQ(ProblemsOf(c.patch, Dataplane::kIpvs), c.problem) << c.patch;
}

TEST(ValidateTest, WhatNothingDoesYetIsRefused) {
  const char* kCases[] = {
      "ipFamilyPolicy: PreferDualStack",
      "addresses: [{type: Pool, ipFamily: IPv4}, {type: Pool, ipFamily: IPv6}]",
      "forwarding: {method: DirectRouting, fallback: NAT}",
      "scheduler: {slowStartSeconds: 5}",
      "backends: [{name: a, selector: {matchLabels: {app: web}}}]",
      "backends: [{name: a, static: [{address: 10.0.0.1, method: Tunnel}]}]",
      "healthCheck: {type: TCP}",
      "healthCheck: {type: None, via: VIP}",
      "availability: {quorum: 2}",
      "availability: {hysteresis: 1}",
      "availability: {realServerFailurePolicy: Remove}",
      "availability: {onQuorumLost: Reject}",
      "availability: {sorryServer: {address: 10.0.0.9}}",
      "access: {allowedSourceRanges: [10.0.0.0/8]}",
      "access: {icmpEcho: Ignore}",
      "topology: {prefer: PreferSameZone}",
  };
  for (const char* patch : kCases) {
    const std::vector<Problem> problems = Validate(With(patch), std::nullopt);
    ASSERT_EQ(problems.size(), 1u) << patch << ": " << ReasonsOf(problems);
    EXPECT_EQ(problems[0].reason, kUnsupportedByDataplane) << patch;
    EXPECT_NE(problems[0].message.find(" is not supported yet: leave it out"), std::string::npos);
  }
}

TEST(ValidateTest, TheDataplanesDiffer) {
  const char* kIpvsOnly[] = {
      "{addresses: [{type: CIDR, value: 198.51.96.0/20}], scheduler: {name: lblc}}",
      "{addresses: [{type: CIDR, value: '2001:db8::/48'}], scheduler: {name: lblcr}}",
      "{ports: [{name: a, port: 53, protocol: UDP}], onePacketScheduling: Enabled}",
      "{ports: [{name: a, port: 5060, protocol: UDP}], persistence: {engine: SIP}}",
      ("{forwarding: {method: Tunnel, tunnel: {type: GRE}}, backends: [{name: a, static: "
       "[{address: 10.0.0.1}]}]}"),
  };
  for (const char* patch : kIpvsOnly) {
    EXPECT_EQ(ProblemsOf(patch), "") << patch;
    EXPECT_EQ(ProblemsOf(patch, Dataplane::kIpvs), "") << patch;
    const std::vector<Problem> problems = Validate(With(patch), Dataplane::kEbpf);
    ASSERT_EQ(problems.size(), 1u) << patch;
    EXPECT_EQ(problems[0].reason, kUnsupportedByDataplane);
    EXPECT_NE(problems[0].message.find("needs dataplane IPVS"), std::string::npos);
  }
  const char* large_table = "scheduler: {name: mh, hash: {tableSize: 65521}}";
  EXPECT_EQ(ProblemsOf(large_table, Dataplane::kEbpf), "");
  EXPECT_EQ(ProblemsOf("scheduler: {name: mh, hash: {tableSize: 4093}}", Dataplane::kIpvs), "");
  const std::vector<Problem> of_ipvs = Validate(With(large_table), Dataplane::kIpvs);
  ASSERT_EQ(of_ipvs.size(), 1u);
  EXPECT_EQ(of_ipvs[0].reason, kUnsupportedByDataplane);
  EXPECT_NE(of_ipvs[0].message.find("use dataplane eBPF"), std::string::npos);
  for (const Dataplane dataplane : {Dataplane::kEbpf, Dataplane::kIpvs}) {
    EXPECT_EQ(ProblemsOf("access: {icmpEcho: Respond}", dataplane), "");
    for (const char* cidr :
         {"addresses: [{type: CIDR, value: 198.51.96.0/20}]",
          "addresses: [{type: CIDR, value: '2001:db8::/48'}]",
          "{addresses: [{type: CIDR, value: 198.51.100.0/24}], forwarding: {method: Tunnel}}",
          "{addresses: [{type: CIDR, value: '2001:db8::2/127'}], scheduler: {name: dh}}",
          "{addresses: [{type: CIDR, value: 198.51.100.2/31}], forwarding: {method: "
          "DirectRouting}}"}) {
      EXPECT_EQ(ProblemsOf(cidr, dataplane), "") << cidr;
    }
    EXPECT_EQ(ProblemsOf("scheduler: {name: lblc}", dataplane), "");
    EXPECT_EQ(ProblemsOf("{forwarding: {method: Tunnel, tunnel: {type: GUE, port: 6080}}, "
                         "backends: [{name: a, static: [{address: 10.0.0.1}]}]}",
                         dataplane),
              "");
    EXPECT_EQ(ProblemsOf("ports: [{name: a, port: 80, protocol: SCTP}]", dataplane), "");
    EXPECT_EQ(ProblemsOf("persistence: {timeoutSeconds: 60, prefixLengthIPv4: 24}", dataplane), "");
    EXPECT_EQ(
        ProblemsOf("ports: [{name: a, port: 80, endPort: 90}, {name: b, port: 91}]", dataplane),
        "");
    EXPECT_EQ(ProblemsOf("{allPorts: Enabled, ports: null}", dataplane), "");
    EXPECT_EQ(ProblemsOf("{allPorts: Enabled, ports: null, forwarding: {method: DirectRouting}, "
                         "backends: [{name: a, static: [{address: 10.0.0.1}]}]}",
                         dataplane),
              "");
  }
}

TEST(ValidateTest, GreIsForRealServersThatDecapsulateByThemselves) {
  const auto problems =
      Validate(With("forwarding: {method: Tunnel, tunnel: {type: GRE}}"), Dataplane::kIpvs);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].reason, kUnsupportedByDataplane);
  EXPECT_NE(problems[0].message.find("is for static backends"), std::string::npos);
  for (const Dataplane dataplane : {Dataplane::kEbpf, Dataplane::kIpvs}) {
    EXPECT_EQ(ProblemsOf("forwarding: {method: Tunnel, tunnel: {type: GUE, port: 6080}}", dataplane),
              "");
  }
  EXPECT_EQ(ProblemsOf("{persistence: {engine: SIP}}", Dataplane::kIpvs),
            "InvalidSpec spec.persistence.engine: SIP is for UDP ports only");
}

TEST(ValidateTest, ProblemsAreBounded) {
  LvsService service = With("");
  for (int i = 0; i < 16; ++i) {
    service.spec.backends.push_back({.name = "",
                                     .weight = 1,
                                     .service_name = "",
                                     .selector = {},
                                     .static_reals = {},
                                     .is_static = true});
    service.spec.backends.back().static_reals.resize(256);
  }
  EXPECT_EQ(Validate(service, std::nullopt).size(), 20u);
}

TEST(ValidateTest, TheDataplaneIsTheServicesElseTheGroups) {
  LvsServiceSpec spec;
  LvsDirectorGroup group;
  EXPECT_EQ(EffectiveDataplane(spec, nullptr), std::nullopt);
  EXPECT_EQ(EffectiveDataplane(spec, &group), std::nullopt);
  group.status.dataplane = "eBPF";
  EXPECT_EQ(EffectiveDataplane(spec, &group), Dataplane::kEbpf);
  group.spec.dataplane = DataplaneChoice::kIpvs;
  EXPECT_EQ(EffectiveDataplane(spec, &group), Dataplane::kIpvs);
  spec.dataplane = DataplaneChoice::kEbpf;
  EXPECT_EQ(EffectiveDataplane(spec, &group), Dataplane::kEbpf);
  EXPECT_EQ(EffectiveDataplane(spec, nullptr), Dataplane::kEbpf);
}

TEST(ValidateTest, SourceNatIsAutomaticForServices) {
  EXPECT_TRUE(EffectiveSourceNat(With("").spec));
  EXPECT_FALSE(
      EffectiveSourceNat(With("backends: [{name: a, static: [{address: 10.0.0.1}]}]").spec));
  EXPECT_FALSE(EffectiveSourceNat(With("forwarding: {sourceNAT: Disabled}").spec));
  EXPECT_FALSE(EffectiveSourceNat(With("forwarding: {method: Tunnel}").spec));
}

TEST(ValidateTest, AddressesThatNobodyMayUse) {
  for (const char* text : {"0.0.0.0", "0.1.2.3", "127.0.0.1", "169.254.169.254", "224.0.0.1",
                           "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "ff02::1"}) {
    EXPECT_TRUE(IsNeverAllowed(*IpAddress::Parse(text))) << text;
  }
  for (const char* text : {"1.1.1.1", "10.0.0.1", "126.255.255.255", "128.0.0.1", "169.253.1.1",
                           "192.0.2.1", "223.255.255.255", "::2", "2001:db8::1", "fd00::1"}) {
    EXPECT_FALSE(IsNeverAllowed(*IpAddress::Parse(text))) << text;
  }
}

TEST(ValidateTest, PoolsAndGroups) {
  LvsAddressPool pool;
  EXPECT_EQ(ReasonsOf(Validate(pool)), "InvalidSpec spec.addresses: at least one is needed");
  pool.spec.addresses = {"192.0.2.0/24", "2001:db8::/64"};
  EXPECT_EQ(ReasonsOf(Validate(pool)), "");
  pool.spec.addresses = {"192.0.2.0/24", "oops"};
  EXPECT_EQ(ReasonsOf(Validate(pool)),
            "InvalidSpec spec: spec.addresses[1]: \"oops\" is not an IP address");
  for (const char* bad :
       {"0.0.0.0/0", "127.0.0.0/30", "169.0.0.0/8", "::/64", "fe80::/64", "224.0.0.1-224.0.0.9"}) {
    pool.spec.addresses = {bad};
    EXPECT_EQ(Validate(pool).size(), 1u + (std::string(bad) == "0.0.0.0/0" ? 3u : 0u)) << bad;
  }

  LvsDirectorGroup group;
  EXPECT_EQ(ReasonsOf(Validate(group)), "");
  group.spec.static_allowed_ranges = {"10.0.0.0/8", "10.0.0.0/7x"};
  EXPECT_EQ(Validate(group).size(), 1u);
  group.spec.static_allowed_ranges = {};
  group.spec.connection_sync = true;
  EXPECT_EQ(ReasonsOf(Validate(group)),
            "InvalidSpec spec.connectionSync: Enabled needs dataplane: IPVS");
  group.spec.dataplane = DataplaneChoice::kIpvs;
  EXPECT_EQ(ReasonsOf(Validate(group)), "");
}

}  // namespace
}  // namespace kube_lvs::api
