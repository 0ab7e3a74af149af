// Our programs and maps in the kernel: loaded or taken over, pinned, hooked into interfaces. The
// files named bpf_*.cc are all that know libbpf.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dataplane/ebpf/map_store.h"
#include "dataplane/ebpf/network.h"
#include "dataplane/ebpf/programs.h"
#include "dataplane/ebpf/trace.h"

namespace kube_lvs::ebpf {

// How many of each, for maps that are made; maps that are there keep their size. 150 MB with
// the defaults, and 0.8 MB for each CPU: see MemoryOf.
struct MapSizes {
  uint32_t addresses = 32768;
  uint32_t services = 4096;
  uint32_t reals = 16384;          // over all services, with removed ones that have connections
  uint32_t list_entries = 131072;  // over all services; a list is written anew at each change
  uint32_t table_slots = 1048576;  // mh takes 4093 a service, and as many while it changes
  // NAT takes two; a power of two, 1024 or more. Of IPv6, a quarter as many come on top; of each
  // family one template, a client that persistence remembers, for 8 connections.
  uint32_t connections = 1048576;
};

// What maps of these sizes take in the kernel, on this machine's CPUs, in bytes.
absl::StatusOr<uint64_t> MemoryOf(const MapSizes& sizes);

struct BpfOptions {
  std::string dir = "/sys/fs/bpf/kube-lvs";  // where everything is pinned; one a namespace
  // Globs of virtual interfaces on which native XDP may transmit: for who owns both their ends.
  std::vector<std::string> xdp_interfaces;
  MapSizes sizes;
};

// Both seams of the backend. Destroying it changes nothing in the kernel: the programs go on.
struct BpfObjects {
  std::unique_ptr<MapStore> maps;
  std::unique_ptr<Programs> programs;
  bool loaded = false;  // false: the very same programs were there, and nothing was loaded
};

// Takes over what is pinned in `options.dir` and makes what is missing. Where other programs of
// ours are hooked in, they are replaced on every interface without a gap; the maps stay. `network`
// is borrowed for the call; the calling thread is in its namespace. Needs CAP_BPF, CAP_NET_ADMIN
// and CAP_PERFMON. kFailedPrecondition: not a BPF file system, maps of another layout, or a kernel
// that refuses the programs; the message has the mend. kResourceExhausted: new maps would not fit
// into the memory limit of this process' control group, and none was made. After a failure before
// the programs are hooked in, nothing is pinned that was not there.
absl::StatusOr<BpfObjects> OpenBpfObjects(const BpfOptions& options, Network& network);

// The maps that are pinned in `dir`, for a reader. kNotFound: none are there.
absl::StatusOr<std::unique_ptr<MapStore>> OpenPinnedMaps(const std::string& dir);

// The clock that `expires` of connections is in. Needs CAP_BPF and CAP_PERFMON.
absl::StatusOr<uint64_t> ProgramsJiffies();

// What the director's program does with a packet: it is loaded once more and run on a copy of
// `maps`, which nobody sees and which is gone with the call. Takes as much memory as they do.
absl::StatusOr<Trace> Rehearse(MapStore& maps, const TracePacket& packet);

// Takes our programs off every interface and removes our pins from `dir`, and `dir` itself if it is
// empty then; connections are lost. OK when there is nothing.
absl::Status CleanUpBpfObjects(const std::string& dir, Network& network);

// The dataplane that lvsadm makes where there is no agent. Nothing of it is pinned: the programs on
// the interfaces of a network namespace keep the maps, so that it ends with the namespace, and it
// is found again through them, by numbers. By tc alone: XDP sends by neighbours' addresses that
// somebody must keep up to date. All of these need CAP_SYS_ADMIN in the initial user namespace.

enum class Access { kRead, kWrite };

// Finds it in the calling thread's namespace, which `network` is about; to write, its programs are
// replaced by this version's at the next Programs::Attach. kNotFound: there is none.
// kAlreadyExists: it was to be written, and the agent's is in this namespace. kFailedPrecondition:
// maps of another layout; the message has the mend.
absl::StatusOr<BpfObjects> OpenUnpinned(const MapSizes& sizes, Network& network, Access access);

// Loads it anew; it stays if a program is attached before the objects are gone. kAlreadyExists: the
// agent's is in this namespace.
absl::StatusOr<BpfObjects> LoadUnpinned(const MapSizes& sizes, Network& network);

// Takes its programs off every interface, and with them go rules and connections. OK when there is
// nothing. kAlreadyExists: there is, and it is the agent's.
absl::Status RemoveUnpinned(Network& network);

}  // namespace kube_lvs::ebpf
