// Tables of sh and dh in which a test knows who is chosen.
#pragma once

#include <arpa/inet.h>

#include <string>

#include "dataplane/ebpf/packet_tests/director.h"

namespace kube_lvs::ebpf {

// Real servers 1 and 2 by turns have the cells of the table at 0.
inline void FillCellsByTurns(Director& director) {
  for (uint32_t i = 0; i < KLVS_HASH_BUCKETS; ++i) director.tables()[i].real = 1 + i % 2;
}

// Which of the two has it, by the kernel's hash of an address: for sh the client's, for dh the
// VIP's.
inline uint32_t RealByHash(const std::string& address) {
  uint32_t folded = 0;
  if (address.find(':') == std::string::npos) {
    folded = Ip(address);
  } else {
    for (const __be32 word : Ip6(address).word) folded ^= ntohl(word);
  }
  return 1 + (folded * 0x61C88647U >> 24) % 2;
}

}  // namespace kube_lvs::ebpf
