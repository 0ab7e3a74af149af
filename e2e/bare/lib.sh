# Sourced by the commands here: the machines of the bare bench and what runs on them.
# shellcheck shell=bash
BARE_HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$BARE_HERE/../.." && pwd)
CLUSTER=${BENCH:-kb}
# shellcheck source=e2e/cluster/lib/common.sh
. "$BARE_HERE/../cluster/lib/common.sh"
# shellcheck disable=SC2034 # common.sh hands these on to a second start as root
SETTINGS=(BENCH XDP AGENT KUBE_LVS_CACHE KUBE_LVS_STATE)

# The commands use these.
# shellcheck disable=SC2034
{
  LAN=10.77.0
  CLIENT_NET=198.51.100
  LAN6=fd77::
  CLIENT_NET6=fd98::
  DIRECTORS=(d1 d2)
  REAL_SERVERS=(r1 r2 r3)
}
AGENT=${AGENT:-$ROOT/bazel-bin/node-agent/kube-lvs-agent}

address_of() { # MACHINE
  case $1 in
    router) echo $LAN.254 ;;
    d*) echo "$LAN.$((10 + ${1#d}))" ;;
    r*) echo "$LAN.$((20 + ${1#r}))" ;;
  esac
}

address6_of() { # MACHINE
  local address
  address=$(address_of "$1")
  echo "$LAN6${address##*.}"
}

bpf_dir() { printf '/sys/fs/bpf/kube-lvs-%s-%s' "$CLUSTER" "$1"; } # MACHINE

require_bench() {
  [ -e "$STATE/lan" ] || die "bench $CLUSTER is not up: start it with e2e/bare/up"
}

# start MACHINE NAME CMD...: CMD in the background with the machine's network and host name, recorded for stop.
start() {
  local machine=$1 name=$2
  shift 2
  # shellcheck disable=SC2016 # expanded by the inner shell
  setsid nsenter --net="$(netns_path "$machine")" -- unshare --uts sh -c 'hostname "$0"; exec "$@"' "$machine" "$@" \
    >>"$STATE/$machine/$name.log" 2>&1 </dev/null &
  record_process $! "$STATE/$machine/$name.process"
}

stop() { # MACHINE NAME SIGNAL
  local pid
  pid=$(recorded_pid "$STATE/$1/$2.process")
  [ -n "$pid" ] || return 0
  kill -"$3" "$pid"
  wait_until 15 "the end of $2 on $1 (process $pid)" process_ended "$STATE/$1/$2.process"
}

process_ended() { [ -z "$(recorded_pid "$1")" ]; }
