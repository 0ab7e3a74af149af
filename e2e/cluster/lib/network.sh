# Sourced by up and node-boot: the network of one cluster.
#
#   client 198.51.100.10-19 --- 198.51.100.1 router NET.254 --- rack (a switch) --- cp, n1, n2, ... and the host (NET.1)
#
# Every machine is a network namespace with one uplink, eth0, into the rack; the rack is a bridge in a namespace of its own.
# The router has a second leg, eth1, to the client. It forwards and never translates addresses.
# shellcheck shell=bash

CLIENT_NET=198.51.100
CLIENT_NET6=2001:db8:100

# A fixed MAC per machine: a machine that boots again is the same one to its neighbours. 02: locally administered.
mac_of() { # MACHINE
  local number
  case $1 in
    cp) number=10 ;;
    router) number=254 ;;
    n*) number=$((10 + ${1#n})) ;;
  esac
  printf '02:4c:56:53:%02x:%02x' "$NET_INDEX" "$number"
}

# The last part of a machine's address; the same digits end its IPv6 address.
host_number() { # MACHINE
  case $1 in
    cp) echo 10 ;;
    router) echo 254 ;;
    n*) echo $((10 + ${1#n})) ;;
  esac
}

address_of() { printf '%s.%s' "$NET" "$(host_number "$1")"; }   # MACHINE
address6_of() { printf '%s::%s' "$NET6" "$(host_number "$1")"; } # MACHINE

node_names() { seq -f 'n%g' "$NODES"; }

add_netns() { # MACHINE
  mkdir -p "$STATE/$1"
  printf '%s-%s\n' "$CLUSTER" "$1" >"$STATE/$1/netns" # recorded first: down removes what is recorded
  ip netns add "$CLUSTER-$1"
  ip -n "$CLUSTER-$1" link set lo up
}

remove_netns() { # MACHINE
  [ ! -e "$(netns_path "$1")" ] || ip netns del "$CLUSTER-$1"
}

sysctl_in() { # MACHINE KEY=VALUE...
  local name=$1
  shift
  in_netns "$name" sysctl -qw "$@"
}

add_rack() {
  add_netns rack
  ip -n "$CLUSTER-rack" link add name br0 type bridge
  ip -n "$CLUSTER-rack" link set br0 up
  # A switch passes frames on; with br_netfilter its namespace would filter them as IP.
  local key
  for key in net.bridge.bridge-nf-call-iptables net.bridge.bridge-nf-call-ip6tables; do
    [ ! -e "/proc/sys/${key//.//}" ] || sysctl_in rack "$key=0"
  done
}

# A machine's namespace, its uplink into the rack, its addresses and its routes to the pods of each node.
add_machine() { # MACHINE
  local name=$1 ns=$CLUSTER-$1 other
  add_netns "$name"
  ip -n "$CLUSTER-rack" link add name "p-$name" type veth peer name eth0 address "$(mac_of "$name")" netns "$ns"
  ip -n "$CLUSTER-rack" link set "p-$name" master br0 up
  [ "$TX_OFFLOAD" = on ] || in_netns "$name" ethtool -K eth0 tx off >/dev/null
  # A new namespace inherits the host's settings; here every machine is the same everywhere. Reverse path filtering is
  # loose, as Debian and Ubuntu set it on real nodes.
  sysctl_in "$name" net.ipv4.ip_forward=1 net.ipv4.conf.{all,default,eth0}.{arp_ignore,arp_announce}=0 \
    net.ipv4.conf.{all,default,eth0}.rp_filter=2
  if [ "$IPV6" = on ]; then
    # Addresses are ours to give: no duplicate detection, which would delay the start by a second and more.
    sysctl_in "$name" net.ipv6.conf.{all,default,eth0}.accept_dad=0 net.ipv6.conf.{all,default}.forwarding=1
  else
    sysctl_in "$name" net.ipv6.conf.{all,default}.disable_ipv6=1
  fi
  ip -n "$ns" link set eth0 up
  ip -n "$ns" addr add "$(address_of "$name")/24" dev eth0
  [ "$IPV6" = off ] || ip -n "$ns" addr add "$(address6_of "$name")/64" dev eth0 nodad
  for other in $(node_names); do
    [ "$other" != "$name" ] || continue
    ip -n "$ns" route add "$POD_NET.${other#n}.0/24" via "$(address_of "$other")"
    [ "$IPV6" = off ] || ip -n "$ns" route add "$POD_NET6:${other#n}::/64" via "$(address6_of "$other")"
  done
  [ "$name" != router ] || return 0
  ip -n "$ns" route add default via "$(address_of router)"
  [ "$IPV6" = off ] || ip -n "$ns" route add default via "$(address6_of router)"
  if [ "$PROXY" = none ]; then add_api_service "$name"; fi
}

# Without kube-proxy pods still reach the API server by its ClusterIP: that one address goes to cp, which translates it.
add_api_service() { # MACHINE
  if [ "$1" != cp ]; then
    ip -n "$CLUSTER-$1" route add "$SERVICE_NET.0.1/32" via "$(address_of cp)"
    return
  fi
  in_netns cp nft -f - <<N
table ip api {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    ip daddr $SERVICE_NET.0.1 tcp dport 443 dnat to $(address_of cp):6443
  }
}
N
}

# The router's leg to the client, and the client behind it. ClusterIPs go to the last node, a worker: kube-proxy there
# answers for them.
add_client() {
  local r=$CLUSTER-router c=$CLUSTER-client last=n$NODES i
  add_netns client
  ip -n "$r" link add name eth1 type veth peer name eth0 netns "$c"
  sysctl_in client net.ipv4.conf.{all,default,eth0}.rp_filter=0 net.ipv4.ip_forward=0
  [ "$TX_OFFLOAD" = on ] || in_netns client ethtool -K eth0 tx off >/dev/null
  if [ "$IPV6" = on ]; then
    sysctl_in router net.ipv6.conf.eth1.accept_dad=0
    sysctl_in client net.ipv6.conf.{all,default,eth0}.accept_dad=0
  else
    sysctl_in client net.ipv6.conf.{all,default}.disable_ipv6=1
  fi
  ip -n "$r" link set eth1 up
  ip -n "$c" link set eth0 up
  ip -n "$r" addr add "$CLIENT_NET.1/24" dev eth1
  for i in {10..19}; do ip -n "$c" addr add "$CLIENT_NET.$i/24" dev eth0; done
  ip -n "$c" route add default via "$CLIENT_NET.1" src "$CLIENT_NET.10"
  [ "$PROXY" = none ] || ip -n "$r" route add "$SERVICE_NET.0.0/16" via "$(address_of "$last")"
  [ "$IPV6" = on ] || return 0
  ip -n "$r" addr add "$CLIENT_NET6::1/64" dev eth1 nodad
  for i in {10..19}; do ip -n "$c" addr add "$CLIENT_NET6::$i/64" dev eth0 nodad; done
  ip -n "$c" route add default via "$CLIENT_NET6::1" src "$CLIENT_NET6::10"
  [ "$PROXY" = none ] || ip -n "$r" route add "$SERVICE_NET6::/112" via "$(address6_of "$last")"
}

# The machine this runs on joins the rack, for kubectl and helm.
add_host_leg() {
  printf '%s\n' "$CLUSTER-host" >"$STATE/host-link"
  ip link add name "$CLUSTER-host" type veth peer name p-host netns "$CLUSTER-rack"
  ip -n "$CLUSTER-rack" link set p-host master br0 up
  ip link set "$CLUSTER-host" up
  ip addr add "$NET.1/24" dev "$CLUSTER-host"
}

# net_index: the smallest N for which nothing on this host uses 172.30.N.0/24.
free_net_index() {
  local i
  for i in {0..255}; do
    if [ -z "$(ip -4 route show root "172.30.$i.0/24" 2>/dev/null)$(ip -4 addr show to "172.30.$i.0/24")" ]; then
      echo "$i"
      return
    fi
  done
  die "every 172.30.N.0/24 is in use on this host: take a cluster down"
}
