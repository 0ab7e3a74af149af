// Persistence: where new connections of a client go, and when its template is over.
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {
namespace {

constexpr uint32_t kSeconds = 360;

class PersistenceTest : public testing::TestWithParam<std::tuple<Stage, bool>> {
 protected:
  bool Ipv6() const { return std::get<bool>(GetParam()); }

  // rr over three real servers, whose ids are 1 to 3.
  Service Persistent(int host_bits = 0) const {
    Service out;
    if (Ipv6()) out.vip = "2001:db8:9::1";
    for (int i = 1; i <= 3; ++i) {
      out.reals.push_back({.address = (Ipv6() ? "2001:db8:2::" : "10.1.2.") + std::to_string(i)});
    }
    out.template_seconds = kSeconds;
    out.template_prefix = static_cast<uint8_t>((Ipv6() ? 128 : 32) - host_bits);
    return out;
  }
  std::string Client(int number) const {
    return (Ipv6() ? "2001:db8:1::" : "10.1.0.") + std::to_string(number);
  }
  Verdict Send(int client, uint16_t port, uint8_t flags = kSyn, uint8_t protocol = 6) {
    const auto send = [&](auto frame) {
      frame.flags = flags;
      frame.protocol = protocol;
      return director_.RunBoth(frame.Build()).verdict;
    };
    if (Ipv6()) return send(ClientFrame6(Client(client), port));
    return send(ClientFrame(Client(client), port));
  }
  // The id of the real server that a connection from this port has; 0 if there is none.
  uint32_t RealOf(uint16_t port) {
    uint32_t out = 0;
    ForEach([&](auto& c) {
      if (ntohs(c.key.sport) == port) out = c.real;
    });
    return out;
  }
  uint32_t Open(int client, uint16_t port) {
    Send(client, port);
    return RealOf(port);
  }
  template <typename Do>
  void ForEach(Do what) {
    if (Ipv6()) {
      for (klvs_conn6* c : director_.Entries6()) what(*c);
    } else {
      for (klvs_conn* c : director_.Entries()) what(*c);
    }
  }
  klvs_template TemplateOf(int client) {
    const auto out = director_.Template(1, Client(client));
    EXPECT_TRUE(out) << Client(client);
    return out.value_or(klvs_template{});
  }
  void SetExpires(int client, uint64_t expires) {
    klvs_template changed = TemplateOf(client);
    changed.expires = expires;
    ASSERT_TRUE(director_.SetTemplate(1, Client(client), changed));
  }
  uint64_t Now() { return director_.Now().jiffies; }
  // "2 0 1": templates of real servers 1, 2 and 3.
  std::string Templates() {
    std::string out;
    for (uint32_t id = 1; id <= 3; ++id) {
      out += (id == 1 ? "" : " ") + std::to_string(director_.Templates(id));
    }
    return out;
  }

  Director director_{std::get<Stage>(GetParam())};
};

INSTANTIATE_TEST_SUITE_P(Stages, PersistenceTest,
                         testing::Combine(testing::Values(Stage::kXdp, Stage::kTc),
                                          testing::Bool()),
                         [](const auto& info) {
                           return std::string(std::get<bool>(info.param) ? "Ipv6" : "Ipv4") + "_" +
                                  ToString(std::get<Stage>(info.param));
                         });

TEST_P(PersistenceTest, AClientStaysWithItsRealServer) {
  director_.Add(Persistent());
  EXPECT_EQ(Open(1, 1001), 1u);
  EXPECT_EQ(Open(1, 1002), 1u);
  EXPECT_EQ(Open(2, 1003), 2u);
  EXPECT_EQ(Open(1, 1004), 1u);
  EXPECT_EQ(Open(3, 1005), 3u);
  EXPECT_EQ(Open(2, 1006), 2u);
  EXPECT_EQ(Templates(), "1 1 1");
  EXPECT_EQ(KLVS_TEMPLATE_CONTROLLED(TemplateOf(1).word), 3u);
  EXPECT_EQ(TemplateOf(1).timeout, kSeconds * kHz);
}

TEST_P(PersistenceTest, APrefixOfClientsIsOne) {
  director_.Add(Persistent(3));
  EXPECT_EQ(Open(1, 1001), 1u);
  EXPECT_EQ(Open(7, 1002), 1u);
  EXPECT_EQ(Open(8, 1003), 2u);
  EXPECT_EQ(Open(9, 1004), 2u);
  EXPECT_EQ(KLVS_TEMPLATE_CONTROLLED(TemplateOf(0).word), 2u);
  EXPECT_EQ(KLVS_TEMPLATE_CONTROLLED(TemplateOf(8).word), 2u);
  director_.ExpireAll();
  director_.Sweep();
  EXPECT_EQ(KLVS_TEMPLATE_CONTROLLED(TemplateOf(0).word), 0u);
  EXPECT_EQ(KLVS_TEMPLATE_CONTROLLED(TemplateOf(8).word), 0u);
}

TEST_P(PersistenceTest, AnyPrefixWillDo) {
  const std::vector<std::pair<int, std::string>> prefixes =
      Ipv6() ? std::vector<std::pair<int, std::string>>{{1, "2001:db8:1::"},  {31, "2001:db8:1::"},
                                                        {32, "2001:db8:1::"}, {80, "2001:db8:1::"},
                                                        {81, "2001:db8::"},   {96, "2001:db8::"},
                                                        {97, "2001:db8::"},   {112, "2001::"},
                                                        {127, "::"}}
             : std::vector<std::pair<int, std::string>>{
                   {1, "10.1.0.0"}, {17, "10.0.0.0"}, {24, "10.0.0.0"}, {32, "0.0.0.0"}};
  for (const auto& [bits, client] : prefixes) {
    Service service = Persistent(bits);
    service.id = static_cast<uint32_t>(bits);
    service.first_real = static_cast<uint32_t>(10 * bits);
    director_.Add(service);
    const auto port = static_cast<uint16_t>(2000 + 2 * bits);
    EXPECT_EQ(Open(0, port), service.first_real) << bits;
    EXPECT_EQ(Open(1, static_cast<uint16_t>(port + 1)), service.first_real) << bits;
    EXPECT_TRUE(director_.Template(service.id, client)) << bits;
  }
}

TEST_P(PersistenceTest, AQuiescedRealServerKeepsItsClientsIfItMay) {
  Service service = Persistent();
  director_.Add(service);
  EXPECT_EQ(Open(1, 1001), 1u);
  service.reals[0].weight = 0;
  director_.Replace(service);
  EXPECT_EQ(Open(1, 1002), 1u);
  director_.settings().flags |= KLVS_SETTING_EXPIRE_QUIESCENT;
  EXPECT_EQ(Open(1, 1003), 2u);
  EXPECT_EQ(Open(1, 1004), 2u);
  EXPECT_EQ(Templates(), "0 1 0");
}

TEST_P(PersistenceTest, AClientThatWasTurnedAwayIsForgotten) {
  Service service = Persistent();
  for (Real& real : service.reals) real.weight = 0;
  service.reals[0].weight = 1;
  director_.Add(service);
  EXPECT_EQ(Open(1, 1001), 1u);
  director_.settings().flags |= KLVS_SETTING_EXPIRE_QUIESCENT;
  service.reals[0].weight = 0;
  director_.Replace(service);
  EXPECT_EQ(Open(1, 1002), 0u);
  EXPECT_EQ(Templates(), "0 0 0");
  for (Real& real : service.reals) real.weight = 1;
  director_.Replace(service, {.start_position = 1});
  EXPECT_EQ(Open(1, 1003), 2u);
  EXPECT_EQ(Templates(), "0 1 0");
}

TEST_P(PersistenceTest, ARemovedRealServerKeepsNobody) {
  director_.Add(Persistent());
  EXPECT_EQ(Open(1, 1001), 1u);
  director_.real(1).flags |= KLVS_REAL_REMOVED;
  director_.lists()[0].weight = 0;
  EXPECT_EQ(Open(1, 1002), 2u);
  EXPECT_EQ(Templates(), "0 1 0");
  EXPECT_EQ(KLVS_TEMPLATE_CONTROLLED(TemplateOf(1).word), 1u);
  director_.real(1).flags &= static_cast<uint8_t>(~KLVS_REAL_REMOVED);
  director_.real(2).flags |= KLVS_REAL_REMOVED;
  director_.lists()[0].weight = 1;
  director_.lists()[1].weight = director_.lists()[2].weight = 0;
  EXPECT_EQ(Open(1, 1003), 1u);
  EXPECT_EQ(KLVS_TEMPLATE_GENERATION(TemplateOf(1).word), 3u);
  // The ends of older connections, also to this real server, are not of this template's.
  ForEach([](auto& c) {
    if (ntohs(c.key.sport) != 1003) c.expires = 0;
  });
  EXPECT_EQ(director_.Sweep(), 2u);
  EXPECT_EQ(KLVS_TEMPLATE_CONTROLLED(TemplateOf(1).word), 1u);
}

TEST_P(PersistenceTest, EachNewConnectionRenews) {
  director_.Add(Persistent());
  Open(1, 1001);
  const uint64_t soon = Now() + 1000;
  SetExpires(1, soon);
  Send(1, 1001, kAck);
  EXPECT_EQ(TemplateOf(1).expires, soon);
  Open(1, 1002);
  EXPECT_GE(TemplateOf(1).expires, Now() + kSeconds * kHz - 10 * kHz);
}

TEST_P(PersistenceTest, OneThatIsOverIsForgotten) {
  director_.Add(Persistent());
  EXPECT_EQ(Open(1, 1001), 1u);
  director_.ExpireAll();
  EXPECT_EQ(director_.Sweep(), 1u);
  SetExpires(1, Now() - 1);
  EXPECT_EQ(Open(1, 1002), 2u);
  EXPECT_EQ(Templates(), "0 1 0");
  EXPECT_EQ(KLVS_TEMPLATE_CONTROLLED(TemplateOf(1).word), 1u);
}

TEST_P(PersistenceTest, WhileItControlsAConnectionItLivesOn) {
  director_.Add(Persistent());
  EXPECT_EQ(Open(1, 1001), 1u);
  SetExpires(1, Now() - 1);
  director_.Sweep();
  EXPECT_EQ(Open(1, 1002), 1u);
  // The kernel's template is never renewed by its service's time again.
  EXPECT_EQ(TemplateOf(1).timeout, 60 * kHz);
  EXPECT_LE(TemplateOf(1).expires, Now() + 60 * kHz);
}

TEST_P(PersistenceTest, TheLastConnectionLeavesItAtMostAMinute) {
  director_.Add(Persistent());
  Open(1, 1001);
  // The kernel's timer found it in control 200 and 140 s ago; the connection ended 90 s ago.
  const uint64_t expired = Now() - 200 * kHz;
  const uint64_t ended = Now() - 90 * kHz;
  SetExpires(1, expired);
  ForEach([&](auto& c) { c.expires = ended; });
  EXPECT_EQ(director_.Sweep(), 1u);
  EXPECT_FALSE(director_.Template(1, Client(1)));
  EXPECT_EQ(Templates(), "0 0 0");

  // It ended just now: the template has what is left of a minute.
  Open(1, 1002);
  SetExpires(1, expired);
  const uint64_t now = Now();
  ForEach([&](auto& c) { c.expires = now - 1; });
  EXPECT_EQ(director_.Sweep(), 1u);
  EXPECT_EQ(TemplateOf(1).expires, expired + 240 * kHz);
  EXPECT_EQ(TemplateOf(1).timeout, 60 * kHz);
}

TEST_P(PersistenceTest, ASweepTakesOutWhatIsOverOrForgotten) {
  director_.Add(Persistent());
  for (int client = 1; client <= 3; ++client) Open(client, static_cast<uint16_t>(1000 + client));
  director_.ExpireAll();
  EXPECT_EQ(director_.Sweep(), 3u);
  EXPECT_EQ(Templates(), "1 1 1");
  SetExpires(1, Now() - 1);
  director_.real(2).flags |= KLVS_REAL_REMOVED;
  director_.real(3).flags |= KLVS_REAL_REMOVED | KLVS_REAL_FORGOTTEN;
  director_.Sweep();
  EXPECT_EQ(Templates(), "0 1 0");
  EXPECT_FALSE(director_.Template(1, Client(1)));
  // It may come back.
  director_.real(2).flags &= static_cast<uint8_t>(~KLVS_REAL_REMOVED);
  EXPECT_EQ(Open(2, 1004), 2u);
}

TEST_P(PersistenceTest, AControlledConnectionIsNotScheduledAnewOnItsPort) {
  director_.Add(Persistent());
  Open(1, 1001);
  Send(1, 1001, kAck);
  Send(1, 1001, kRst);
  uint64_t before = 0, after = 0;
  ForEach([&](auto& c) { before = c.ctl; });
  Send(1, 1001, kSyn);
  ForEach([&](auto& c) { after = c.ctl; });
  EXPECT_EQ(KLVS_CTL_GENERATION(after), KLVS_CTL_GENERATION(before));
  EXPECT_EQ(KLVS_CTL_STATE(after), static_cast<uint32_t>(KLVS_SYN_RECV));
  // But it does not keep a client at a real server that is gone.
  director_.real(1).flags |= KLVS_REAL_REMOVED;
  EXPECT_EQ(Open(1, 1001), 2u);
}

TEST_P(PersistenceTest, WithoutRoomANewClientIsScheduledEachTime) {
  director_.Add(Persistent());
  EXPECT_EQ(Open(1, 1001), 1u);
  const klvs_template other = {
      .word = 1ULL << 32 | 1 << 24, .expires = Now() + 1000 * kHz, .timeout = 1000, .reserved = 0};
  for (uint32_t service = 2; director_.SetTemplate(service, Client(1), other); ++service) {
    ASSERT_LT(service, 100000u);
  }
  EXPECT_EQ(Open(2, 1002), 2u);
  EXPECT_EQ(Open(2, 1003), 3u);
  EXPECT_EQ(Open(1, 1004), 1u);
  ForEach(
      [](auto& c) { EXPECT_EQ((KLVS_CTL_FLAGS(c.ctl) & KLVS_CONN_CONTROLLED) != 0, c.real == 1); });
}

TEST_P(PersistenceTest, ThresholdsCountConnectionsAndTurnNoClientAway) {
  Service service = Persistent();
  service.reals[0].upper = 2;
  director_.Add(service);
  EXPECT_EQ(Open(1, 1001), 1u);
  EXPECT_EQ(director_.real_conns(1).overloaded, 0u);
  EXPECT_EQ(Open(1, 1002), 1u);
  EXPECT_EQ(director_.real_conns(1).overloaded, 1u);
  EXPECT_EQ(Open(1, 1003), 1u);
  EXPECT_EQ(director_.real_conns(1).active, 3u);
  for (int client = 2; client <= 5; ++client) {
    EXPECT_NE(Open(client, static_cast<uint16_t>(1002 + client)), 1u);
  }
}

TEST_P(PersistenceTest, OnePacketSchedulingKeepsToTheTemplate) {
  Service service = Persistent();
  service.protocol = 17;
  service.flags = KLVS_SERVICE_ONE_PACKET;
  director_.Add(service);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Send(1, static_cast<uint16_t>(1001 + i), 0, 17), Verdict::kSent);
  }
  EXPECT_EQ(Send(2, 1001, 0, 17), Verdict::kSent);
  EXPECT_EQ(director_.RealCounters(1).packets, 3u);
  EXPECT_EQ(director_.RealCounters(2).packets, 1u);
  EXPECT_EQ(KLVS_TEMPLATE_CONTROLLED(TemplateOf(1).word), 0u);
}

