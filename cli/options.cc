#include "cli/options.h"

#include <linux/ip_vs.h>
#include <netinet/in.h>
#include <popt.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <memory>
#include <optional>

#include "cli/help.h"
#include "cli/legality.h"
#include "cli/values.h"

namespace kube_lvs::cli {
namespace {

constexpr int kBadUsage = 2;   // ipvsadm's fail()
constexpr int kTryHelp = 255;  // and its exit(-1)
constexpr int64_t kMaxTimeout = 86400 * 31;
constexpr uint32_t kDefaultPersistence = 360;
// Of the kernel's structures, without the NUL. ipvsadm cuts off what is longer.
constexpr size_t kMaxScheduler = IP_VS_SCHEDNAME_MAXLEN - 1, kMaxEngine = IP_VS_PENAME_MAXLEN,
                 kMaxInterface = IP_VS_IFNAME_MAXLEN - 1;

// What popt returns for an option without a letter.
enum Tag : int {
  kSet = 256,
  kStartDaemon,
  kStopDaemon,
  kSctpService,
  kEngine,
  kMcastInterface,
  kSyncId,
  kMcastGroup,
  kMcastPort,
  kMcastTtl,
  kSyncMaxLength,
  kTimeout,
  kDaemon,
  kStats,
  kRate,
  kThresholds,
  kPersistentConn,
  kSort,
  kNoSort,
  kTunnelInfo,
  kTunnelType,
  kTunnelPort,
  kTunnelNoChecksum,
  kTunnelChecksum,
  kTunnelRemoteChecksum,
  kFirstExtension,
  kDataplane = kFirstExtension,
  kOutput,
  kFull,
  kWatch,
  kTrace,
  kDrops,
  kBpfDir,
  kStateDir,
};

constexpr poptOption Flag(const char* name, char letter, int tag) {
  return {name, letter, POPT_ARG_NONE, nullptr, tag, nullptr, nullptr};
}
constexpr poptOption Value(const char* name, char letter, int tag, unsigned more = 0) {
  return {name, letter, POPT_ARG_STRING | more, nullptr, tag, nullptr, nullptr};
}

bool ReadSeconds(const std::string& text, double& seconds) {
  char* end = nullptr;
  seconds = std::strtod(text.c_str(), &end);
  return *end == '\0' && end != text.c_str() && seconds >= 0.1 && seconds <= 86400;
}

std::vector<poptOption> Table(bool extensions) {
  std::vector<poptOption> out = {
      Flag("add-service", 'A', 'A'),
      Flag("edit-service", 'E', 'E'),
      Flag("delete-service", 'D', 'D'),
      Flag("clear", 'C', 'C'),
      Flag("list", 'L', 'L'),
      Flag("list", 'l', 'L'),
      Flag("zero", 'Z', 'Z'),
      Flag("add-server", 'a', 'a'),
      Flag("edit-server", 'e', 'e'),
      Flag("delete-server", 'd', 'd'),
      Flag("set", '\0', kSet),
      Flag("help", 'h', 'h'),
      Flag("version", 'v', 'v'),
      Flag("restore", 'R', 'R'),
      Flag("save", 'S', 'S'),
      Value("start-daemon", '\0', kStartDaemon),
      Value("stop-daemon", '\0', kStopDaemon),
      Value("tcp-service", 't', 't'),
      Value("udp-service", 'u', 'u'),
      Value("sctp-service", '\0', kSctpService),
      Value("fwmark-service", 'f', 'f'),
      Value("scheduler", 's', 's'),
      Value("persistent", 'p', 'p', POPT_ARGFLAG_OPTIONAL),
      Value("netmask", 'M', 'M'),
      Value("real-server", 'r', 'r'),
      Flag("masquerading", 'm', 'm'),
      Flag("ipip", 'i', 'i'),
      Flag("gatewaying", 'g', 'g'),
      Value("weight", 'w', 'w'),
      Value("u-threshold", 'x', 'x'),
      Value("l-threshold", 'y', 'y'),
      Flag("numeric", 'n', 'n'),
      Flag("connection", 'c', 'c'),
      Value("mcast-interface", '\0', kMcastInterface),
      Value("syncid", '\0', kSyncId),
      Flag("timeout", '\0', kTimeout),
      Flag("daemon", '\0', kDaemon),
      Flag("stats", '\0', kStats),
      Flag("rate", '\0', kRate),
      Flag("thresholds", '\0', kThresholds),
      Flag("persistent-conn", '\0', kPersistentConn),
      Flag("nosort", '\0', kNoSort),
      Flag("sort", '\0', kSort),
      Flag("exact", 'X', 'X'),
      Flag("ipv6", '6', '6'),
      Flag("ops", 'o', 'o'),
      Value("pe", '\0', kEngine),
      Value("sched-flags", 'b', 'b'),
      Value("mcast-group", '\0', kMcastGroup),
      Value("mcast-port", '\0', kMcastPort),
      Value("mcast-ttl", '\0', kMcastTtl),
      Value("sync-maxlen", '\0', kSyncMaxLength),
      Flag("tun-info", '\0', kTunnelInfo),
      Value("tun-type", '\0', kTunnelType),
      Value("tun-port", '\0', kTunnelPort),
      Flag("tun-nocsum", '\0', kTunnelNoChecksum),
      Flag("tun-csum", '\0', kTunnelChecksum),
      Flag("tun-remcsum", '\0', kTunnelRemoteChecksum),
  };
  if (extensions) {
    out.push_back(Value("dataplane", '\0', kDataplane));
    out.push_back(Value("output", '\0', kOutput));
    out.push_back(Flag("full", '\0', kFull));
    out.push_back(Value("watch", '\0', kWatch, POPT_ARGFLAG_OPTIONAL));
    out.push_back(Value("trace", '\0', kTrace));
    out.push_back(Value("drops", '\0', kDrops, POPT_ARGFLAG_OPTIONAL));
    out.push_back(Value("bpf-dir", '\0', kBpfDir));
    out.push_back(Value("state-dir", '\0', kStateDir));
  }
  out.push_back(poptOption{});
  return out;
}

// The next option's value; nothing when an optional one is not there.
std::optional<std::string> ValueOf(poptContext context) {
  const std::unique_ptr<char, decltype(&free)> raw(poptGetOptArg(context), &free);
  if (raw == nullptr) return std::nullopt;
  return std::string(raw.get());
}

Answer Refusal(const std::string& text) {
  return {.status = kBadUsage, .out = "", .err = text + "\n", .ends = true};
}

Answer TryHelp(const Dialect& dialect) {
  return {.status = kTryHelp,
          .out = "",
          .err = "Try `" + dialect.program + " -h' or '" + dialect.program +
                 " --help' for more information.\n",
          .ends = true};
}

// popt replaces "!#:+" in a value by a later word that is no option; where there is none, it looks
// for one for ever (findNextArg of popt 1.19).
bool LacksReplacement(const std::vector<std::string>& words) {
  std::ptrdiff_t wanted = 0, later = 0;
  for (const std::string& word : words) {
    if (word.find("!#:+") != std::string::npos) {
      ++wanted;
      later = 0;
    } else if (!word.starts_with('-')) {
      ++later;
    }
  }
  return later < wanted;
}

using Verdict = std::optional<Answer>;  // nothing: go on

// An option that is unknown, or lacks its value. In rules from stdin the next line has its turn.
Answer BadOption(poptContext context, int error) {
  return {.status = kTryHelp,
          .out = "",
          .err = std::string(poptBadOption(context, POPT_BADOPTION_NOALIAS)) + ": " +
                 poptStrerror(error) + "\n",
          .ends = false};
}

constexpr std::pair<int, Action> kCommands[] = {
    {'A', Action::kAddService},
    {'E', Action::kEditService},
    {'D', Action::kDeleteService},
    {'a', Action::kAddServer},
    {'e', Action::kEditServer},
    {'d', Action::kDeleteServer},
    {'C', Action::kFlush},
    {'L', Action::kList},
    {'Z', Action::kZero},
    {kSet, Action::kSetTimeouts},
    {'R', Action::kRestore},
    {'S', Action::kSave},
    {kStartDaemon, Action::kStartDaemon},
    {kStopDaemon, Action::kStopDaemon},
};

class Parser {
 public:
  Parser(const Dialect& dialect, const Names& names) : dialect_(dialect), names_(names) {
    request_.server.method = IP_VS_CONN_F_DROUTE;
  }

