// lvsadm upon the fake kernel: what it prints, and its status.
#include "cli/session.h"

#include <gtest/gtest.h>

#include <map>
#include <sstream>

#include "cli/rule_lines.h"
#include "dataplane/ipvs/fake_kernel.h"

namespace kube_lvs::cli {
namespace {

struct Ran {
  int status = 0;
  std::string out, err;
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
  absl::StatusOr<Table> ebpf_ = absl::NotFoundError("no maps in /sys/fs/bpf/kube-lvs");
  absl::StatusOr<ipvs::Claims> claims_ = absl::NotFoundError("no journal");
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
        .read_ebpf = [&](const std::string&, bool) { return ebpf_; },
        .read_connections = [] { return absl::StatusOr<std::string>("Pro FromIP\n"); },
        .read_claims = [&](const std::string&) { return claims_; },
        .check_scheduler = [&](const std::string& name) { return schedulers_[name]; },
        .watch = [](const auto& read, double, bool) { return static_cast<int>(read().size()); }};
    Session session(dialect_, world);
    const int status = run(session);
    return {status, out.str(), err.str()};
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
  const Ran ran = Run("-A -t 192.0.2.1:80");
  EXPECT_EQ(ran.status, 2);
  EXPECT_EQ(ran.err,
            "Can't initialize ipvs: Protocol not available\n"
            "Are you sure that IP Virtual Server is built in the kernel or as module?\n");
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
  claims_ =
      ipvs::Claims{{{Dataplane::kIpvs, *Endpoint::Parse("192.0.2.1:80"), Protocol::kTcp}, {}}};
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
  claims_ = ipvs::Claims{
      {{Dataplane::kIpvs, PortRange{*IpAddress::Parse("192.0.2.1"), 80, 89}, Protocol::kUdp},
       {.source_nat = false, .mark = 7}}};
  EXPECT_EQ(Run("-A -f 8").err, "");
  EXPECT_EQ(Run("-A -f 7 -6").err, "");
  EXPECT_NE(Run("-A -f 7").err.find("IPVS 192.0.2.1:80-89/udp is kube-lvs-agent's"),
            std::string::npos);
}

TEST_F(SessionTest, ListsBothDataplanesUnlessAskedForOne) {
  ServiceTable rules;
  rules[{Dataplane::kEbpf, *Endpoint::Parse("192.0.2.9:80"), Protocol::kTcp}];
  ebpf_ = TableOf(rules, Stats{});
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
  ebpf_ = absl::NotFoundError("no maps");
  EXPECT_EQ(Run("-Ln").status, 2);
  EXPECT_EQ(Run("-Ln --dataplane ebpf").err, "lvsadm: no maps\n");
}

TEST_F(SessionTest, WatchesWhatIsThere) {
  EXPECT_EQ(Run("--watch -n").status, 1);  // one section: IPVS
  ebpf_ = Table{};
  EXPECT_EQ(Run("--watch -n").status, 2);
  EXPECT_EQ(Run("--watch -n --dataplane ebpf").status, 1);
}

}  // namespace
}  // namespace kube_lvs::cli
