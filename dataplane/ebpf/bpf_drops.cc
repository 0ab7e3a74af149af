// Drop rings through libbpf.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/unique_fd.h"
#include "dataplane/ebpf/bpf_hooks.h"
#include "dataplane/ebpf/bpf_load.h"
#include "dataplane/ebpf/bpf_maps.h"
#include "dataplane/ebpf/drop_ring.h"
#include "dataplane/ebpf/map_names.h"

namespace kube_lvs::ebpf {
namespace {

struct Map {
  UniqueFd fd;
  uint32_t id = 0;
};

absl::Status NoRing() {
  return absl::FailedPreconditionError(
      "the programs of this dataplane are of an older version, which does not show what it drops; "
      "upgrade the agent or, of lvsadm's own, change any rule by this lvsadm");
}

// Two readers would take each other's packets, and the kernel lets them. The name is free again
// when the process ends, however it ends.
absl::StatusOr<UniqueFd> TakeTurn(uint32_t map_id) {
  UniqueFd out(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const std::string name = "kube-lvs/drops/" + std::to_string(map_id);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (out.ok() && bind(out.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0) {
    return out;
  }
  if (errno == EADDRINUSE) {
    return absl::UnavailableError("another lvsadm --drops reads what this dataplane drops: end it");
  }
  return absl::InternalError(std::string("socket: ") + std::strerror(errno));
}

class BpfDropRing final : public DropRing {
 public:
  explicit BpfDropRing(std::vector<Map> maps) : maps_(std::move(maps)) {}
  ~BpfDropRing() override { ring_buffer__free(rings_); }

  absl::Status Open() {
    for (const Map& map : maps_) {
      KUBE_LVS_ASSIGN_OR_RETURN(UniqueFd turn, TakeTurn(map.id));
      turns_.push_back(std::move(turn));
      if (rings_ == nullptr) {
        rings_ = ring_buffer__new(map.fd.get(), &BpfDropRing::Visit, this, nullptr);
        if (rings_ == nullptr) return BpfError("opening the ring of drops", errno);
      } else if (ring_buffer__add(rings_, map.fd.get(), &BpfDropRing::Visit, this) != 0) {
        return BpfError("opening the ring of drops", errno);
      }
    }
    // What nobody took: the oldest since it was full.
    return Take([](const DropSample&) { return true; });
  }

  int fd() const override { return ring_buffer__epoll_fd(rings_); }

  absl::Status Take(const std::function<bool(const DropSample&)>& show) override {
    show_ = &show;
    trouble_ = absl::OkStatus();
    const int result = ring_buffer__consume(rings_);
    show_ = nullptr;
    if (result < 0 && result != -ECANCELED) return BpfError("reading the ring of drops", -result);
    return trouble_;
  }

 private:
  static int Visit(void* self, void* data, size_t size) {
    auto& ring = *static_cast<BpfDropRing*>(self);
    const auto sample = DecodeDropSample({static_cast<const uint8_t*>(data), size});
    if (!sample.ok()) ring.trouble_ = sample.status();
    return sample.ok() && (*ring.show_)(*sample) ? 0 : -ECANCELED;
  }

  std::vector<Map> maps_;
  std::vector<UniqueFd> turns_;
  ring_buffer* rings_ = nullptr;
  const std::function<bool(const DropSample&)>* show_ = nullptr;
  absl::Status trouble_;
};

absl::StatusOr<std::unique_ptr<DropRing>> Open(std::vector<Map> maps) {
  if (maps.empty()) return NoRing();
  auto out = std::make_unique<BpfDropRing>(std::move(maps));
  KUBE_LVS_RETURN_IF_ERROR(out->Open());
  return out;
}

absl::StatusOr<bpf_map_info> InfoOf(const UniqueFd& fd) {
  bpf_map_info info{};
  uint32_t size = sizeof info;
  if (!fd.ok() || bpf_obj_get_info_by_fd(fd.get(), &info, &size) != 0) {
    return BpfError("reading of a map", errno);
  }
  return info;
}

// Of one of lvsadm's programs; nothing if it is not there, or an older one.
absl::Status AddRingOf(Network& network, ProgramOfSet which, std::vector<Map>& maps) {
  KUBE_LVS_ASSIGN_OR_RETURN(const Program program, FindLvsadmProgram(network, which));
  if (program.id == 0) return absl::OkStatus();
  KUBE_LVS_ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, MapIdsOf(program));
  for (const uint32_t id : ids) {
    UniqueFd fd(bpf_map_get_fd_by_id(id));
    KUBE_LVS_ASSIGN_OR_RETURN(const bpf_map_info info, InfoOf(fd));
    const bool known = std::ranges::find(maps, id, &Map::id) != maps.end();
    if (info.name == kDropRingMap && !known) maps.push_back({std::move(fd), id});
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<DropRing>> OpenPinnedDropRing(const std::string& dir) {
  Silence();
  UniqueFd fd(bpf_obj_get((dir + "/" + std::string(kDropRingMap)).c_str()));
  if (!fd.ok() && errno == ENOENT) return NoRing();
  KUBE_LVS_ASSIGN_OR_RETURN(const bpf_map_info info, InfoOf(fd));
  std::vector<Map> maps;
  maps.push_back({std::move(fd), info.id});
  return Open(std::move(maps));
}

absl::StatusOr<std::unique_ptr<DropRing>> OpenUnpinnedDropRing(Network& network) {
  Silence();
  std::vector<Map> maps;
  KUBE_LVS_RETURN_IF_ERROR(AddRingOf(network, &ProgramSet::tc_director, maps));
  KUBE_LVS_RETURN_IF_ERROR(AddRingOf(network, &ProgramSet::tc_director6, maps));
  return Open(std::move(maps));
}

}  // namespace kube_lvs::ebpf
