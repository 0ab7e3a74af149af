#include "dataplane/host/sysctls.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include "base/file.h"
#include "base/status.h"

namespace kube_lvs::host {

Sysctls::Sysctls(std::string root, std::string journal)
    : root_(std::move(root)), journal_(std::move(journal)) {}

absl::StatusOr<std::vector<Sysctl>> Sysctls::Read() const {
  KUBE_LVS_ASSIGN_OR_RETURN(std::vector<Sysctl> held, Originals());
  std::vector<Sysctl> out;
  for (const Sysctl& original : held) {
    const auto now = Get(original.name);
    if (absl::IsNotFound(now.status())) continue;  // its interface has gone
    KUBE_LVS_RETURN_IF_ERROR(now.status());
    out.push_back({original.name, *now});
  }
  return out;
}

absl::Status Sysctls::Hold(const Sysctl& sysctl) {
  KUBE_LVS_ASSIGN_OR_RETURN(std::vector<Sysctl> held, Originals());
  const auto known = std::ranges::find(held, sysctl.name, &Sysctl::name);
  if (known == held.end()) {
    KUBE_LVS_ASSIGN_OR_RETURN(const std::string before, Get(sysctl.name));
    held.push_back({sysctl.name, before});
    KUBE_LVS_RETURN_IF_ERROR(Save(held));
  }
  return Set(sysctl);
}

absl::Status Sysctls::Release(const std::string& name) {
  KUBE_LVS_ASSIGN_OR_RETURN(std::vector<Sysctl> held, Originals());
  const auto known = std::ranges::find(held, name, &Sysctl::name);
  if (known == held.end()) return absl::OkStatus();
  if (const absl::Status status = Set(*known); !status.ok() && !absl::IsNotFound(status)) {
    return status;
  }
  held.erase(known);
  return Save(held);
}

absl::StatusOr<std::vector<Sysctl>> Sysctls::Originals() const {
  const auto content = ReadFile(journal_);
  if (absl::IsNotFound(content.status())) return std::vector<Sysctl>();
  KUBE_LVS_RETURN_IF_ERROR(content.status());
  std::vector<Sysctl> out;
  std::istringstream in(*content);
  for (std::string line; std::getline(in, line);) {
    const size_t tab = line.find('\t');
    if (tab == std::string::npos) continue;
    out.push_back({line.substr(0, tab), line.substr(tab + 1)});
  }
  return out;
}

absl::Status Sysctls::Save(const std::vector<Sysctl>& originals) const {
  std::string content;
  for (const Sysctl& original : originals) content += original.name + "\t" + original.value + "\n";
  return ReplaceFile(journal_, content);
}

absl::StatusOr<std::string> Sysctls::Get(const std::string& name) const {
  KUBE_LVS_ASSIGN_OR_RETURN(std::string value, ReadFile(root_ + "/" + name));
  while (!value.empty() && value.back() == '\n') value.pop_back();
  return value;
}

absl::Status Sysctls::Set(const Sysctl& sysctl) const {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::string now, Get(sysctl.name));
  if (now == sysctl.value) return absl::OkStatus();
  // With its end: a write of nothing does not empty a list.
  return WriteInPlace(root_ + "/" + sysctl.name, sysctl.value + "\n");
}

}  // namespace kube_lvs::host
