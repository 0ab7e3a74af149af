// A director: the programs in the kernel, their maps filled by values; packets go through
// BPF_PROG_TEST_RUN in a network namespace of their own. For tests only: whatever fails aborts.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/conn_tables.h"
#include "dataplane/ebpf/map_names.h"
#include "dataplane/ebpf/packet_tests/frame.h"
#include "dataplane/ebpf/packet_tests/frame6.h"
#include "dataplane/ebpf/packet_tests/programs.h"

struct bpf_map;
struct bpf_program;

namespace kube_lvs::ebpf {

enum class Verdict { kSent, kUntouched, kDropped, kToStack };

std::string ToString(Stage stage);
std::ostream& operator<<(std::ostream& out, Verdict verdict);

struct Outcome {
  Verdict verdict = Verdict::kDropped;
  Bytes frame;
  uint32_t nanoseconds = 0;  // of the program, and of the kernel's clock around it
};

inline constexpr Mac kClientMac = {2, 0, 0, 0, 0, 0xc}, kRealMac = {2, 0, 0, 0, 0, 0xd};
inline constexpr uint64_t kHz = 1000;  // what settings say; the real one does not matter

struct Real {
  std::string address;
  uint16_t port = 80;
  uint32_t weight = 1;
  uint8_t flags = KLVS_REAL_VALID | KLVS_REAL_L2;
  uint32_t upper = 0;
  uint32_t lower = 0;
};

struct Service {
  uint32_t id = 1;
  std::string vip = "10.9.0.1";  // of either family, as its real servers
  uint16_t port = 80;
  uint8_t protocol = 6;
  uint16_t last_port = 0;  // of a range from `port` on; with port 0, of all ports
  uint8_t scheduler = KLVS_SCHEDULER_RR;
  uint8_t flags = 0;
  uint8_t method = KLVS_METHOD_DIRECT_ROUTING;
  uint16_t gue_port = 0;          // of a tunnel by GUE
  uint32_t template_seconds = 0;  // not 0: persistent
  uint8_t template_prefix = 32;
  std::vector<Real> reals;  // in the order of the list
  uint32_t first_real = 1;  // id of reals[0]
  uint32_t table = 0;       // mh, sh, dh: where it begins; its cells are the test's to fill
  uint8_t delivers = KLVS_DELIVERS_NOTHING;
  uint32_t local = 0;
};

// Where rr and wrr start a new generation of a list.
struct Start {
  uint32_t start_weight = 0;
  uint16_t start_position = 0;
};

class Director {
 public:
  // A connection table of `sets` sets of 8.
  explicit Director(Stage stage, uint32_t sets = 64);
  ~Director();
  Director(const Director&) = delete;

  // Makes the VIP ours, the real servers known, the service known.
  void Add(const Service& service, const Start& start = {});
  // As Add, for a service that is there: another generation of its list.
  void Replace(const Service& service, const Start& start = {});
  // A service of many ports is gone; its ports still name it.
  void ForgetWide(const Service& service);
  // `claim_until` in CLOCK_BOOTTIME ns; ARP is answered on `ifindex`, or on the
  // one interface.
  void SetAddress(std::string_view address, uint32_t flags, uint64_t claim_until = 0,
                  uint32_t ifindex = 0);

  // Every address of `network` is the VIP that `vip` was by itself, and is answered as `flags` say.
  void Spread(std::string_view vip, std::string_view network, uint32_t flags = KLVS_ADDRESS_VIP,
              uint64_t claim_until = 0);

  Outcome Run(const Bytes& frame);
  Outcome Run(const Frame& frame) { return Run(frame.Build()); }
  Outcome Run(const Frame6& frame) { return Run(frame.Build()); }
  // As Run, with tc whatever the stage; with `gso_size`, as a bundle of segments of so many bytes.
  Outcome RunTc(const Bytes& frame, uint32_t gso_size = 0);
  // The mean of `repeat` runs of an XDP program, of which each gets what the last one left of the
  // frame.
  uint32_t NanosecondsOf(int program, Bytes frame, uint32_t repeat);
  int xdp_program() const;
  // As on an interface: what XDP leaves untouched comes to tc.
  Outcome RunBoth(const Bytes& frame);
  // What this node itself sends, on the way out; of the frame's family.
  Outcome RunReply(const Bytes& frame);
  // On a real server.
  Outcome RunDecap(const Bytes& frame);
  Outcome RunMssClamp(const Bytes& frame);