  std::variant<Request, Answer> Parse(const std::vector<std::string>& words, bool from_stdin) {
    std::vector<const char*> argv = {dialect_.program.c_str()};
    for (const std::string& word : words) argv.push_back(word.c_str());
    if (LacksReplacement(words)) return Refusal("no word to put in place of '!#:+'");
    const int argc = static_cast<int>(argv.size());
    argv.push_back(nullptr);
    const std::vector<poptOption> table = Table(dialect_.extensions);
    const std::unique_ptr<poptContext_s, poptContext (*)(poptContext)> context(
        poptGetContext("ipvsadm", argc, argv.data(), table.data(), 0), &poptFreeContext);

    int tag = poptGetNextOpt(context.get());
    // Extensions may come before the command, and without any they ask for the list.
    bool list = false;
    while (tag >= kFirstExtension) {
      list = true;
      if (Verdict verdict = TakeExtension(tag, ValueOf(context.get()))) return *verdict;
      tag = poptGetNextOpt(context.get());
    }
    if (list && tag != -1 && !IsCommand(tag)) {
      if (tag < -1) return BadOption(context.get(), tag);
      if (Verdict verdict = TakeOption(tag, ValueOf(context.get()), context.get())) return *verdict;
    } else if (!list || tag != -1) {
      if (tag < 0) return TryHelp(dialect_);
      if (Verdict verdict = TakeCommand(tag, ValueOf(context.get()).value_or(""))) return *verdict;
    }
    while ((tag = poptGetNextOpt(context.get())) >= 0) {
      if (Verdict verdict = TakeOption(tag, ValueOf(context.get()), context.get())) return *verdict;
    }
    if (tag < -1) return BadOption(context.get(), tag);
    if (Verdict verdict = TakeRest(context.get())) return *verdict;
    if (Verdict verdict = Finish()) return *verdict;
    if (from_stdin && request_.action == Action::kRestore) return TryHelp(dialect_);
    return request_;
  }

