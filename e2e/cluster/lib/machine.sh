# Sourced by up, node-boot, node-kill and down: starting and ending the processes of cp and of the nodes.
# shellcheck shell=bash

# boot MACHINE: start its process 1 (lib/control-plane.sh or lib/node.sh) in new namespaces on its existing network.
boot() {
  local name=$1 program=$HERE/lib/node.sh
  [ "$name" != cp ] || program=$HERE/lib/control-plane.sh
  rm -f "$STATE/$name/ready" "$STATE/$name/var/containerd-answers"
  : >>"$STATE/$name/cgroups"
  # Its own session: Ctrl-C at the terminal reaches the command that boots, not the cluster.
  setsid nsenter --net="$(netns_path "$name")" \
    unshare --mount --uts --ipc --pid --fork --kill-child --mount-proc \
    bash "$program" "$STATE/facts" "$name" >>"$STATE/$name/init.log" 2>&1 </dev/null &
  record_process $! "$STATE/$name/pid"
  disown
}

# wait_for_start MACHINE: until containerd answers (a node) or the API server is ready (cp).
wait_for_start() {
  local name=$1 sign=$STATE/$1/var/containerd-answers end=$((SECONDS + 300))
  [ "$name" != cp ] || sign=$STATE/cp/ready
  until [ -e "$sign" ]; do
    is_running "$name" || die "$name ended while it started: $(tail -n 3 "$STATE/$name/init.log")"
    [ "$SECONDS" -lt "$end" ] || die "gave up waiting for $name to start: see the logs in $STATE/$name"
    sleep 0.1
  done
}

# halt MACHINE...: kill -9 everything in them and remove their cgroups; network and disk stay.
halt() {
  local name pid group
  for name in "$@"; do
    pid=$(recorded_pid "$STATE/$name/pid")
    # shellcheck disable=SC2046 # one number or nothing
    [ -z "$pid" ] || kill_now $(init_of "$name") "$pid"
  done
  for name in "$@"; do
    wait_until 60 "the end of $name" not_running "$name"
    rm -f "$STATE/$name/pid" "$STATE/$name/ready"
    [ -e "$STATE/$name/cgroups" ] || continue
    # The processes inside end a moment after their process 1; until then their groups are busy. Groups left behind
    # would cost the kubelet 3 s each at the next boot.
    while read -r group; do
      wait_until 60 "cgroup $group to become empty" remove_cgroup "$group"
    done <"$STATE/$name/cgroups"
    : >"$STATE/$name/cgroups"
  done
}

not_running() { ! is_running "$1"; }

remove_cgroup() { # DIRECTORY
  [ -d "$1" ] || return 0
  find "$1" -depth -type d -exec rmdir {} + 2>/dev/null
  [ ! -d "$1" ]
}

import_image() { # NODE TAR: into its containerd
  local log=$STATE/$1/import.log
  "$HERE/node-exec" "$1" ctr -n k8s.io images import - <"$2" >>"$log" 2>&1 ||
    die "node $1 does not take image $2: $(tail -1 "$log")"
}
