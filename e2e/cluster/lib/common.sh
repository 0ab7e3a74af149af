# Sourced by every command here: names and places of one cluster, messages, privileges, process records.
#
# A cluster is named by CLUSTER. Its state (kubeconfig, logs, the disks of its nodes) is in $STATE; its
# network namespaces are $CLUSTER-rack, -router, -client, -cp, -n1, -n2, ...
# shellcheck shell=bash disable=SC2034 # what is set here is used by those who source it

umask 022

COMMAND=${0##*/}
SELF=$(readlink -f "$0")
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CLUSTER=${CLUSTER:-kl}
KUBE_LVS_CACHE=${KUBE_LVS_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/kube-lvs}
KUBE_LVS_STATE=${KUBE_LVS_STATE:-/var/tmp/kube-lvs-e2e}
STATE=$KUBE_LVS_STATE/$CLUSTER
BIN=$KUBE_LVS_CACHE/bin
IMAGE_DIR=$KUBE_LVS_CACHE/img
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH

# Environment that changes what a command does; a second start as root (become_root) keeps exactly these.
SETTINGS=(CLUSTER KUBE_LVS_CACHE KUBE_LVS_STATE NODES DIRECTORS PROXY TX_OFFLOAD IPV6 NET IMAGES KEEP_FAILED)

die() {
  printf '%s: %s\n' "$COMMAND" "$*" >&2
  exit 1
}

usage_error() {
  printf '%s: %s\nTry: %s --help\n' "$COMMAND" "$*" "$COMMAND" >&2
  exit 2
}

# The leading comment block of the calling script is its help text.
help_if_asked() {
  case "${1:-}" in
    -h | --help)
      awk 'NR == 1 { next } /^#/ { sub(/^# ?/, ""); print; next } { exit }' "$SELF"
      exit 0
      ;;
  esac
}

# become_root "$@": namespaces, mounts and cgroups need root; a user with sudo gets it by starting this command again.
become_root() {
  [ "$(id -u)" != 0 ] || return 0
  command -v sudo >/dev/null || die "needs root for namespaces and mounts: run it as root, or install sudo"
  local keep=() v
  for v in "${SETTINGS[@]}"; do
    [ -z "${!v+set}" ] || keep+=("$v=${!v}")
  done
  exec sudo env "${keep[@]}" "$SELF" "$@"
}

check_cluster_name() {
  [[ $CLUSTER =~ ^[a-z][a-z0-9]{0,7}$ ]] ||
    die "CLUSTER=$CLUSTER: names network links, so use 1 to 8 characters a-z and 0-9, a letter first"
}

# Requires a cluster that is up, and loads what `up` recorded about it (see write_facts there).
load_cluster() {
  check_cluster_name
  [ -e "$STATE/facts" ] || die "cluster $CLUSTER is not up (no $STATE/facts): start it with e2e/cluster/up"
  [ -O "$STATE/facts" ] || die "$STATE/facts belongs to another user: it is not run; choose another KUBE_LVS_STATE"
  # shellcheck source=/dev/null
  . "$STATE/facts"
}

machine_exists() { [ -e "$STATE/$1/netns" ]; }

require_machine() {
  machine_exists "$1" ||
    die "cluster $CLUSTER has no machine $1: it has $(cd "$STATE" && for f in */netns; do printf '%s ' "${f%/netns}"; done)"
}

netns_path() { printf '/run/netns/%s-%s' "$CLUSTER" "$1"; }

# in_netns MACHINE CMD...: with the machine's network only; files and processes are the host's.
in_netns() {
  local name=$1
  shift
  nsenter --net="$(netns_path "$name")" -- "$@"
}

# ---- processes by record: "PID START_TIME", so that a number used again by the kernel is never killed

start_time() { # PID: its start in clock ticks since boot; empty when there is no such process
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
  stat=${stat##*) }
  # shellcheck disable=SC2086
  set -- $stat
  # Ended, but for its last threads: those still hold its files and sockets.
  [ "$1" = Z ] && [ "${18}" -lt 2 ] || printf '%s' "${20}"
}

record_process() { printf '%s %s\n' "$1" "$(start_time "$1")" >"$2"; } # PID FILE

recorded_pid() { # FILE: the pid if that very process still lives; else nothing
  local pid started
  [ -s "$1" ] || return 0
  read -r pid started <"$1"
  if [ -n "$started" ] && [ "$(start_time "$pid")" = "$started" ]; then printf '%s' "$pid"; fi
}

# kill_now PID...: one that has ended meanwhile is no failure.
kill_now() {
  local pid
  for pid in "$@"; do
    kill -KILL "$pid" 2>/dev/null || [ -z "$(start_time "$pid")" ] || die "cannot kill process $pid"
  done
}

is_running() { [ -n "$(recorded_pid "$STATE/$1/pid")" ]; } # MACHINE

# The first process inside the machine's namespaces (the recorded one is its parent outside).
init_of() { # MACHINE
  local pid child=
  pid=$(recorded_pid "$STATE/$1/pid")
  [ -n "$pid" ] || return 0
  { read -r child _ <"/proc/$pid/task/$pid/children"; } 2>/dev/null || true # the line has no end, which read reports
  printf '%s' "$child"
}

# wait_until SECONDS WHAT CMD...: polls; dies with WHAT when the time is over. Limits are generous: they end what hangs, not
# what is slow, such as an emulated machine.
wait_until() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || die "gave up waiting: $what"
    sleep 0.1
  done
}

# image_file IMAGE: the archive meant by a name of images.sh (web) or by a path (./x.tar).
image_file() {
  local file=$IMAGE_DIR/$1.tar
  case $1 in */* | *.tar) file=$1 ;; esac
  [ -f "$file" ] || die "image $1: no file $file: e2e/cluster/images.sh makes pause, web, tools, operator and agent"
  readlink -f "$file"
}
