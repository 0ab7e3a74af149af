// What lvsadm's dataplane leaves in the kernel, by number.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kube_lvs::ebpf {

// The program that lvsadm hooked into ingress of an interface of the calling thread's namespace; 0
// for none.
uint32_t LvsadmProgramOn(const std::string& interface);

// The maps that a program uses. Aborts when it cannot be asked.
std::vector<uint32_t> MapsOfProgram(uint32_t program);

// Has the dataplane of that program say that its maps are of the next layout; returns which one
// they are of. Aborts as above.
uint32_t RaiseLayout(uint32_t program);

bool ProgramExists(uint32_t program);
bool MapExists(uint32_t map);

}  // namespace kube_lvs::ebpf
