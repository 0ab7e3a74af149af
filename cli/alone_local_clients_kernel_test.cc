// Clients on the director itself, where lvsadm is alone: they reach VIPs by a pair of devices.
#include <sys/socket.h>

#include <string>

#include "cli/alone_site.h"
#include "gtest/gtest.h"

namespace kube_lvs::cli {
namespace {

class AloneLocalClientsTest : public AloneTest {
 protected:
  AloneLocalClientsTest() { director_->Sh("ip addr del 192.0.2.1/32 dev lo"); }

  bool HasPair() {
    return Shell(*director_, "ip link show kube-lvs0 && ip link show kube-lvs1").status == 0;
  }
  std::string WayToVip(const std::string& vip = kVip) {
    return Shell(*director_, "ip route get " + vip).output;
  }
  // Ten connections of a process on the director.
  Answers AskHereTenTimes(const std::string& vip = kVip) {
    return cli::AskTenTimes(*director_, SOCK_STREAM, vip);
  }
  int Received(const std::string& device) {
    return std::stoi(
        Shell(*director_, "cat /sys/class/net/" + device + "/statistics/rx_packets").output);
  }
};

TEST_F(AloneLocalClientsTest, AreBalancedByDirectRouting) {
  GiveVipToReals();
  const Server one(real1_, "real1", SOCK_STREAM, 80), two(real2_, "real2", SOCK_STREAM, 80);
  Balance("-t 192.0.2.1:80", "-g");
  const Answers here = {{"real1 sees 10.0.0.1", 5}, {"real2 sees 10.0.0.1", 5}};
  const Answers elsewhere = {{"real1 sees 172.16.0.2", 5}, {"real2 sees 172.16.0.2", 5}};
  EXPECT_EQ(AskHereTenTimes(), here);
  EXPECT_EQ(AskTenTimes(SOCK_STREAM), elsewhere);
  EXPECT_NE(Lvsadm(*director_, "-Ln --stats").output.find("192.0.2.1:80                       20 "),
            std::string::npos);
  // Other namespaces have none of it.
  EXPECT_NE(Shell(real1_, "ip link show kube-lvs0").status, 0);

  // Where the VIP comes to the host, it is the host's again, at the latest after the next command.
  const std::string nothing_new = "-E -t 192.0.2.1:80 -s rr";
  director_->Sh("ip addr add 192.0.2.1/32 dev lo");
  EXPECT_EQ(Ask(*director_, SOCK_STREAM), "refused");
  ASSERT_EQ(Lvsadm(*director_, nothing_new).status, 0);
  EXPECT_FALSE(HasPair());
  EXPECT_EQ(AskTenTimes(SOCK_STREAM), elsewhere);
  director_->Sh("ip addr del 192.0.2.1/32 dev lo");
  ASSERT_EQ(Lvsadm(*director_, nothing_new).status, 0);
  EXPECT_EQ(AskHereTenTimes(), here);

  ASSERT_EQ(Lvsadm(*director_, "-D -t 192.0.2.1:80").status, 0);
  EXPECT_FALSE(HasPair()) << "nobody wants it any more";
  Balance("-t 192.0.2.1:80", "-g");
  EXPECT_TRUE(HasPair());
  ASSERT_EQ(Lvsadm(*director_, "-C").status, 0);
  EXPECT_FALSE(HasPair());
  EXPECT_EQ(WayToVip().find("kube-lvs0"), std::string::npos);
}

TEST_F(AloneLocalClientsTest, AreBalancedByNat) {
  for (Namespace* real : {&real1_, &real2_}) real->Sh("ip route add default via 10.0.0.1");
  const Server one(real1_, "real1", SOCK_STREAM, 8080), two(real2_, "real2", SOCK_STREAM, 8080);
  Balance("-t 192.0.2.1:80", "-m");
  EXPECT_EQ(AskHereTenTimes(), (Answers{{"real1 sees 10.0.0.1", 5}, {"real2 sees 10.0.0.1", 5}}));
  EXPECT_EQ(AskTenTimes(SOCK_STREAM),
            (Answers{{"real1 sees 172.16.0.2", 5}, {"real2 sees 172.16.0.2", 5}}));
}

// What no service takes comes out at the far end once, also where the host forwards.
TEST_F(AloneLocalClientsTest, WhatIsOfNoServiceDoesNotGoRound) {
  director_->Sh("sysctl -qw net.ipv4.ip_forward=1");
  Balance("-t 192.0.2.1:80", "-g");
  const int before = Received("kube-lvs1");
  EXPECT_EQ(Ask(client_, SOCK_DGRAM, 81), "silence");
  const int came = Received("kube-lvs1") - before;
  EXPECT_GE(came, 1);
  EXPECT_LT(came, 5);
}

TEST_F(AloneLocalClientsTest, AreBalancedByNatOfIpv6) {
  GiveIpv6();
  director_->Sh("ip addr del 2001:db8::1/128 dev lo");
  for (Namespace* real : {&real1_, &real2_}) real->Sh("ip -6 route add default via fd00:a::1");
  const Server one(real1_, "real1", SOCK_STREAM, 8080, "fd00:a::11");
  const Server two(real2_, "real2", SOCK_STREAM, 8080, "fd00:a::12");
  ASSERT_EQ(Lvsadm(*director_, "-A -t [2001:db8::1]:80 -s rr").status, 0);
  for (const char* real : {"[fd00:a::11]:8080", "[fd00:a::12]:8080"}) {
    ASSERT_EQ(
        Lvsadm(*director_, std::string("-a -t [2001:db8::1]:80 -r ") + real + " -m").status, 0);
  }
  EXPECT_EQ(AskHereTenTimes(kVip6),
            (Answers{{"real1 sees fd00:a::1", 5}, {"real2 sees fd00:a::1", 5}}));
  EXPECT_EQ(AskTenTimes(SOCK_STREAM, kVip6),
            (Answers{{"real1 sees fd00:c::2", 5}, {"real2 sees fd00:c::2", 5}}));
  // What is of no service does not go round, where the host forwards.
  director_->Sh("sysctl -qw net.ipv6.conf.all.forwarding=1");
  const int before = Received("kube-lvs1");
  EXPECT_EQ(Ask(client_, SOCK_DGRAM, 81, kVip6), "silence");
  const int came = Received("kube-lvs1") - before;
  EXPECT_GE(came, 1);
  EXPECT_LT(came, 5);
}

// For a VIP on the director's segment that is no address of it, with the kernel's own means.
TEST_F(AloneLocalClientsTest, TheHostMayAnswerForTheVipByAProxyEntry) {
  GiveVipToReals();
  const Server one(real1_, "real1", SOCK_STREAM, 80), two(real2_, "real2", SOCK_STREAM, 80);
  Balance("-t 192.0.2.1:80", "-g");
  client_.Sh("ip route replace 192.0.2.0/24 dev eth0");
  EXPECT_EQ(Ask(client_, SOCK_STREAM), "silence");
  director_->Sh(
      "sysctl -qw net.ipv4.conf.eth0.forwarding=1; ip neigh add proxy 192.0.2.1 dev eth0");
  client_.Sh("ip neigh flush all");
  EXPECT_EQ(AskTenTimes(SOCK_STREAM),
            (Answers{{"real1 sees 172.16.0.2", 5}, {"real2 sees 172.16.0.2", 5}}));
  EXPECT_EQ(AskHereTenTimes(), (Answers{{"real1 sees 10.0.0.1", 5}, {"real2 sees 10.0.0.1", 5}}));
}

TEST_F(AloneLocalClientsTest, ADeviceOfSomebodyElseIsLeftAloneAndTheRestIsServed) {
  GiveVipToReals();
  const Server one(real1_, "real1", SOCK_STREAM, 80), two(real2_, "real2", SOCK_STREAM, 80);
  director_->Sh("ip link add kube-lvs0 type bridge");
  Balance("-t 192.0.2.1:80", "-g");
  const Ran ran = Lvsadm(*director_, "-E -t 192.0.2.1:80 -s rr");
  EXPECT_EQ(ran.status, 0);
  EXPECT_EQ(ran.output,
            "lvsadm: warning: clients on this host do not reach all VIPs: interface kube-lvs0 was "
            "made by somebody else and is left alone; rename it, so that clients on this node "
            "reach VIPs\n");
  EXPECT_EQ(AskTenTimes(SOCK_STREAM),
            (Answers{{"real1 sees 172.16.0.2", 5}, {"real2 sees 172.16.0.2", 5}}));
  ASSERT_EQ(Lvsadm(*director_, "-C").status, 0);
  EXPECT_EQ(Shell(*director_, "ip link show kube-lvs0").status, 0);
}

}  // namespace
}  // namespace kube_lvs::cli
