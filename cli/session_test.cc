// lvsadm upon the fake kernel: what it prints, and its status.
#include "cli/session.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <sstream>

#include "base/clock.h"
#include "cli/rule_lines.h"
#include "dataplane/ebpf/alone.h"
#include "dataplane/ebpf/testing/fake_maps.h"
#include "dataplane/ebpf/testing/fake_network.h"
#include "dataplane/ipvs/fake_kernel.h"

namespace kube_lvs::cli {
namespace {

// Drops three packets and shows one.
class FakeDrops final : public DropSource {
 public:
  explicit FakeDrops(std::optional<double>& watched) : watched_(watched) {}
  const std::string& of() const override { return of_; }
  absl::StatusOr<DropTotals> Watch(std::optional<double> seconds,
                                   const std::function<bool(const ShownDrop&)>& show) override {
    watched_ = seconds.value_or(-1);
    ShownDrop drop{.time = "2026-01-31T14:03:22.123Z", .interface = "eth0", .sample = {}};
    drop.sample.stage = "tc";
    drop.sample.reason = "ttl";
    drop.sample.length = 60;
    EXPECT_TRUE(show(drop));
    return DropTotals{.seconds = 2, .shown = 1, .packets = {{"ttl", 3}}};
  }

 private:
  std::optional<double>& watched_;
  std::string of_ = "fake";
};

struct Ran {
  int status = 0;
  std::string out, err;
};

// A kernel that takes eBPF programs, with one interface.
class FakeEbpf {
 public:
  FakeEbpf() {
    network_.AddLink(2, "eth0");
    network_.AddRoute(*IpAddress::Parse("10.0.0.1"), 2, *IpAddress::Parse("10.0.0.250"), 1);
  }

  // As main: what nobody attached is gone with the process.
  absl::StatusOr<ebpf::Alone*> Open(bool make) {
    if (!refuse.ok()) return refuse;
    if (alone_ != nullptr) return alone_.get();
    if (programs_.attached.empty()) {
      if (!make) return absl::NotFoundError("no dataplane");
      maps_ = std::make_unique<ebpf::FakeMapStore>();
      ebpf::MakeMaps(*maps_);
      ebpf::GetArray<klvs_settings>(*maps_, ebpf::kSettingsMap).value()[0].hz = 100;
    }
    auto adopted = ebpf::Alone::Adopt(*maps_, programs_, network_, clock_);
    if (!adopted.ok()) return adopted.status();
    alone_ = *std::move(adopted);
    return alone_.get();
  }
  absl::Status Remove() {
    programs_.attached.clear();
    return absl::OkStatus();
  }
  absl::StatusOr<EbpfListing> List() {
    if (programs_.attached.empty()) return absl::NotFoundError("no maps");
    auto rules = ebpf::ReadSwept(*maps_, programs_, ebpf::Content::kAll);
    if (!rules.ok()) return rules.status();
    return EbpfListing{TableOf(*std::move(rules)), "lvsadm"};
  }
  absl::StatusOr<IpvsTimeouts> Timeouts() {
    if (programs_.attached.empty()) return absl::NotFoundError("no maps");
    return ebpf::ReadTimeouts(*maps_);
  }
  void EndOfProcess() { alone_.reset(); }
  bool attached() const { return !programs_.attached.empty(); }

  absl::Status refuse;  // what Open returns when not OK

 private:
  FakeClock clock_;
  ebpf::FakeNetwork network_;
  ebpf::FakePrograms programs_;
  std::unique_ptr<ebpf::FakeMapStore> maps_;
  std::unique_ptr<ebpf::Alone> alone_;
};

class SessionTest : public testing::Test {
 protected:
  Ran Run(const std::string& line, const std::string& input = "") {
    return With(
        [&](Session& session) {
          const auto lines = ParseRuleLines(line, false);
          return session.Run(lines.empty() ? std::vector<std::string>{} : lines[0].words);
        },
        input);
  }
  Ran Restore(const std::string& input) {
    return With([&](Session& session) { return session.Restore(input); }, "");
  }

