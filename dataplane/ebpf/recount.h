// Connections counted anew from the connection table, to put klvs_real_conns right: a program that
// did not get from a count to its entry, or back, would leave a real server with connections that never
// end.
// Pure, but that programs run on meanwhile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/conn_tables.h"

namespace kube_lvs::ebpf {

// The two counts of klvs_real_conns as the one word that programs add to: inactive << 32 | active.
uint64_t CountsOf(const klvs_real_conns& conns);

// What the table holds of one real server.
struct Recount {
  uint64_t counts = 0;       // as CountsOf
  uint64_t fingerprint = 0;  // of its connections and their states
  bool operator==(const Recount&) const = default;
};

// By real server id, below `reals`: expired ones that nobody took out yet are counted, too, as the
// programs do. What changes during the walk may be seen before or after.
std::vector<Recount> CountConnections(const ConnTables& tables, size_t reals);

// What is known of one real server: its count, what has passed (packets and connections, of
// klvs_real_counters, and of any real server those that were dropped while they came in), and the table.
struct CountReading {
  uint64_t counts = 0;
  uint64_t passed = 0;
  Recount table;
  bool operator==(const CountReading&) const = default;
};

// What is to be added to the word of counts; 0: it is right, or something moved. `first` has count
// and packets from before a walk over the table, `second` from after another; every program that
// ran during the first walk had ended when the second began. When nothing differs, no packet came
// and nothing ended meanwhile, so that count and table are of one moment. Adding, not storing,
// keeps right what programs count afterwards.
uint64_t CorrectionOf(const CountReading& first, const CountReading& second);

}  // namespace kube_lvs::ebpf
