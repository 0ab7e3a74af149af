#include "dataplane/ebpf/verifier_log.h"

#include <algorithm>
#include <array>
#include <cerrno>

namespace kube_lvs::ebpf {
namespace {

// What it cost comes last.
bool IsCost(std::string_view line) {
  constexpr std::array<std::string_view, 3> kCosts = {"processed ", "verification time ",
                                                      "stack depth "};
  return std::ranges::any_of(kCosts, [line](auto cost) { return line.starts_with(cost); });
}

// "12: (79) r0 = *(u64 *)(r1 +0)", with the registers behind " ; " in some kernels.
bool IsInstruction(std::string_view line) {
  const size_t number = line.find_first_not_of("0123456789");
  return number != 0 && number != std::string_view::npos && line.substr(number).starts_with(": (");
}

// Whether the last line is what it cost.
bool HasItsEnd(std::string_view log) {
  while (log.ends_with('\n')) log.remove_suffix(1);
  return IsCost(log.substr(log.find_last_of('\n') + 1));
}

}  // namespace

std::string CauseOf(std::string_view log) {
  std::string cause;
  std::string_view at;
  while (!log.empty()) {
    const size_t end = std::min(log.find('\n'), log.size());
    const std::string_view line = log.substr(0, end);
    log.remove_prefix(std::min(end + 1, log.size()));
    if (line.empty() || IsCost(line)) continue;
    cause = line;
    if (!IsInstruction(line)) continue;
    at = line.substr(0, line.find(" ; "));
    at.remove_suffix(at.size() - 1 - at.find_last_not_of(' '));
    cause = at;
  }
  for (size_t i = 0; (i = cause.find("; ", i)) != std::string::npos;) cause[i] = ',';
  return at.empty() || cause == at ? cause : cause + " (at " + std::string(at) + ")";
}

std::string RefusalOf(std::string_view program, int error, std::string_view log) {
  // ENOSPC stands for whatever the load would have ended with, had there been room for the log. Of
  // that, kernels from 6.4 on keep the end, where the cause is, and others the beginning: its last
  // line is where the room ended (kernel/bpf/log.c; in Linux 6.1 bpf_check() in verifier.c).
  if (error == ENOSPC && !HasItsEnd(log)) {
    return "the kernel does not load the program " + std::string(program) +
           ", and the cause is not known: its log is full, and this kernel keeps the beginning";
  }
  return "the kernel refuses the program " + std::string(program) + ": " + CauseOf(log);
}

}  // namespace kube_lvs::ebpf
