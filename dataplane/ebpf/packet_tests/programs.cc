#include "dataplane/ebpf/packet_tests/programs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "dataplane/ebpf/bpf/director6_tc.skel.h"
#include "dataplane/ebpf/bpf/director6_xdp.skel.h"
#include "dataplane/ebpf/bpf/director_tc.skel.h"
#include "dataplane/ebpf/bpf/director_xdp.skel.h"
#include "dataplane/ebpf/bpf/node_tc.skel.h"

namespace kube_lvs::ebpf {
namespace {

std::vector<std::unique_ptr<LoadedPrograms>>& Idle() {
  static std::vector<std::unique_ptr<LoadedPrograms>> idle;
  return idle;
}

// An object uses the maps that another one made.
void ShareMaps(bpf_object* from, bpf_object* to) {
  bpf_map* map;
  bpf_object__for_each_map(map, to) {
    bpf_map* other = bpf_object__find_map_by_name(from, bpf_map__name(map));
    if (other != nullptr && std::strncmp(bpf_map__name(map), "klvs_", 5) == 0) {
      Check(bpf_map__reuse_fd(map, bpf_map__fd(other)) == 0, bpf_map__name(map));
    }
  }
}

void Join(const bpf_map* families, const bpf_program* program) {
  const uint32_t zero = 0;
  const int fd = bpf_program__fd(program);
  Check(bpf_map__update_elem(families, &zero, sizeof zero, &fd, sizeof fd, BPF_ANY) == 0,
        "the program of IPv6");
}

void ZeroMapped(const bpf_map* map) {
  const size_t size = bpf_map__max_entries(map) * ((bpf_map__value_size(map) + size_t{7}) / 8 * 8);
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
  Check(memory != MAP_FAILED, bpf_map__name(map));
  std::memset(memory, 0, size);
  munmap(memory, size);
}

void ZeroEach(const bpf_map* map) {
  const bool per_cpu = bpf_map__type(map) == BPF_MAP_TYPE_PERCPU_ARRAY;
  const std::vector<uint64_t> zeros((bpf_map__value_size(map) + 7) / 8 *
                                    (per_cpu ? libbpf_num_possible_cpus() : 1));
  for (uint32_t i = 0; i < bpf_map__max_entries(map); ++i) {
    Check(bpf_map_update_elem(bpf_map__fd(map), &i, zeros.data(), BPF_ANY) == 0,
          bpf_map__name(map));
  }
}

void DeleteEach(const bpf_map* map) {
  std::vector<char> key(bpf_map__key_size(map));
  while (bpf_map_get_next_key(bpf_map__fd(map), nullptr, key.data()) == 0) {
    Check(bpf_map_delete_elem(bpf_map__fd(map), key.data()) == 0, bpf_map__name(map));
  }
}

void EmptyMap(const bpf_map* map) {
  switch (bpf_map__type(map)) {
    case BPF_MAP_TYPE_ARRAY:
      return bpf_map__map_flags(map) & BPF_F_MMAPABLE ? ZeroMapped(map) : ZeroEach(map);
    case BPF_MAP_TYPE_PERCPU_ARRAY:
      return ZeroEach(map);
    case BPF_MAP_TYPE_PROG_ARRAY: {
      const uint32_t zero = 0;
      const int error = bpf_map_delete_elem(bpf_map__fd(map), &zero);
      return Check(error == 0 || error == -ENOENT, bpf_map__name(map));
    }
    case BPF_MAP_TYPE_HASH:
    case BPF_MAP_TYPE_LRU_HASH:
    case BPF_MAP_TYPE_LPM_TRIE:
      return DeleteEach(map);
    case BPF_MAP_TYPE_RINGBUF:
      TakeDropSamples(map);
      return;
    default:
      Check(false, std::string("a map of another type: ") + bpf_map__name(map));
  }
}

void EmptyMapsOf(const bpf_object* object) {
  const bpf_map* map;
  bpf_object__for_each_map(map, object) {
    if (std::strncmp(bpf_map__name(map), "klvs_", 5) == 0) EmptyMap(map);
  }
}

}  // namespace

void Check(bool ok, const std::string& what) {
  if (ok) return;
  std::perror(what.c_str());
  std::abort();
}

std::vector<klvs_drop_sample> TakeDropSamples(const bpf_map* map) {
  std::vector<klvs_drop_sample> out;
  const auto keep = [](void* samples, void* data, size_t size) {
    Check(size == sizeof(klvs_drop_sample), "the size of a sample");
    static_cast<std::vector<klvs_drop_sample>*>(samples)->push_back(
        *static_cast<const klvs_drop_sample*>(data));
    return 0;
  };
  ring_buffer* ring = ring_buffer__new(bpf_map__fd(map), keep, &out, nullptr);
  Check(ring != nullptr, "klvs_drop_ring");
  Check(ring_buffer__consume(ring) >= 0, "klvs_drop_ring");
  ring_buffer__free(ring);
  return out;
}

std::unique_ptr<LoadedPrograms> LoadedPrograms::Take(Stage stage, uint32_t sets) {
  for (std::unique_ptr<LoadedPrograms>& idle : Idle()) {
    if (idle == nullptr || idle->stage_ != stage) continue;
    std::unique_ptr<LoadedPrograms> taken = std::move(idle);
    if (taken->sets_ == sets) return taken;
  }
  return std::unique_ptr<LoadedPrograms>(new LoadedPrograms(stage, sets));
}

void LoadedPrograms::GiveBack(std::unique_ptr<LoadedPrograms> programs) {
  programs->Empty();
  Idle().push_back(std::move(programs));
}

LoadedPrograms::LoadedPrograms(Stage stage, uint32_t sets)
    : stage_(stage), sets_(sets) {
  network_.Sh(
      "ip link add name eth0 address 02:00:00:00:00:01 type veth peer name peer0; "
      "ip link set eth0 up; ip link set peer0 up");
  ifindex_ = network_.In([] { return if_nametoindex("eth0"); });
  Check(ifindex_ != 0, "eth0");

  tc_ = director_tc__open();
  Check(tc_ != nullptr, "open director_tc");
  bpf_map__set_max_entries(tc_->maps.klvs_conns, sets);
  bpf_map__set_max_entries(tc_->maps.klvs_conn_tags, sets);
  Check(director_tc__load(tc_) == 0, "load director_tc");
  if (stage != Stage::kXdp) return;
  xdp_ = director_xdp__open();
  Check(xdp_ != nullptr, "open director_xdp");
  ShareMaps(tc_->obj, xdp_->obj);
  Check(director_xdp__load(xdp_) == 0, "load director_xdp");
}

LoadedPrograms::~LoadedPrograms() {
  node_tc__destroy(node_);
  director6_xdp__destroy(xdp6_);
  director6_tc__destroy(tc6_);
  director_xdp__destroy(xdp_);
  director_tc__destroy(tc_);
}

void LoadedPrograms::LoadIpv6(uint32_t sets) {
  tc6_ = director6_tc__open();
  Check(tc6_ != nullptr, "open director6_tc");
  ShareMaps(tc_->obj, tc6_->obj);
  bpf_map__set_max_entries(tc6_->maps.klvs_conns6, sets);
  bpf_map__set_max_entries(tc6_->maps.klvs_conn_tags6, sets);
  Check(director6_tc__load(tc6_) == 0, "load director6_tc");
  if (stage_ != Stage::kXdp) return;
  xdp6_ = director6_xdp__open();
  Check(xdp6_ != nullptr, "open director6_xdp");
  ShareMaps(tc_->obj, xdp6_->obj);
  ShareMaps(tc6_->obj, xdp6_->obj);
  Check(director6_xdp__load(xdp6_) == 0, "load director6_xdp");
}

void LoadedPrograms::JoinIpv6(uint32_t sets) {
  if (joined_) return;
  joined_ = true;
  if (tc6_ == nullptr) LoadIpv6(sets);
  Check(bpf_map__max_entries(tc6_->maps.klvs_conns6) == sets,
        "IPv6's connection table is loaded with another size");
  Join(tc_->maps.klvs_families_tc, tc6_->progs.tc_director6);
  if (xdp6_ != nullptr) Join(xdp_->maps.klvs_families_xdp, xdp6_->progs.xdp_director6);
}

node_tc& LoadedPrograms::node() {
  if (node_ == nullptr) {
    node_ = node_tc__open_and_load();
    Check(node_ != nullptr, "load node_tc");
  }
  return *node_;
}

bpf_map* LoadedPrograms::Find(const char* name) {
  bpf_map* map = bpf_object__find_map_by_name(tc_->obj, name);
  if (map == nullptr && tc6_ != nullptr) map = bpf_object__find_map_by_name(tc6_->obj, name);
  Check(map != nullptr, name);
  return map;
}

void LoadedPrograms::Empty() {
  EmptyMapsOf(tc_->obj);
  if (xdp_ != nullptr) EmptyMapsOf(xdp_->obj);
  if (tc6_ != nullptr) EmptyMapsOf(tc6_->obj);
  if (xdp6_ != nullptr) EmptyMapsOf(xdp6_->obj);
  if (node_ != nullptr) EmptyMapsOf(node_->obj);
  joined_ = false;
}

}  // namespace kube_lvs::ebpf