 private:
  static bool IsCommand(int tag) {
    return tag == 'h' || tag == 'v' ||
           std::ranges::find(kCommands, tag, &std::pair<int, Action>::first) != std::end(kCommands);
  }

  Verdict TakeCommand(int tag, const std::string& value) {
    if (tag == 'h') return Answer{.status = 0, .out = Help(dialect_), .err = "", .ends = true};
    if (tag == 'v') return Answer{.status = 0, .out = Version(dialect_), .err = "", .ends = true};
    const auto* found = std::ranges::find(kCommands, tag, &std::pair<int, Action>::first);
    if (found == std::end(kCommands)) return TryHelp(dialect_);
    request_.action = found->second;
    if (tag != kStartDaemon && tag != kStopDaemon) return std::nullopt;
    if (value == "master") {
      request_.daemon.role = SyncRole::kMaster;
    } else if (value == "backup") {
      request_.daemon.role = SyncRole::kBackup;
    } else {
      return Refusal(tag == kStartDaemon ? "illegal start-daemon parameter specified"
                                         : "illegal start_daemon specified");
    }
    return std::nullopt;
  }

  Verdict Once(Option option) {
    const uint64_t bit = uint64_t{1} << static_cast<int>(option);
    if ((request_.given & bit) != 0) {
      return Refusal("multiple '" + std::string(NameOf(option)) + "' options specified");
    }
    request_.given |= bit;
    return std::nullopt;
  }

  // A number into `out`, or the refusal.
  template <typename T>
  Verdict Number(const std::string& text, int64_t min, int64_t max, const char* refusal, T& out) {
    const auto number = ParseNumber(text, min, max);
    if (!number) return Refusal(refusal);
    out = static_cast<T>(*number);
    return std::nullopt;
  }

  Verdict Timeout(const std::string& text, int64_t min, uint32_t& out) {
    return Number(text, min, kMaxTimeout,
                  ("invalid timeout value `" + text + "' specified").c_str(), out);
  }

  Verdict Method(uint32_t method) {
    request_.server.method = method;
    return Once(Option::kForward);
  }

  Verdict TunnelFlag(Option option, uint16_t flag) {
    request_.server.tunnel_flags |= flag;
    return Once(option);
  }