  Dialect dialect_;
  ipvs::FakeKernel kernel_;
  absl::StatusOr<Table> agents_ = absl::NotFoundError("no maps in /sys/fs/bpf/kube-lvs");
  absl::StatusOr<EbpfConnections> connections_ = absl::NotFoundError("no maps");
  FakeEbpf own_;
  absl::StatusOr<ebpf::Trace> trace_ = absl::NotFoundError("no maps");
  ebpf::TracePacket traced_;
  absl::Status drops_ = absl::NotFoundError("no maps");
  std::optional<double> watched_;  // for so long, or -1 without end
  absl::StatusOr<Owned> owned_ = Owned{};
  std::map<std::string, absl::Status> schedulers_;  // that must not be asked for

 private:
  template <typename F>
  Ran With(F run, const std::string& input) {
    const NoNames names;
    std::ostringstream out, err;
    World world{
        .channel = kernel_,
        .names = names,
        .out = out,
        .err = err,
        .read_stdin = [&] { return input; },
        .read_ebpf = [&](const std::string& dir, Detail) { return ListEbpf(dir); },
        .open_alone = [&](bool make) { return own_.Open(make); },
        .trace_ebpf =
            [&](const std::string&, const ebpf::TracePacket& packet) {
              traced_ = packet;
              return trace_;
            },
        .open_drops = [&](const std::string&) -> absl::StatusOr<std::unique_ptr<DropSource>> {
          KUBE_LVS_RETURN_IF_ERROR(drops_);
          return std::make_unique<FakeDrops>(watched_);
        },
        .remove_alone = [&] { return own_.Remove(); },
        .read_alone_timeouts = [&] { return own_.Timeouts(); },
        .read_connections = [] { return absl::StatusOr<std::string>("Pro FromIP\n"); },
        .read_ebpf_connections = [&](const std::string&) { return connections_; },
        .read_owned = [&](const std::string&) { return owned_; },
        .check_scheduler = [&](const std::string& name) { return schedulers_[name]; },
        .watch = [](const auto& read, double, bool) { return static_cast<int>(read().size()); }};
    Session session(dialect_, world);
    const int status = run(session);
    own_.EndOfProcess();
    return {status, out.str(), err.str()};
  }

