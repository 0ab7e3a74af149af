// What may become of a packet: says "" or what is wrong, from the rules, the connection table and
// the bytes before and after.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "dataplane/ebpf/packet_tests/fuzz/flows.h"
#include "dataplane/ebpf/packet_tests/fuzz/site.h"

namespace kube_lvs::ebpf {

class Oracle {
 public:
  // Both are borrowed. The director has counted nothing yet.
  Oracle(Director& director, const Site& site) : director_(director), site_(site) {}

  // Sends a packet and judges everything about it but the tables.
  std::string Judge(const Bytes& frame);
  // Whether counters say what was judged.
  std::string JudgeCounters();

  const std::map<std::string, uint64_t>& seen() const { return seen_; }  // what happened how often

 private:
  // XDP schedules no packet for itself.
  bool IsOfTc(const Reading& asked) const;
  // What another director, who has the claim, balanced: it is for the real server on this node.
  enum class Delivery { kNone, kOfNoConnection, kOfAConnection, kInPlaceOfAClosed };
  Delivery DeliveryOf(const Bytes& frame, const Reading& asked);
  std::string Delivered(const Bytes& frame, const Reading& asked, Delivery delivery);
  // Of what is left alone though it is to a VIP: we balanced it, to the real server on this node.
  struct Forwarded {
    uint64_t packets = 0, bytes = 0, reply_packets = 0, reply_bytes = 0;
    void Add(const klvs_counters& counters);
    bool operator==(const Forwarded&) const = default;
  };
  std::string AtHome(const Bytes& frame, const Reading& asked, const Forwarded& before);
  Forwarded CountedByServices();

  // `reason`: for which it was counted as dropped all the same; 0 if it was not.
  std::string Sent(const Bytes& in, const Reading& asked, const Bytes& out, uint32_t reason);
  std::string Answered(const Bytes& in, const Reading& asked, const Bytes& out,
                       const Reading& answer);
  std::string TooBig(const Bytes& in, const Reading& asked, const Bytes& out,
                     const Reading& answer);
  std::string Unreachable(const Bytes& in, const Reading& asked, const Bytes& out,
                          const Reading& answer);
  std::string Reset(const Bytes& in, const Reading& asked, const Bytes& out, const Reading& answer);
  // Of an answer in the place of a packet that a service refuses.
  std::string Refused(const Reading& asked) const;
  std::string ToReal(const Bytes& in, const Reading& asked, const Bytes& out, const Reading& sent);
  std::string ToClient(const Bytes& in, const Reading& asked, const Bytes& out,
                       const Reading& sent);
  std::string Later(const Bytes& in, const Reading& asked, const Bytes& out, const Reading& sent);
  std::string Macs(const Reading& sent, const Mac& to) const;
  bool IsReal(const Bytes& address, uint32_t service) const;
  Bytes RealAddress(uint32_t id) const;

  Director& director_;
  const Site& site_;
  bool shared_ = false;  // there was a time when other directors might have the claims
  std::map<std::string, uint64_t> seen_;
  Forwarded forwarded_;
};

}  // namespace kube_lvs::ebpf
