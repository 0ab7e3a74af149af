// What kernel tests ask of XDP by themselves. The calling thread is in the interface's namespace.
#pragma once

#include <cstdint>
#include <string>

namespace kube_lvs::ebpf {

// Number of the attached native XDP program, 0 for none.
uint32_t XdpProgramId(const std::string& interface);

// Attaches a program that passes everything: what a veth's peer needs for XDP_TX to be delivered,
// and what looks like another's program. Aborts when it cannot.
void AttachXdpPass(const std::string& interface);

}  // namespace kube_lvs::ebpf
