# shellcheck shell=bash
# Sourced by guests: machines as network namespaces on one LAN, with a router to a client's network.
# Who sources it defines LAN (the first three numbers), address=([MACHINE]=LAST ...) with router=254,
# and fail WHAT. Of IPv6 the LAN is $LAN6/64, a machine's address its number there, the client's fd98::10.
# shellcheck disable=SC2153,SC2154,SC2034  # address, LAN: see above; agents: for who sources it
declare -A agents
LAN6=fd77::

on() { local machine=$1 && shift && nsenter --net="/run/netns/$machine" "$@"; }

within() {  # SECONDS WHAT COMMAND...
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -le "$end" ] || fail "$what"
    sleep 0.2
  done
}

start_agent() {  # MACHINE [COMMAND...: that is to run it]
  mkdir -p "/run/$1/state" "/run/$1/run"
  # Not through on: the process is to be the agent itself.
  nsenter --net="/run/netns/$1" "${@:2}" ./kube-lvs-agent --manifests site --node-name "$1" --node-ip "$LAN.${address[$1]}" \
    --bpf-dir "/sys/fs/bpf/$1" --state-dir "/run/$1/state" --run-dir "/run/$1/run" \
    --metrics-address "127.0.0.1:9474" >>"/run/$1.log" 2>&1 &
  agents[$1]=$!
}

make_site() {
  local machine
  for machine in lan client "${!address[@]}"; do
    ip netns add "$machine"
    ip -n "$machine" link set lo up
  done
  ip -n lan link add name br0 type bridge
  ip -n lan link set br0 up
  for machine in "${!address[@]}"; do
    ip -n lan link add name "p-$machine" type veth peer name eth0 netns "$machine"
    ip -n lan link set "p-$machine" master br0 up
    ip -n "$machine" link set eth0 up
    ip -n "$machine" addr add "$LAN.${address[$machine]}/24" dev eth0
    ip -n "$machine" addr add "$LAN6${address[$machine]}/64" dev eth0 nodad
    [ "$machine" = router ] && continue
    ip -n "$machine" route add default via "$LAN.254"
    ip -n "$machine" route add default via "${LAN6}254"
  done
  ip -n router link add name eth1 type veth peer name eth0 netns client
  ip -n router link set eth1 up
  ip -n router addr add 198.51.100.1/24 dev eth1
  ip -n client link set eth0 up
  ip -n client addr add 198.51.100.10/24 dev eth0
  ip -n client route add default via 198.51.100.1
  ip -n router addr add fd98::1/64 dev eth1 nodad
  ip -n client addr add fd98::10/64 dev eth0 nodad
  ip -n client route add default via fd98::1
  on router sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
}