  // Options of a virtual service.
  Verdict TakeService(int tag, const std::optional<std::string>& given) {
    ServiceArgument& service = request_.service;
    const std::string value = given.value_or("");
    switch (tag) {
      case 't':
      case 'u':
      case kSctpService:
        if (Verdict verdict = Once(Option::kService)) return verdict;
        service.protocol = tag == 't' ? IPPROTO_TCP : tag == 'u' ? IPPROTO_UDP : IPPROTO_SCTP;
        if (ParseService(value, names_, service) == Found::kNothing) {
          return Refusal("illegal virtual server address[:port] specified");
        }
        return std::nullopt;
      case 'f': {
        if (Verdict verdict = Once(Option::kService)) return verdict;
        service.address.family = AF_INET;
        service.protocol = IPPROTO_TCP;
        const auto mark = ParseMark(value);
        if (!mark) return Refusal("invalid fwmark value `" + value + "' specified");
        service.mark = *mark;
        return std::nullopt;
      }
      case '6':
        if (service.mark == 0) return Refusal("-6 used before -f\n");
        service.address.family = AF_INET6;
        service.netmask = 128;
        return std::nullopt;
      case 's':
        service.scheduler = value.substr(0, kMaxScheduler);
        return Once(Option::kScheduler);
      case 'p':
        if (Verdict verdict = Once(Option::kPersistent)) return verdict;
        service.flags |= IP_VS_SVC_F_PERSISTENT;
        if (given) return Timeout(value, 1, service.timeout_seconds);
        service.timeout_seconds = kDefaultPersistence;
        return std::nullopt;
      case 'M':
        if (Verdict verdict = Once(Option::kNetmask)) return verdict;
        if (service.address.family == AF_INET6) {
          // As atoi: what follows the digits is ignored.
          const int64_t length = std::strtol(value.c_str(), nullptr, 10);
          if (length < 1 || length > 128) return Refusal("illegal ipv6 netmask specified");
          service.netmask = static_cast<uint32_t>(length);
        } else {
          const auto mask = ParseNetmask4(value, names_);
          if (!mask) return Refusal("illegal virtual server persistent mask specified");
          service.netmask = *mask;
        }
        return std::nullopt;
      case 'o':
        service.flags |= IP_VS_SVC_F_ONEPACKET;
        return Once(Option::kOnePacket);
      case kEngine:
        service.engine = value.substr(0, kMaxEngine);
        return Once(Option::kEngine);
      case 'b':
        scheduler_flags_ = value;
        return Once(Option::kSchedulerFlags);
    }
    return Unknown();
  }

  // Options of a real server.
  Verdict TakeServer(int tag, const std::string& value) {
    ServerArgument& server = request_.server;
    switch (tag) {
      case 'r': {
        if (Verdict verdict = Once(Option::kServer)) return verdict;
        // The port's name is looked up for the service's protocol, as far as it was given before.
        ServiceArgument there = request_.service;
        const Found found = ParseService(value, names_, there);
        if (found == Found::kNothing) {
          return Refusal("illegal real server address[:port] specified");
        }
        server.address = there.address;
        server.port = found == Found::kAddress ? request_.service.port : there.port;
        return std::nullopt;
      }
      case 'i':
        return Method(IP_VS_CONN_F_TUNNEL);
      case 'g':
        return Method(IP_VS_CONN_F_DROUTE);
      case 'm':
        return Method(IP_VS_CONN_F_MASQ);
      case 'w':
        if (Verdict verdict = Once(Option::kWeight)) return verdict;
        return Number(value, 0, INT_MAX, "illegal weight specified", server.weight);
      case 'x':
        if (Verdict verdict = Once(Option::kUpperThreshold)) return verdict;
        return Number(value, 0, INT_MAX, "illegal u_threshold specified", server.upper_threshold);
      case 'y':
        if (Verdict verdict = Once(Option::kLowerThreshold)) return verdict;
        return Number(value, 0, INT_MAX, "illegal l_threshold specified", server.lower_threshold);
      case kTunnelType: {
        if (Verdict verdict = Once(Option::kTunnelType)) return verdict;
        const auto type = ParseTunnelType(value);
        if (!type) return Refusal("illegal tunnel type specified");
        server.tunnel_type = *type;
        return std::nullopt;
      }
      case kTunnelPort:
        if (Verdict verdict = Once(Option::kTunnelPort)) return verdict;
        return Number(value, 1, 65535, "illegal tunnel port specified", server.tunnel_port);
      case kTunnelNoChecksum:
        return TunnelFlag(Option::kTunnelNoChecksum, IP_VS_TUNNEL_ENCAP_FLAG_NOCSUM);
      case kTunnelChecksum:
        return TunnelFlag(Option::kTunnelChecksum, IP_VS_TUNNEL_ENCAP_FLAG_CSUM);
      case kTunnelRemoteChecksum:
        return TunnelFlag(Option::kTunnelRemoteChecksum, IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM);
    }
    return Unknown();
  }

