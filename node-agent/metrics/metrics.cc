#include "node-agent/metrics/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <sstream>
#include <type_traits>

namespace kube_lvs {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

// The timer's pass comes every 30 s; a pass over very many services may take long.
constexpr Duration kHealthyFor = std::chrono::seconds(150);

const prometheus::Histogram::BucketBoundaries kSeconds = {0.0005, 0.001, 0.005, 0.01, 0.05,
                                                          0.1,    0.5,   1,     5,    30};

const char* KindOf(const Step& step) {
  static constexpr const char* kKinds[] = {"add_item",       "add_service", "set_service",
                                           "add_real",       "set_real",    "remove_real",
                                           "remove_service", "remove_item"};
  static_assert(std::size(kKinds) == std::variant_size_v<Step>);
  return kKinds[step.index()];
}

double Seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

class FamilyBuilder {
 public:
  FamilyBuilder(const char* name, const char* help, MetricType type) {
    family_.name = name;
    family_.help = help;
    family_.type = type;
  }
  void Add(std::vector<ClientMetric::Label> labels, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    if (family_.type == MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    family_.metric.push_back(std::move(metric));
  }
  void MoveTo(std::vector<MetricFamily>& out) { out.push_back(std::move(family_)); }

 private:
  MetricFamily family_;
};

std::vector<ClientMetric::Label> LabelsOf(const ServiceKey& key, const Owners& origins) {
  const auto origin = origins.find(key);
  const bool known = origin != origins.end();
  std::string vip, port;
  if (const auto* endpoint = std::get_if<Endpoint>(&key.match)) {
    vip = endpoint->ip.ToString();
    port = std::to_string(endpoint->port);
  } else if (const auto* range = std::get_if<PortRange>(&key.match)) {
    vip = range->vip.ToString();
    port = std::to_string(range->first) + "-" + std::to_string(range->last);
  } else if (const auto* all = std::get_if<AllPorts>(&key.match)) {
    vip = all->vip.ToString();
    port = "all";
  } else if (const auto* prefix = std::get_if<Prefix>(&key.match)) {
    vip = prefix->vips.ToString();
    port = std::to_string(prefix->first);
    if (prefix->last != prefix->first) port += "-" + std::to_string(prefix->last);
    if (prefix->HasAllPorts()) port = "all";
  } else {
    vip = "fwmark " + std::to_string(std::get<FwMark>(key.match).mark);
  }
  return {{"dataplane", ToString(key.dataplane)},
          {"namespace", known ? origin->second.name_space : ""},
          {"port", port},
          {"protocol", port == "all" ? port : ToString(key.protocol)},
          {"service", known ? origin->second.name : ""},
          {"vip", vip}};
}

}  // namespace

struct Metrics::Own {
  prometheus::Registry registry;
  prometheus::Histogram& plan = prometheus::BuildHistogram()
                                    .Name("kube_lvs_plan_seconds")
                                    .Help("Reading, computing and comparing, per pass.")
                                    .Register(registry)
                                    .Add({}, kSeconds);
  prometheus::Histogram& apply = prometheus::BuildHistogram()
                                     .Name("kube_lvs_apply_seconds")
                                     .Help("Applying and reading back, per pass.")
                                     .Register(registry)
                                     .Add({}, kSeconds);
  prometheus::Family<prometheus::Counter>& steps =
      prometheus::BuildCounter()
          .Name("kube_lvs_steps_total")
          .Help("Changes to this node that were tried.")
          .Register(registry);
  prometheus::Counter& drift = prometheus::BuildCounter()
                                   .Name("kube_lvs_drift_repaired_total")
                                   .Help("Changes that put back what somebody else had changed.")
                                   .Register(registry)
                                   .Add({});
  prometheus::Gauge& in_sync =
      prometheus::BuildGauge()
          .Name("kube_lvs_in_sync")
          .Help("1 if this node holds all that it should, as of the last pass.")
          .Register(registry)
          .Add({});
  prometheus::Gauge& problems = prometheus::BuildGauge()
                                    .Name("kube_lvs_problems")
                                    .Help("What is not as it should be on this node.")
                                    .Register(registry)
                                    .Add({});
};

Metrics::Metrics(std::vector<Backend*> backends, std::string version, const Clock& clock)
    : backends_(std::move(backends)),
      clock_(clock),
      own_(std::make_unique<Own>()),
      last_pass_(clock.Now()) {
  prometheus::BuildGauge()
      .Name("kube_lvs_build_info")
      .Help("Always 1.")
      .Register(own_->registry)
      .Add({{"version", std::move(version)}})
      .Set(1);
  for (const char* kind : {"add_service", "set_service", "remove_service", "add_real", "set_real",
                           "remove_real", "add_item", "remove_item"}) {
    for (const char* result : {"ok", "failed"}) {
      own_->steps.Add({{"kind", kind}, {"result", result}});
    }
  }
}

Metrics::~Metrics() = default;

void Metrics::OnPass(const PassReport& report) {
  own_->plan.Observe(Seconds(report.plan_time));
  own_->apply.Observe(Seconds(report.apply_time));
  for (const StepResult& result : report.results) {
    if (absl::IsCancelled(result.status)) continue;
    own_->steps
        .Add({{"kind", KindOf(result.step)}, {"result", result.status.ok() ? "ok" : "failed"}})
        .Increment();
  }
  own_->drift.Increment(static_cast<double>(report.drift_repaired));
  own_->in_sync.Set(report.in_sync ? 1 : 0);
  own_->problems.Set(static_cast<double>(report.service_problems.size() +
                                         report.node_problems.size() +
                                         report.snapshot->problems.size()));
  const std::lock_guard<std::mutex> lock(mu_);
  origins_ = report.origins;
  answers_ = report.answers;
  states_ = report.peers;
  held_back_.clear();
  for (const HeldBack& held : report.held_back) ++held_back_[held.service];
  last_pass_ = clock_.Now();
}

bool Metrics::Healthy() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return clock_.Now() - last_pass_ < kHealthyFor;
}

