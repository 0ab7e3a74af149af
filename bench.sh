#!/bin/bash
# bench.sh NAME [--json FILE] [SETTING=VALUE...]: a benchmark, as a table with ratios from one and the same run.
#
#   ipvs    10,000 services with 10 real servers each in the kernel's IPVS, in a VM: programming, reading back, listing,
#           beside ipvsadm and beside bare netlink, and the agent's restart, one changed weight and drift, and one changed
#           weight and one changed EndpointSlice from the event to the netlink command in real milliseconds
#           SERVICES=10000 REALS=10 KERNEL=6.12   (5 min of a CPU; 1 min with SERVICES=1000.
#           In instructions, so that it may share this machine: read the ratios)
#   ebpf    what packets cost in the eBPF dataplane, above an empty program: instructions, in a VM, of each method, of what is not
#           ours and of new connections; nanoseconds on this machine with one flow and with a million
#           KERNEL=6.12   (3 min)
#   ebpf-scale  10,000 services with 10 real servers each in the eBPF dataplane, on this machine: programming, reading back,
#           listing, one changed weight (and whether that grows with the number of services), memory
#           SERVICES=10000 REALS=10   (1 min)
#   soak    changes of rules, and agents killed by SIGKILL, under the load of clients, on the bare bench of namespaces by the
#           eBPF dataplane: no request may be lost, and counts return to zero
#           --seconds 600  --xdp on|off  --seed N
#   proxies one request through HAProxy, nginx and our eBPF dataplane, on the bare bench of namespaces: CPU time and latency at
#           a fixed load, beside no balancer and beside a program that only rewrites MACs. Installs HAProxy and nginx
#           --rounds 40  --seconds 1  --rate 1000   (5 min, on a machine that is quiet)
#
# Without NAME: this text. What is missing is installed and built first, as test.sh does.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
# shellcheck source=e2e/lib/steps.sh
. e2e/lib/steps.sh
case ${1:-} in
  ipvs | ebpf | ebpf-scale | proxies | soak) ;;
  "" | -h | --help) show_help "$0" ;;
  *)
    echo "bench.sh: no benchmark $1: see bench.sh --help" >&2
    exit 2
    ;;
esac
name=$1
shift
if [ "$name" = proxies ]; then
  e2e/setup ${CI:+--yes} proxies
else
  e2e/setup ${CI:+--yes} test
fi
case $name in
  soak | proxies)
    e2e/cluster/build.sh web kube-lvs-load
    bazel build "${BAZEL_FLAGS[@]}" -c opt //node-agent:kube-lvs-agent //e2e/bare:all //e2e/bench:requests
    ;;
esac
python3 "e2e/bench/$name" "$@"