  // Options of a sync daemon.
  Verdict TakeDaemon(int tag, const std::string& value) {
    DaemonArgument& daemon = request_.daemon;
    switch (tag) {
      case kMcastInterface:
        daemon.interface = value.substr(0, kMaxInterface);
        return Once(Option::kMcastInterface);
      case kSyncId:
        if (Verdict verdict = Once(Option::kSyncId)) return verdict;
        return Number(value, 0, 255, "illegal syncid specified", daemon.sync_id);
      case kMcastGroup: {
        if (Verdict verdict = Once(Option::kMcastGroup)) return verdict;
        const auto group = ParseMulticastGroup(value);
        if (!group) {
          const char* version = value.find(':') != std::string::npos ? "6" : "4";
          return Refusal("invalid IPv" + std::string(version) + " mcast-group `" + value + "'");
        }
        daemon.group = *group;
        return std::nullopt;
      }
      case kMcastPort:
        if (Verdict verdict = Once(Option::kMcastPort)) return verdict;
        return Number(value, 1, 65535, "illegal mcast-port specified", daemon.port);
      case kMcastTtl:
        if (Verdict verdict = Once(Option::kMcastTtl)) return verdict;
        return Number(value, 1, 255, "illegal mcast-ttl specified", daemon.ttl);
      case kSyncMaxLength:
        if (Verdict verdict = Once(Option::kSyncMaxLength)) return verdict;
        return Number(value, 1, 65535 - 20 - 8, "illegal sync-maxlen specified", daemon.max_length);
    }
    return Unknown();
  }

  Verdict TakeOption(int tag, const std::optional<std::string>& value, poptContext context) {
    static constexpr std::pair<int, Option> kPlain[] = {
        {'c', Option::kConnection},
        {'n', Option::kNumeric},
        {'X', Option::kExact},
        {kTimeout, Option::kTimeout},
        {kDaemon, Option::kDaemon},
        {kStats, Option::kStats},
        {kRate, Option::kRate},
        {kThresholds, Option::kThresholds},
        {kPersistentConn, Option::kPersistentConn},
        {kNoSort, Option::kNoSort},
        {kTunnelInfo, Option::kTunnelInfo},
    };
    const auto* plain = std::ranges::find(kPlain, tag, &std::pair<int, Option>::first);
    if (plain != std::end(kPlain)) return Once(plain->second);
    if (tag >= kFirstExtension) return TakeExtension(tag, value);
    switch (tag) {
      case kSort:
        return std::nullopt;  // the default
      case 't':
      case 'u':
      case 'f':
      case '6':
      case 's':
      case 'p':
      case 'M':
      case 'o':
      case 'b':
      case kSctpService:
      case kEngine:
        return TakeService(tag, value);
      case 'r':
      case 'i':
      case 'g':
      case 'm':
      case 'w':
      case 'x':
      case 'y':
      case kTunnelType:
      case kTunnelPort:
      case kTunnelNoChecksum:
      case kTunnelChecksum:
      case kTunnelRemoteChecksum:
        return TakeServer(tag, value.value_or(""));
      case kMcastInterface:
      case kSyncId:
      case kMcastGroup:
      case kMcastPort:
      case kMcastTtl:
      case kSyncMaxLength:
        return TakeDaemon(tag, value.value_or(""));
    }
    // A second command.
    return Refusal("invalid option `" +
                   std::string(poptBadOption(context, POPT_BADOPTION_NOALIAS)) + "'");
  }