TEST_P(PersistenceTest, AClientOfNatStaysAndIsTranslated) {
  Service service = Persistent();
  service.method = KLVS_METHOD_NAT;
  for (Real& real : service.reals) real.port = 8080;
  director_.Add(service);
  EXPECT_EQ(Open(1, 1001), 1u);
  EXPECT_EQ(Open(2, 1002), 2u);
  EXPECT_EQ(Open(1, 1003), 1u);
  EXPECT_EQ(KLVS_TEMPLATE_CONTROLLED(TemplateOf(1).word), 2u);
  director_.ExpireAll();
  director_.Sweep();
  EXPECT_EQ(KLVS_TEMPLATE_CONTROLLED(TemplateOf(1).word), 0u);
}

// One of 8 ways: what has no place there is not counted as controlled.
TEST(PersistenceTableTest, AConnectionThatFindsNoPlaceControlsNothing) {
  Director director(Stage::kTc, 1);
  Service service;
  service.reals = {{.address = "10.1.2.1"}};
  service.template_seconds = kSeconds;
  director.Add(service);
  for (uint16_t port = 1; port <= 10; ++port) {
    Frame frame = ClientFrame("10.1.0.1", port);
    director.Run(frame);
    frame.flags = kAck;
    director.Run(frame);
  }
  EXPECT_EQ(director.Entries().size(), 8u);
  EXPECT_EQ(KLVS_TEMPLATE_CONTROLLED(director.Template(1, "10.1.0.1")->word), 8u);
}

}  // namespace
}  // namespace kube_lvs::ebpf