  absl::StatusOr<EbpfListing> ListEbpf(const std::string& dir) {
    if (own_.attached()) return own_.List();
    if (!agents_.ok()) return agents_.status();
    return EbpfListing{*agents_, dir};
  }
};

TEST_F(SessionTest, AddsListsAndSaves) {
  EXPECT_EQ(Run("-A -t 192.0.2.1:80 -s rr").status, 0);
  EXPECT_EQ(Run("-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3 -x 9").status, 0);
  EXPECT_EQ(Run("-Sn").out,
            "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3\n");
  EXPECT_NE(Run("-Sn --full").out.find("-w 3 -x 9"), std::string::npos);
  EXPECT_EQ(Run("-Ln -t 192.0.2.1:80").out,
            "Prot LocalAddress:Port Scheduler Flags\n"
            "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
            "TCP  192.0.2.1:80 rr\n"
            "  -> 10.0.0.1:8080                Masq    3      0          0         \n");
}

TEST_F(SessionTest, TheKernelsRefusalIsSaidAndIs255) {
  const Ran gone = Run("-D -t 192.0.2.1:80");
  EXPECT_EQ(gone.status, 255);
  EXPECT_EQ(gone.err, "No such service\n");
  const Ran listed = Run("-Ln -t 192.0.2.1:80");
  EXPECT_EQ(listed.status, 1);
  EXPECT_EQ(listed.err, "No such service\n");
}

TEST_F(SessionTest, WithoutIpvsTheKernelIsToBlame) {
  kernel_.has_ipvs = false;
  own_.refuse = absl::FailedPreconditionError("a kernel of 6.1 or newer is needed");
  const std::string blame =
      "Can't initialize ipvs: Protocol not available\n"
      "Are you sure that IP Virtual Server is built in the kernel or as module?\n";
  Ran ran = Run("-A -t 192.0.2.1:80");
  EXPECT_EQ(ran.status, 2);
  EXPECT_EQ(ran.err, blame +
                         "lvsadm: and the eBPF dataplane cannot take its place: a kernel of "
                         "6.1 or newer is needed\n");
  ran = Run("-A -t 192.0.2.1:80 --dataplane ebpf");
  EXPECT_EQ(ran.status, 2);
  EXPECT_EQ(ran.err, "lvsadm: a kernel of 6.1 or newer is needed\n");
  ran = Run("-A -t 192.0.2.1:80 --dataplane ipvs");
  EXPECT_EQ(ran.status, 2);
  EXPECT_EQ(ran.err, blame);
  dialect_ = {.program = "ipvsadm", .extensions = false};
  EXPECT_EQ(Run("-A -t 192.0.2.1:80").err, blame);
}

TEST_F(SessionTest, WithoutIpvsTheRulesGoToAnEbpfDataplaneOfItsOwn) {
  kernel_.has_ipvs = false;
  EXPECT_EQ(Run("-A -t 192.0.2.1:80 -s rr").err, "");
  EXPECT_TRUE(own_.attached());
  EXPECT_EQ(Run("-a -t 192.0.2.1:80 -r 10.0.0.1 -g -w 3").status, 0);
  EXPECT_EQ(Run("-Ln").out,
            "kube-lvs eBPF dataplane (lvsadm)\n"
            "Prot LocalAddress:Port Scheduler Flags\n"
            "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
            "TCP  192.0.2.1:80 rr\n"
            "  -> 10.0.0.1:80                  Route   3      0          0         \n");
  const std::string saved = Run("-Sn").out;
  EXPECT_EQ(saved, "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 3\n");
  EXPECT_EQ(Run("-C").status, 0);
  EXPECT_FALSE(own_.attached());
  EXPECT_EQ(Run("-R", saved).status, 0);
  EXPECT_EQ(Run("-Sn").out, saved);
}

TEST_F(SessionTest, EbpfRefusesInIpvsadmsWords) {
  kernel_.has_ipvs = false;
  // While there is nothing, nothing is made but by an addition.
  EXPECT_EQ(Run("-C").status, 0);
  EXPECT_EQ(Run("-Z").status, 0);
  EXPECT_EQ(Run("-Z -t 192.0.2.1:80").err, "No such service\n");
  EXPECT_EQ(Run("-D -t 192.0.2.1:80").err, "No such service\n");
  EXPECT_EQ(Run("-a -t 192.0.2.1:80 -r 10.0.0.1 -g").err, "Service not defined\n");
  EXPECT_FALSE(own_.attached());
  EXPECT_EQ(Run("-A -t 192.0.2.1:80").status, 0);
  const Ran again = Run("-A -t 192.0.2.1:80");
  EXPECT_EQ(again.status, 255);
  EXPECT_EQ(again.err, "Service already exists\n");
  EXPECT_EQ(Run("-E -t 192.0.2.2:80").err, "No such service\n");
  EXPECT_EQ(Run("-e -t 192.0.2.1:80 -r 10.0.0.1 -g").err, "No such destination\n");
  EXPECT_EQ(Run("-d -t 192.0.2.2:80 -r 10.0.0.1").err, "Service not defined\n");
  EXPECT_EQ(Run("-a -t 192.0.2.1:80 -r 10.0.0.1 -g").status, 0);
  EXPECT_EQ(Run("-a -t 192.0.2.1:80 -r 10.0.0.1 -g").err, "Destination already exists\n");
  const Ran mark = Run("-A -f 7");
  EXPECT_EQ(mark.status, 255);
  EXPECT_EQ(mark.err,
            "lvsadm: eBPF fwmark 7/IPv4: services by firewall mark need dataplane IPVS\n");
  EXPECT_NE(Run("-A -t 192.0.2.3:80 -b flag-1").err.find("IPVS flags need dataplane IPVS"),
            std::string::npos);
  EXPECT_EQ(Run("--start-daemon master").status, 2);
}

TEST_F(SessionTest, ARefusedLineOfRestoreStopsNoOtherOfItsService) {
  kernel_.has_ipvs = false;
  const Ran ran = Run("-R",
                      "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1 -g\n"
                      "-a -t 192.0.2.1:80 -r 10.0.0.1 -g\n-a -t 192.0.2.1:80 -r 10.0.0.2 -g\n");
  EXPECT_EQ(ran.status, 0);
  EXPECT_EQ(ran.err,
            "Destination already exists\n"
            "lvsadm: line 3: -a -t 192.0.2.1:80 -r 10.0.0.1 -g\n");
  EXPECT_EQ(Run("-Sn").out,
            "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1\n"
            "-a -t 192.0.2.1:80 -r 10.0.0.2:80 -g -w 1\n");
  // -restore puts others in their place, and the dataplane stays.
  EXPECT_EQ(Restore("-A -u 192.0.2.1:53 -s rr\n").status, 0);
  EXPECT_EQ(Run("-Sn").out, "-A -u 192.0.2.1:53 -s rr\n");
}

TEST_F(SessionTest, TimeoutsOfTheEbpfDataplane) {
  kernel_.has_ipvs = false;
  EXPECT_EQ(Run("-L --timeout").status, 2);
  EXPECT_EQ(Run("--set 100 0 30").status, 0);
  EXPECT_EQ(Run("-L --timeout").out, "Timeout (tcp tcpfin udp): 100 0 30\n");
  EXPECT_EQ(Run("--set 0 7 0").status, 0);
  EXPECT_EQ(Run("-L --timeout").out, "Timeout (tcp tcpfin udp): 100 7 30\n");
}

TEST_F(SessionTest, ListsConnectionsOfBothDataplanes) {
  const std::string title =
      "IPVS connection entries\n"
      "pro expire state       source             virtual            destination\n";
  EXPECT_EQ(Run("-Lnc").out, title);
  EXPECT_EQ(Run("-Lnc --dataplane ebpf").err, "lvsadm: no maps\n");
  const Connection one{.protocol = "TCP",
                       .client = *Endpoint::Parse("10.1.0.1:40000"),
                       .vip = *Endpoint::Parse("192.0.2.1:80"),
                       .real = *Endpoint::Parse("10.0.0.1:80"),
                       .state = "ESTABLISHED",
                       .expires_seconds = 899,
                       .engine = "",
                       .engine_data = ""};
  connections_ = EbpfConnections{{one}, "lvsadm"};
  const std::string of_ebpf =
      "kube-lvs eBPF dataplane (lvsadm)\n" + title +
      "TCP 14:59  ESTABLISHED 10.1.0.1:40000     192.0.2.1:80       10.0.0.1:80\n";
  EXPECT_EQ(Run("-Lnc").out, title + of_ebpf);
  EXPECT_EQ(Run("-Lnc --dataplane ipvs").out, title);
  EXPECT_NE(Run("-Lnc -o json").out.find("\"expiresSeconds\": 899"), std::string::npos);
  kernel_.has_ipvs = false;
  EXPECT_EQ(Run("-Lnc").out, of_ebpf);
  connections_ = absl::NotFoundError("no maps");
  EXPECT_EQ(Run("-Lnc").status, 2);
}

TEST_F(SessionTest, TracesAPacket) {
  Ran ran = Run("--trace 10.1.0.1:40000,192.0.2.1:53,udp");
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.err, "lvsadm: no maps\n");
  EXPECT_EQ(traced_.protocol, Protocol::kUdp);
  EXPECT_EQ(traced_.vip, *Endpoint::Parse("192.0.2.1:53"));
  trace_ = ebpf::Trace{};
  ran = Run("--trace 10.1.0.1:40000,192.0.2.1:53,udp");
  EXPECT_EQ(ran.status, 0);
  EXPECT_EQ(ran.out,
            "10.1.0.1:40000 -> 192.0.2.1:53/udp: left to the stack of this host\n"
            "  no service has this address\n");
  trace_->verdict = ebpf::TraceVerdict::kDropped;
  EXPECT_EQ(Run("--trace 10.1.0.1:40000,192.0.2.1:53").status, 3);
  EXPECT_EQ(Run("--trace 10.1.0.1,192.0.2.1").status, 2);
}

TEST_F(SessionTest, ShowsWhatIsDropped) {
  Ran ran = Run("--drops");
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(ran.err, "lvsadm: no maps\n");
  drops_ = absl::OkStatus();
  ran = Run("--drops");
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_EQ(watched_, -1);
  EXPECT_EQ(ran.out,
            "kube-lvs eBPF dataplane (fake)\n"
            "Time (UTC)   Interface  At  Reason         Bytes Packet\n"
            "14:03:22.123 eth0       tc  ttl               60 too short to read\n"
            "3 dropped in 2.0 s, 1 shown: ttl 3\n");
  ran = Run("--drops 2 -o json");
  EXPECT_EQ(watched_, 2);
  EXPECT_TRUE(ran.out.starts_with("{\"time\":")) << ran.out;
  EXPECT_TRUE(ran.out.ends_with("\"dropped\":{\"ttl\":3}}\n")) << ran.out;
}

TEST_F(SessionTest, WithIpvsOnlyWhoAsksForEbpfGetsIt) {
  EXPECT_EQ(Run("-A -t 192.0.2.1:80 -s rr").status, 0);
  EXPECT_FALSE(own_.attached());
  EXPECT_EQ(Run("-A -t 192.0.2.2:80 -s rr --dataplane ebpf").status, 0);
  EXPECT_EQ(Run("-R --dataplane ebpf", "-A -t 192.0.2.3:80 -s rr\n").status, 0);
  EXPECT_EQ(Run("-Sn").out, "-A -t 192.0.2.1:80 -s rr\n");
  EXPECT_EQ(Run("-Sn --dataplane ebpf").out,
            "-A -t 192.0.2.2:80 -s rr\n-A -t 192.0.2.3:80 -s rr\n");
  // Lines may be of one and the other.
  EXPECT_EQ(Run("-R", "-D -t 192.0.2.1:80\n-D -t 192.0.2.2:80 --dataplane ebpf\n").err, "");
  EXPECT_EQ(Run("-Sn").out, "");
  EXPECT_EQ(Run("-C").status, 0);
  EXPECT_EQ(Run("-Sn --dataplane ebpf").out, "-A -t 192.0.2.3:80 -s rr\n");
  EXPECT_EQ(Run("-C --dataplane ebpf").status, 0);
  EXPECT_FALSE(own_.attached());
}

TEST_F(SessionTest, AnAgentsDataplaneIsNotChanged) {
  kernel_.has_ipvs = false;
  own_.refuse = absl::AlreadyExistsError("kube-lvs-agent writes the rules here");
  for (const char* line : {"-A -t 192.0.2.1:80", "-A -t 192.0.2.1:80 --dataplane ebpf"}) {
    const Ran ran = Run(line);
    EXPECT_EQ(ran.status, 2);
    EXPECT_EQ(ran.err, "lvsadm: kube-lvs-agent writes the rules here\n");
  }
}

TEST_F(SessionTest, RestoreGoesOnAfterTheKernelsRefusalAndSaysWhichLine) {
  const Ran ran = Run("-R", "-A -t 192.0.2.1:80\n-A -t 192.0.2.1:80\n-A -t 192.0.2.2:80\n");
  EXPECT_EQ(ran.status, 0);  // of the last line
  EXPECT_EQ(ran.err, "Service already exists\nlvsadm: line 2: -A -t 192.0.2.1:80\n");
  EXPECT_EQ(Run("-Sn").out, "-A -t 192.0.2.1:80 -s wlc\n-A -t 192.0.2.2:80 -s wlc\n");
}

TEST_F(SessionTest, RestoreEndsWithARefusedLineAfterThoseBefore) {
  const Ran ran = Run("-R", "-A -t 192.0.2.1:80\n-A -t 192.0.2.2:80 -w 1\n-A -t 192.0.2.3:80\n");
  EXPECT_EQ(ran.status, 2);
  EXPECT_EQ(ran.err,
            "Illegal 'weight' option with the 'add-service' command\n"
            "lvsadm: line 2: -A -t 192.0.2.2:80 -w 1\n");
  EXPECT_EQ(Run("-Sn").out, "-A -t 192.0.2.1:80 -s wlc\n");
}

TEST_F(SessionTest, LvsadmRestoreChangesNothingWhenALineIsRefused) {
  EXPECT_EQ(Run("-A -t 192.0.2.1:80").status, 0);
  const Ran refused = Restore("# saved\n-A -t 192.0.2.2:80\n-A -t 192.0.2.3\n");
  EXPECT_EQ(refused.status, 2);
  EXPECT_NE(refused.err.find("lvsadm: nothing was changed: line 3"), std::string::npos)
      << refused.err;
  EXPECT_EQ(Run("-Sn").out, "-A -t 192.0.2.1:80 -s wlc\n");
  EXPECT_EQ(Restore("# saved\n-A -t 192.0.2.2:80\n").status, 0);
  EXPECT_EQ(Run("-Sn").out, "-A -t 192.0.2.2:80 -s wlc\n");
  // ipvsadm-restore finds out too late.
  dialect_ = {.program = "ipvsadm", .extensions = false};
  EXPECT_EQ(Restore("-A -t 192.0.2.4\n").status, 2);
  EXPECT_EQ(Run("-Sn").out, "");
}

TEST_F(SessionTest, WarnsOnceBeforeAChangeOfWhatTheAgentOwns) {
  owned_->services = {{{Dataplane::kIpvs, *Endpoint::Parse("192.0.2.1:80"), Protocol::kTcp}, {}}};
  EXPECT_EQ(Run("-A -t 192.0.2.2:80").err, "");
  const Ran ran = Run("-R", "-A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m\n");
  EXPECT_EQ(ran.status, 0);
  EXPECT_EQ(ran.err,
            "lvsadm: warning: IPVS 192.0.2.1:80/tcp is kube-lvs-agent's, which will undo this "
            "change; change the LVSService (or the agent's file) instead\n");
  EXPECT_NE(Run("-C").err.find("1 service is kube-lvs-agent's"), std::string::npos);
  dialect_ = {.program = "ipvsadm", .extensions = false};
  EXPECT_EQ(Run("-A -t 192.0.2.1:80").err, "");
}

TEST_F(SessionTest, WarnsOfDaemonsAndTimeoutsOfTheAgent) {
  EXPECT_EQ(Run("--start-daemon master --mcast-interface eth0").err, "");
  EXPECT_EQ(Run("--set 1 2 3").err, "");
  owned_ = Owned{.services = {}, .daemons = {SyncRole::kMaster}, .timeouts = true};
  EXPECT_EQ(Run("--stop-daemon master").err,
            "lvsadm: warning: the master sync daemon is kube-lvs-agent's, which will undo this "
            "change; change the LVSDirectorGroup (or the agent's file) instead\n");
  EXPECT_EQ(Run("--start-daemon backup --mcast-interface eth0").err, "");
  EXPECT_EQ(Run("--set 1 2 3").err,
            "lvsadm: warning: timeouts are kube-lvs-agent's, which will undo this change; change "
            "the LVSDirectorGroup (or the agent's file) instead\n");
  owned_ = absl::DataLossError("ipvs-sync: cannot read \"x\"");
  EXPECT_EQ(Run("--set 1 2 3").err,
            "lvsadm: warning: what kube-lvs-agent owns is not known: ipvs-sync: cannot read "
            "\"x\"\n");
}

TEST_F(SessionTest, WarnsOnceOfASchedulerThatTheKernelMustNotLoad) {
  schedulers_["lblc"] = absl::FailedPreconditionError("load the module ip_vs_lblc");
  const std::string lines = "-A -t 192.0.2.1:80 -s rr\n-A -t 192.0.2.2:80 -s lblc\n";
  Ran ran = Run("-R", lines + "-E -t 192.0.2.1:80 -s lblc\n");
  EXPECT_EQ(ran.status, 0);
  EXPECT_EQ(ran.err, "lvsadm: warning: load the module ip_vs_lblc\n");
  // It is added all the same, as ipvsadm would.
  EXPECT_EQ(Run("-Sn").out, "-A -t 192.0.2.1:80 -s lblc\n-A -t 192.0.2.2:80 -s lblc\n");
  EXPECT_EQ(Run("-D -t 192.0.2.2:80").err, "");
  dialect_ = {.program = "ipvsadm", .extensions = false};
  EXPECT_EQ(Run("-A -t 192.0.2.3:80 -s lblc").err, "");
}

TEST_F(SessionTest, WarnsOfAServiceOfManyPortsByItsMark) {
  owned_->services = {
      {{Dataplane::kIpvs, PortRange{*IpAddress::Parse("192.0.2.1"), 80, 89}, Protocol::kUdp},
       {.source_nat = false, .mark = 7}}};
  EXPECT_EQ(Run("-A -f 8").err, "");
  EXPECT_EQ(Run("-A -f 7 -6").err, "");
  EXPECT_NE(Run("-A -f 7").err.find("IPVS 192.0.2.1:80-89/udp is kube-lvs-agent's"),
            std::string::npos);
}

TEST_F(SessionTest, ListsBothDataplanesUnlessAskedForOne) {
  const ServiceKey key = {Dataplane::kEbpf, *Endpoint::Parse("192.0.2.9:80"), Protocol::kTcp};
  agents_ = TableOf({{.key = key, .config = {}, .counters = {}, .reals = {}}});
  EXPECT_EQ(Run("-A -t 192.0.2.1:80").status, 0);
  const std::string both = Run("-Ln").out;
  EXPECT_NE(both.find("TCP  192.0.2.1:80 wlc\n"), std::string::npos) << both;
  EXPECT_NE(both.find("TCP  192.0.2.9:80 wrr\n"), std::string::npos) << both;
  EXPECT_EQ(Run("-Ln --dataplane ebpf").out.find("192.0.2.1:80"), std::string::npos);
  EXPECT_EQ(Run("-Ln --dataplane ipvs").out.find("192.0.2.9:80"), std::string::npos);
  EXPECT_EQ(Run("-Ln -t 192.0.2.9:80").status, 0);
  EXPECT_NE(Run("-Ln -o json").out.find("\"name\": \"ebpf\""), std::string::npos);
  kernel_.has_ipvs = false;
  EXPECT_EQ(Run("-Ln").status, 0);
  agents_ = absl::NotFoundError("no maps");
  EXPECT_EQ(Run("-Ln").status, 2);
  EXPECT_EQ(Run("-Ln --dataplane ebpf").err, "lvsadm: no maps\n");
}

TEST_F(SessionTest, WatchesWhatIsThere) {
  EXPECT_EQ(Run("--watch -n").status, 1);  // one section: IPVS
  agents_ = Table{};
  EXPECT_EQ(Run("--watch -n").status, 2);
  EXPECT_EQ(Run("--watch -n --dataplane ebpf").status, 1);
}

}  // namespace
}  // namespace kube_lvs::cli