  Verdict TakeExtension(int tag, const std::optional<std::string>& given) {
    Extensions& extensions = request_.extensions;
    const std::string value = given.value_or("");
    switch (tag) {
      case kDataplane:
        if (value != "ipvs" && value != "ebpf") {
          return Refusal("--dataplane " + value + ": ipvs or ebpf");
        }
        extensions.dataplane_given = true;
        extensions.ipvs = value == "ipvs";
        extensions.ebpf = value == "ebpf";
        return std::nullopt;
      case kOutput:
        if (value != "json" && value != "table") {
          return Refusal("--output " + value + ": json or table");
        }
        extensions.json = value == "json";
        return std::nullopt;
      case kFull:
        extensions.full = true;
        return std::nullopt;
      case kWatch:
        extensions.watch_seconds = 2.0;
        if (given && !ReadSeconds(value, extensions.watch_seconds)) {
          return Refusal("--watch " + value + ": seconds from 0.1 to 86400");
        }
        return std::nullopt;
      case kDrops:
        extensions.drops = true;
        if (given && !ReadSeconds(value, extensions.drop_seconds.emplace())) {
          return Refusal("--drops " + value + ": seconds from 0.1 to 86400");
        }
        return std::nullopt;
      case kTrace:
        if (value.empty()) return Refusal("--trace: a packet, CLIENT:PORT,VIP:PORT");
        extensions.trace = value;
        return std::nullopt;
      case kBpfDir:
        extensions.bpf_dir = value;
        return std::nullopt;
      case kStateDir:
        extensions.state_dir = value;
        return std::nullopt;
    }
    return Unknown();
  }

  // What is left when the options are done.
  Verdict TakeRest(poptContext context) {
    if (request_.action == Action::kSetTimeouts) {
      const char* words[3] = {};
      for (const char*& word : words) {
        word = poptGetArg(context);
        if (word == nullptr) return Refusal("--set option requires 3 timeout values");
      }
      if (Verdict verdict = Timeout(words[0], 0, request_.timeouts.tcp_seconds)) return verdict;
      if (Verdict verdict = Timeout(words[1], 0, request_.timeouts.tcp_fin_seconds)) {
        return verdict;
      }
      if (Verdict verdict = Timeout(words[2], 0, request_.timeouts.udp_seconds)) return verdict;
    }
    const char* word = poptGetArg(context);
    // "-o json": in ipvsadm -o is never a listing's, and takes no value.
    if (word != nullptr && dialect_.extensions && request_.action == Action::kList &&
        request_.Has(Option::kOnePacket) && std::string(word) == "json") {
      request_.extensions.json = true;
      request_.given &= ~(uint64_t{1} << static_cast<int>(Option::kOnePacket));
      word = poptGetArg(context);
    }
    if (word != nullptr) return Refusal("unexpected argument " + std::string(word));
    if (scheduler_flags_.empty()) return std::nullopt;
    const auto flags = ParseSchedulerFlags(request_.service.scheduler, scheduler_flags_);
    if (const auto* refusal = std::get_if<std::string>(&flags)) return Refusal(*refusal);
    const auto& chosen = std::get<SchedulerFlags>(flags);
    request_.service.flags |= chosen.flags;
    request_.service.table_size = chosen.table_size;
    return std::nullopt;
  }

  // Whether all of it goes together.
  Verdict Finish() {
    const std::string refusal = CheckOptions(request_.action, request_.given);
    if (!refusal.empty()) return Refusal(refusal);
    switch (request_.action) {
      case Action::kAddService:
      case Action::kEditService:
        return FinishService();
      case Action::kAddServer:
      case Action::kEditServer:
        return FinishServer();
      case Action::kStartDaemon:
        if (request_.daemon.interface.empty()) request_.daemon.interface = "eth0";
        break;
      case Action::kList:
        return FinishList();
      default:
        break;
    }
    return FinishExtensions();
  }

  Verdict FinishService() {
    ServiceArgument& service = request_.service;
    if (service.mark == 0 && service.port == 0 && (service.flags & IP_VS_SVC_F_PERSISTENT) == 0) {
      return Refusal("Zero port specified for non-persistent service");
    }
    if ((service.flags & IP_VS_SVC_F_ONEPACKET) != 0 && service.mark == 0 &&
        service.protocol != IPPROTO_UDP) {
      return Refusal("One-Packet Scheduling is only for UDP virtual services");
    }
    if (service.scheduler.empty()) service.scheduler = "wlc";
    return FinishExtensions();
  }

