// The rules of a dataplane as they are listed: services in the kernel's order, with their real
// servers in theirs. Pure.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "dataplane/ebpf/rules.h"
#include "dataplane/ipvs/codec.h"
#include "dataplane/model/state.h"

namespace kube_lvs::cli {

struct ListedService {
  ipvs::ServiceEntry service;
  std::vector<ipvs::RealEntry> reals;
};

using Table = std::vector<ListedService>;

// In ipvsadm's order: by mark, family, protocol, address and port, each of the four words of an
// address and the mark by the sign of their difference in 32 bits. That is no order (10.0.0.1 comes
// after 192.0.2.1, which comes after 100.0.0.1, which comes after 10.0.0.1), so the result depends
// on the way of sorting too: merge sort, as the C library's qsort of ipvsadm's time does it.
void SortAsIpvsadm(Table& table);

// They have no rates.
Table TableOf(ebpf::Rules rules);

// Fills in what passed in a second between two readings. What was not there before has none.
void FillRates(const Table& before, std::chrono::duration<double> between, Table& now);

}  // namespace kube_lvs::cli
