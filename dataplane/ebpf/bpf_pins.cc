#include "dataplane/ebpf/bpf_pins.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <utility>

#include "base/status.h"
#include "dataplane/ebpf/abi.h"
#include "dataplane/ebpf/bpf_layout.h"
#include "dataplane/ebpf/layout.h"
#include "dataplane/ebpf/map_names.h"

namespace kube_lvs::ebpf {
namespace {

namespace fs = std::filesystem;

// Whether the path, or what exists above it, is on a BPF file system.
absl::Status CheckBpfFs(const std::string& dir) {
  fs::path existing(dir);
  std::error_code error;
  while (!fs::exists(existing, error) && existing.has_relative_path()) {
    existing = existing.parent_path();
  }
  struct statfs info {};
  if (statfs(existing.c_str(), &info) == 0 && static_cast<uint32_t>(info.f_type) == BPF_FS_MAGIC) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(dir +
                                       " is not on a BPF file system; run: mount -t bpf bpf " +
                                       "/sys/fs/bpf (in a pod: mount the node's /sys/fs/bpf)");
}

// Of the maps that are pinned; nullopt: none are, for klvs_settings is made first.
absl::StatusOr<std::optional<uint32_t>> PinnedLayout(const std::string& dir) {
  BpfMaps maps;
  const absl::Status found =
      maps.AddPinned(std::string(kSettingsMap), dir + "/" + std::string(kSettingsMap));
  if (found.code() == absl::StatusCode::kNotFound) return std::optional<uint32_t>();
  KUBE_LVS_RETURN_IF_ERROR(found);
  KUBE_LVS_ASSIGN_OR_RETURN(const uint32_t layout, GetLayout(maps));
  return std::optional<uint32_t>(layout);
}

}  // namespace

absl::Status MakePinDir(const std::string& dir) {
  KUBE_LVS_RETURN_IF_ERROR(CheckBpfFs(dir));
  std::error_code error;
  fs::create_directories(dir, error);
  if (error) return BpfError("making " + dir, error.value());
  return absl::OkStatus();
}

std::vector<std::string> NamesIn(const std::string& dir) {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::directory_iterator it(dir, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    out.push_back(it->path().filename().string());
  }
  std::ranges::sort(out);
  return out;
}

absl::Status RemoveAll(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) return BpfError("removing " + path, error.value());
  return absl::OkStatus();
}

absl::StatusOr<ProgramSet> OpenSet(const std::string& dir) {
  ProgramSet out;
  KUBE_LVS_ASSIGN_OR_RETURN(out.xdp_director, OpenPinnedProgram(dir + "/xdp_director"));
  KUBE_LVS_ASSIGN_OR_RETURN(out.tc_director, OpenPinnedProgram(dir + "/tc_director"));
  KUBE_LVS_ASSIGN_OR_RETURN(out.tc_decap, OpenPinnedProgram(dir + "/tc_decap"));
  KUBE_LVS_ASSIGN_OR_RETURN(out.tc_mss_clamp, OpenPinnedProgram(dir + "/tc_mss_clamp"));
  KUBE_LVS_ASSIGN_OR_RETURN(out.tc_reply, OpenPinnedProgram(dir + "/tc_reply"));
  KUBE_LVS_ASSIGN_OR_RETURN(out.tc_reply6, OpenPinnedProgram(dir + "/tc_reply6"));
  KUBE_LVS_ASSIGN_OR_RETURN(out.sweep, OpenPinnedProgram(dir + "/klvs_sweep"));
  KUBE_LVS_ASSIGN_OR_RETURN(out.xdp_director6, OpenPinnedProgram(dir + "/xdp_director6"));
  KUBE_LVS_ASSIGN_OR_RETURN(out.tc_director6, OpenPinnedProgram(dir + "/tc_director6"));
  KUBE_LVS_ASSIGN_OR_RETURN(out.sweep6, OpenPinnedProgram(dir + "/klvs_sweep6"));
  return out;
}

ProgramSet OpenWhatIsThere(const std::string& dir) {
  ProgramSet out;
  const auto open = [&dir](const char* name, Program& program) {
    auto found = OpenPinnedProgram(dir + "/" + name);
    if (found.ok()) program = *std::move(found);
  };
  open("xdp_director", out.xdp_director);
  open("tc_director", out.tc_director);
  open("tc_decap", out.tc_decap);
  open("tc_mss_clamp", out.tc_mss_clamp);
  open("tc_reply", out.tc_reply);
  open("tc_reply6", out.tc_reply6);
  return out;
}

absl::StatusOr<std::unique_ptr<BpfMaps>> OpenMaps(const std::string& dir) {
  auto maps = std::make_unique<BpfMaps>();
  for (const std::string_view name : MapNames()) {
    KUBE_LVS_RETURN_IF_ERROR(maps->AddPinned(std::string(name), dir + "/" + std::string(name)));
  }
  return maps;
}

absl::Status CheckLayout(const std::string& dir) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::optional<uint32_t> pinned, PinnedLayout(dir));
  const uint32_t layout = pinned.value_or(0);
  if (layout == 0 || layout == KLVS_LAYOUT) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "the maps in " + dir + " have layout " + std::to_string(layout) + ", this version needs " +
      std::to_string(KLVS_LAYOUT) +
      "; run the version that made them, or drain this node and run kube-lvs-agent --cleanup");
}

absl::Status RemoveUnfinishedMaps(const std::string& dir) {
  KUBE_LVS_ASSIGN_OR_RETURN(const std::optional<uint32_t> layout, PinnedLayout(dir));
  if (layout != 0U) return absl::OkStatus();
  for (const std::string& name : NamesIn(dir)) {
    if (name.starts_with(kMapPrefix)) KUBE_LVS_RETURN_IF_ERROR(RemoveAll(dir + "/" + name));
  }
  return absl::OkStatus();
}

NewPins::~NewPins() {
  if (kept_) return;
  for (const std::string& name : NamesIn(dir_)) {
    if (!name.starts_with(kProgramsPrefix) && !name.starts_with(kMapPrefix)) continue;
    if (std::ranges::binary_search(before_, name)) continue;
    // The load's own error is the one to tell.
    RemoveAll(dir_ + "/" + name).IgnoreError();
  }
}

}  // namespace kube_lvs::ebpf