  Verdict FinishServer() {
    ServerArgument& server = request_.server;
    const ServiceArgument& service = request_.service;
    const bool tunnel = server.method == IP_VS_CONN_F_TUNNEL;
    if (service.mark == 0 && (tunnel || server.method == IP_VS_CONN_F_DROUTE)) {
      server.port = service.port;
    }
    if (server.address.family != service.address.family && !tunnel) {
      return Refusal("Different address family is allowed only for tunneling servers");
    }
    const bool options = request_.Has(Option::kTunnelType) || request_.Has(Option::kTunnelPort) ||
                         request_.Has(Option::kTunnelNoChecksum) ||
                         request_.Has(Option::kTunnelChecksum) ||
                         request_.Has(Option::kTunnelRemoteChecksum);
    if (options && !tunnel) return Refusal("Tunnel options conflict with forward method");
    const std::string refusal = CheckTunnelOptions(server.tunnel_type, request_.given);
    if (!refusal.empty()) return Refusal(refusal);
    return FinishExtensions();
  }

  Verdict FinishList() {
    const bool special = request_.Has(Option::kTimeout) || request_.Has(Option::kDaemon);
    const bool counts = request_.Has(Option::kStats) || request_.Has(Option::kRate) ||
                        request_.Has(Option::kThresholds);
    if (((special || request_.Has(Option::kConnection)) && counts) ||
        (special && request_.Has(Option::kPersistentConn))) {
      return Refusal("options conflicts in the list command");
    }
    Extensions& extensions = request_.extensions;
    const bool ipvs_only = request_.Has(Option::kDaemon);
    if (ipvs_only && extensions.dataplane_given && extensions.ebpf) {
      return Refusal("--dataplane ebpf: sync daemons are of IPVS");
    }
    if ((special || request_.Has(Option::kConnection)) && extensions.watch_seconds > 0) {
      return Refusal("--watch shows services and real servers only");
    }
    if (extensions.watch_seconds > 0 && extensions.json) {
      return Refusal("--watch draws a table: leave out json");
    }
    if (ipvs_only) extensions.ebpf = false;
    return FinishExtensions();
  }

  Verdict FinishExtensions() {
    const Extensions& extensions = request_.extensions;
    if (extensions.full && request_.action != Action::kSave) {
      return Refusal("--full goes with -S, --save");
    }
    if (extensions.drops) return FinishDrops();
    if (!extensions.trace.empty()) return FinishTrace();
    if (request_.action == Action::kList) return std::nullopt;
    if (extensions.json || extensions.watch_seconds > 0) {
      return Refusal("--output and --watch go with -L, --list");
    }
    const bool daemon =
        request_.action == Action::kStartDaemon || request_.action == Action::kStopDaemon;
    if (daemon && extensions.dataplane_given && extensions.ebpf) {
      return Refusal("--dataplane ebpf: sync daemons are of IPVS");
    }
    return std::nullopt;
  }

  Verdict FinishDrops() {
    const Extensions& extensions = request_.extensions;
    const uint64_t numeric = uint64_t{1} << static_cast<int>(Option::kNumeric);
    if (request_.action != Action::kList || (request_.given & ~numeric) != 0 ||
        extensions.watch_seconds > 0 || !extensions.trace.empty()) {
      return Refusal("--drops goes alone, or with --output, --dataplane ebpf and --bpf-dir");
    }
    if (extensions.ebpf) return std::nullopt;
    return Refusal("--drops: IPVS does not tell what it drops; only eBPF does");
  }

  Verdict FinishTrace() {
    const Extensions& extensions = request_.extensions;
    if (request_.action != Action::kList || request_.given != 0 || extensions.json ||
        extensions.watch_seconds > 0) {
      return Refusal("--trace goes alone, or with --dataplane ebpf and --bpf-dir");
    }
    if (extensions.ebpf) return std::nullopt;
    return Refusal("--trace: what IPVS would do with a packet cannot be asked; only eBPF's choice");
  }

  // A tag of the table that nobody takes: a mistake in this file.
  Verdict Unknown() { return Refusal("internal: an option without a meaning"); }

  const Dialect& dialect_;
  const Names& names_;
  Request request_;
  std::string scheduler_flags_;
};

}  // namespace

std::variant<Request, Answer> ParseOptions(const Dialect& dialect,
                                           const std::vector<std::string>& words,
                                           const Names& names, bool from_stdin) {
  // No words at all list everything, names and all.
  if (words.empty()) return Request{};
  return Parser(dialect, names).Parse(words, from_stdin);
}

}  // namespace kube_lvs::cli
