#include "operator/allocate.h"

#include <gtest/gtest.h>

#include <random>

namespace kube_lvs::controller {
namespace {

constexpr TimePoint kNow{std::chrono::hours(1)};

PoolView Pool(const std::string& name, const std::string& cidr) {
  return {.name = name, .cidrs = {*Cidr::Parse(cidr)}};
}

class AllocateTest : public testing::Test {
 protected:
  static api::AddressRequest FromPool(const std::string& name) {
    api::AddressRequest out;
    out.pool_name = name;
    return out;
  }
  static api::AddressRequest Exactly(const std::string& ip) {
    api::AddressRequest out;
    out.type = api::AddressRequest::Type::kIp;
    out.value = ip;
    return out;
  }
  static api::AddressRequest All(const std::string& cidr) {
    api::AddressRequest out = Exactly(cidr);
    out.type = api::AddressRequest::Type::kCidr;
    return out;
  }
  static Claim Port(uint16_t port, const std::string& name_space = "shop") {
    return {.name_space = name_space, .ports = {{Protocol::kTcp, port, port}}};
  }

  Allocation Ask(const std::string& key, std::vector<api::AddressRequest> requests = {},
                 Claim claim = Port(80)) {
    return Allocate({.key = key,
                     .claim = std::move(claim),
                     .requests = std::move(requests),
                     .namespace_labels = labels_,
                     .family = family_},
                    pools_, cluster_, book_, now_);
  }
  // Asks, and writes what came of it into the book. "192.0.2.0 Assigned", "- PoolExhausted".
  std::string Get(const std::string& key, std::vector<api::AddressRequest> requests = {},
                  Claim claim = Port(80)) {
    const Allocation allocation = Ask(key, std::move(requests), claim);
    book_.Set(key, allocation.addresses, claim, now_);
    return (allocation.addresses.empty() ? "-" : allocation.addresses[0].value) + " " +
           (allocation.satisfied ? "" : "not ") + allocation.reason;
  }

