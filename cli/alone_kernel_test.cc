// lvsadm alone on this machine's kernel: commands in network namespaces that have no agent, no pins
// and no forwarding, and real sockets through what they set up.
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "cli/alone_site.h"
#include "dataplane/ebpf/open.h"
#include "dataplane/ebpf/testing/attached.h"
#include "dataplane/ebpf/testing/namespaces.h"
#include "dataplane/ebpf/testing/sockets.h"
#include "gtest/gtest.h"

namespace kube_lvs::cli {
namespace {

// Whether the VIP answers an echo request.
bool Ping(const Namespace& client) {
  const UniqueFd socket = ebpf::NewSocket(client, Family::kIpv4, SOCK_RAW, IPPROTO_ICMP);
  ebpf::LimitWaits(socket, 3);
  const std::array<uint8_t, 8> request = {8, 0, 0xf7, 0xff, 0, 0, 0, 0};
  const ebpf::SocketAddress to({*IpAddress::Parse(kVip), 0});
  if (sendto(socket.get(), request.data(), request.size(), 0, to.Get(), to.size) < 0) {
    return false;
  }
  std::array<uint8_t, 128> buffer;
  while (true) {
    const ssize_t got = recv(socket.get(), buffer.data(), buffer.size(), 0);
    if (got < 0) return false;
    if (got >= 28 && buffer[20] == 0) return true;  // behind the IP header: an echo reply
  }
}

// The number of the program that the director has, 0 for none.
uint32_t ProgramOf(const Namespace& director) {
  return director.In([] { return ebpf::LvsadmProgramOn("eth0"); });
}

// Whether nothing is left of them; the kernel ends namespaces and programs in the background.
bool Gone(uint32_t program, const std::vector<uint32_t>& maps) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  for (;;) {
    bool left = ebpf::ProgramExists(program);
    for (const uint32_t map : maps) left = left || ebpf::MapExists(map);
    if (!left || std::chrono::steady_clock::now() > until) return !left;
    poll(nullptr, 0, 10);
  }
}

TEST_F(AloneTest, BalancesByDirectRoutingAndLeavesTheRestToTheHost) {
  GiveVipToReals();
  const Server one(real1_, "real1", SOCK_STREAM, 80), two(real2_, "real2", SOCK_STREAM, 80);
  const Server own(*director_, "director", SOCK_STREAM, 22, kVip);
  EXPECT_EQ(Lvsadm(*director_, "-Ln").status, 1);
  Balance("-t 192.0.2.1:80", "-g");
  EXPECT_EQ(AskTenTimes(SOCK_STREAM),
            (Answers{{"real1 sees 172.16.0.2", 5}, {"real2 sees 172.16.0.2", 5}}));
  const std::string trace = "--trace 172.16.0.2:50000,192.0.2.1:80";
  for (int i = 0; i < 2; ++i) {  // what is only asked for is not a turn
    const Ran traced = Lvsadm(*director_, trace);
    EXPECT_EQ(traced.output,
              "172.16.0.2:50000 -> 192.0.2.1:80/tcp: to 10.0.0.11:80 DirectRouting weight 1\n"
              "  a new connection: rr had the choice of 2 of 2 real servers (weight above 0, below "
              "the upper threshold)\n");
  }
  // The VIP is the host's own for everything else.
  EXPECT_EQ(Ask(client_, SOCK_STREAM, 22), "director sees 172.16.0.2");
  EXPECT_EQ(Ask(client_, SOCK_STREAM, 81), "refused");
  EXPECT_EQ(Ask(client_, SOCK_DGRAM, 80), "refused");
  EXPECT_TRUE(Ping(client_));

  const Ran connections = Lvsadm(*director_, "-Lnc");
  EXPECT_NE(connections.output.find("172.16.0.2:"), std::string::npos) << connections.output;
  EXPECT_NE(connections.output.find("192.0.2.1:80       10.0.0.12:80\n"), std::string::npos)
      << connections.output;
  const Ran counted = Lvsadm(*director_, "-Ln --stats");
  EXPECT_NE(counted.output.find("TCP  192.0.2.1:80                       10 "), std::string::npos)
      << counted.output;
  EXPECT_NE(counted.output.find("-> 10.0.0.11:80                        5 "), std::string::npos)
      << counted.output;
  ASSERT_EQ(Lvsadm(*director_, "-Z").status, 0);
  EXPECT_NE(Lvsadm(*director_, "-Ln --stats").output.find("192.0.2.1:80                        0 "),
            std::string::npos);
  // Other namespaces have their own rules: none.
  EXPECT_EQ(Lvsadm(real1_, "-Ln").status, 1);
}

TEST_F(AloneTest, BalancesByNatWithoutForwarding) {
  for (Namespace* real : {&real1_, &real2_}) real->Sh("ip route add default via 10.0.0.1");
  const Server one(real1_, "real1", SOCK_STREAM, 8080), two(real2_, "real2", SOCK_STREAM, 8080);
  const Server three(real1_, "real1", SOCK_DGRAM, 8080), four(real2_, "real2", SOCK_DGRAM, 8080);
  Balance("-t 192.0.2.1:80", "-m");
  Balance("-u 192.0.2.1:80", "-m");
  const Answers even = {{"real1 sees 172.16.0.2", 5}, {"real2 sees 172.16.0.2", 5}};
  EXPECT_EQ(AskTenTimes(SOCK_STREAM), even);
  EXPECT_EQ(AskTenTimes(SOCK_DGRAM), even);
  // A real server that is quiesced gets no more.
  ASSERT_EQ(Lvsadm(*director_, "-e -t 192.0.2.1:80 -r 10.0.0.11:8080 -m -w 0").status, 0);
  EXPECT_EQ(AskTenTimes(SOCK_STREAM), (Answers{{"real2 sees 172.16.0.2", 10}}));
}

TEST_F(AloneTest, TheHostMayBeARealServerByNatItself) {
  real1_.Sh("ip route add default via 10.0.0.1");
  const Server one(real1_, "real1", SOCK_STREAM, 8080), here(*director_, "host", SOCK_STREAM, 8080);
  // Bound to no address, it would answer UDP from the one towards the client.
  const Server two(real1_, "real1", SOCK_DGRAM, 8080);
  const Server there(*director_, "host", SOCK_DGRAM, 8080, "10.0.0.1");
  for (const char* service : {"-t 192.0.2.1:80", "-u 192.0.2.1:80"}) {
    ASSERT_EQ(Lvsadm(*director_, "-A " + std::string(service) + " -s rr").status, 0);
    for (const char* real : {"10.0.0.11", "10.0.0.1"}) {
      const Ran ran = Lvsadm(*director_, "-a " + std::string(service) + " -r " + real + ":8080 -m");
      ASSERT_EQ(ran.status, 0) << ran.output;
    }
  }
  const Answers even = {{"real1 sees 172.16.0.2", 5}, {"host sees 172.16.0.2", 5}};
  EXPECT_EQ(AskTenTimes(SOCK_STREAM), even);
  EXPECT_EQ(AskTenTimes(SOCK_DGRAM), even);
}

// The real servers, too, have no ipip here: our own program takes off the outer header.
TEST_F(AloneTest, BalancesByTunnel) {
  GiveVipToReals();
  const SystemClock clock;
  std::vector<ebpf::EbpfDataplane> of_reals;
  for (Namespace* real : {&real1_, &real2_}) {
    ebpf::BpfOptions options;
    options.dir = ebpf::PrivateBpfDir("real" + std::to_string(of_reals.size()));
    options.sizes.connections = 1024;
    auto opened = real->In([&] { return ebpf::OpenEbpfDataplane(options, clock); });
    ASSERT_TRUE(opened.ok()) << opened.status();
    of_reals.push_back(*std::move(opened));
    const std::vector<Step> decapsulate = {
        AddItem{Attachment{"eth0"}},
        AddItem{TunnelPeer{*IpAddress::Parse("10.0.0.1"), *IpAddress::Parse(kVip)}}};
    for (const absl::Status& status :
         real->In([&] { return of_reals.back().backend->Apply(decapsulate); })) {
      ASSERT_TRUE(status.ok()) << status;
    }
  }
  const Server one(real1_, "real1", SOCK_STREAM, 80), two(real2_, "real2", SOCK_STREAM, 80);
  const Server three(real1_, "real1", SOCK_DGRAM, 80, kVip);
  const Server four(real2_, "real2", SOCK_DGRAM, 80, kVip);
  Balance("-t 192.0.2.1:80", "-i");
  Balance("-u 192.0.2.1:80", "-i");
  const Answers even = {{"real1 sees 172.16.0.2", 5}, {"real2 sees 172.16.0.2", 5}};
  EXPECT_EQ(AskTenTimes(SOCK_STREAM), even);
  EXPECT_EQ(AskTenTimes(SOCK_DGRAM), even);
  // Other directors' tunnels are none of the real server's.
  const std::vector<Step> forget = {
      RemoveItem{TunnelPeer{*IpAddress::Parse("10.0.0.1"), *IpAddress::Parse(kVip)}}};
  ASSERT_TRUE(real1_.In([&] { return of_reals.front().backend->Apply(forget); })[0].ok());
  EXPECT_EQ(Lvsadm(*director_, "-d -t 192.0.2.1:80 -r 10.0.0.12").status, 0);
  EXPECT_EQ(Ask(client_, SOCK_STREAM), "silence") << "there was a tunnel without the item";
}

TEST_F(AloneTest, TraceChangesNothing) {
  GiveVipToReals();
  const Server one(real1_, "real1", SOCK_STREAM, 80), two(real2_, "real2", SOCK_STREAM, 80);
  Balance("-t 192.0.2.1:80", "-g");
  ASSERT_EQ(Lvsadm(*director_, "-E -t 192.0.2.1:80 -s rr -p 100").status, 0);
  ASSERT_EQ(Ask(client_, SOCK_STREAM), "real1 sees 172.16.0.2");
  const auto state = [this] {
    return Lvsadm(*director_, "-Ln").output + Lvsadm(*director_, "-Ln --stats --exact").output +
           Lvsadm(*director_, "-Ln --persistent-conn").output;
  };
  const std::string before = state();
  for (int i = 0; i < 3; ++i) {
    // Whom persistence does not know is scheduled, and again to the same one.
    EXPECT_NE(Lvsadm(*director_, "--trace 172.16.0.99:50000,192.0.2.1:80")
                  .output.find(": to 10.0.0.12:80 DirectRouting weight 1\n"),
              std::string::npos);
    // Nobody serves that port.
    Lvsadm(*director_, "--trace 172.16.0.99:50000,192.0.2.1:81");
  }
  EXPECT_EQ(state(), before);
}

TEST_F(AloneTest, PersistenceHasAClientStay) {
  GiveVipToReals();
  const Server one(real1_, "real1", SOCK_STREAM, 80), two(real2_, "real2", SOCK_STREAM, 80);
  Balance("-t 192.0.2.1:80", "-g");
  const std::string persistent = "-t 192.0.2.1:80 -s rr -p 100 -M 255.255.255.0";
  ASSERT_EQ(Lvsadm(*director_, "-E " + persistent).status, 0);
  EXPECT_EQ(AskTenTimes(SOCK_STREAM), (Answers{{"real1 sees 172.16.0.2", 10}}));
  EXPECT_EQ(Lvsadm(*director_, "--trace 172.16.0.99:50000,192.0.2.1:80").output,
            "172.16.0.99:50000 -> 192.0.2.1:80/tcp: to 10.0.0.11:80 DirectRouting weight 1\n"
            "  a new connection: persistence has the client stay\n");
  const auto shows = [this](const std::string& options, const std::string& what) {
    const std::string output = Lvsadm(*director_, options).output;
    EXPECT_NE(output.find(what), std::string::npos) << output;
  };
  shows("-Sn", "-A " + persistent + "\n");
  shows("-Ln", "TCP  192.0.2.1:80 rr persistent 100 mask 255.255.255.0\n");
  shows("-Ln --persistent-conn", "-> 10.0.0.11:80                 1         1           ");
  shows("-Lnc", " NONE        172.16.0.0:0       192.0.2.1:80       10.0.0.11:80\n");
  // Its clients stay while it is quiesced, as ipvsadm's do.
  ASSERT_EQ(Lvsadm(*director_, "-e -t 192.0.2.1:80 -r 10.0.0.11 -g -w 0").status, 0);
  EXPECT_EQ(Ask(client_, SOCK_STREAM, 80), "real1 sees 172.16.0.2");
  ASSERT_EQ(Lvsadm(*director_, "-d -t 192.0.2.1:80 -r 10.0.0.11").status, 0);
  EXPECT_EQ(Ask(client_, SOCK_STREAM, 80), "real2 sees 172.16.0.2");
  EXPECT_EQ(Lvsadm(*director_, "-E " + persistent + " --pe sip").status, 255);
  EXPECT_EQ(Lvsadm(*director_, "-E -t 192.0.2.1:80 -s rr -p -M 255.0.255.0").status, 255);
}

TEST_F(AloneTest, BalancesIpv6BesideIpv4) {
  GiveIpv6();
  for (Namespace* real : {&real1_, &real2_}) {
    real->Sh("ip addr add 2001:db8::1/128 dev lo nodad; ip route add fd00:c::/64 dev eth0");
  }
  GiveVipToReals();
  const Server one(real1_, "real1", SOCK_STREAM, 80), two(real2_, "real2", SOCK_STREAM, 80);
  const Server three(real1_, "real1", SOCK_STREAM, 80, kVip6);
  const Server four(real2_, "real2", SOCK_STREAM, 80, kVip6);
  Balance("-t 192.0.2.1:80", "-g");
  ASSERT_EQ(Lvsadm(*director_, "-A -t [2001:db8::1]:80 -s rr").status, 0);
  for (const char* real : {"fd00:a::11", "fd00:a::12"}) {
    const Ran ran =
        Lvsadm(*director_, std::string("-a -t [2001:db8::1]:80 -r [") + real + "]:80 -g");
    ASSERT_EQ(ran.status, 0) << ran.output;
  }
  EXPECT_EQ(AskTenTimes(SOCK_STREAM, kVip6),
            (Answers{{"real1 sees fd00:c::2", 5}, {"real2 sees fd00:c::2", 5}}));
  EXPECT_EQ(AskTenTimes(SOCK_STREAM),
            (Answers{{"real1 sees 172.16.0.2", 5}, {"real2 sees 172.16.0.2", 5}}));
  EXPECT_EQ(
      Lvsadm(*director_, "--trace [fd00:c::2]:50000,[2001:db8::1]:80").output,
      "[fd00:c::2]:50000 -> [2001:db8::1]:80/tcp: to [fd00:a::11]:80 DirectRouting weight 1\n"
      "  a new connection: rr had the choice of 2 of 2 real servers (weight above 0, below the "
      "upper threshold)\n");
  const Ran counted = Lvsadm(*director_, "-Ln --stats");
  EXPECT_NE(counted.output.find("TCP  [2001:db8::1]:80                   10 "), std::string::npos)
      << counted.output;
  const Ran connections = Lvsadm(*director_, "-Lnc");
  EXPECT_NE(connections.output.find("[2001:db8::1]:80"), std::string::npos) << connections.output;
  EXPECT_NE(connections.output.find("[fd00:a::12]:80"), std::string::npos) << connections.output;
  EXPECT_EQ(Lvsadm(*director_, "-C").status, 0);
  EXPECT_EQ(ProgramOf(*director_), 0u);
}

TEST_F(AloneTest, BalancesIpv6ByNatWithoutForwarding) {
  GiveIpv6();
  for (Namespace* real : {&real1_, &real2_}) real->Sh("ip route add default via fd00:a::1");
  const Server one(real1_, "real1", SOCK_STREAM, 8080, "::"),
      two(real2_, "real2", SOCK_STREAM, 8080, "::");
  const Server three(real1_, "real1", SOCK_DGRAM, 8080, "::"),
      four(real2_, "real2", SOCK_DGRAM, 8080, "::");
  for (const char* service : {"-t [2001:db8::1]:80", "-u [2001:db8::1]:80"}) {
    ASSERT_EQ(Lvsadm(*director_, std::string("-A ") + service + " -s rr").status, 0);
    for (const char* real : {"[fd00:a::11]:8080", "[fd00:a::12]:8080"}) {
      const Ran ran = Lvsadm(*director_, std::string("-a ") + service + " -r " + real + " -m");
      ASSERT_EQ(ran.status, 0) << ran.output;
    }
  }
  const Answers even = {{"real1 sees fd00:c::2", 5}, {"real2 sees fd00:c::2", 5}};
  EXPECT_EQ(AskTenTimes(SOCK_STREAM, kVip6), even);
  EXPECT_EQ(AskTenTimes(SOCK_DGRAM, kVip6), even);
  ASSERT_EQ(Lvsadm(*director_, "-e -t [2001:db8::1]:80 -r [fd00:a::11]:8080 -m -w 0").status, 0);
  EXPECT_EQ(AskTenTimes(SOCK_STREAM, kVip6), (Answers{{"real2 sees fd00:c::2", 10}}));
}

TEST_F(AloneTest, ShowsWhatItDrops) {
  EXPECT_EQ(Lvsadm(*director_, "--drops 1").status, 1) << "there is no dataplane";
  ASSERT_EQ(Lvsadm(*director_, "-A -t 192.0.2.1:80 -s rr").output, "");
  Watching drops(*director_, "--drops");
  EXPECT_EQ(drops.Line(), "kube-lvs eBPF dataplane (lvsadm)\n");
  EXPECT_EQ(drops.Line().substr(0, 10), "Time (UTC)");
  EXPECT_EQ(Ask(client_, SOCK_STREAM), "refused");
  const std::string line = drops.Line();
  EXPECT_NE(line.find(" eth0       tc  no_real_server "), std::string::npos) << line;
  EXPECT_NE(line.find(" 172.16.0.2:"), std::string::npos) << line;
  EXPECT_TRUE(line.ends_with(" > 192.0.2.1:80 TCP SYN\n")) << line;

  const Ran second = Lvsadm(*director_, "--drops 1");
  EXPECT_EQ(second.status, 1);
  EXPECT_NE(second.output.find("another lvsadm --drops"), std::string::npos) << second.output;
  drops.Interrupt();
  std::string last;
  for (std::string next = drops.Line(); !next.empty(); next = drops.Line()) last = next;
  EXPECT_NE(last.find(" shown: no_real_server "), std::string::npos) << last;
}

TEST_F(AloneTest, ClearTakesEverythingOff) {
  GiveVipToReals();
  const Server one(real1_, "real1", SOCK_STREAM, 80), two(real2_, "real2", SOCK_STREAM, 80);
  Balance("-t 192.0.2.1:80", "-g");
  const uint32_t program = ProgramOf(*director_);
  ASSERT_NE(program, 0U);
  const auto maps = ebpf::MapsOfProgram(program);
  ASSERT_EQ(Lvsadm(*director_, "-C").status, 0);
  EXPECT_EQ(ProgramOf(*director_), 0U);
  EXPECT_EQ(Ask(client_, SOCK_STREAM), "refused");
  EXPECT_TRUE(Gone(program, maps));
}

TEST_F(AloneTest, ADataplaneOfAnotherLayoutIsLeftAloneUntilItIsCleared) {
  GiveVipToReals();
  const Server one(real1_, "real1", SOCK_STREAM, 80), two(real2_, "real2", SOCK_STREAM, 80);
  Balance("-t 192.0.2.1:80", "-g");
  const uint32_t program = ProgramOf(*director_);
  ASSERT_NE(program, 0U);
  const uint32_t layout = ebpf::RaiseLayout(program);
  for (const char* command : {"-A -t 192.0.2.1:81", "-D -t 192.0.2.1:80", "-Z", "-Ln", "-Lnc",
                              "--trace 172.16.0.2:50000,192.0.2.1:80"}) {
    const Ran ran = Lvsadm(*director_, command);
    EXPECT_NE(ran.status, 0) << command;
    EXPECT_NE(ran.output.find("a lvsadm of another version (layout " + std::to_string(layout + 1) +
                              ", this one has " + std::to_string(layout) + ")"),
              std::string::npos)
        << command << ": " << ran.output;
    EXPECT_NE(ran.output.find("lvsadm --dataplane ebpf -C"), std::string::npos) << ran.output;
  }
  // It serves on as it was.
  EXPECT_EQ(ProgramOf(*director_), program);
  const Answers even = {{"real1 sees 172.16.0.2", 5}, {"real2 sees 172.16.0.2", 5}};
  EXPECT_EQ(AskTenTimes(SOCK_STREAM), even);
  // What the message says is the mend.
  ASSERT_EQ(Lvsadm(*director_, "-C").status, 0);
  EXPECT_EQ(ProgramOf(*director_), 0U);
  Balance("-t 192.0.2.1:80", "-g");
  EXPECT_EQ(AskTenTimes(SOCK_STREAM), even);
}

TEST_F(AloneTest, TheRulesEndWithTheNamespace) {
  Balance("-t 192.0.2.1:80", "-g");
  const uint32_t program = ProgramOf(*director_);
  ASSERT_NE(program, 0U);
  const auto maps = ebpf::MapsOfProgram(program);
  EXPECT_FALSE(maps.empty());
  director_.reset();
  EXPECT_TRUE(Gone(program, maps));
}

TEST_F(AloneTest, SavedRulesCanBeRestored) {
  Balance("-t 192.0.2.1:80", "-g");
  Balance("-u 192.0.2.1:53", "-i");
  const Ran saved = Lvsadm(*director_, "-Sn");
  EXPECT_EQ(saved.output,
            "-A -u 192.0.2.1:53 -s rr\n"
            "-a -u 192.0.2.1:53 -r 10.0.0.11:53 -i -w 1 --tun-type ipip\n"
            "-a -u 192.0.2.1:53 -r 10.0.0.12:53 -i -w 1 --tun-type ipip\n"
            "-A -t 192.0.2.1:80 -s rr\n"
            "-a -t 192.0.2.1:80 -r 10.0.0.11:80 -g -w 1\n"
            "-a -t 192.0.2.1:80 -r 10.0.0.12:80 -g -w 1\n");
  ASSERT_EQ(Lvsadm(*director_, "-C").status, 0);
  const Ran restored = Shell(*director_, "printf %s \"" + saved.output +
                                             "\" | cli/lvsadm -R "
                                             "--dataplane ebpf");
  EXPECT_EQ(restored.status, 0) << restored.output;
  EXPECT_EQ(Lvsadm(*director_, "-Sn").output, saved.output);
}

TEST_F(AloneTest, CommandsAtTheSameTimeTakeTurns) {
  const Ran ran = Shell(*director_,
                        "for n in 1 2 3 4 5 6; do "
                        "cli/lvsadm --dataplane ebpf -A -t 192.0.2.$n:80 -s rr & done; wait");
  EXPECT_EQ(ran.output, "");
  std::string expected;
  for (int n = 1; n <= 6; ++n) {
    expected += "-A -t 192.0.2." + std::to_string(n) + ":80 -s rr\n";
  }
  EXPECT_EQ(Lvsadm(*director_, "-Sn").output, expected);
}

TEST_F(AloneTest, AnAgentsDataplaneAndThisOneStayApart) {
  const SystemClock clock;
  ebpf::BpfOptions options;
  options.dir = ebpf::PrivateBpfDir("agent");
  options.sizes.connections = 1024;
  const auto open_agents = [&] {
    return director_->In([&] { return ebpf::OpenEbpfDataplane(options, clock); });
  };
  Balance("-t 192.0.2.1:80", "-g");
  const auto refused = open_agents();
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_NE(std::string(refused.status().message()).find("lvsadm --dataplane ebpf -C"),
            std::string::npos)
      << refused.status();
  EXPECT_EQ(Ask(client_, SOCK_STREAM), "silence") << "the rules are gone";

  ASSERT_EQ(Lvsadm(*director_, "-C").status, 0);
  auto agents = open_agents();
  ASSERT_TRUE(agents.ok()) << agents.status();
  const std::vector<Step> attach = {AddItem{Attachment{"eth0"}}};
  ASSERT_TRUE(director_->In([&] { return agents->backend->Apply(attach); })[0].ok());
  for (const char* change : {"-A -t 192.0.2.1:80", "-D -t 192.0.2.1:80", "-C", "-Z"}) {
    const Ran ran = Lvsadm(*director_, change);
    EXPECT_EQ(ran.status, 2) << change;
    EXPECT_NE(ran.output.find("kube-lvs-agent"), std::string::npos) << ran.output;
  }
  EXPECT_EQ(ProgramOf(*director_), 0U);
}

}  // namespace
}  // namespace kube_lvs::cli