  klvs_settings& settings();
  klvs_interface& interface();
  klvs_real& real(uint32_t id);
  klvs_real6& real6(uint32_t id);
  klvs_service_state& state(uint32_t id);
  klvs_locality& locality(uint32_t id);
  klvs_real_conns real_conns(uint32_t id);
  std::span<const klvs_real_conns> real_conns();
  void ResetRealConns(uint32_t id);
  void SetRealConns(uint32_t id, uint32_t active, uint32_t inactive, uint32_t overloaded = 0);
  std::span<klvs_list_entry> lists();
  std::span<TableCell> tables();
  std::span<klvs_conn_set> conns();
  std::span<klvs_conn_set6> conns6();
  ConnTables conn_tables();
  void ForgetConnections();

  // Live entries: connections, or with `reply` the reply keys.
  std::vector<klvs_conn*> Entries(bool reply = false);
  // The only connection. Aborts when there are none or several.
  klvs_conn& Connection();
  // The same of IPv6.
  std::vector<klvs_conn6*> Entries6(bool reply = false);
  klvs_conn6& Connection6();
  // Makes every connection expired.
  void ExpireAll();
  // The template of a client, whose address has no bits beyond the prefix; nullopt if there is
  // none.
  std::optional<klvs_template> Template(uint32_t service, std::string_view client);
  // Writes it; false if there is no room.
  bool SetTemplate(uint32_t service, std::string_view client, const klvs_template& value);
  uint32_t Templates(uint32_t real);  // how many name it

  klvs_counters ServiceCounters(uint32_t id);
  klvs_counters RealCounters(uint32_t id);
  std::map<std::string, uint64_t> Drops();  // by name, without zeros
  // What was shown of them since the last call.
  std::vector<klvs_drop_sample> DropSamples() { return TakeDropSamples(Find("klvs_drop_ring")); }
  // By reason; faster than Drops.
  std::array<uint64_t, KLVS_DROP_SLOTS> DropCounts();
  klvs_clock Now();
  void AwaitTick();  // until jiffies move on
  // Runs klvs_sweep over the whole table; how many it took out.
  uint32_t Sweep();

  // `vip`: an address, or a prefix of them, as "192.0.2.0/24".
  void AddTunnelPeer(std::string_view director, std::string_view vip);
  // By GUE to `real`.
  void AddGuePeer(std::string_view director, std::string_view vip, std::string_view real,
                  uint16_t port);
  void AddMssClamp(std::string_view vip, uint32_t mss);

  uint32_t ifindex() const { return ifindex_; }
  Stage stage() const { return stage_; }

 private:
  void ReplaceWide(const Service& service, const klvs_service& value);
  // Has the programs that are there jump to those of IPv6. Only tests of IPv6 pay for it.
  void LoadIpv6();
  template <typename T>
  std::span<T> Map(const char* name);
  bpf_map* Find(const char* name);
  // Of a client of either family: its map and key.
  std::pair<bpf_map*, Bytes> TemplateKey(uint32_t service, std::string_view client);
  Outcome Test(bpf_program* program, const Bytes& frame, Stage stage, uint32_t gso_size = 0);
  klvs_counters Sum(const char* name, uint32_t id);

  Stage stage_;
  std::unique_ptr<LoadedPrograms> programs_;
  uint32_t ifindex_;
  std::map<std::string, void*> mapped_;
  std::map<uint32_t, uint16_t> generations_;  // by service id
  uint32_t next_list_ = 0;
};

// A client's packet to a VIP, as it reaches the director.
Frame ClientFrame(std::string_view client = "10.1.0.1", uint16_t sport = 40000,
                  std::string_view vip = "10.9.0.1", uint16_t dport = 80);
Frame6 ClientFrame6(std::string_view client = "2001:db8:1::1", uint16_t sport = 40000,
                    std::string_view vip = "2001:db8:9::1", uint16_t dport = 80);

}  // namespace kube_lvs::ebpf