  std::vector<PoolView> pools_ = {Pool("edge", "192.0.2.0/30")};
  std::vector<ClusterNetwork> cluster_;
  std::map<std::string, std::string> labels_ = {{"tier", "edge"}};
  Family family_ = Family::kIpv4;
  AddressBook book_;
  TimePoint now_ = kNow;
};

TEST_F(AllocateTest, EachGetsTheFirstFreeOneAndKeepsIt) {
  EXPECT_EQ(Get("shop/a"), "192.0.2.0 Assigned");
  EXPECT_EQ(Get("shop/b"), "192.0.2.1 Assigned");
  EXPECT_EQ(Get("shop/a"), "192.0.2.0 Assigned");
  EXPECT_EQ(book_.Of("shop/a")[0].pool_name, "edge");
  EXPECT_EQ(Get("shop/c"), "192.0.2.2 Assigned");
  EXPECT_EQ(Get("shop/d"), "192.0.2.3 Assigned");
  EXPECT_EQ(Get("shop/e"), "- not PoolExhausted");
}

TEST_F(AllocateTest, PoolsAreTakenInOrderAndOnlyThoseThatAreOpen) {
  pools_ = {Pool("request", "198.51.100.0/32"), Pool("others", "198.51.100.1/32"),
            Pool("first", "198.51.100.2/32"), Pool("second", "198.51.100.3/32")};
  pools_[0].automatic = false;
  pools_[1].namespace_selector = {.match_labels = {{"tier", "bank"}}, .match_expressions = {}};
  EXPECT_EQ(Get("shop/a"), "198.51.100.2 Assigned");
  EXPECT_EQ(Get("shop/b"), "198.51.100.3 Assigned");
  EXPECT_EQ(Get("shop/c"), "- not PoolExhausted");
  EXPECT_EQ(Get("shop/d", {FromPool("request")}), "198.51.100.0 Assigned");
  EXPECT_EQ(Get("shop/e", {FromPool("others")}), "- not NotPermitted");
  EXPECT_EQ(Get("shop/f", {FromPool("nowhere")}), "- not PoolNotFound");
  EXPECT_EQ(Get("shop/g", {Exactly("198.51.100.1")}), "- not NotPermitted");
  EXPECT_EQ(Get("shop/h", {Exactly("203.0.113.1")}), "- not PoolNotFound");
  pools_ = {};
  EXPECT_EQ(Get("shop/i"), "- not PoolNotFound");
}

TEST_F(AllocateTest, APoolThatGrantsNothingSaysWhy) {
  pools_[0].cidrs.clear();
  pools_[0].why_not = "overlaps 10.0.0.0/8";
  EXPECT_EQ(Ask("shop/a").message,
            "no free IPv4 address in LVSAddressPool edge; edge: overlaps 10.0.0.0/8");
}

TEST_F(AllocateTest, FamiliesAreKeptApart) {
  pools_.push_back(Pool("six", "2001:db8::/127"));
  api::AddressRequest six;
  six.ip_family = Family::kIpv6;
  EXPECT_EQ(Get("shop/a", {six}), "2001:db8:: Assigned");
  EXPECT_EQ(Get("shop/a"), "192.0.2.0 Assigned");
  family_ = Family::kIpv6;
  EXPECT_EQ(Get("shop/b"), "2001:db8::1 Assigned");
}

TEST_F(AllocateTest, AnAddressGivenBackRestsButNotForItsOwner) {
  EXPECT_EQ(Get("shop/a"), "192.0.2.0 Assigned");
  book_.Remove("shop/a", now_);
  now_ += std::chrono::seconds(59);
  EXPECT_EQ(Get("shop/b"), "192.0.2.1 Assigned");
  const Allocation refused = Ask("shop/c", {Exactly("192.0.2.0")});
  EXPECT_EQ(refused.reason, kAddressConflict);
  EXPECT_EQ(refused.retry_at, kNow + kRest);
  EXPECT_EQ(Ask("shop/a").addresses[0].value, "192.0.2.0");
  now_ += std::chrono::seconds(1);
  EXPECT_EQ(Get("shop/c"), "192.0.2.0 Assigned");
}

TEST_F(AllocateTest, AnExhaustedPoolSaysWhenOneIsFreeAgain) {
  pools_ = {Pool("one", "192.0.2.7/32")};
  Get("shop/a");
  book_.Remove("shop/a", now_);
  const Allocation refused = Ask("shop/b");
  EXPECT_EQ(refused.reason, kPoolExhausted);
  EXPECT_EQ(refused.retry_at, kNow + kRest);
}

TEST_F(AllocateTest, WhatADirectorStillAnswersForRestsToo) {
  book_.Rest(*Cidr::Parse("192.0.2.0"), now_);
  EXPECT_EQ(Get("shop/a"), "192.0.2.1 Assigned");
}

TEST_F(AllocateTest, RangesMayNotOverlapAndAVipWithAllPortsIsNeverShared) {
  const auto of = [](uint16_t first, std::optional<uint16_t> last, bool all_ports) {
    api::LvsService service;
    service.meta.name_space = "shop";
    service.spec.all_ports = all_ports;
    api::ServicePort port;
    port.port = first;
    port.end_port = last;
    if (!all_ports) service.spec.ports = {port};
    return ClaimOf(service);
  };
  EXPECT_EQ(Get("shop/a", {Exactly("192.0.2.1")}, of(100, uint16_t{200}, false)),
            "192.0.2.1 Assigned");
  EXPECT_EQ(Get("shop/b", {Exactly("192.0.2.1")}, of(99, {}, false)), "192.0.2.1 Assigned");
  EXPECT_EQ(Get("shop/c", {Exactly("192.0.2.1")}, of(200, {}, false)), "- not AddressConflict");
  EXPECT_EQ(Get("shop/d", {Exactly("192.0.2.1")}, of(50, uint16_t{100}, false)),
            "- not AddressConflict");
  EXPECT_EQ(Get("shop/e", {Exactly("192.0.2.1")}, of(0, {}, true)), "- not AddressConflict");
  EXPECT_EQ(Get("shop/f", {Exactly("192.0.2.2")}, of(0, {}, true)), "192.0.2.2 Assigned");
  EXPECT_EQ(Get("shop/g", {Exactly("192.0.2.2")}, of(0, {}, true)), "- not AddressConflict");
  EXPECT_EQ(Get("shop/h", {Exactly("192.0.2.2")}, of(7, {}, false)), "- not AddressConflict");
}

TEST_F(AllocateTest, AVipIsSharedInANamespaceWithOtherPortsOnly) {
  EXPECT_EQ(Get("shop/a", {Exactly("192.0.2.1")}), "192.0.2.1 Assigned");
  EXPECT_EQ(Get("shop/b", {Exactly("192.0.2.1")}, Port(81)), "192.0.2.1 Assigned");
  EXPECT_EQ(Get("shop/c", {Exactly("192.0.2.1")}, Port(80)), "- not AddressConflict");
  EXPECT_EQ(Get("bank/d", {Exactly("192.0.2.1")}, Port(82, "bank")), "- not AddressConflict");
  // Nobody is given a used one unasked.
  EXPECT_EQ(Get("shop/e", {}, Port(83)), "192.0.2.0 Assigned");
  EXPECT_EQ(book_.HoldersOf(*Cidr::Parse("192.0.2.1")),
            std::vector<std::string>({"shop/a", "shop/b"}));
  // It is given back when the last one goes.
  book_.Remove("shop/a", now_);
  EXPECT_TRUE(book_.Held(*Cidr::Parse("192.0.2.1")));
  book_.Remove("shop/b", now_);
  EXPECT_FALSE(book_.Held(*Cidr::Parse("192.0.2.1")));
  EXPECT_TRUE(book_.RestsUntil(*Cidr::Parse("192.0.2.1"), "shop/c", now_).has_value());
}

TEST_F(AllocateTest, WhoChangesItsPortsIntoAnothersLosesTheAddress) {
  Get("shop/a", {Exactly("192.0.2.1")}, Port(80));
  Get("shop/b", {Exactly("192.0.2.1")}, Port(81));
  EXPECT_EQ(Get("shop/b", {Exactly("192.0.2.1")}, Port(80)), "- not AddressConflict");
  EXPECT_EQ(Get("shop/a", {Exactly("192.0.2.1")}, Port(80)), "192.0.2.1 Assigned");
  EXPECT_EQ(Get("shop/b", {Exactly("192.0.2.1")}, Port(80)), "- not AddressConflict");
  EXPECT_EQ(Get("shop/b", {Exactly("192.0.2.1")}, Port(81)), "192.0.2.1 Assigned");
}

TEST_F(AllocateTest, ALostRightIsSaidAndTheAddressStays) {
  Get("shop/a");
  pools_[0].namespace_selector = {.match_labels = {{"tier", "bank"}}, .match_expressions = {}};
  EXPECT_EQ(Get("shop/a"), "192.0.2.0 NotPermitted");
  pools_ = {Pool("edge", "198.51.100.0/30")};
  EXPECT_EQ(Get("shop/a"), "192.0.2.0 NotPermitted");
  pools_ = {};
  EXPECT_EQ(Get("shop/a"), "192.0.2.0 NotPermitted");
}

TEST_F(AllocateTest, AnotherWishMovesItOnceItCanBeHad) {
  pools_.push_back(Pool("other", "198.51.100.0/32"));
  Get("shop/a");
  Get("shop/b", {Exactly("192.0.2.2")});
  EXPECT_EQ(Get("shop/a", {Exactly("192.0.2.2")}), "192.0.2.0 not AddressConflict");
  EXPECT_EQ(Get("shop/a", {FromPool("nowhere")}), "192.0.2.0 not PoolNotFound");
  EXPECT_EQ(Get("shop/a", {FromPool("other")}), "198.51.100.0 Assigned");
  EXPECT_EQ(Get("shop/c", {FromPool("other")}), "- not PoolExhausted");
  EXPECT_TRUE(book_.RestsUntil(*Cidr::Parse("192.0.2.0"), "shop/c", now_).has_value());
}

TEST_F(AllocateTest, ACidrIsGrantedWholeFromOnePool) {
  pools_ = {Pool("edge", "198.51.100.0/24"), Pool("other", "203.0.113.0/25")};
  EXPECT_EQ(Get("shop/a", {All("198.51.100.0/25")}), "198.51.100.0/25 Assigned");
  EXPECT_EQ(Get("shop/a", {All("198.51.100.0/25")}), "198.51.100.0/25 Assigned");
  EXPECT_EQ(book_.Of("shop/a")[0].pool_name, "edge");
  EXPECT_EQ(book_.Prefixes(), std::vector<Cidr>{*Cidr::Parse("198.51.100.0/25")});
  EXPECT_TRUE(book_.Vips().empty());
  const Allocation part = Ask("shop/b", {All("203.0.113.0/24")});
  EXPECT_EQ(part.reason, kPoolNotFound);
  EXPECT_EQ(part.message, "no LVSAddressPool grants all of 203.0.113.0/24");
  pools_[1].namespace_selector = {.match_labels = {{"tier", "bank"}}, .match_expressions = {}};
  EXPECT_EQ(Get("shop/b", {All("203.0.113.0/26")}), "- not NotPermitted");
}

TEST_F(AllocateTest, WhatOverlapsACidrIsNobodyElses) {
  pools_ = {Pool("edge", "198.51.100.0/28")};
  EXPECT_EQ(Get("shop/a", {All("198.51.100.0/29")}), "198.51.100.0/29 Assigned");
  EXPECT_EQ(Get("shop/b", {Exactly("198.51.100.3")}, Port(81)), "- not AddressConflict");
  EXPECT_EQ(Get("shop/b", {All("198.51.100.4/30")}, Port(81)), "- not AddressConflict");
  EXPECT_EQ(Get("shop/b", {All("198.51.100.0/28")}, Port(81)), "- not AddressConflict");
  EXPECT_EQ(Get("shop/c"), "198.51.100.8 Assigned");
  EXPECT_EQ(Get("shop/d", {All("198.51.100.8/31")}, Port(81)), "- not AddressConflict");
  // The same, by ports.
  EXPECT_EQ(Get("shop/e", {All("198.51.100.0/29")}, Port(81)), "198.51.100.0/29 Assigned");
  EXPECT_EQ(Get("shop/f", {All("198.51.100.0/29")}, Port(81)), "- not AddressConflict");
  EXPECT_EQ(Get("bank/g", {All("198.51.100.0/29")}, Port(82, "bank")), "- not AddressConflict");
  EXPECT_EQ(book_.HeldOf("edge").size(), 2u);
  EXPECT_EQ(book_.HoldersOf(*Cidr::Parse("198.51.100.0/29")),
            (std::vector<std::string>{"shop/a", "shop/e"}));
  // It may become a part of itself, and all of it rests.
  book_.Remove("shop/e", now_);
  EXPECT_EQ(Get("shop/a", {All("198.51.100.0/30")}), "198.51.100.0/30 Assigned");
  EXPECT_EQ(book_.Prefixes(), std::vector<Cidr>{*Cidr::Parse("198.51.100.0/30")});
  EXPECT_EQ(Get("shop/h", {Exactly("198.51.100.5")}), "- not AddressConflict");
  EXPECT_EQ(Get("shop/i", {All("198.51.100.4/30")}), "- not AddressConflict");
  now_ += kRest;
  EXPECT_EQ(Get("shop/i", {All("198.51.100.4/30")}), "198.51.100.4/30 Assigned");
  // Now a single one, that is not taken out of its own.
  EXPECT_EQ(Get("shop/i"), "198.51.100.9 Assigned");
}

TEST_F(AllocateTest, ACidrWithANodesAddressIsNotGrantedAndNotServed) {
  pools_ = {Pool("edge", "198.51.100.0/24")};
  EXPECT_EQ(Get("shop/a", {All("198.51.100.0/25")}), "198.51.100.0/25 Assigned");
  cluster_ = {{Cidr::Host(*IpAddress::Parse("198.51.100.9")), "the address of Node n", true}};
  const Allocation kept = Ask("shop/a", {All("198.51.100.0/25")});
  EXPECT_FALSE(kept.satisfied);
  EXPECT_EQ(kept.addresses.size(), 1u);
  EXPECT_EQ(kept.message,
            "198.51.100.0/25 has 198.51.100.9, the address of Node n now, and is not served: ask "
            "for another address, or give the Node another");
  EXPECT_EQ(Ask("shop/b", {All("198.51.100.8/30")}).message,
            "198.51.100.8/30 is held by LVSService shop/a; services of one namespace may share an "
            "address if their ports differ, and a CIDR as a whole");
  book_.Remove("shop/a", now_);
  now_ += kRest;
  EXPECT_EQ(Ask("shop/b", {All("198.51.100.8/30")}).message,
            "198.51.100.8/30 has 198.51.100.9, the address of Node n: ask for another address");
}

TEST_F(AllocateTest, PoolsKnowWhatIsHeldOfThem) {
  pools_.push_back(Pool("other", "198.51.100.0/30"));
  Get("shop/a");
  Get("shop/b", {FromPool("other")});
  Get("shop/c", {Exactly("198.51.100.0")}, Port(81));
  EXPECT_EQ(book_.HeldOf("edge").size(), 1u);
  EXPECT_EQ(book_.HeldOf("other").size(), 1u);
  book_.Remove("shop/b", now_);
  EXPECT_EQ(book_.HeldOf("other").size(), 1u);
  book_.Remove("shop/c", now_);
  EXPECT_EQ(book_.HeldOf("other").size(), 0u);
  EXPECT_EQ(book_.Vips().size(), 1u);
}

// Law: whatever happens, no two services hold one address with a common port or across namespaces,
// and an address is never another's within its rest.
TEST_F(AllocateTest, NoAddressIsEverGrantedTwice) {
  std::mt19937 random(11);
  const auto pick = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  pools_ = {Pool("a", "192.0.2.0/30"), Pool("b", "198.51.100.0/30")};
  std::map<std::string, std::pair<std::string, Claim>> held;          // key -> address, claim
  std::map<std::string, std::pair<std::string, TimePoint>> released;  // address -> key, when
  for (int i = 0; i < 5000; ++i) {
    now_ += std::chrono::seconds(pick(20));
    const std::string name_space = pick(2) == 0 ? "shop" : "bank";
    const std::string key = name_space + "/" + std::to_string(pick(8));
    const std::string before = held.contains(key) ? held[key].first : "";
    const Claim claim = Port(static_cast<uint16_t>(80 + pick(2)), name_space);
    if (pick(4) == 0) {
      book_.Remove(key, now_);
      held.erase(key);
    } else {
      std::vector<api::AddressRequest> wish;
      if (pick(2) == 0) wish = {Exactly("192.0.2." + std::to_string(pick(4)))};
      if (pick(4) == 0) wish = {FromPool("b")};
      if (pick(4) == 0) wish = {All(pick(2) == 0 ? "192.0.2.0/31" : "192.0.2.0/30")};
      const std::string got = Get(key, wish, claim);
      const std::string address = got.substr(0, got.find(' '));
      if (address == "-") {
        held.erase(key);
      } else {
        for (const auto& [gone, by] : released) {
          if (address == before || !Cidr::Parse(gone)->Overlaps(*Cidr::Parse(address))) continue;
          const auto& [whose, when] = by;
          ASSERT_TRUE(whose == key || now_ - when >= kRest) << got << " after " << gone;
        }
        held[key] = {address, claim};
        released.erase(address);
      }
    }
    for (const auto& [a, one] : held) {
      for (const auto& [b, two] : held) {
        if (a >= b || !Cidr::Parse(one.first)->Overlaps(*Cidr::Parse(two.first))) continue;
        ASSERT_EQ(one.first, two.first) << a << " " << b;
        ASSERT_EQ(one.second.name_space, two.second.name_space);
        ASSERT_NE(one.second.ports, two.second.ports) << a << " " << b << " " << one.first;
      }
    }
    const bool still_held =
        std::ranges::any_of(held, [&](const auto& entry) { return entry.second.first == before; });
    if (!before.empty() && !still_held) released[before] = {key, now_};
  }
}

TEST_F(AllocateTest, AnAddressOfTheClusterIsNotGrantedAndTheMendIsNamed) {
  cluster_ = {{*Cidr::Parse("192.0.2.1/32"), "the address of Node a", true},
              {*Cidr::Parse("10.96.0.0/16"), "the Services' network kubernetes"}};
  Allocation asked = Ask("shop/a", {Exactly("192.0.2.1")});
  EXPECT_EQ(asked.reason, kAddressConflict);
  EXPECT_EQ(asked.message, "192.0.2.1 is the address of Node a: ask for another address");
  EXPECT_TRUE(asked.addresses.empty());
  asked = Ask("shop/a", {Exactly("10.96.3.4")});
  EXPECT_EQ(asked.reason, kAddressConflict);
  EXPECT_EQ(asked.message,
            "10.96.3.4 lies in 10.96.0.0/16, the Services' network kubernetes: ask for another "
            "address");
}

TEST_F(AllocateTest, AVipWhoseAddressANodeGetsIsKeptButNotServed) {
  EXPECT_EQ(Get("shop/a"), "192.0.2.0 Assigned");
  EXPECT_EQ(Get("shop/b", {Exactly("192.0.2.1")}), "192.0.2.1 Assigned");
  cluster_ = {{*Cidr::Parse("192.0.2.0/32"), "the address of Node a", true},
              {*Cidr::Parse("192.0.2.1/32"), "the address of Node b", true}};
  EXPECT_EQ(Get("shop/a"), "192.0.2.0 not AddressConflict");
  EXPECT_EQ(Get("shop/b", {Exactly("192.0.2.1")}), "192.0.2.1 not AddressConflict");
  EXPECT_EQ(Ask("shop/a").message,
            "192.0.2.0 is the address of Node a now, and is not served: ask for another address, "
            "or give the Node another");
  EXPECT_EQ(Get("shop/b", {Exactly("192.0.2.2")}), "192.0.2.2 Assigned");
  cluster_.clear();
  EXPECT_EQ(Get("shop/a"), "192.0.2.0 Assigned");
}

TEST_F(AllocateTest, AVipInANetworkThatTheClusterGetsStays) {
  EXPECT_EQ(Get("shop/a"), "192.0.2.0 Assigned");
  cluster_ = {{*Cidr::Parse("192.0.2.0/24"), "the pods' network of Node a"}};
  EXPECT_EQ(Get("shop/a"), "192.0.2.0 NotPermitted");
  EXPECT_EQ(Ask("shop/a").message,
            "192.0.2.0 stays, but it would not be granted again: it lies in 192.0.2.0/24, the "
            "pods' network of Node a");
}

}  // namespace
}  // namespace kube_lvs::controller