std::string Metrics::Text() {
  Stats stats;
  FamilyBuilder up("kube_lvs_backend_readable", "1 if this part of the node can be read.",
                   MetricType::Gauge);
  for (Backend* backend : backends_) {
    absl::StatusOr<Stats> part = backend->ReadStats();
    up.Add({{"backend", backend->Name()}}, part.ok() ? 1 : 0);
    if (!part.ok()) continue;
    stats.services.merge(part->services);
    stats.reals.merge(part->reals);
    for (const auto& [reason, count] : part->drops) stats.drops[reason] += count;
  }
  std::shared_ptr<const Owners> origins;
  std::shared_ptr<const std::set<Cidr>> answers;
  std::map<std::string, PeerState> states;
  std::map<ServiceKey, size_t> held_back;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    origins = origins_;
    answers = answers_;
    states = states_;
    held_back = held_back_;
  }

  std::vector<MetricFamily> families = own_->registry.Collect();
  up.MoveTo(families);
  FamilyBuilder packets("kube_lvs_service_packets_total", "Packets from clients.",
                        MetricType::Counter);
  FamilyBuilder bytes("kube_lvs_service_bytes_total", "Bytes from clients.", MetricType::Counter);
  FamilyBuilder connections("kube_lvs_service_connections_total", "Connections begun.",
                            MetricType::Counter);
  for (const auto& [key, counters] : stats.services) {
    const auto labels = LabelsOf(key, *origins);
    packets.Add(labels, static_cast<double>(counters.packets));
    bytes.Add(labels, static_cast<double>(counters.bytes));
    connections.Add(labels, static_cast<double>(counters.connections));
  }
  for (FamilyBuilder* family : {&packets, &bytes, &connections}) family->MoveTo(families);

  FamilyBuilder real_packets("kube_lvs_real_server_packets_total",
                             "Packets sent on to a real server.", MetricType::Counter);
  FamilyBuilder real_bytes("kube_lvs_real_server_bytes_total", "Bytes sent on to a real server.",
                           MetricType::Counter);
  FamilyBuilder real_connections("kube_lvs_real_server_connections_total",
                                 "Connections given to a real server.", MetricType::Counter);
  FamilyBuilder weight("kube_lvs_real_server_weight", "Weight; 0 is quiesced.", MetricType::Gauge);
  FamilyBuilder active("kube_lvs_real_server_active_connections", "Established connections.",
                       MetricType::Gauge);
  FamilyBuilder inactive("kube_lvs_real_server_inactive_connections",
                         "Connections that are opening or closing.", MetricType::Gauge);
  size_t series = 0;
  for (const auto& [real, counts] : stats.reals) {
    if (++series > kMaxRealServerSeries) break;
    auto labels = LabelsOf(real.first, *origins);
    labels.push_back({"real_server", real.second.ToString()});
    real_packets.Add(labels, static_cast<double>(counts.counters.packets));
    real_bytes.Add(labels, static_cast<double>(counts.counters.bytes));
    real_connections.Add(labels, static_cast<double>(counts.counters.connections));
    weight.Add(labels, counts.weight);
    active.Add(labels, static_cast<double>(counts.active_connections));
    inactive.Add(labels, static_cast<double>(counts.inactive_connections));
  }
  for (FamilyBuilder* family :
       {&real_packets, &real_bytes, &real_connections, &weight, &active, &inactive}) {
    family->MoveTo(families);
  }
  FamilyBuilder omitted("kube_lvs_real_server_series_omitted",
                        "Real servers without series because there are too many.",
                        MetricType::Gauge);
  omitted.Add({}, stats.reals.size() <= kMaxRealServerSeries
                      ? 0
                      : static_cast<double>(stats.reals.size() - kMaxRealServerSeries));
  omitted.MoveTo(families);
  FamilyBuilder waiting("kube_lvs_real_servers_waiting",
                        "Real servers that get no requests because they are not set up yet.",
                        MetricType::Gauge);
  for (const auto& [key, count] : held_back) {
    waiting.Add(LabelsOf(key, *origins), static_cast<double>(count));
  }
  waiting.MoveTo(families);
  FamilyBuilder drops("kube_lvs_drops_total", "Packets dropped, by reason.", MetricType::Counter);
  for (const auto& [reason, count] : stats.drops) {
    drops.Add({{"reason", reason}}, static_cast<double>(count));
  }
  drops.MoveTo(families);
  FamilyBuilder repaired("kube_lvs_connection_counts_repaired_total",
                         "Real servers whose count of connections was wrong and was put right.",
                         MetricType::Counter);
  repaired.Add({}, counts_repaired_ ? static_cast<double>(counts_repaired_()) : 0);
  repaired.MoveTo(families);
  FamilyBuilder tables("kube_lvs_table_used_ratio",
                       "How full a table of the eBPF dataplane is, 0 to 1.", MetricType::Gauge);
  if (tables_used_) {
    for (const auto& [table, ratio] : tables_used_()) tables.Add({{"table", table}}, ratio);
  }
  tables.MoveTo(families);
  FamilyBuilder attached("kube_lvs_attachment_info",
                         "1 for each interface that eBPF serves: how, and why not by native XDP.",
                         MetricType::Gauge);
  if (attachments_) {
    for (const auto& [interface, why_no_xdp] : attachments_()) {
      attached.Add({{"interface", interface},
                    {"mode", why_no_xdp.empty() ? "xdp" : "tc"},
                    {"reason", why_no_xdp}},
                   1);
    }
  }
  attached.MoveTo(families);
  FamilyBuilder answered("kube_lvs_answers_for_vip", "1 for each VIP that this node answers for.",
                         MetricType::Gauge);
  for (const Cidr& vips : *answers) answered.Add({{"vip", vips.ShortText()}}, 1);
  answered.MoveTo(families);
  FamilyBuilder peers("kube_lvs_peer_alive", "1 if the other director's agent is heard.",
                      MetricType::Gauge);
  for (const auto& [node, state] : states) {
    peers.Add({{"node", node}}, state == PeerState::kAlive ? 1 : 0);
  }
  peers.MoveTo(families);
  if (peers_) {
    const PeerCounters c = peers_();
    FamilyBuilder heartbeats("kube_lvs_heartbeats_total", "Messages between agents.",
                             MetricType::Counter);
    const std::pair<const char*, uint64_t> results[] = {
        {"sent", c.sent},         {"received", c.received},
        {"garbage", c.garbage},   {"unauthenticated", c.unauthenticated},
        {"replayed", c.replayed}, {"stranger", c.strangers}};
    for (const auto& [result, count] : results) {
      heartbeats.Add({{"result", result}}, static_cast<double>(count));
    }
    heartbeats.MoveTo(families);
  }
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return out.str();
}

}  // namespace kube_lvs
